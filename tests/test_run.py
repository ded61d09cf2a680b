import csv
import os
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import yaml
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError, RunError


@pytest.fixture
def frames():
    return rw.cut_windows(noisy_sky(), size=64)


@pytest.fixture
def saved(tmp_path):
    path = noisy_sky().write(tmp_path / "field.fits")
    return rw.SkyMap.open(path)


def test_a_run_comes_back_as_it_was(tmp_path, saved):
    frames = rw.cut_windows(saved, size=64)
    z = np.random.default_rng(0).normal(size=(len(frames), 7)).astype(np.float32)
    ranked = rw.rank(frames, z)
    rw.Run.create(tmp_path / "run", frames, z, ranked)
    run = rw.Run.open(tmp_path / "run")
    assert list(run.frames.frame_ids) == list(frames.frame_ids)
    np.testing.assert_array_equal(run.embedding, z)
    np.testing.assert_array_equal(run.scores["rank"], ranked["rank"])
    np.testing.assert_allclose(run.features, rw.frame_features(frames))
    np.testing.assert_array_equal(run.frames[3].pixels, frames[3].pixels)
    np.testing.assert_array_equal(run.frames.noise.rms, frames.noise.rms)


def test_everything_opens_with_public_tools(tmp_path, frames):
    rw.Run.create(tmp_path / "run", frames)
    about = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert about["frames"]["count"] == len(frames) and about["maps"]["field"]["fingerprint"]
    assert about["versions"]["radiowidgets"] == rw.__version__
    for name in ("frames", "features", "scores"):
        assert pd.read_parquet(tmp_path / "run" / f"{name}.parquet")["frame_id"].is_unique


def test_a_map_in_memory_is_kept_in_the_run_and_creating_again_opens_it(tmp_path, frames):
    run = rw.Run.create(tmp_path / "run", frames)
    run.labels.record([frames.frame_ids[0]], interest=4)
    before = {p: p.read_bytes() for p in (tmp_path / "run").glob("*.parquet")}
    again = rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(), size=64))
    assert again.ratings.to_dict() == {frames.frame_ids[0]: 4.0}
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").glob("*.parquet")}
    opened = rw.Run.open(tmp_path / "run")
    np.testing.assert_allclose(opened.frames[0].pixels, frames[0].pixels)


def test_images_without_a_map_are_kept_in_the_run(tmp_path):
    rng = np.random.default_rng(3)
    images = [rng.normal(size=(40 + k % 3, 30, 3)).astype(np.float32) for k in range(70)]
    frames = rw.FrameSet.from_images(images)
    rw.Run.create(tmp_path / "run", frames)
    run = rw.Run.open(tmp_path / "run")
    assert list(run.frames.frame_ids) == list(frames.frame_ids)
    for k in (0, 1, 69):
        np.testing.assert_array_equal(run.frames[k].pixels, images[k])
    assert len(pd.read_csv(run.export(tmp_path / "out.csv"))) == 70
    images[5][0, 0] += 1
    with pytest.raises(RunError, match="other frames"):
        rw.Run.create(tmp_path / "run", rw.FrameSet.from_images(images))


def test_other_frames_scores_or_maps_are_refused_under_the_same_name(tmp_path, frames):
    rw.Run.create(tmp_path / "run", frames)
    with pytest.raises(RunError, match="other frames"):
        rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(), size=32))
    with pytest.raises(RunError, match="another map 'field'"):
        rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(seed=9), size=64))
    other = rw.rank(frames, seed=5)
    with pytest.raises(RunError, match="other scores"):
        rw.Run.create(tmp_path / "run", frames, scores=other)
    with pytest.raises(RunError, match="indexed by frame_id"):
        rw.Run.create(tmp_path / "new", frames, scores=other.iloc[:-1])


def test_a_moved_map_is_asked_for_and_a_changed_one_refused(tmp_path, saved):
    frames = rw.cut_windows(saved, size=64)
    rw.Run.create(tmp_path / "run", frames)
    moved = tmp_path / "elsewhere" / "x.fits"
    moved.parent.mkdir()
    saved.path.rename(moved)
    with pytest.raises(RunError, match=r"'field' is not at .* maps="):
        rw.Run.open(tmp_path / "run")
    assert len(rw.Run.open(tmp_path / "run", maps={"field": moved})) == len(frames)
    noisy_sky(seed=3).write(saved.path)
    with pytest.raises(RunError, match="content changed"):
        rw.Run.open(tmp_path / "run")


def test_a_folder_that_moves_with_its_map_still_opens(tmp_path):
    (tmp_path / "a").mkdir()
    path = noisy_sky().write(tmp_path / "a" / "field.fits")
    rw.Run.create(tmp_path / "a" / "run", rw.cut_windows(rw.SkyMap.open(path), size=64))
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(rw.Run.open(tmp_path / "b" / "run")) == 63


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run folder"),
        ("{", "not readable"),
        ("[]", "lacks"),
        ("format: 99\nframes: {}\nmaps: {}\nparameters: {}", "format 99"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(RunError, match=message):
        rw.Run.open(tmp_path)


def test_a_folder_with_other_things_is_not_taken(tmp_path, frames):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        rw.Run.create(tmp_path, frames)
    with pytest.raises(RunError, match="is a file"):
        rw.Run.create(tmp_path / "thesis.tex", frames)


def test_a_second_builder_is_told_and_a_dead_one_is_cleared(tmp_path, frames):
    rw.Run.create(tmp_path / "run", frames)
    lock = tmp_path / "run" / "build.lock"
    assert not lock.exists()
    lock.write_text(f"{socket.gethostname()} {os.getpid()} 2026-01-01T00:00:00+00:00\n")
    with pytest.raises(RunError, match=f"process {os.getpid()} on"):
        rw.Run.create(tmp_path / "run", frames)
    lock.write_text(f"{socket.gethostname()} 999999999 2026-01-01T00:00:00+00:00\n")
    rw.Run.create(tmp_path / "run", frames)
    assert not lock.exists()
    lock.write_text("othernode 17 2026-01-01T00:00:00+00:00\n")
    with pytest.raises(RunError, match="othernode"):
        rw.Run.create(tmp_path / "run", frames)
    rw.Run.open(tmp_path / "run").labels.record(
        [frames.frame_ids[0]], interest=2
    )  # reviewers are not disturbed


def test_build_equals_create(tmp_path, monkeypatch):
    monkeypatch.setattr("radiowidgets.run.chunks.CHUNK", 20)
    pixels = noisy_sky().pixels.copy()
    pixels[:, 250:] = np.nan  # frames that tell nothing, in some chunks only
    saved = rw.SkyMap.open(rw.SkyMap.from_array(pixels, name="field").write(tmp_path / "field.fits"))
    frames = rw.cut_windows(saved, size=64)
    built = rw.Run.build(tmp_path / "built", frames, progress=False)
    created = rw.Run.create(tmp_path / "created", rw.cut_windows(saved, size=64))
    np.testing.assert_array_equal(built.scores["score"], created.scores["score"])
    np.testing.assert_array_equal(built.features, created.features)
    np.testing.assert_array_equal(built.frames.table["rms"], created.frames.table["rms"])


def test_a_build_killed_in_the_middle_goes_on_to_the_same_bytes(tmp_path, saved, monkeypatch):
    script = """
        import os, signal, sys
        import radiowidgets as rw, radiowidgets.run.chunks as module
        module.CHUNK = 10
        kill_after = int(sys.argv[3])
        original = module.frame_features
        def features(frames, **keywords):
            global kill_after
            kill_after -= 1
            if kill_after == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(frames, **keywords)
        module.frame_features = features
        rw.Run.build(sys.argv[2], rw.cut_windows(rw.SkyMap.open(sys.argv[1]), size=64), progress=False)
        print(kill_after)
    """

    def build(name, kill_after):
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(script),
            str(saved.path),
            str(tmp_path / name),
            str(kill_after),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert build("whole", 10**6).returncode == 0
    assert build("killed", 4).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed" / "parts").glob("*.parquet"))) == 3
    with pytest.raises(RunError, match="never finished"):
        rw.Run.open(tmp_path / "killed")
    rest = build("killed", 10**6)
    assert rest.returncode == 0, rest.stderr
    assert int(rest.stdout) == 10**6 - 4  # the four chunks of seven that were missing
    for name in ("frames", "features", "scores"):
        assert (tmp_path / "whole" / f"{name}.parquet").read_bytes() == (
            tmp_path / "killed" / f"{name}.parquet"
        ).read_bytes()
    assert not (tmp_path / "killed" / "parts").exists()


def test_what_a_killed_build_leaves_is_no_obstacle(tmp_path, saved, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".run.yaml.17.part").write_text("half")
    frames = rw.cut_windows(saved, size=64)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("radiowidgets.run.rank", stop)
    with pytest.raises(KeyboardInterrupt):
        rw.Run.build(folder, frames, progress=False)
    (folder / "parts" / ".features-000000000.parquet.17.part").write_bytes(b"half")
    monkeypatch.undo()
    rw.Run.build(folder, frames, progress=False)
    assert not (folder / "parts").exists()
    monkeypatch.setattr("radiowidgets.run.chunks.frame_features", stop)  # nothing is measured again
    assert len(rw.Run.build(folder, rw.cut_windows(saved, size=64), progress=False)) == len(frames)


@pytest.mark.parametrize("name", ["frames", "features", "scores"])
def test_a_damaged_table_is_one_line(tmp_path, frames, name):
    rw.Run.create(tmp_path / "run", frames)
    place = tmp_path / "run" / f"{name}.parquet"
    place.write_bytes(place.read_bytes()[:200])
    with pytest.raises(RunError, match=f"{name}.parquet is damaged"):
        getattr(rw.Run.open(tmp_path / "run"), name)


def test_exports_follow_the_order_that_was_last_seen(tmp_path, frames):
    run = rw.Run.create(tmp_path / "run", frames, annotator="ada")
    ids = list(run.frames.frame_ids)
    table = run.rerank({ids[0]: 5, ids[1]: 0, ids[2]: 4, ids[3]: 0})
    run.write_session_scores("later", table)
    run.remember(session="later")
    csv = pd.read_csv(rw.Run.open(tmp_path / "run", annotator="ada").export(tmp_path / "a.csv"))
    assert list(csv["frame_id"]) == list(table.sort_values("rank").index)
    other = pd.read_csv(rw.Run.open(tmp_path / "run", annotator="bob").export(tmp_path / "b.csv"))
    assert list(other["frame_id"]) == list(run.scores.sort_values("rank").index)


def test_ratings_are_learnt_by_the_embedding_and_the_features(tmp_path, frames):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(len(frames), 40)).astype(np.float32)
    run = rw.Run.create(tmp_path / "run", frames, z)
    assert "embedding" not in run.scores.attrs["method"], "the first order is that of the features"
    for liked in (z[:, 0], run.features["log_peak_snr"].to_numpy()):
        rated = rng.choice(len(frames), len(frames) // 2, replace=False)
        high = liked > np.quantile(liked, 0.7)
        table = run.rerank({run.frames.frame_ids[k]: 5.0 * high[k] for k in rated})
        left = np.setdiff1d(np.arange(len(frames)), rated)
        score = table["score"].to_numpy()[left]
        assert np.median(score[high[left]]) > np.quantile(score[~high[left]], 0.7)


def test_exports_hold_what_was_said(tmp_path, frames):
    run = rw.Run.create(tmp_path / "run", frames, annotator="ada")
    ids = list(run.table().nsmallest(3, "rank")["frame_id"])
    run.labels.record([ids[0]], interest=5, add=["PECULIAR", "DIFFUSE"])
    run.labels.record([ids[1]], interest=1)
    other = rw.Run.open(tmp_path / "run", annotator="bob")
    other.labels.record([ids[0]], interest=4)

    csv = pd.read_csv(other.export(tmp_path / "out.csv"))
    columns = "frame_id map x y width height ra dec score rank tags interest name peak_x peak_y peak_ra peak_dec note"
    assert list(csv.columns) == columns.split() and len(csv) == len(frames)
    assert csv["rank"].is_monotonic_increasing
    row = csv.set_index("frame_id").loc[ids[0]]
    assert row["tags"] == "DIFFUSE;PECULIAR" and row["interest"] == 4.5
    centre = frames[frames.index_of(ids[0])]
    assert row["ra"] == pytest.approx(centre.ra) and row["dec"] == pytest.approx(centre.dec)

    from astropy.table import Table
    from regions import Regions

    votable = Table.read(other.export(tmp_path / "out.vot", top=5), format="votable")
    assert len(votable) == 5 and str(votable["ra"].unit) == "deg"
    regions = Regions.read(str(other.export(tmp_path / "best.reg", min_interest=4)), format="ds9")
    assert len(regions) == 1
    corner = regions[0].vertices[0]
    expected = centre.wcs.pixel_to_world(-0.5, -0.5)
    assert corner.separation(expected).arcsec < 0.01
    assert ids[0] in (tmp_path / "best.reg").read_text()
    assert len(pd.read_parquet(other.export(tmp_path / "out.parquet"))) == len(frames)
    with pytest.raises(rw.RadioWidgetsError, match="format"):
        other.export(tmp_path / "out.docx")


def test_regions_without_sky_coordinates_are_in_pixels_and_text_is_made_safe(tmp_path):
    from regions import Regions

    sky = rw.SkyMap.from_array(noisy_sky().pixels, name="bare")
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(sky, size=64))
    first = run.table().nsmallest(1, "rank")["frame_id"].iloc[0]
    run.labels.record([first], interest=5, add=["a} # text={b"])
    path = run.export(tmp_path / "out.reg", min_interest=5)
    (region,) = Regions.read(str(path), format="ds9")
    frame = run.frames[run.frames.index_of(first)]
    np.testing.assert_allclose(region.vertices.x[0], frame.x - 0.5, atol=1e-3)
    assert "{" not in region.meta["text"] and "text" in region.meta["text"]
    assert len(Regions.read(str(run.export(tmp_path / "none.reg", top=0)), format="ds9")) == 0


def test_no_cell_of_an_exported_table_is_a_formula(tmp_path):
    sky = noisy_sky()
    ids = ["=1+1", "+HYPERLINK(1)", "-2+3", "@SUM(A1)", "plain", "\uff1dA1"]
    frames = rw.FrameSet(sky, 0, np.arange(6) * 32, 0, 64, 64, ids=ids)
    with pytest.warns(UserWarning, match="6 frames hold sky"):
        run = rw.Run.create(tmp_path / "run", frames, annotator="=ada")
    run.labels.record(ids, interest=3, add=["=cmd|' /C calc'!A0"], note="@now()")
    for written in (run.export(tmp_path / "out.csv"), run.labels.export(tmp_path / "labels.csv")):
        rows = list(csv.reader(written.read_text("utf-8").splitlines()))
        assert len(rows) == 7
        for cell in (cell for row in rows for cell in row):
            if cell.startswith(("=", "+", "-", "@", "\t", "\uff1d")):
                float(cell)  # a number and nothing else
    table = pd.read_parquet(run.export(tmp_path / "out.parquet"))
    assert sorted(table["frame_id"]) == sorted(ids)  # as they are, where nothing runs them


def test_why_explains_the_first_order_and_that_of_a_session_also_after_opening_again(tmp_path, frames):
    run = rw.Run.create(tmp_path / "run", frames, annotator="ada")
    ratings = {name: float(k % 6) for k, name in enumerate(frames.frame_ids[:12])}
    moved = run.rerank(ratings)
    run.write_session_scores("today", moved)
    again = rw.Run.open(tmp_path / "run", annotator="ada")
    again.remember(session="today")
    for opened, scores in ((run, moved), (again, None)):
        for index in (0, 30, 62):
            told = opened.why(index, scores)
            assert told.score == pytest.approx(moved["score"].iloc[index], abs=1e-6)
            assert told.fidelity is None and "12 ratings count" in told.words[-1]
            first = opened.why(index, opened.scores)
            assert first.score == pytest.approx(run.scores["score"].iloc[index], abs=1e-6)
            assert first.baseline + first.contributions["contribution"].sum() == pytest.approx(first.score)
    with pytest.raises(IndexError, match="63"):
        run.why(63)


def test_neighbours_are_those_of_a_plain_search(tmp_path, frames):
    z = np.random.default_rng(0).normal(size=(len(frames), 7)).astype(np.float32)
    z[20] = z[4] + 1e-4
    run = rw.Run.create(tmp_path / "run", frames, z)
    width = 1.4826 * np.median(np.abs(z - np.median(z, axis=0)), axis=0)
    apart = np.sqrt(np.mean(((z - z[4]) / width) ** 2, axis=1))
    near, distances = run.neighbours(4, 5)
    assert near[0] == 20 and 4 not in near
    np.testing.assert_array_equal(near, np.argsort(apart)[1:6])
    np.testing.assert_allclose(distances, apart[near], rtol=1e-3)
    order = run.more_like(4)
    assert order[0] == 4 and order[1] == 20 and order.dtype == np.uint32
    assert sorted(order) == list(range(len(frames)))
    assert len(run.neighbours(4, 1000)[0]) == len(frames) - 1


def test_stacks_follow_the_order_and_the_focus_is_kept(tmp_path, frames):
    run = rw.Run.create(tmp_path / "run", frames)
    leaders = run.stacks()
    plain = run.features["log_peak_snr"].to_numpy() < np.log10(5)
    assert plain.any() and (leaders[plain] == np.flatnonzero(plain)).all()
    assert len(np.unique(leaders)) < len(frames)
    ranks = run.scores["rank"].to_numpy()
    assert (ranks[leaders] <= ranks).all() and leaders[ranks.argmin()] == ranks.argmin()
    assert run.stacks(-ranks)[ranks.argmax()] == ranks.argmax()
    kept = tmp_path / "run" / "focus.parquet"
    before = kept.read_bytes()
    again = rw.Run.open(tmp_path / "run")
    np.testing.assert_array_equal(again.focus, run.focus)
    assert kept.read_bytes() == before
    kept.write_bytes(b"torn")
    np.testing.assert_array_equal(rw.Run.open(tmp_path / "run").focus, run.focus)


def test_objects_of_attached_catalogues_are_named_in_the_frames_that_hold_them(tmp_path, saved):
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(saved, size=64))
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-30, 350, 400), rng.uniform(-30, 280, 400)
    ra, dec = saved.pixel_to_sky(x, y)
    names = np.array([f"<b>{k}" if k % 2 else None for k in range(400)], dtype=object)
    run.attach("Mine / 1", pd.DataFrame({"name": names, "ra": ra, "dec": dec, "odd": [1, "a"] * 200}))
    run.attach("elsewhere", pd.DataFrame({"ra": [np.nan, 20.0], "dec": [np.nan, 45.0]}))
    for opened in (run, rw.Run.open(tmp_path / "run")):
        assert set(opened.catalogues) == {"Mine / 1", "elsewhere"}
        for index in (0, 31, 62):
            frame = opened.frames[index]
            inside = (abs(x - frame.x - 31.5) < 32) & (abs(y - frame.y - 31.5) < 32)
            found = opened.objects_in(index)
            assert {name for _, name, *_ in found} == {
                names[k] or f"row {k + 1}" for k in np.flatnonzero(inside)
            }
            apart = [entry[-1] for entry in found]
            assert apart == sorted(apart) and max(apart) < 64 * 2
            away = 2 * np.hypot(x - frame.x - 31.5, y - frame.y - 31.5)[inside]
            np.testing.assert_allclose(apart, np.sort(away), atol=0.02)
    with pytest.raises(ParameterError, match="no column 'ra'"):
        run.attach("bad", pd.DataFrame({"dec": [1.0]}))
    run.attach("elsewhere", pd.DataFrame({"ra": [run.frames[0].ra], "dec": [run.frames[0].dec]}))
    assert run.objects_in(0)[0][:2] == ("elsewhere", "row 1")
    images = rw.Run.create(tmp_path / "images", rw.FrameSet.from_images(rng.normal(size=(12, 9, 9))))
    images.attach("elsewhere", pd.DataFrame({"ra": [1.0], "dec": [1.0]}))
    assert images.objects_in(3) == []


@pytest.fixture
def reviewed(tmp_path, frames):
    """A run in which ada looked at five frames, and bob at one of them."""
    run = rw.Run.create(tmp_path / "run", frames, annotator="ada")
    ids = list(run.table().nsmallest(6, "rank")["frame_id"])
    run.labels.record([ids[0]], interest=5, add=["PECULIAR"], note="a faint jet | <b>N</b>\nand S")
    run.labels.record([ids[1]], interest=0, add=["ARTEFACT"])
    run.labels.record([ids[2]], add=["COMPACT"])
    for rank_, interest in ((4, 2), (5, 1)):
        shown = {"rank": rank_, "look": "rank"}
        run.labels.record([{"frame_id": ids[rank_ - 1], "shown": shown}], interest=interest)
    rw.LabelLog(run.path / "labels", annotator="bob").record([ids[0], "of-another-run"], interest=3)
    run.labels.refresh()
    return run, ids


def test_frames_are_found_by_what_is_known_of_them(reviewed):
    run, ids = reviewed
    index = {frame_id: k for k, frame_id in enumerate(run.frames.frame_ids)}

    def found(query):
        mask = run.find(query)
        assert mask.dtype == bool and mask.shape == (len(run),)
        return {run.frames.frame_ids[k] for k in np.flatnonzero(mask)}

    assert found("rank <= 3") == set(ids[:3])
    assert found('tag == "artefact" or "jet" in note') == {ids[0], ids[1]}
    assert found("interest == 4 and my_interest == 5 and others_interest == 3") == {ids[0]}
    assert found('annotator == "bob"') == {ids[0]}
    assert found("annotator is not None and my_interest is None") == {ids[2]}
    assert found("raters == 0") == set(index) - {ids[0], ids[1], ids[3], ids[4]}
    assert found(f'frame_id == "{ids[4]}"') == {ids[4]}
    assert found('map == "field"') == set(index)
    assert run.names[index[ids[0]]] and ids[0] in found(f'name == "{run.names[index[ids[0]]]}"')
    peak = run.features["log_peak_snr"].to_numpy(float)
    np.testing.assert_array_equal(run.find("peak_snr > 20"), 10**peak > 20)
    np.testing.assert_array_equal(run.column("log_peak_snr"), peak)
    assert run.column("my_interest")[index[ids[1]]] == 0 and run.column("rank")[index[ids[1]]] == 2
    with pytest.raises(ParameterError, match="no such column"):
        run.find("ranc < 3")
    with pytest.raises(ParameterError, match="of numbers"):
        run.column("note")
    for name in run.columns:
        assert run.find(f'col("{name}") is None').shape == (len(run),)
    run.labels.undo()
    assert ids[4] not in found("my_interest is not None")


def test_a_selection_takes_what_it_is_given(reviewed):
    run, ids = reviewed
    rows = [run.frames.index_of(frame_id) for frame_id in ids[:4]]
    assert list(run.selection(frames=ids[3::-1])["frame_id"]) == ids[:4]
    assert list(run.selection(frames=rows[::-1], top=2)["frame_id"]) == ids[:2]
    assert list(run.selection(frames=run.find("rank < 5"), query="interest > 1")["frame_id"]) == [
        ids[0],
        ids[3],
    ]
    assert list(run.selection(min_interest=4, query="rank < 9")["frame_id"]) == [ids[0]]
    assert run.selection(frames=[]).empty
    with pytest.raises(rw.RadioWidgetsError, match="there is no frame"):
        run.selection(frames=["nowhere"])


def test_progress_is_the_same_in_a_resumed_session(reviewed, tmp_path):
    run, _ = reviewed
    progress = run.progress(goal=10)
    assert (progress.frames, progress.looks, progress.rated, progress.interesting) == (63, 5, 4, 1)
    assert progress.expected is not None and progress.ahead == 58
    again = rw.Run.open(run.path, annotator="ada")
    assert again.progress(goal=10) == progress
    np.testing.assert_array_equal(again.queue(seed=3), run.queue(seed=3))
    assert run.progress(annotator="bob").looks == 1
    run.labels.undo()
    assert run.progress().rated == 3


def test_a_queue_strews_random_frames_and_repeats_into_the_order(tmp_path, frames):
    run = rw.Run.create(tmp_path / "run", frames, annotator="ada")
    order = np.argsort(run.order["rank"].to_numpy())
    for frame in order[:30]:
        run.labels.record([run.frames.frame_id(frame)], interest=1)
    queue = run.queue(random=0.2, repeats=0.2, seed=1, count=33)
    assert set(np.unique(queue["look"])) == {0, 1, 2} and len(queue) == 33
    assert len(set(queue["frame"].tolist())) == 33
    new = queue["frame"][queue["look"] < 2]
    assert not set(new.tolist()) & set(order[:30].tolist())
    assert set(queue["frame"][queue["look"] == 2].tolist()) <= set(
        order[:10].tolist()
    )  # the rest is still in mind
    rest = run.queue(random=0, repeats=0, count=99)["frame"]
    assert sorted(rest) == sorted(order[30:])
    places = np.argsort(order)[rest]
    assert np.count_nonzero(np.diff(places) < 0) <= 1  # what was seen in another frame comes last
    for wrong in ({"random": 1.2}, {"random": 0.7, "repeats": 0.7}, {"seed": -1}, {"count": 1.5}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            run.queue(**wrong)


def test_a_summary_tells_what_was_done_and_markup_stays_text(reviewed, tmp_path):
    run, ids = reviewed
    run.labels.record([ids[5]], add=["<img src=x onerror=alert(1)>", "a|b`c`"])
    text = run.export(tmp_path / "run.md").read_text("utf-8")
    assert text == run.summary()
    assert run.about["maps"]["field"]["fingerprint"] in text.replace("\\", "")
    for part in (
        "Isolation Forest",
        "| ada | 6 | 4 | 4 | 1 |",
        "| bob | 2 | 2 | 0 | 0 |",
        "1 of 4",
        "## How to cite",
    ):
        assert part in text
    assert "<" not in text and "&lt;img" in text and "a\\|b" in text

"""Astronomaly: what we write is what it reads, what it writes is what we read, and nothing bad gets in unseen.

What is marked ``astronomaly`` runs beside the original where it is installed.
"""

import contextlib
import json
import logging
import shutil
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets import cli
from radiowidgets.errors import DataError, MissingExtraError, ParameterError
from radiowidgets.exchange import astronomaly
from radiowidgets.exchange.astronomaly import labels_for, read_astronomaly, run_astronomaly, write_astronomaly
from radiowidgets.ranking.isolation import fit_forest
from radiowidgets.ranking.rankers import make_ranker, neighbour_score
from radiowidgets.run.outputs import yield_curves

original = [
    pytest.mark.astronomaly,
    pytest.mark.skipif(find_spec("astronomaly") is None, reason="Astronomaly is not installed"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = rw.Run.create(
        tmp_path_factory.mktemp("runs") / "run", rw.cut_windows(noisy_sky(), size=64), annotator="ada"
    )
    ids = list(run.selection(top=9)["frame_id"])
    for interest, frame_id in zip((5, 4, 0, 1), ids, strict=False):
        run.labels.record([frame_id], interest=interest)
    return rw.Run.open(run.path)  # with the map in a file


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "astronomaly"
    with (
        pytest.warns(UserWarning, match="hyphen") if "-" in str(path.resolve()) else contextlib.nullcontext()
    ):
        return run.export(path, "astronomaly")


def copied(folder, tmp_path, **files):
    """Return a copy of the folder with some files written anew."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name, text in files.items():
        (copy / name.replace("_csv", ".csv")).write_text(text, "utf-8")
    return copy


# ------------------------------------------------------------ writing


def test_what_is_written_is_as_astronomaly_reads_it(run, folder):
    scores = pd.read_csv(folder / "ml_scores.csv", index_col=0, dtype={"human_label": "int"})
    assert list(scores.columns) == ["score", "human_label"] and len(scores) == len(run)
    assert scores["score"].min() == 0 and scores["score"].max() == 5
    assert scores["score"].idxmax() == run.scores["score"].idxmax()  # larger = weirder, as ours
    assert sorted(scores["human_label"].unique()) == [-1, 0, 1, 4, 5]
    features = pd.read_parquet(folder / "RadioWidgetsFeatures_output.parquet")
    assert features.index.tolist() == scores.index.tolist() and list(features.columns) == list(run.features)
    np.testing.assert_array_equal(features, run.features.loc[scores.index])
    catalogue = pd.read_csv(folder / "catalogue.csv")
    assert list(catalogue.columns) == [
        "objid",
        "x",
        "y",
        "original_image",
        "ra",
        "dec",
        "peak_flux",
        "obj_size",
    ]
    pixels = fits.getdata(run.frames.maps["field"].path)
    for row in catalogue.head(5).itertuples():
        # As its image reader cuts: rows by y, columns by x, half a window each way.
        cutout = pixels[row.y - 32 : row.y + 32, row.x - 32 : row.x + 32]
        frame = run.frames[run.frames.index_of(row.objid)]
        np.testing.assert_array_equal(cutout, frame.pixels)
        assert row.peak_flux == pytest.approx(cutout.max()) and row.ra == pytest.approx(frame.ra)
    about = json.loads((folder / "radiowidgets.json").read_text())
    assert about["images"] == [str(run.frames.maps["field"].path.resolve())] and about["window_size"] == [
        64,
        64,
    ]
    compile((folder / "radiowidgets_pipeline.py").read_text(), "pipeline", "exec")


@pytest.mark.filterwarnings("ignore:.*Isolation Forest says nothing", "ignore:.*has a hyphen")
def test_images_without_a_map_are_written_as_files_by_their_ids(tmp_path):
    images = np.random.default_rng(1).normal(size=(6, 20, 30)).astype(np.float32)
    run = rw.Run.create(tmp_path / "bare", rw.FrameSet.from_images(images, ids=list("abcdef")))
    path = tmp_path.resolve() / "out"
    run.export(path, "astronomaly", top=4)
    files = sorted(entry.stem for entry in (path / "cutouts").iterdir())
    assert files == sorted(run.selection(top=4)["frame_id"]) and len(pd.read_csv(path / "ml_scores.csv")) == 4
    np.testing.assert_array_equal(
        fits.getdata(path / "cutouts" / f"{files[0]}.fits"), images["abcdef".index(files[0])]
    )
    with pytest.raises(ParameterError, match="exists"):
        run.export(path, "astronomaly")
    with pytest.raises(ParameterError, match="no empty run"):
        run.export(tmp_path / "none", "astronomaly", top=0)
    with pytest.raises(ParameterError, match="belong to no map"):
        write_astronomaly(tmp_path / "maps", run.selection(), run.frames, run.features, cutouts=False)
    odd = rw.FrameSet.from_images(images[:1], ids=["../a"])
    table = pd.DataFrame({"frame_id": ["../a"], "score": [0.5], "interest": pd.array([None], "Float64")})
    with pytest.raises(ParameterError, match="name of a file"):
        write_astronomaly(tmp_path / "odd", table, odd, pd.DataFrame({"f": [1.0]}, index=["../a"]))
    assert not (tmp_path / "odd").exists()


@pytest.mark.filterwarnings("ignore:.*hyphen")
def test_a_path_with_a_hyphen_is_told_of(run, tmp_path):
    with pytest.warns(UserWarning, match="has a hyphen"):
        run.export(tmp_path / "a-b", "astronomaly", top=2)


# ------------------------------------------------------------ reading


def test_a_run_comes_back_as_it_was(run, folder):
    output = read_astronomaly(folder)
    assert not len(output.problems)
    ranking = output.ranking()
    ranks = run.scores["rank"].loc[ranking.index]
    assert ranking["rank"].corr(ranks, method="spearman") > 0.9999 and ranking["score"].max() == 1
    labels, problems = labels_for(output, run.frames)
    assert {run.frames.frame_id(k): value for k, value in labels.items()} == run.ratings.to_dict()
    assert not len(problems)
    frames, left = output.frames(run.frames.maps.values())
    assert not len(left) and list(frames.frame_ids) == list(output.scores.index)
    order = [run.frames.index_of(frame_id) for frame_id in frames.frame_ids]
    np.testing.assert_array_equal(frames.x, run.frames.x[order])
    np.testing.assert_array_equal(frames.pixels([3])[0], run.frames.pixels([order[3]])[0])
    np.testing.assert_array_equal(
        output.stages["RadioWidgetsFeatures"], run.features.loc[output.scores.index]
    )


def test_labels_become_events_of_another_annotator_once(run, folder, tmp_path, capsys):
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(), size=64), annotator="bob")
    read = run.read_labels(folder)
    assert (read.recorded, read.known, len(read.problems)) == (4, 0, 0)
    table = run.labels.table("astronomaly")
    assert sorted(table["interest"]) == [0, 1, 4, 5] and run.labels.annotators == ["astronomaly"]
    (event, *_) = run.labels.events()
    assert event.frames[0].map == "field" and len(event.frames[0].box) == 4 and event.frames[0].ra is not None
    assert run.read_labels(folder)[:2] == (0, 4) and len(run.labels.events()) == 4
    assert not len(yield_curves(run, 4)["astronomaly"])  # in which order they were given is not known
    text = (folder / "ml_scores.csv").read_text()
    first = text.splitlines()[1].split(",")
    changed = copied(folder, tmp_path, ml_scores_csv=text + f"nobody,1,3\n{first[0]},1,3\n")
    assert cli.main(["import", str(run.path), str(changed), "--annotator", "eve"]) == 0
    printed = capsys.readouterr()
    assert "4 ratings recorded, 0 known already, 3 problems" in printed.out
    assert "nobody: the id is that of no frame" in printed.err and "stands twice" in printed.err
    assert cli.main(["import", str(run.path), str(tmp_path)]) == 1
    assert "ml_scores.csv" in capsys.readouterr().err


def test_every_bad_row_is_counted_and_listed(run, folder, tmp_path):
    ids = run.frames.frame_ids
    lines = [
        "objid,score,human_label,trained_score",
        f"{ids[0]},1.0,3,2",
        f"{ids[1]},1.0,7,2",  # a label out of range
        f"{ids[2]},nan,2.0,2",  # no score, but a label
        f"{ids[3]},1.0,2.5,2",
        f"{ids[4]},1.0",  # torn
        ",1.0,2,2",
        f"{ids[0]},1.0,4,2",  # twice
        "elsewhere,1.0,4,2",
        f"{ids[5]},1_0,,x",
        f"{ids[6]},5e-1,-1,2",
    ]
    output = read_astronomaly(copied(folder, tmp_path, ml_scores_csv="\n".join(lines)))
    mine = output.problems[output.problems["file"] == "ml_scores.csv"]
    assert sorted(mine["row"]) == [2, 3, 4, 5, 6, 7, 9, 9, 9]
    assert output.scores["human_label"].tolist() == [3, pd.NA, 2, pd.NA, 4, pd.NA, pd.NA]
    labels, problems = labels_for(output, run.frames)
    assert labels == {0: 3, 2: 2}
    told = " ".join(problems["problem"])
    assert "that of no frame" in told and f"{len(run) - 6} of {len(run)} frames have no row" in told
    assert "are not there" in told  # the features have more rows than the scores


def test_objects_that_lie_elsewhere_keep_their_labels(run, folder, tmp_path):
    catalogue = pd.read_csv(folder / "catalogue.csv")
    scores = pd.read_csv(folder / "ml_scores.csv", index_col=0)
    rated = list(scores.index[scores["human_label"] >= 0])
    swapped = catalogue.set_index("objid")
    swapped.loc[rated[0], ["x", "y"]] = swapped.loc[rated[0], ["y", "x"]].to_numpy()
    swapped.loc[rated[1], "x"] += 40
    copy = copied(folder, tmp_path, catalogue_csv=swapped.reset_index().to_csv(index=False))
    labels, problems = labels_for(read_astronomaly(copy), run.frames)
    square = swapped.loc[rated[0], "x"] == swapped.loc[rated[0], "y"]
    assert len(labels) == (3 if square else 2)
    assert "it lies elsewhere than the frame" in set(problems["problem"])
    assert square or "its axes are exchanged" in set(problems["problem"])


def test_the_direction_of_scores_is_told_not_guessed(tmp_path):
    def output(scores, **stages):
        table = pd.DataFrame(
            {"score": scores, "human_label": pd.array([None] * 4, "Int8")}, index=list("abcd")
        )
        return astronomaly.AstronomalyOutput(table, stages, None, pd.DataFrame())

    raw = [-0.2, -0.1, 0.0, 0.1]  # of an Isolation Forest: a is the weirdest
    with pytest.raises(ParameterError, match="lower_is_weirder"):
        output(raw).ranking()
    assert output(raw).ranking(lower_is_weirder=True)["rank"].tolist() == [1, 2, 3, 4]
    forest = pd.DataFrame({"score": raw}, index=list("abcd"))
    assert output(raw, IforestAlgorithm=forest).ranking()["rank"].tolist() == [1, 2, 3, 4]
    assert output([5, 4, 1, 0], IforestAlgorithm=forest).ranking()["rank"].tolist() == [1, 2, 3, 4]
    assert output([0, 1, 4, 5.0]).ranking()["rank"].tolist() == [4, 3, 2, 1]
    ranking = output([0, 1, 4, 5.0]).ranking()
    assert ranking["score"].between(0, 1, inclusive="right").all() and ranking.index.name == "frame_id"
    with pytest.raises(ParameterError, match="column"):
        output(raw).ranking("acquisition")


def test_files_that_are_no_output_are_refused_or_named(folder, tmp_path):
    for text in ("", "\n", "a,b,c\n1,2,3\n"):
        with pytest.raises(DataError):
            read_astronomaly(copied(folder, tmp_path / str(len(text)), ml_scores_csv=text))
    copy = copied(folder, tmp_path / "more", ml_scores_csv=(folder / "ml_scores.csv").read_text())
    (copy / "PCA_Decomposer_output.parquet").write_bytes(b"PAR1 and no more")
    assert "cannot be read" in read_astronomaly(copy).problems["problem"].iloc[0]
    (copy / "ml_scores.csv").unlink()
    with pytest.raises(DataError, match="has no ml_scores"):
        read_astronomaly(copy)
    forest = pd.DataFrame({"score": [0.1, -0.2]}, index=["a", "b"])
    forest.to_parquet(copy / "IforestAlgorithm_output.parquet")
    output = read_astronomaly(copy)
    assert output.ranking()["rank"].tolist() == [2, 1] and output.scores["human_label"].isna().all()


# pandas writes a carriage return without quotes, so that no reader finds it again.
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(IDS, st.tuples(st.floats(-1e9, 1e9), st.integers(-1, 5)), min_size=1, max_size=8))
def test_scores_and_labels_survive_the_way_through_a_file(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "ml_scores.csv"
    values = list(rows.values())
    table = pd.DataFrame(
        {"score": [score for score, _ in values], "human_label": [label for _, label in values]},
        index=list(rows),
    )
    table.to_csv(path, lineterminator="\n")  # as Astronomaly saves it
    output = read_astronomaly(path)
    assert not len(output.problems), output.problems
    assert output.scores.index.tolist() == list(rows)
    np.testing.assert_array_equal(output.scores["score"], table["score"])
    assert output.scores["human_label"].fillna(-1).tolist() == table["human_label"].tolist()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "ml_scores.csv"
    path.write_bytes(b"objid,score,human_label\na,1,2\n" + content)
    output = read_astronomaly(path)
    labels = output.scores["human_label"].dropna()
    assert labels.between(0, 5).all() and output.scores.index[0] == "a" and labels.iloc[0] == 2
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        read_astronomaly(path)


# ------------------------------------------------------------ the original


def test_it_says_how_to_install_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "astronomaly", None)
    before = logging.getLogger().handlers[:]
    with pytest.raises(MissingExtraError, match="pip install git"):
        run_astronomaly(pd.DataFrame({"f": [1.0, 2.0]}, index=["a", "b"]))
    assert logging.getLogger().handlers == before
    with pytest.raises(ParameterError, match="method"):
        run_astronomaly(pd.DataFrame(), method="magic")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(size=(280, 5)), rng.normal(4, 1, size=(20, 5))])
    features = pd.DataFrame(values, index=[f"obj{k}" for k in range(300)], columns=list("abcde"))
    some = rng.permutation(300)[:30]
    labels = pd.Series(np.where(some >= 280, 5, rng.integers(0, 3, 30)), index=features.index[some])
    return features, labels


class TestOriginal:
    """Beside the original."""

    pytestmark = original

    def test_its_scores_are_those_of_our_forest_and_repeat(self, data):
        features, _ = data
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        one, other = (run_astronomaly(features, seed=4) for _ in range(2))
        pd.testing.assert_frame_equal(one, other)
        np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002
        ours = make_ranker("isolation forest", seed=1).fit(features.to_numpy()).score(features.to_numpy())
        assert pd.Series(ours).corr(one["score"].reset_index(drop=True), method="spearman") > 0.85
        assert one["score"].min() == 0 and one["score"].max() == 5 and (one["human_label"] == -1).all()
        assert one["score"].to_numpy()[280:].mean() > one["score"].to_numpy()[:280].mean() + 1

    def test_local_outlier_factors_are_the_same(self, data):
        features, _ = data
        theirs = run_astronomaly(features, method="local outlier factor", scale=False)["score"].to_numpy()
        values = features.to_numpy()
        ours = make_ranker("local outlier factor").fit(values).score(values)
        np.testing.assert_allclose(5 * (ours - ours.min()) / np.ptp(ours), theirs, atol=1e-9)

    def test_neighbour_scores_are_the_same(self, data):
        features, labels = data
        from scipy.spatial import cKDTree

        theirs = run_astronomaly(features, labels, learn="neighbour score", scale=False, seed=2)
        rated = theirs["human_label"].to_numpy() != -1
        assert rated.sum() == 30
        distance = cKDTree(features.to_numpy()[rated]).query(features.to_numpy())[0]
        ours = neighbour_score(
            theirs["score"].to_numpy(), theirs["predicted_user_score"].to_numpy(), distance
        )
        np.testing.assert_allclose(ours, theirs["trained_score"], rtol=1e-12)

    def test_our_ranker_is_its_neighbour_score_on_the_same_first_scores(self, data):
        from astronomaly.anomaly_detection.human_loop_learning import NeighbourScore

        features, labels = data
        values = features.to_numpy()
        known = labels.reindex(features.index)
        ours = make_ranker("neighbour score", seed=7).fit(values, known.to_numpy(float)).score(values)
        first = -fit_forest(values, 200, None, 7).score_samples(values)
        first = 5 * (first - first.min()) / np.ptp(first)
        table = features.assign(human_label=known.fillna(-1).astype(int), score=first)
        with astronomaly._visiting(7) as options:
            theirs = NeighbourScore(**options).run(table)
        # Trees differ by the stream of random numbers; the same stream gives the same trees.
        np.testing.assert_allclose(ours, theirs["trained_score"], rtol=1e-9)

    def test_proteges_acquisition_is_the_same(self, data):
        from astronomaly.anomaly_detection.protege import GaussianProcess

        features, labels = data
        values = features.to_numpy()
        known = labels.reindex(features.index)
        ours = make_ranker("protege").fit(values, known.to_numpy(float)).score(values)
        theirs = run_astronomaly(features, labels, learn="protege", scale=False)
        np.testing.assert_allclose(ours, theirs["acquisition"], rtol=1e-6, atol=1e-9)
        with astronomaly._visiting(0) as options:
            assert GaussianProcess(features, **options).ei_tradeoff == make_ranker("protege").tradeoff

    def test_it_opens_our_run_and_we_read_its_labels(self, run, folder, tmp_path):
        from astronomaly.frontend.interface import Controller

        place = copied(folder, tmp_path)
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        root.handlers = []
        try:
            controller = Controller(str(place / "radiowidgets_pipeline.py"))
            controller.run_pipeline()
            controller.sort_ml_scores("score")
            best = controller.get_original_id_from_index(0)
            assert best == run.scores["score"].idxmax() and controller.get_max_id() == len(run)
            picture = controller.get_display_data(best)
            assert picture.getvalue().startswith(b"\x89PNG")
            sample = controller.dataset.get_sample(best)
            assert sample.shape == (64, 64) and sample.max() <= 1
            assert controller.get_coordinates(best)["ra"] == str(run.frames.ra[run.frames.index_of(best)])
            assert set(controller.get_features(best)) == set(run.features)
            worst = controller.get_original_id_from_index(len(run) - 1)
            controller.set_human_label(worst, 3.0)
            assert controller.run_active_learning()["status"] == "success"
            controller.set_human_label(best, 2.0)
        finally:
            for handler in root.handlers:
                handler.close()
            root.handlers = handlers
            root.setLevel(level)
        output = read_astronomaly(place)
        labels, problems = labels_for(output, run.frames)
        assert labels[run.frames.index_of(worst)] == 3 and labels[run.frames.index_of(best)] == 2
        assert len(labels) == 5 and not (problems["file"] == "ml_scores.csv").any()
        assert {"predicted_user_score", "trained_score"} <= set(output.scores)
        assert output.ranking("trained_score")["rank"].min() == 1

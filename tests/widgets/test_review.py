"""The Python half of Review: every message of the front end and its answer, without a browser."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import LabelError, ParameterError
from radiowidgets.labels.log import LabelLog
from radiowidgets.labels.schema import DEFAULT_SCHEMA, Schema, Tag
from radiowidgets.widgets.answers import FORMATS
from radiowidgets.widgets.bundle import module
from radiowidgets.widgets.keys import choose_keys


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made") / "run"
    rw.Run.create(place, rw.cut_windows(noisy_sky(), size=64), annotator="ada")
    return place


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return rw.Run.open(tmp_path / "run", annotator="ada")


class Front:
    """Stands in for the browser: sends messages and keeps the answers."""

    def __init__(self, run, follow=False):
        self.answers = []
        self.review = rw.Review(run, follow=follow)
        self.review.send = lambda content, buffers=(): self.answers.append((content, list(buffers)))
        self.review._slow.submit = lambda call: call()
        self.review.follower._executor.submit = lambda call, *given: call(*given)
        self.review.follower.rest = 0.0

    def __call__(self, kind, buffers=(), **content):
        self.review._receive(None, {"kind": kind, **content}, list(buffers))
        json.dumps(self.answers[-1][0], allow_nan=False)
        return self.answers[-1]

    def order(self, **content):
        """What `sort` answers."""
        answer, buffers = self("sort", request=1, **content)
        assert "error" not in answer, answer
        return np.frombuffer(buffers[0], np.uint32)


def test_index_holds_the_order_of_the_scores(run):
    content, buffers = Front(run)("index")
    order = np.frombuffer(buffers[0], np.uint32)
    scores = np.frombuffer(buffers[1], np.float32)
    assert content["count"] == len(run) == len(order)
    assert (np.diff(scores[order]) <= 0).all()
    assert (np.frombuffer(buffers[2], np.int8) == -1).all()
    assert not np.frombuffer(buffers[3], np.uint32).any()


def test_tiles_are_in_units_of_the_rms_with_the_north_up_and_blanks_kept(tmp_path):
    sky = noisy_sky()
    pixels = sky.pixels.copy()
    pixels[:20, :] = np.nan
    sky = rw.SkyMap.from_array(pixels, name="blank", unit=sky.unit)
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(sky, size=64), annotator="ada")
    content, buffers = Front(run)("tiles", request=7, frames=[0, 3], size=64)
    tiles = np.frombuffer(buffers[0], np.float16).reshape(2, 64, 64)
    assert content["request"] == 7 and content["frames"] == [0, 3]
    frame = run.frames[3]
    expected = ((frame.pixels - frame.background) / frame.rms)[::-1]
    np.testing.assert_allclose(tiles[1], np.asarray(expected).reshape(64, 64), rtol=2e-3, atol=2e-3)
    assert np.isnan(tiles[1][-20:]).all() and np.isfinite(tiles[1][:-20]).all()
    assert content["facts"][1]["id"] == frame.frame_id
    json.dumps(content, allow_nan=False)


def test_a_very_bright_pixel_stays_finite(tmp_path):
    pixels = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    pixels[10, 10] = 1e9
    run = rw.Run.create(
        tmp_path / "run", rw.cut_windows(rw.SkyMap.from_array(pixels), size=32, step=8), annotator="ada"
    )
    _, buffers = Front(run)("tiles", request=1, frames=[0], size=32)
    tile = np.frombuffer(buffers[0], np.float16)
    assert tile.max() == np.float16(65504)


def test_large_view_carries_pixels_position_and_beam(run):
    content, buffers = Front(run)("large", frame=5)
    frame = run.frames[5]
    pixels = np.frombuffer(buffers[0], np.float32).reshape(content["height"], content["width"])
    np.testing.assert_array_equal(pixels, frame.pixels)
    vectors = np.frombuffer(buffers[1], np.float64).reshape(17, 17, 3)
    corner = frame.wcs.pixel_to_world(63, 63)
    x, y, z = vectors[-1, -1]
    assert np.degrees(np.arcsin(z)) == pytest.approx(corner.dec.deg, abs=1e-9)
    assert np.degrees(np.arctan2(y, x)) % 360 == pytest.approx(corner.ra.deg, abs=1e-9)
    assert content["pixel_scale"] == pytest.approx(2.0, rel=1e-3)
    assert content["north"] == pytest.approx([0, 1], abs=1e-2)
    assert content["east"] == pytest.approx([-1, 0], abs=1e-2)
    assert content["bands"][0]["beam"]["major"] == pytest.approx(6.0, rel=1e-3)
    # Position angle 30 degrees from north through east: east is at -x, so 120 degrees from +x.
    assert np.degrees(content["bands"][0]["beam"]["angle"]) == pytest.approx(120, abs=0.5)
    json.dumps(content, allow_nan=False)


def test_an_action_is_saved_once_however_often_it_is_sent(run):
    front = Front(run)
    first, _ = front("act", id="a1", frames=[4], interest=4)
    again, _ = front("act", id="a1", frames=[4], interest=4)
    assert first["kind"] == again["kind"] == "saved"
    assert first["interest"] == [4] and first["rated"] == 1
    assert len(run.labels.events()) == 1
    event = run.labels.events()[0]
    assert event.frames[0].frame_id == run.frames.frame_ids[4]
    assert list(event.frames[0].box) == [int(run.frames.x[4]), int(run.frames.y[4]), 64, 64]


def test_bulk_tags_notes_and_undo(run):
    front = Front(run)
    name = front.review.tags[2]
    saved, _ = front("act", id="a", frames=[1, 2, 3], add=[name])
    assert saved["tags"] == [4, 4, 4]
    saved, _ = front("act", id="b", frames=[2], note="odd <b>thing</b>")
    assert saved["notes"] == ["odd <b>thing</b>"]
    saved, _ = front("undo", id="c")
    assert saved["frames"] == [2] and saved["notes"] == [""]
    saved, _ = front("undo", id="d")
    assert saved["frames"] == [1, 2, 3] and saved["tags"] == [0, 0, 0]
    saved, _ = front("undo", id="e")
    assert saved["frames"] == [] and saved["text"] == "nothing to undo"


def test_what_cannot_be_written_is_refused_and_the_old_state_told(run, monkeypatch):
    front = Front(run)
    front("act", id="a", frames=[0], interest=1)

    def full(*args, **kwargs):
        raise LabelError("Not saved: no space left on the device; free some and rate again.")

    monkeypatch.setattr(front.review.labels, "record", full)
    refused, _ = front("act", id="b", frames=[0], interest=5)
    assert refused["kind"] == "refused" and refused["interest"] == [1]
    assert "no space left" in refused["text"]
    monkeypatch.undo()
    saved, _ = front("act", id="b", frames=[0], interest=5)
    assert saved["kind"] == "saved" and saved["interest"] == [5]


def test_ratings_move_the_order_and_a_new_session_finds_it(run):
    front = Front(run)
    before = np.frombuffer(front("index")[1][0], np.uint32)
    for number, frame in enumerate(before[-8:].tolist()):
        front("act", id=f"up{number}", frames=[frame], interest=5)
    for number, frame in enumerate(before[:8].tolist()):
        front("act", id=f"down{number}", frames=[frame], interest=0)
    content, buffers = front("rerank")
    after = np.frombuffer(buffers[0], np.uint32)
    assert "16 ratings" in content["text"]
    place = {frame: i for i, frame in enumerate(after.tolist())}
    assert np.mean([place[f] for f in before[-8:]]) < np.mean([place[f] for f in before[:8]])
    base = run.scores["rank"].to_numpy()
    front.review.view = {"cursor": 9, "map": "viridis"}

    later = Front(rw.Run.open(run.path, annotator="ada"))
    content, buffers = later("index")
    np.testing.assert_array_equal(np.frombuffer(buffers[0], np.uint32), after)
    assert content["cursor"] == 9 and content["rated"] == 16
    assert later.review.view["map"] == "viridis"
    np.testing.assert_array_equal(later.review.run.scores["rank"], base)


def test_re_ranking_starts_from_the_scores_of_the_run(tmp_path):
    frames = rw.cut_windows(noisy_sky(), size=64)
    scores = rw.rank(frames, seed=5)
    scores["score"] = np.random.default_rng(0).permutation(len(scores)) / len(scores)
    scores["rank"] = scores["score"].rank(ascending=False, method="first").astype(int)
    run = rw.Run.create(tmp_path / "run", frames, scores=scores, annotator="ada")
    front = Front(run)
    before = np.frombuffer(front("index")[1][0], np.uint32)
    content, buffers = front("rerank")
    assert (np.frombuffer(buffers[0], np.uint32) == before).all()
    assert "no rated frame" in content["text"]


def test_frames_that_are_not_square_are_padded_not_stretched(tmp_path):
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(400, 48), size=64), annotator="ada")
    content, buffers = Front(run)("tiles", request=1, frames=[2], size=64)
    tile = np.frombuffer(buffers[0], np.float16).reshape(64, 64)
    assert np.isnan(tile[:8]).all() and np.isnan(tile[-8:]).all() and np.isfinite(tile[8:-8]).all()
    frame = run.frames[2]
    peak = (frame.pixels.max() - frame.background) / frame.rms
    assert content["facts"][0]["snr"] == pytest.approx(peak, rel=1e-5)


def test_a_damaged_memory_of_the_view_is_left_aside(run):
    memory = run.path / "labels" / "views" / "ada.json"
    memory.parent.mkdir(parents=True, exist_ok=True)
    (run.path / "scores").mkdir()
    for text in ("{", "[1]", '{"view": 3, "session": 5}', '{"view": {}, "session": "broken"}'):
        memory.write_text(text)
        (run.path / "scores" / "broken.parquet").write_bytes(b"PAR1 no more")
        content, _ = Front(rw.Run.open(run.path, annotator="ada"))("index")
        assert content["kind"] == "index"


def test_a_run_is_reviewed_by_its_path(run):
    assert rw.Review(run.path).run.name == run.name


def test_another_annotator_sees_only_their_own_labels(run):
    Front(run)("act", id="a", frames=[0], interest=5)
    other = Front(rw.Run.open(run.path, annotator="bob"))
    content, buffers = other("index")
    assert content["rated"] == 0 and (np.frombuffer(buffers[2], np.int8) == -1).all()
    assert other("undo", id="x")[0]["text"] == "nothing to undo"


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "tiles", "frames": [10**9], "size": 64},
        {"kind": "tiles", "frames": [], "size": 64},
        {"kind": "large", "frame": -1},
        {"kind": "nonsense"},
        {},
        None,
        {"kind": "tiles", "frames": ["x"], "size": 64},
    ],
)
def test_a_wrong_message_is_answered_with_a_line(run, message):
    front = Front(run)
    front.review._receive(None, message, [])
    content, _ = front.answers[-1]
    assert content["kind"] == "error" and content["text"]


def test_a_wrong_action_is_refused_and_leaves_no_event(run):
    front = Front(run)
    for number, frames in enumerate([[-1], [10**9], [], [0.5], "0"]):
        assert front("act", id=f"z{number}", frames=frames, interest=3)[0]["kind"] == "refused"
    assert front("act", id="y", frames=[0], interest=9)[0]["kind"] == "refused"
    assert run.labels.events() == []


def test_index_tells_what_there_is_to_choose_from(run):
    content, buffers = Front(run)("index")
    assert {entry["action"]: entry["key"] for entry in content["keys"]}["undo"] == "u"
    columns = Front(run)("columns")[0]["columns"]
    assert "rms" in columns and "note" not in columns
    assert content["maps"] == list(run.frames.map_names) and content["annotators"] == []
    assert buffers[4] == b""  # the ranks are the first ones
    np.testing.assert_array_equal(np.frombuffer(buffers[5], np.uint16), run.frames.map_codes)


def test_frames_are_ordered_by_a_column_those_without_a_value_last(run, monkeypatch):
    front = Front(run)
    rms = run.column("rms")
    np.testing.assert_array_equal(rms[front.order(by="column", column="rms", descending=False)], np.sort(rms))
    np.testing.assert_array_equal(
        rms[front.order(by="column", column="rms", descending=True)], np.sort(rms)[::-1]
    )
    values = np.zeros(len(run))
    values[[2, 5]] = np.nan, 3.0
    monkeypatch.setattr(type(run), "column", lambda *_: values)
    ranks = run.scores["rank"].to_numpy()
    for descending in (True, False):
        order = front.order(by="column", column="x", descending=descending)
        assert order[-1] == 2 and order[0 if descending else -2] == 5
        same = order[values[order] == 0]
        assert (np.diff(ranks[same]) > 0).all()


def test_frames_are_ordered_by_likeness_and_as_they_were_first(run):
    front = Front(run)
    assert front.order(by="like", frame=7)[0] == 7
    first = np.argsort(run.scores["rank"].to_numpy())
    for number, frame in enumerate(first[-6:].tolist()):
        front("act", id=f"{number}", frames=[frame], interest=5)
    for number, frame in enumerate(first[:6].tolist()):
        front("act", id=f"d{number}", frames=[frame], interest=0)
    _, buffers = front("rerank")
    np.testing.assert_array_equal(front.order(by="first"), first)
    np.testing.assert_array_equal(
        front.order(by="column", column="rank"), np.frombuffer(buffers[0], np.uint32)
    )
    assert front("index")[1][4] == run.scores["rank"].to_numpy(np.uint32).tobytes()


def test_what_cannot_be_ordered_or_found_is_said_where_it_was_asked(run):
    front = Front(run)
    for question in (
        {"kind": "sort", "by": "column", "column": "beauty"},
        {"kind": "sort", "by": "taste"},
        {"kind": "sort", "by": "like", "frame": 10**9},
        {"kind": "sort", "by": "queue"},
        {"kind": "find", "query": "rms >"},
        {"kind": "find", "query": "__import__('os')"},
        {"kind": "why", "frame": -1},
        {"kind": "why", "frame": True},
        {"kind": "progress", "threshold": 9},
        {"kind": "export", "format": "exe", "which": "all"},
        {"kind": "export", "format": "csv", "which": "selection"},
    ):
        answer, buffers = front(**question, request=3, view="v")
        assert answer["kind"] == question["kind"] and answer["request"] == 3 and answer["view"] == "v"
        assert answer["error"] and buffers == []


def test_a_query_and_an_annotator_leave_one_bit_a_frame(run):
    front = Front(run)
    front("act", id="a", frames=[1, 4], add=["ARTEFACT"])
    Front(rw.Run.open(run.path, annotator="bob"))("act", id="b", frames=[4, 9], interest=2)
    front("index")

    def found(**asked):
        answer, buffers = front("find", request=1, **asked)
        bits = np.unpackbits(np.frombuffer(buffers[0], np.uint8))[: len(run)]
        assert answer["count"] == bits.sum()
        return np.flatnonzero(bits).tolist()

    assert found(query='tag == "ARTEFACT"') == [1, 4]
    assert found(annotator="bob") == [4, 9]
    assert found(query='tag == "ARTEFACT"', annotator="bob") == [4]
    assert found(annotator='bo"b') == []


def test_a_session_mixes_random_frames_and_blind_repeats_and_each_rating_says_which(run):
    front = Front(run)
    order = np.frombuffer(front("index")[1][0], np.uint32).tolist()
    for number, frame in enumerate(order[:40]):
        front("act", id=f"{number}", frames=[frame], interest=number % 6, look="rank")
    _, (frames, looks) = front("sort", by="queue", random=0.3, repeats=0.2, count=20)
    frames, looks = np.frombuffer(frames, np.uint32), np.frombuffer(looks, np.uint8)
    assert len(frames) == len(looks) <= 20 and {1, 2} <= set(looks.tolist())
    repeat, chance = int(frames[looks == 2][0]), int(frames[looks == 1][0])
    assert repeat in order[:40] and chance not in order[:40]
    front("act", id="x", frames=[chance, repeat], interest=3, looks=["random", "repeat"])
    front("act", id="y", frames=[order[-1]], interest=0, look="nonsense")
    events = run.labels.events()
    shown = {frame.frame_id: frame.shown.get("look") for frame in events[-2].frames}
    assert shown == {str(run.frames.frame_ids[chance]): "random", str(run.frames.frame_ids[repeat]): "repeat"}
    assert "look" not in events[-1].frames[0].shown
    assert events[0].frames[0].shown["look"] == "rank"
    progress, _ = front("progress", threshold=3)
    assert progress["looks"] == 42 and progress["interesting"] > 0
    assert progress["missed"]["low"] <= progress["missed"]["count"] <= progress["missed"]["high"]
    assert progress["consistency"]["agreement"] in (0.0, 1.0)
    answer, _ = front("progress", threshold=0)
    assert "error" not in answer


def test_stacks_have_leaders(run):
    _, buffers = Front(run)("stacks")
    leaders = np.frombuffer(buffers[0], np.int32)
    assert len(leaders) == len(run) and (leaders[leaders] == leaders).all()


def test_why_tells_contributions_neighbours_and_known_objects(run):
    frame = run.frames[3]
    run.attach("mine <b>", pd.DataFrame({"name": ["<img src=x>"], "ra": [frame.ra], "dec": [frame.dec]}))
    neighbour = int(run.neighbours(3, count=1)[0][0])
    other = rw.Run.open(run.path, annotator="bob")
    other.labels.record([str(run.frames.frame_ids[neighbour])], interest=4, add=["DIFFUSE"])
    front = Front(run)
    front("index")
    answer, _ = front("why", frame=3, view="v")
    assert answer["frame"] == 3 and answer["view"] == "v" and answer["notes"] == []
    assert len(answer["bars"]) > 3 and all(np.isfinite(bar["contribution"]) for bar in answer["bars"])
    assert all(isinstance(line, str) for line in answer["words"])
    assert answer["neighbours"][0]["frame"] == neighbour
    assert answer["neighbours"][0]["others"] == [
        {"annotator": "bob", "words": "interest 4, DIFFUSE", "tags": ["DIFFUSE"]}
    ]
    assert answer["objects"] == [{"catalogue": "mine <b>", "name": "<img src=x>", "separation": "0″"}]


def test_what_fails_in_one_part_of_why_leaves_the_others(run, monkeypatch):
    def none(*_):
        raise ParameterError("The forest is gone.")

    monkeypatch.setattr(type(run), "why", none)
    answer, _ = Front(run)("why", frame=3)
    assert answer["notes"] == ["The forest is gone."] and answer["neighbours"] and "bars" not in answer


def test_the_number_of_rated_frames_is_kept_by_the_new_events_alone(run, monkeypatch):
    front = Front(run)
    assert front("index")[0]["rated"] == 0
    for number, value in enumerate([5, 3, None]):
        front("act", id=str(number), frames=[number // 2, 4], interest=value)
    assert front.answers[-1][0]["rated"] == 1  # frame 0, as the last took 1 and 4 back
    other = rw.Run.open(run.path, annotator="ada")  # the same person in another window
    other.labels.record([str(run.frames.frame_ids[7]), "of-another-run"], interest=2)
    assert front("index")[0]["rated"] == 2
    monkeypatch.setattr(run.labels, "state", None)  # the whole log is not gone through again
    assert front("act", id="more", frames=[9], interest=0)[0]["rated"] == 3
    assert front("undo", id="back")[0]["rated"] == 2


def test_history_pages_everybodys_events_and_any_own_one_is_undone_and_redone(run):
    front = Front(run)
    for number in range(45):
        front("act", id=f"{number}", frames=[number % 9], interest=number % 6)
    Front(rw.Run.open(run.path, annotator="bob"))("act", id="b", frames=[1, 2], add=["ARTEFACT"])
    page, _ = front("history", before=None)
    assert len(page["events"]) == 40 and page["more"]
    last = page["events"][0]
    assert (last["annotator"], last["mine"], last["count"]) == ("bob", False, 2)
    assert last["words"] == "+ARTEFACT" and last["frames"] == [1, 2]
    rest, _ = front("history", before=page["events"][-1]["place"])
    assert len(rest["events"]) == 6 and not rest["more"]
    places = [event["place"] for event in page["events"] + rest["events"]]
    assert places == list(range(45, -1, -1))

    old = rest["events"][-1]
    saved, _ = front("undo", id="u1", event=old["takes"])
    assert saved["kind"] == "saved" and saved["frames"] == [0]
    gone, _ = front("history", before=old["place"] + 1)
    assert not gone["events"][0]["stands"]
    saved, _ = front("undo", id="u2", event=gone["events"][0]["takes"])  # the undo is undone
    assert saved["kind"] == "saved"
    back, _ = front("history", before=old["place"] + 1)
    assert back["events"][0]["stands"] and back["events"][0]["takes"] == old["id"]
    top, _ = front("history")
    assert [event["words"] for event in top["events"][:2]] == ["redid interest 0", "undid interest 0"]

    refused, _ = front("undo", id="u3", event=last["id"])
    assert refused["kind"] == "refused" and "bob" in refused["text"]
    assert front("undo", id="u4", event="nothing")[0]["kind"] == "refused"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_selection_goes_out_in_every_format(run, kind):
    front = Front(run)
    front("act", id="a", frames=[2], interest=4)
    frames = np.array([2, 5, 7], np.uint32).tobytes()
    answer, _ = front("export", buffers=[memoryview(frames)], format=kind, which="selection")
    assert "error" not in answer, answer
    place = Path(answer["path"])
    assert place.parent == run.path / "exports" and place.exists()
    if kind == "csv":
        assert sorted(pd.read_csv(place)["frame_id"]) == sorted(run.frames.frame_ids[i] for i in (2, 5, 7))
        answer, _ = front("export", format=kind, which="rated", least=4)
        assert len(pd.read_csv(answer["path"])) == 1


def test_keys_are_chosen_and_conflicts_refused(run):
    keys = {entry["action"]: entry["key"] for entry in Front(run)("index")[0]["keys"]}
    assert keys["like"] == "s" and keys["large"] == "Enter"
    chosen = choose_keys({"undo": "z", "like": None, "why": "F2", "note": "u"}, run.schema)
    assert (chosen["undo"], chosen["like"], chosen["why"], chosen["note"]) == ("z", None, "F2", "u")
    for wrong, *words in (
        ({"undo": "a"}, "undo", "ARTEFACT"),
        ({"undo": "n"}, "undo", "note"),
        ({"undo": "z", "like": "z"}, "undo", "like"),
        ({"undo": "3"}, "undo", "rates"),
        ({"undo": "ArrowUp"}, "undo", "moves"),
        ({"undo": "b"}, "undo", "bands"),
        ({"undo": "zz"}, "undo", "zz"),
        ({"undo": 7}, "undo", "7"),
        ({"delete": "z"}, "delete", "undo"),
    ):
        with pytest.raises(ParameterError) as error:
            rw.Review(run, keys=wrong)
        assert all(word in str(error.value) for word in words), error.value


def test_a_tag_keeps_its_key_before_an_action_that_nobody_asked_for():
    schema = Schema([*DEFAULT_SCHEMA, Tag("SHELL", "s"), Tag("WISP", "w")])
    chosen = choose_keys({"why": "q"}, schema)
    assert chosen["like"] is None and chosen["why"] == "q"


def test_an_action_on_many_frames_is_one_event(run):
    front = Front(run)
    saved, _ = front("act", id="a", frames=list(range(len(run))), interest=0, look="rank")
    assert saved["rated"] == len(run) and len(run.labels.events()) == 1


def test_the_front_end_is_one_module_without_imports_or_markup():
    source = module("review")
    assert "import " not in source.replace("important ", "")
    assert source.count("export default") == 1
    assert "innerHTML" not in source and "insertAdjacentHTML" not in source


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_joined_modules_have_no_name_twice(tmp_path):
    place = tmp_path / "review.mjs"
    place.write_text(module("review"), "utf-8")
    subprocess.run(["node", "--check", place], check=True, capture_output=True)


def test_what_others_say_is_shown_as_it_arrives(run):
    front = Front(run)
    front("index")
    frame_ids = [str(name) for name in run.frames.frame_ids]
    with LabelLog(run.path / "labels", "bob") as bob, LabelLog(run.path / "labels", "ada") as again:
        bob.record([frame_ids[3], frame_ids[5]], interest=4)
        again.record([frame_ids[3]], interest=2, add=["EXTENDED"])
        front.review._take_news()
        own, news = (content for content, _ in front.answers[-2:])
        assert (own["kind"], own["frames"], own["interest"], own["rated"]) == ("saved", [3], [2], 1)
        told = {"kind": "news", "stuck": 0, "annotators": ["ada", "bob"]}
        assert news == told | {"by": {"bob": 2}, "frames": [3, 5]}
        store = run.labels._store
        store.unreachable, store.waiting = True, 2  # as a server's would
        front.review._take_news()
        assert front.answers[-1][0] == told | {"stuck": 2, "by": {}, "frames": []}
        store.waiting = 3
        assert front("act", id="a", frames=[1], interest=1)[0]["stuck"] == 3
        store.unreachable = False
        front.review._take_news()
        assert front.answers[-1][0] == told | {"by": {}, "frames": []}
        count = len(front.answers)
        front.review._take_news()
        assert len(front.answers) == count  # nothing new, nothing sent

"""The Python half of Review: every message of the front end and its answer, without a browser."""

import json

import numpy as np
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import LabelError
from radiowidgets.widgets.bundle import module


@pytest.fixture
def run(tmp_path):
    frames = rw.cut_windows(noisy_sky(), size=64)
    return rw.Run.create(tmp_path / "run", frames, annotator="ada")


class Front:
    """Stands in for the browser: sends messages and keeps the answers."""

    def __init__(self, run):
        self.answers = []
        self.review = rw.Review(run)
        self.review.send = lambda content, buffers=(): self.answers.append((content, list(buffers)))

    def __call__(self, kind, **content):
        self.review._receive(None, {"kind": kind, **content}, [])
        return self.answers[-1]


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
    scores["score"] = scores["score"].to_numpy()[::-1].copy()
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


def test_the_front_end_is_one_module_without_imports_or_markup():
    source = module("review")
    assert "import " not in source.replace("important ", "")
    assert source.count("export default") == 1
    assert "innerHTML" not in source and "insertAdjacentHTML" not in source

"""Two sets of frames are told apart where they differ, and only there."""

import pytest

import radiowidgets as rw
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.simulate import simulate
from radiowidgets.errors import FrameError, ParameterError
from radiowidgets.ranking.separation import tell_apart


def frames(seed, **overrides):
    settings = {"blank": 0.0, "facet": 0.0, "edge_rise": 1.0, "rare": 0, "stripes": 0.0, **overrides}
    return rw.cut_windows(simulate("emu", 384, seed=seed, **settings), size=48, step=24)


@pytest.fixture(scope="module")
def first():
    return frames(1)


def test_another_beam_is_seen_and_named(first):
    found = tell_apart(first, frames(2, beam=(30, 12, 40)), repeats=1)
    assert found.auc > 0.9
    assert found.tells["auc"].is_monotonic_decreasing
    assert {"orientation", "starlet_1", "starlet_2"} & set(found.tells.index[:4])
    assert "log_rms" not in found.tells.index


def some(frames, picks):
    boxes = (getattr(frames, name)[picks] for name in ("x", "y", "width", "height"))
    return FrameSet(frames.maps, frames.map_codes[picks], *boxes)


def test_halves_of_one_sky_are_not_told_apart(first):
    """Every frame overlaps frames of the other half, which must be of no use to the classifier."""
    picks = (first.x + first.y) // 24 % 2 == 0
    found = tell_apart(some(first, picks), some(first, ~picks), repeats=1)
    assert found.auc < 0.65
    assert found.scatter > 0


def test_too_few_frames_are_refused(first):
    with pytest.raises(FrameError, match="cut smaller"):
        tell_apart(first, some(first, slice(12)))
    with pytest.raises(ParameterError, match="blocks is 1"):
        tell_apart(first, first, blocks=1)

import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.models.mockframes import KINDS, Turned, mock_frames, mock_objects


def test_frames_are_seeded_and_know_what_they_show():
    first = mock_frames(40, seed=1, maps_each=1, surveys=("first",))
    again = mock_frames(40, seed=1, maps_each=1, surveys=("first",))
    other = mock_frames(40, seed=2, maps_each=1, surveys=("first",))
    assert np.array_equal(first.looks, again.looks)
    assert not np.array_equal(first.looks, other.looks)
    assert first.looks.shape == (40, 2, 2, 64, 64, 3)
    assert first.kind.min() >= 0 and first.kind.max() < len(KINDS)
    field = first.kind == KINDS.index("field")
    assert (first.snr[field] == 0).all() and (first.snr[~field] >= 3).all()
    assert (first.rms > 0).all()
    assert len(np.unique(first.rms)) > 70, "each take lies elsewhere"


def test_turned_batches_need_no_memory():
    looks = np.random.default_rng(0).integers(0, 255, (12, 2, 2, 8, 8, 3)).astype(np.uint8)
    turned, again = Turned(looks, 3), Turned(looks, 3)
    chosen = np.array([1, 4, 7])
    first = turned[chosen]
    turned[np.array([0, 2])]
    assert np.array_equal(turned[chosen], first) and np.array_equal(again[chosen], first)
    assert not np.array_equal(first, looks[chosen])
    assert np.array_equal(looks, np.random.default_rng(0).integers(0, 255, looks.shape).astype(np.uint8))
    # Both looks of a take turn together: the brightest pixel keeps its place relative to that of the other look.
    same = np.stack([looks[:, :, 0], looks[:, :, 0]], 2)
    out = Turned(same, 1)[chosen]
    assert np.array_equal(out[:, :, 0], out[:, :, 1])


def test_mock_objects_are_of_the_kinds_asked_for():
    frames, kind = mock_objects(9, ("point", "ring", "field"), seed=4)
    again, _ = mock_objects(9, ("point", "ring", "field"), seed=4)
    assert dict(zip(*np.unique(kind, return_counts=True), strict=True)) == {"field": 3, "point": 3, "ring": 3}
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(frames, again, strict=True))
    with pytest.raises(ParameterError, match="spiral"):
        mock_objects(9, ("spiral",))

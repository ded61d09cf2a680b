import numpy as np
import pytest

from radiowidgets.data.simulate.morphologies import fr1, fr2, placed, wide_angle_tail
from radiowidgets.data.simulate.render import Drawable
from radiowidgets.errors import ParameterError
from radiowidgets.models.mockframes import KINDS, TRAITS, Turned, mock_frames, mock_objects, traits_of


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
    assert (np.isnan(first.traits).all(1) == field).all() and not np.isnan(first.traits[~field]).any()
    plain = mock_frames(40, seed=1, maps_each=1, surveys=("first",), pictures=0.0)
    assert np.array_equal(plain.kind, first.kind)
    assert (plain.rms > 0).all()
    assert len(np.unique(plain.rms)) > 70, "each take lies elsewhere"


def test_pictures_are_cut_close_and_saturated():
    plain, shown = (
        mock_frames(60, seed=1, maps_each=1, surveys=("first",), pictures=share) for share in (0.0, 1.0)
    )
    whole = [made.looks[made.kind != KINDS.index("field"), :, 0, :, :, 0] for made in (plain, shown)]
    filled = [(looks > 127).mean() for looks in whole]
    assert filled[1] > 5 * filled[0], "the object is large in the frame"
    assert (whole[1] == 255).mean() > 5 * (whole[0] == 255).mean()


def drawn(shape, theta, size=128):
    image = np.zeros((size, size), np.float32)
    Drawable.of(placed(shape, 64.0, 64.0, 1.0, theta), 1.0, (2.0, 2.0, 0.0)).draw(image, threads=1)
    return image


def test_traits_measure_the_shape_alone():
    shape = wide_angle_tail(np.random.default_rng(2), 60.0)
    first = traits_of(drawn(shape, 0.3), (2.0, 2.0, 0.0))
    for other in (drawn(shape, 1.9), 1e-5 * drawn(shape, 0.3), drawn(shape, 0.3)[::-1]):
        assert np.allclose(first, traits_of(other, (2.0, 2.0, 0.0)), atol=0.12)
    place = {name: number for number, name in enumerate(TRAITS)}
    found = {
        make: np.mean(
            [
                traits_of(drawn(make(np.random.default_rng(seed), 60.0), 0.0), (2.0, 2.0, 0.0))
                for seed in range(9)
            ],
            axis=0,
        )
        for make in (fr1, fr2, wide_angle_tail)
    }
    assert found[fr2][place["peak place"]] > found[fr1][place["peak place"]] + 0.3
    assert found[fr2][place["kurtosis along"]] < found[fr1][place["kurtosis along"]]
    assert found[wide_angle_tail][place["bend"]] > found[fr2][place["bend"]] + 0.2


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

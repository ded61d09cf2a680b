"""Coarse-grained complexity: against a plain reference, then on frames made by hand."""

import zlib

import numpy as np
import pytest

from radiowidgets.data.frames import FrameSet, cut_windows
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.simulate import simulate
from radiowidgets.data.sources import measure_noise
from radiowidgets.errors import ParameterError
from radiowidgets.features.complexity import complexity

SIZE = 128


def hand_made() -> dict[str, np.ndarray]:
    """Frames of unit noise with nothing, a point, a ring, and a maze of filaments in them."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(y - 64, x - 64)
    noise = [rng.normal(size=(SIZE, SIZE)) for _ in range(4)]
    return {
        "noise": noise[0],
        "point": noise[1] + 30 * np.exp(-(radius**2) / 18),
        "ring": noise[2] + 15 * np.exp(-((radius - 35) ** 2) / 18),
        "maze": noise[3]
        + 15 * (np.sin(x / 5 + 3 * np.sin(y / 11)) > 0.6)
        + 15 * (np.cos(y / 7 + np.cos(x / 9)) > 0.8),
    }


def test_structure_is_more_complex_than_a_point_and_a_point_than_noise():
    pixels = hand_made()
    # Together in one map, so that the surroundings tell the noise.
    sky = SkyMap.from_array(np.hstack([*pixels.values()]).astype(np.float32), name="a")
    frames = cut_windows(sky, SIZE, SIZE)
    bits = complexity(frames, floor=2.0)
    assert list(bits.index) == list(frames.frame_ids)
    noise, point, ring, maze = bits
    assert noise < 0.6 * point
    assert point < 0.6 * ring
    assert ring < 0.8 * maze
    assert maze < 8


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_an_empty_frame_has_none(value):
    frames = FrameSet.from_images([np.full((80, 70), value, np.float32), *hand_made().values()])
    bits = complexity(frames).to_numpy()
    assert bits[0] == 0
    assert (bits[1:] > 0).all()


@pytest.mark.parametrize("smooth", [0.0, 1.5])
def test_it_is_what_gzip_needs(smooth):
    from scipy.ndimage import gaussian_filter

    sky = simulate("emu", 384, seed=3)
    frames = cut_windows(sky, SIZE, SIZE)
    bits = complexity(frames, tile=32, smooth=smooth, levels=20, step=2.0, floor=1.0)
    noise = measure_noise(frames, 3)
    for i in (0, 4, 8):
        z = (frames[i].pixels.astype(np.float64) - noise.background[i]) / noise.rms[i]
        share = np.clip((np.nan_to_num(z, nan=-9) - 1) / 40, 0, 1)
        small = share.reshape(32, 4, 32, 4).mean(axis=(1, 3))
        if smooth:
            small = gaussian_filter(small, smooth, mode="nearest")
        size = [
            len(zlib.compress(np.rint(tile).astype(np.uint8).tobytes(), 6))
            for tile in (20 * small, 0 * small)
        ]
        assert bits.iloc[i] == pytest.approx(8 * (size[0] - size[1]) / 32**2, rel=0.02, abs=0.02)


def test_neither_unit_nor_company_nor_order_matter():
    rng = np.random.default_rng(2)
    sky = simulate("emu", 384, seed=4)
    frames = cut_windows(sky, 96, 96)
    bits = complexity(frames).to_numpy()
    other = SkyMap.from_array(1e4 * sky.pixels, name="b")
    assert complexity(cut_windows(other, 96, 96)).to_numpy() == pytest.approx(bits, abs=0.02)
    chosen = rng.permutation(len(frames))[:5]
    assert np.array_equal(complexity(frames.select(chosen)).to_numpy(), bits[chosen])


@pytest.mark.parametrize(
    "wrong",
    [
        {"tile": 2},
        {"tile": 8.5},
        {"levels": 256},
        {"levels": 0},
        {"step": 0.0},
        {"smooth": -1},
        {"floor": np.nan},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    frames = FrameSet.from_images([np.zeros((32, 32), np.float32)])
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        complexity(frames, **wrong)

"""Frames as network input, against astropy and plain numpy."""

import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from astropy.visualization import ZScaleInterval
from scipy import ndimage

from radiowidgets.data.frames import FrameSet, cut_windows
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.preprocess import network_input, shrink_boxes, zscale_limits
from radiowidgets.errors import ParameterError


def boxes(image: np.ndarray) -> list[np.ndarray]:
    return [np.array([value], np.int32) for value in (0, 0, *image.shape)]


def zscale(image: np.ndarray, contrast: float = 0.25) -> tuple[float, float]:
    low, high = zscale_limits(np.ascontiguousarray(image, np.float32), *boxes(image), contrast=contrast)
    return float(low[0]), float(high[0])


def area_mean(image: np.ndarray, size: int) -> np.ndarray:
    """Repeat every pixel so often that the result falls on whole blocks, and take their means."""
    height, width = image.shape
    fine = np.repeat(np.repeat(image, size, axis=0), size, axis=1)
    return fine.reshape(size, height, size, width).mean(axis=(1, 3))


def sky(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    image = ndimage.gaussian_filter(rng.normal(size=shape), 2.0)
    image /= image.std()
    for _ in range(5):
        image[rng.integers(0, shape[0]), rng.integers(0, shape[1])] += 10 ** rng.uniform(1, 4)
    return ndimage.gaussian_filter(image, 1.5).astype(np.float32)


@pytest.mark.parametrize("shape", [(256, 256), (128, 77), (40, 31), (10, 12), (3, 3), (1, 4)])
@pytest.mark.parametrize("contrast", [0.25, 0.4])
def test_zscale_is_that_of_astropy(shape, contrast):
    rng = np.random.default_rng(1)
    for scale in (1e-6, 1e3):
        image = sky(rng, shape) * np.float32(scale)
        expected = ZScaleInterval(contrast=contrast).get_limits(image)
        assert zscale(image, contrast) == pytest.approx(
            expected, rel=1e-4, abs=1e-4 * float(np.ptp(expected))
        )


def test_zscale_of_awkward_frames():
    rng = np.random.default_rng(2)
    blanks = sky(rng, (100, 120))
    blanks[:30, :50] = np.nan
    blanks[70:, 60] = np.inf
    uniform = rng.random((100, 100))
    levels = rng.normal(size=(90, 90)).round()
    half = np.where(np.arange(100) < 50, 0.0, 1000.0) + rng.normal(size=(100, 100))
    for values in (blanks, uniform, levels, half, np.full((20, 20), 3.0)):
        image = values.astype(np.float32)
        expected = ZScaleInterval().get_limits(image)
        assert zscale(image) == pytest.approx(expected, rel=1e-4, abs=1e-4 * float(np.ptp(expected)))


def test_zscale_of_a_blank_frame():
    assert zscale(np.full((20, 20), np.nan)) == (0, 0)


@pytest.mark.parametrize("shape", [(256, 256), (128, 128), (64, 64), (100, 77), (33, 250), (20, 64), (1, 1)])
@pytest.mark.parametrize("size", [64, 7])
def test_shrinking_takes_area_means(shape, size):
    rng = np.random.default_rng(3)
    image = rng.random(shape).astype(np.float32) * 4 - 1
    out = shrink_boxes(image, *boxes(image), np.zeros(1, np.float32), np.full(1, 2, np.float32), size)
    assert out[0] == pytest.approx(area_mean(np.clip(image / 2, 0, 1), size), abs=2e-5)


def test_boxes_inside_an_array():
    rng = np.random.default_rng(4)
    strip = rng.normal(size=(90, 300)).astype(np.float32)
    y, x = np.array([3, 20, 0], np.int32), np.array([0, 77, 200], np.int32)
    height, width = np.array([64, 70, 33], np.int32), np.array([64, 50, 100], np.int32)
    low, high = zscale_limits(strip, y, x, height, width)
    out = shrink_boxes(strip, y, x, height, width, low, high, 16)
    for i in range(3):
        box = strip[y[i] : y[i] + height[i], x[i] : x[i] + width[i]]
        assert (low[i], high[i]) == pytest.approx(ZScaleInterval().get_limits(box), rel=1e-4)
        stretched = np.clip((box - low[i]) / (high[i] - low[i]), 0, 1)
        assert out[i] == pytest.approx(area_mean(stretched, 16), abs=2e-5)


@pytest.mark.parametrize("stretch", ["zscale", "sigma", "minmax"])
def test_network_input(stretch):
    rng = np.random.default_rng(5)
    images = [sky(rng, (100, 100)), sky(rng, (64, 200)), sky(rng, (30, 30))]
    images[1][:20] = np.nan
    out = network_input(FrameSet.from_images(images), size=32, stretch=stretch)
    assert out.shape == (3, 32, 32, 1)
    assert out.dtype == np.float32
    for image, result in zip(images, out, strict=True):
        valid = image[np.isfinite(image)]
        if stretch == "zscale":
            low, high = ZScaleInterval().get_limits(image)
        elif stretch == "sigma":
            _, median, deviation = sigma_clipped_stats(valid)
            low, high = median - 5 * deviation, median + 30 * deviation
        else:
            low, high = valid.min(), valid.max()
        filled = np.where(np.isfinite(image), image, low)
        assert result[..., 0] == pytest.approx(
            area_mean(np.clip((filled - low) / (high - low), 0, 1), 32), abs=2e-3
        )


@pytest.mark.parametrize("stretch", ["zscale", "sigma", "minmax"])
def test_frames_without_contrast_become_zero(stretch):
    largest = np.finfo(np.float32).max
    images = [
        np.full((20, 20), np.nan),
        np.full((20, 20), 5.0),
        np.array([[-largest, largest], [0, np.inf]]),
    ]
    out = network_input(FrameSet.from_images(images), size=8, stretch=stretch)
    assert not out[:2].any()
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize(
    ("options", "word"), [({"stretch": "log"}, "stretch"), ({"size": 0}, "size"),
                          ({"stretch": "sigma", "sigma_low": -50}, "sigma_low")]
)  # fmt: skip
def test_bad_parameters(options, word):
    with pytest.raises(ParameterError, match=word):
        network_input(FrameSet.from_images([np.zeros((8, 8))]), **options)


def test_no_frames():
    assert network_input(FrameSet.from_images([]), 16).shape == (0, 16, 16, 1)


@pytest.mark.parametrize("stretch", ["zscale", "sigma", "minmax"])
def test_noise_is_measured_in_the_same_pass(stretch):
    rng = np.random.default_rng(6)
    pixels = sky(rng, (300, 400))
    pixels[:50, :70] = np.nan
    alone = cut_windows(SkyMap.from_array(pixels, name="a"), 64)
    together = cut_windows(SkyMap.from_array(pixels, name="a"), 64)
    noise = alone.noise
    expected = network_input(alone, 32, stretch)
    assert np.array_equal(network_input(together, 32, stretch, measure=True), expected)
    for ours, theirs in zip(together.noise, noise, strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)

"""The inputs of the papers' networks, against astropy and the plain formulas."""

import numpy as np
import pytest
from astropy.stats import sigma_clip
from astropy.visualization import ZScaleInterval
from scipy import ndimage

from radiowidgets.data.recipes import (
    channel_max_scale,
    clip_limits,
    dilate,
    log_scale,
    mask_sources,
    min_max,
    three_channels,
)
from radiowidgets.data.resampling import resize
from radiowidgets.errors import ParameterError


@pytest.fixture
def images() -> np.ndarray:
    """Correlated noise with sources of many brightnesses; some have blanks."""
    rng = np.random.default_rng(5)
    out = ndimage.gaussian_filter(rng.normal(size=(6, 80, 60)), (0, 2, 2))
    out[:, rng.integers(0, 80, 12), rng.integers(0, 60, 12)] += 10.0 ** rng.uniform(-1, 4, (6, 12))
    out = (ndimage.gaussian_filter(out, (0, 1.5, 1.5)) * 1e-4).astype(np.float32)
    out[1, :20] = np.nan
    out[2, 40, 30] = np.inf
    return out


def plain_min_max(image: np.ndarray) -> np.ndarray:
    valid = np.isfinite(image)
    filled = np.where(valid, image, image[valid].min()).astype(np.float64)
    return (filled - filled.min()) / (filled.max() - filled.min())


@pytest.mark.parametrize("size", [224, 40])
def test_three_channels(images, size):
    out = three_channels(images, size)
    assert out.shape == (6, size, size, 3)
    assert out.dtype == np.float32
    for image, result in zip(images, out, strict=True):
        valid = image[np.isfinite(image)]
        _, low, high = sigma_clip(valid, sigma_lower=5, sigma_upper=30, return_bounds=True)
        clipped = np.where(np.isfinite(image), np.clip(image, low, high), np.nan)
        channels = [clipped]
        for contrast in (0.25, 0.4):
            low, high = ZScaleInterval(contrast=contrast).get_limits(image)
            channels.append(np.where(np.isfinite(image), np.clip((image - low) / (high - low), 0, 1), np.nan))
        for k, channel in enumerate(channels):
            expected = resize(plain_min_max(channel).astype(np.float32), (size, size))
            np.testing.assert_allclose(result[..., k], expected, atol=2e-4)
    np.testing.assert_array_equal(three_channels(images[..., None], size), out)


@pytest.mark.parametrize("sigmas", [(5, 30), (3, 3), (1, 2)])
def test_clip_limits_are_those_of_astropy(images, sigmas):
    low, high = clip_limits(images, *sigmas)
    for image, *limits in zip(images, low, high, strict=True):
        valid = image[np.isfinite(image)].astype(np.float64)
        _, *bounds = sigma_clip(valid, sigma_lower=sigmas[0], sigma_upper=sigmas[1], return_bounds=True)
        assert limits == pytest.approx(np.clip(bounds, valid.min(), valid.max()), rel=1e-5)


def test_min_max(images):
    out = min_max(images)
    assert out.dtype == np.float32
    for image, result in zip(images, out, strict=True):
        np.testing.assert_allclose(result, plain_min_max(image), atol=1e-6)
    assert not out[1, :20].any()
    assert min_max(images[..., None]).shape == (6, 80, 60, 1)


def test_log_scale(images):
    out = log_scale(images, floor=1e-6)
    for image, result in zip(images, out, strict=True):
        logs = np.log10(np.maximum(np.where(np.isfinite(image), image, 0).astype(np.float64), 1e-6))
        np.testing.assert_allclose(result, (logs - logs.min()) / np.ptp(logs), atol=1e-5)
    assert not out[:, images[0] < 0][0].any()
    # tiles of one map share its limits
    whole = np.where(np.isfinite(images[0]), images[0], 0)[None]
    limits = (1e-6, float(whole.max()))
    tile = log_scale(whole[:, :40, :30], 1e-6, limits)
    np.testing.assert_allclose(tile, log_scale(whole, 1e-6, limits)[:, :40, :30], atol=1e-6)
    assert log_scale(whole, 1e-6, (1e-6, 1e-5)).max() == 1


def test_channel_max_scaling_keeps_ratios():
    rng = np.random.default_rng(6)
    images = rng.lognormal(size=(4, 20, 30, 5)).astype(np.float32)
    images[1, ..., 3] = np.nan  # a missing band
    images[2] = -images[2]
    out = channel_max_scale(images)
    for k in (0, 1, 3):
        np.testing.assert_allclose(out[k], images[k] / np.nanmax(images[k]), rtol=1e-6)
        assert np.nanmax(out[k]) == 1
    assert np.isnan(out[1, ..., 3]).all()
    assert np.isnan(out[2]).all()
    # two sources that differ in flux only look alike
    np.testing.assert_allclose(channel_max_scale(images * np.float32(37)), out, rtol=1e-6)


@pytest.mark.parametrize("diameter", [1, 3, 5, 21])
def test_dilation_is_that_of_scipy(diameter):
    rng = np.random.default_rng(7)
    masks = rng.random((5, 60, 45)) < 0.004
    masks[0] = False
    masks[1, 0, 0] = True
    reach = diameter // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.hypot(y, x) <= diameter / 2
    out = dilate(masks, diameter)
    for mask, result in zip(masks, out, strict=True):
        np.testing.assert_array_equal(result, ndimage.binary_dilation(mask, disc))


def test_masks_leave_the_source_and_blanks():
    rng = np.random.default_rng(8)
    images = rng.normal(size=(3, 50, 50, 5)).astype(np.float32)
    images[0, 10, 10, 2] = np.nan
    images[1, ..., 4] = np.nan
    masks = np.zeros((3, 50, 50), bool)
    masks[:, 25, 25] = True
    out = mask_sources(images, masks)
    y, x = np.mgrid[:50, :50]
    disc = np.hypot(y - 25, x - 25) <= 10.5
    np.testing.assert_array_equal(out[:, disc], images[:, disc])
    assert (out[2][~disc] == 0).all()
    assert np.isnan(out[0, 10, 10, 2])
    assert np.isnan(out[1, ..., 4]).all()
    np.testing.assert_array_equal(mask_sources(images[..., 0], masks), out[..., 0])
    np.testing.assert_array_equal(mask_sources(images, masks, dilation=1)[2, 25, 25], images[2, 25, 25])


def test_images_without_contrast_become_zero():
    largest = np.finfo(np.float32).max
    images = np.stack(
        [np.full((9, 9), np.nan), np.full((9, 9), 5.0), np.where(np.eye(9) > 0, largest, -largest)]
    )
    for recipe in (min_max, log_scale, lambda pixels: three_channels(pixels, 12)):
        out = recipe(images)
        assert not out[:2].any()
        assert np.isfinite(out).all()
        assert out.max() <= 1
    assert min_max(images)[2].max() == 1
    assert three_channels(np.zeros((0, 4, 4))).shape == (0, 224, 224, 3)
    assert min_max(np.zeros((0, 4, 4))).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: min_max(np.zeros((3, 3))), r"shape \(3, 3\)"),
        (lambda: min_max(np.zeros((2, 3, 3, 2))), "one channel"),
        (lambda: min_max([[["a"]]]), "numbers"),
        (lambda: three_channels(np.zeros((2, 3, 3)), 0), "size is 0"),
        (lambda: three_channels(np.zeros((2, 3, 3)), sigma_low=-5), "sigma_low is -5"),
        (lambda: log_scale(np.zeros((2, 3, 3)), 0), "floor is 0"),
        (lambda: log_scale(np.zeros((2, 3, 3)), limits=(2, 1)), "limits"),
        (lambda: channel_max_scale(np.zeros((2, 3, 3))), "channels"),
        (lambda: dilate(np.zeros((2, 3, 3), bool), 4), "dilation is 4"),
        (lambda: dilate(np.zeros((2, 3, 3))), "bool"),
        (lambda: mask_sources(np.zeros((2, 3, 4)), np.zeros((2, 3, 3), bool)), "a mask"),
    ],
)
def test_bad_parameters(call, message):
    with pytest.raises(ParameterError, match=message):
        call()

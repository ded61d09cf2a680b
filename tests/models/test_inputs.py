import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets.models.inputs import encoder_input


def blob(side, x, y, fwhm, peak, seed=0, noise=1.0):
    """One Gaussian on noise."""
    grid = np.arange(side)
    shape = np.exp(-2.77 * ((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / fwhm**2)
    return (peak * shape + noise * np.random.default_rng(seed).normal(size=(side, side))).astype(np.float32)


def looks(*images):
    return encoder_input(rw.FrameSet.from_images(images)).astype(float) / 255


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_neither_unit_nor_background_matters(scale):
    image = blob(100, 40, 60, 12, 50)
    plain, other = looks(image, scale * image + 30 * scale)
    assert np.abs(plain - other).max() <= 1.5 / 255


def test_the_focus_lies_on_what_stands_out():
    whole, focus = looks(blob(150, 30, 110, 10, 80))[0]
    assert np.unravel_index(whole[..., 0].argmax(), (64, 64)) == pytest.approx((47, 13), abs=1)
    assert np.unravel_index(focus[..., 0].argmax(), (64, 64)) == pytest.approx((31.5, 31.5), abs=4)
    assert (focus[..., 0] > 0.5).sum() > 8 * (whole[..., 0] > 0.5).sum()


def test_the_focus_holds_both_lobes():
    image = blob(150, 60, 75, 5, 60) + blob(150, 90, 75, 5, 25, seed=1)
    focus = looks(image)[0, 1, :, :, 1]
    columns = focus[28:36].max(0)
    assert columns[:28].max() > 0.7 and columns[36:].max() > 0.6


def test_noise_stays_dim_and_keeps_its_centre():
    whole, focus = looks(np.random.default_rng(0).normal(size=(80, 80)).astype(np.float32))[0]
    assert whole[..., 0].max() < 0.6
    assert 0.15 < whole[..., 2].mean() < 0.35
    assert np.isfinite(focus).all()


def test_an_object_that_fills_its_frame_is_not_its_background():
    whole = looks(blob(96, 45, 50, 48, 100))[0, 0]
    assert whole[..., 0].max() > 0.95 and whole[:8, :8, 0].max() < 0.1
    assert whole[24:40, 24:40, 1].min() > 0.6


def test_a_thresholded_picture_in_any_unit():
    image = np.clip(blob(96, 45, 50, 60, 100) / 100 - 0.1, 0, 0.6)
    first, second = looks(image, 255 * image)
    assert np.abs(first - second).max() <= 1.5 / 255
    assert first[0, ..., 0].max() == 1


@pytest.mark.parametrize("shape", [(32, 32), (40, 90), (7, 5), (256, 256)])
def test_any_shape(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert looks(image).shape == (1, 2, 64, 64, 3)


def test_blank_flat_and_huge_pixels_do_no_harm():
    blank = np.full((50, 50), np.nan, np.float32)
    partly = blob(50, 25, 25, 6, 40)
    partly[:, :20] = np.nan
    flat = np.full((50, 50), 3.0, np.float32)
    huge = blob(50, 25, 25, 6, 1e30)
    out = looks(blank, partly, flat, huge)
    assert out[0, ..., :2].max() == 0 and out[2, ..., :2].max() == 0
    assert out[1, 0, :, :25, 0].max() == 0
    assert out[3, 0, ..., 0].max() == 1


def test_maps_and_images_give_the_same():
    sky = rw.simulate("emu", size=256, seed=3)
    frames = rw.cut_windows(sky, size=96)
    images = rw.FrameSet.from_images(list(frames.pixels(np.arange(len(frames)))[..., 0]))
    assert np.array_equal(encoder_input(frames), encoder_input(images))

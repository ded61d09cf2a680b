"""Background and noise of frames, against astropy."""

import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from scipy import ndimage

from radiowidgets.data.frames import FrameSet, cut_windows
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.sources import clip_boxes, measure_noise
from radiowidgets.errors import ParameterError


def clip(*images: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clip whole images of one shape, laid side by side."""
    n, (height, width) = len(images), images[0].shape
    strip = np.ascontiguousarray(np.hstack(images), dtype=np.float32)
    boxes = [np.full(n, value, np.int32) for value in (0, 0, height, width)]
    boxes[1] += np.arange(n, dtype=np.int32) * width
    return clip_boxes(strip, *boxes, **options)


def reference(image: np.ndarray, **options) -> tuple[float, float]:
    image = np.asarray(image, np.float32).astype(np.float64)
    return sigma_clipped_stats(image[np.isfinite(image)], **options)[1:]


def sky_noise(rng: np.random.Generator, shape: tuple[int, int], beam: float = 2.1) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), beam)
    return noise / noise.std()


def assert_like_astropy(images: list[np.ndarray], within: float = 0.01, **options) -> None:
    background, rms, valid = clip(*images, **options)
    named = {{"max_rounds": "maxiters"}.get(key, key): value for key, value in options.items()}
    for i, image in enumerate(images):
        median, deviation = reference(image, **named)
        assert rms[i] == pytest.approx(deviation, rel=within, abs=1e-30)
        assert background[i] == pytest.approx(median, rel=1e-6, abs=max(within * deviation, 1e-30))
        assert valid[i] == np.isfinite(image.astype(np.float32)).sum()


@pytest.mark.parametrize("scale", [1e-25, 1e-5, 1.0, 1e20])
def test_noise_with_sources_and_blanks(scale):
    rng = np.random.default_rng(1)
    images = []
    for k in range(6):
        image = sky_noise(rng, (192, 160)) + 0.3 * k
        for _ in range(10 * k):
            image[rng.integers(0, 190), rng.integers(0, 158)] += 10 ** rng.uniform(0.5, 5)
        image = ndimage.gaussian_filter(image, 1.0)
        image[: 20 * k, 5:] = np.nan
        image[150:, : 7 * k] = np.inf
        images.append(image * scale)
    assert_like_astropy(images)


def test_emission_that_fills_much_of_the_frame():
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:200, :200]
    disc = np.hypot(y - 90, x - 100)
    noise = [sky_noise(rng, (200, 200)) for _ in range(5)]
    images = [noise[k] + height * (disc < radius) for k, (height, radius) in enumerate(
        [(3, 40), (30, 60), (1000, 70), (1e6, 75), (5, 120)])]  # fmt: skip
    # The median lies where one level goes over into the other: it is known to a few per cent of the rms.
    assert_like_astropy(images, within=0.03)


def test_large_frames():
    rng = np.random.default_rng(12)
    white = rng.normal(size=(256, 256))
    lines = np.where(np.arange(300)[:, np.newaxis] % 16 < 3, 5, 0) + rng.normal(size=(300, 256))
    blank = sky_noise(rng, (260, 280))
    blank[1::2, :50] = np.nan
    for image, within in ((white, 0.001), (lines, 0.01), (blank, 0.001)):
        assert_like_astropy([image], within=within)


def test_values_of_few_levels_are_clipped_exactly():
    rng = np.random.default_rng(3)
    levels = rng.normal(size=(128, 128)).round() * 2.0
    mostly_zero = np.where(rng.random((128, 128)) < 0.2, rng.normal(size=(128, 128)), 0.0)
    assert_like_astropy([levels, mostly_zero, (rng.random((128, 128)) < 0.3) * 7.0], within=1e-6)


def test_small_frames_are_clipped_exactly():
    rng = np.random.default_rng(4)
    assert_like_astropy([rng.standard_cauchy((30, 31)) for _ in range(5)], within=1e-5)
    assert_like_astropy([np.array([[1.0, np.nan, 5.0]])], within=1e-6)


def test_other_clips():
    rng = np.random.default_rng(5)
    images = [sky_noise(rng, (128, 128)) + 50 * (rng.random((128, 128)) < 0.02) for _ in range(2)]
    assert_like_astropy(images, sigma=2.0, max_rounds=2)
    assert_like_astropy(images, sigma=4.0, max_rounds=1)
    assert_like_astropy(images, max_rounds=50)


def test_constant_and_blank_frames():
    blank = np.full((64, 96), np.nan)
    background, rms, valid = clip(np.full((64, 96), 3.5), blank)
    assert (background[0], rms[0], valid[0]) == (3.5, 0, 64 * 96)
    assert np.isnan([background[1], rms[1]]).all()
    assert valid[1] == 0


def test_extremes_of_float32():
    rng = np.random.default_rng(6)
    noise = sky_noise(rng, (128, 128))
    largest = float(np.finfo(np.float32).max)
    spiked = noise.copy()
    spiked[3, 4], spiked[5, 6] = largest, -largest
    offset = noise + 1e7  # float32 leaves one digit of it
    faint = noise * 1e-41  # denormal
    background, rms, _ = clip(spiked, offset, faint, np.full((128, 128), largest))
    assert np.isfinite(background).all()
    assert np.isfinite(rms).all()
    assert background[1] == pytest.approx(1e7, abs=1)
    assert rms[1] == pytest.approx(reference(offset)[1], rel=1e-3)
    assert background[3] == np.float32(largest)
    assert rms[0] == pytest.approx(reference(spiked)[1], rel=0.01)


def test_noise_of_frames_of_several_maps():
    rng = np.random.default_rng(7)
    maps = [
        SkyMap.from_array((sky_noise(rng, (150, 220)) * 2 + 1).astype(np.float32), name="a"),
        SkyMap.from_array((sky_noise(rng, (64, 100)) * 5).astype(np.float32), name="b"),
    ]
    frames = cut_windows(maps, 64, 48)
    noise = measure_noise(frames)
    for i, frame in enumerate(frames):
        median, deviation = reference(frame.pixels)
        assert noise.rms[i] == pytest.approx(deviation, rel=0.01)
        assert noise.background[i] == pytest.approx(median, abs=0.01 * deviation)
    assert noise.background.dtype == noise.rms.dtype == noise.blank_fraction.dtype == np.float32
    assert not noise.blank_fraction.any()


@pytest.mark.parametrize("mesh", [1.5, 2, 3, 8])
def test_wide_mesh_measures_the_surroundings(mesh):
    rng = np.random.default_rng(8)
    pixels = sky_noise(rng, (500, 620), 1.0).astype(np.float32)
    pixels[:, 500:] = np.nan
    frames = cut_windows(SkyMap.from_array(pixels, name="a"), 96, 70)
    noise = measure_noise(frames, mesh)
    assert np.array_equal(noise.blank_fraction, measure_noise(frames).blank_fraction)
    margin = (mesh - 1) / 2 * 96
    for i in range(0, len(frames), 5):
        y, x = frames.y[i], frames.x[i]
        rows = slice(max(0, int(np.floor(y - margin))), int(np.ceil(y + 96 + margin)))
        columns = slice(max(0, int(np.floor(x - margin))), int(np.ceil(x + 96 + margin)))
        if np.isnan(pixels[rows, columns]).all():
            assert np.isnan(noise.rms[i])
            continue
        median, deviation = reference(pixels[rows, columns])
        # The region is thinned, hence the scatter.
        assert noise.rms[i] == pytest.approx(deviation, rel=0.05)
        assert noise.background[i] == pytest.approx(median, abs=0.08 * deviation)


def test_wide_mesh_is_not_fooled_by_what_fills_the_frame():
    rng = np.random.default_rng(9)
    pixels = sky_noise(rng, (512, 512)).astype(np.float32)
    y, x = np.mgrid[:512, :512]
    pixels += 20 * np.exp(-((y - 256) ** 2 + (x - 256) ** 2) / 2 / 50**2).astype(np.float32)
    frame = FrameSet(SkyMap.from_array(pixels, name="a"), [0], [206], [206], [100], [100])
    assert measure_noise(frame).background[0] > 10
    wide = measure_noise(frame, mesh=5)
    assert abs(wide.background[0]) < 1
    assert wide.rms[0] < 2


def test_images_without_a_map():
    rng = np.random.default_rng(10)
    images = [sky_noise(rng, (50 + 20 * k, 90)) for k in range(3)]
    frames = FrameSet.from_images(images)
    for mesh in (1, 3):
        noise = measure_noise(frames, mesh)
        assert noise.rms == pytest.approx([reference(image)[1] for image in images], rel=0.01)


def test_one_answer_whatever_the_order_of_frames():
    rng = np.random.default_rng(11)
    frames = cut_windows(SkyMap.from_array(sky_noise(rng, (300, 300)).astype(np.float32), name="a"), 100, 40)
    shuffled = rng.permutation(len(frames))
    for mesh in (1, 3):
        noise = measure_noise(frames, mesh)
        other = measure_noise(frames.select(shuffled), mesh)
        assert np.array_equal(other.rms, noise.rms[shuffled])
        assert np.array_equal(other.background, noise.background[shuffled])


def test_progress_is_told():
    frames = cut_windows(SkyMap.from_array(np.zeros((64, 64), np.float32), name="a"), 32)
    seen = []
    measure_noise(frames, progress=lambda done, total: seen.append((done, total)))
    assert seen


@pytest.mark.parametrize("options", [{"mesh": 0.5}, {"sigma": 0}, {"max_rounds": 0}, {"mesh": float("nan")}])
def test_bad_parameters(options):
    frames = FrameSet.from_images([np.zeros((8, 8))])
    with pytest.raises(ParameterError, match=next(iter(options))):
        measure_noise(frames, **options)


def test_no_frames():
    noise = measure_noise(FrameSet.from_images([]))
    assert len(noise.rms) == 0


@pytest.mark.parametrize("level", [100.0, 1e3, 1e6])
def test_many_bright_pixels_of_one_level_are_clipped_as_astropy_does(level):
    pixels = np.random.default_rng(11).normal(size=(512, 512)).astype(np.float32)
    pixels[::7] += level
    frames = cut_windows(SkyMap.from_array(pixels, name="striped"), size=128)
    noise = measure_noise(frames)
    for k in range(0, len(frames), 9):
        _, middle, deviation = sigma_clipped_stats(frames[k].pixels, sigma=3)
        assert noise.rms[k] == pytest.approx(deviation, rel=0.01)
        assert noise.background[k] == pytest.approx(middle, abs=float(0.02 * deviation))

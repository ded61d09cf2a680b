"""Frame features: each kernel against plain numpy and scipy, then what they say of a sky."""

import zlib

import numpy as np
import pytest
from scipy import ndimage, stats

from radiowidgets.data.frames import FrameSet, cut_windows
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.resampling import resize
from radiowidgets.features import structure
from radiowidgets.features.frames import CONTEXT, FEATURES, comparable_features, frame_features

FWHM = 4.0


def sky_noise(rng: np.random.Generator, shape: tuple[int, int], fwhm: float = FWHM) -> np.ndarray:
    """Noise of unit variance, as a Gaussian beam correlates it."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), fwhm / 2.3548, mode="wrap")
    return (noise / noise.std()).astype(np.float32)


def sources(rng: np.random.Generator, shape: tuple[int, int], n: int, fwhm: float = FWHM) -> np.ndarray:
    image = np.zeros(shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for _ in range(n):
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image += 10 ** rng.uniform(0.5, 2) * np.exp(
            -4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / fwhm**2
        )
    return image.astype(np.float32)


def sky_map(pixels: np.ndarray, name: str = "a", fwhm: float | None = FWHM, scale: float = 1e-5) -> SkyMap:
    """A map whose beam is `fwhm` pixels wide."""
    header = {"CDELT1": -1 / 3600, "CDELT2": 1 / 3600, "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}
    header |= {
        "CRPIX1": 1.0,
        "CRPIX2": 1.0,
        "CRVAL1": 10.0,
        "CRVAL2": -30.0,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
    }
    header["BUNIT"] = "Jy/beam"
    if fwhm is not None:
        header |= {"BMAJ": fwhm / 3600, "BMIN": fwhm / 3600, "BPA": 0.0}
    from astropy.io import fits

    return SkyMap.from_array((pixels * scale).astype(np.float32), name=name, header=fits.Header(header))


# --------------------------------------------------------------------------------------------------------------
# kernels


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:61, :80]
    spiral = np.cos(np.hypot(y - 30, x - 40) / 2 + np.arctan2(y - 30, x - 40)) * 8
    return [
        sky_noise(rng, (64, 64)) * 3,
        sky_noise(rng, (33, 70), 2.0) * 4,
        rng.normal(size=(50, 40)).astype(np.float32) * 4,
        spiral.astype(np.float32),
        np.full((7, 9), 6, np.float32),
        np.zeros((5, 5), np.float32),
        np.array([[6.0]], np.float32),
        np.where(np.add(y, x) % 2, 6, 0).astype(np.float32),
    ]


@pytest.mark.parametrize("z", images())
def test_islands_are_those_of_scipy(z):
    labels = np.full(z.shape, -1, np.int32)
    table = structure.label_islands(z, labels)
    numbered, n = ndimage.label(z >= 2.5)
    seeded = [k for k in range(1, n + 1) if (z[numbered == k] >= 5).any()]
    assert len(table) == len(seeded)
    assert np.array_equal(labels > 0, np.isin(numbered, seeded))
    for k, row in enumerate(table, start=1):
        inside = labels == k
        assert len(np.unique(numbered[inside])) == 1
        y, x = np.nonzero(inside)
        # A pixel spreads over a square, whose variance is 1/12.
        expected = (len(x), z[inside].sum(dtype=float), z[inside].max(), x.mean(), y.mean(),
                    x.var() + 1 / 12, y.var() + 1 / 12, np.mean(x * y) - x.mean() * y.mean())  # fmt: skip
        assert row == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_peaks_are_those_of_a_maximum_filter(radius):
    for z in images()[:4]:
        largest = ndimage.maximum_filter(z, 2 * radius + 1, mode="constant", cval=-np.inf)
        assert structure.count_peaks(z, radius) == ((z == largest) & (z >= 5)).sum()


def test_equal_pixels_are_one_peak():
    z = np.zeros((20, 20), np.float32)
    z[3:6, 3:6] = z[15, 15] = 7
    assert structure.count_peaks(z, 3) == 2


def starlet(z: np.ndarray, scales: int) -> list[np.ndarray]:
    coefficients, smooth = [], z.astype(np.float64)
    for scale in range(scales):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = np.array([1, 4, 6, 4, 1]) / 16
        smoother = ndimage.convolve1d(smooth, kernel, axis=0, mode="nearest")
        smoother = ndimage.convolve1d(smoother, kernel, axis=1, mode="nearest")
        coefficients.append(smooth - smoother)
        smooth = smoother
    return coefficients


def test_starlet_energies():
    rng = np.random.default_rng(2)
    for z in images()[:5]:
        valid = rng.random(z.shape) < 0.8
        energies = structure.starlet_energies(z, valid, 5)
        assert energies == pytest.approx([np.mean(w[valid] ** 2) for w in starlet(z, 5)], rel=1e-4)
    assert not structure.starlet_energies(z, np.zeros(z.shape, bool), 3).any()


@pytest.mark.parametrize(("fwhm", "factor"), [(1e-6, 1), (2.0, 1), (4.3, 1), (8.0, 3)])
def test_starlet_of_correlated_noise(fwhm, factor):
    rng = np.random.default_rng(3)
    noise = sky_noise(rng, (1500, 1500), fwhm)
    small, whole = structure.shrink(noise, np.ones(noise.shape, bool), factor)
    measured = structure.starlet_energies(small, whole, 4)
    assert measured == pytest.approx(structure.starlet_noise(fwhm, factor, 4), rel=0.05)


def test_shrinking():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(23, 31)).astype(np.float32)
    valid = rng.random(z.shape) < 0.95
    small, whole = structure.shrink(z, valid, 3)
    blocks = (slice(0, 21), slice(0, 30))
    assert small == pytest.approx(z[blocks].reshape(7, 3, 10, 3).mean(axis=(1, 3)), abs=1e-5)
    assert np.array_equal(whole, valid[blocks].reshape(7, 3, 10, 3).all(axis=(1, 3)))


def test_moments():
    rng = np.random.default_rng(5)
    z = (rng.gamma(3, size=(90, 80)) * 2 - 4).astype(np.float32)
    valid = rng.random(z.shape) < 0.9
    inside = z[valid & (np.abs(z - 1.5) < 4 * 1.2)].astype(np.float64)
    assert structure.moments(z, valid, 1.5, 1.2, 4.0) == pytest.approx(
        (stats.skew(inside), stats.kurtosis(inside)), abs=1e-3
    )
    assert structure.moments(np.ones((9, 9), np.float32), np.ones((9, 9), bool), 1.0, 1.0, 4.0) == (0, 0)


def test_entropy():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(200, 200)).astype(np.float32)
    valid = np.ones(z.shape, bool)
    # Of a Gaussian cut into bins of 1/4.
    assert structure.entropy(z, valid, z.size) == pytest.approx(0.5 * np.log2(2 * np.pi * np.e) + 2, abs=0.01)
    z = (z * 100).astype(np.float32)
    valid = rng.random(z.shape) < 0.7
    octaves = 8 * 2.0 ** (np.arange(100) / 4)
    edges = np.concatenate([-octaves[:0:-1], np.arange(-32, 33) / 4, octaves[1:]])
    counts = np.histogram(z[valid], edges)[0]
    share = counts[counts > 0] / valid.sum()
    assert structure.entropy(z, valid, valid.sum()) == pytest.approx(
        -(share * np.log2(share)).sum(), abs=1e-3
    )


def test_orientation():
    rng = np.random.default_rng(7)
    z = sky_noise(rng, (120, 140))
    valid = rng.random(z.shape) < 0.97
    dx, dy = z[2:-2, 4:] - z[2:-2, :-4], z[4:, 2:-2] - z[:-4, 2:-2]
    whole = valid[2:-2, 4:] & valid[2:-2, :-4] & valid[4:, 2:-2] & valid[:-4, 2:-2]
    xx, yy, xy = ((a * b)[whole].sum() for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    expected = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    assert structure.orientation(z, valid, 2) == pytest.approx(expected, abs=1e-4)
    assert expected < 0.1
    y, x = np.mgrid[:120, :140]
    for angle in (0.0, 0.4, 1.2, 2.5):
        stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 3)
        assert structure.orientation((stripes * 3).astype(np.float32), valid, 2) > 0.9


def test_asymmetry():
    y, x = np.mgrid[:60, :70]
    ellipse = 20 * np.exp(-((x - 30) ** 2 / 200 + (y - 28) ** 2 / 50 + (x - 30) * (y - 28) / 150))
    half = np.where(x > 30, ellipse, 0)
    rng = np.random.default_rng(8)
    for z, expected in ((ellipse, 0.0), (half, None), (ellipse + rng.normal(size=x.shape), None)):
        z32 = z.astype(np.float32)
        labels = np.zeros(z.shape, np.int32)
        table = structure.label_islands(z32, labels)
        number = int(np.argmax(table[:, structure.AREA])) + 1
        cx, cy = table[number - 1, [structure.X, structure.Y]]
        value = structure.island_asymmetry(z32, labels, number, cx, cy)
        if expected is not None:
            assert value == pytest.approx(expected, abs=1e-5)
            continue
        # In a frame twice as large the centre of rotation is that of the array.
        wide = np.zeros((240, 280))
        shift = 120 - np.floor(2 * cy + 0.5) / 2, 140 - np.floor(2 * cx + 0.5) / 2
        cut = np.where(labels == number, z32, 0)
        fine = np.repeat(np.repeat(cut, 2, axis=0), 2, axis=1)
        top, left = round(2 * shift[0]) - 120 - 1, round(2 * shift[1]) - 140 - 1
        wide[top : top + 120, left : left + 140] = fine
        assert value == pytest.approx(np.abs(wide - wide[::-1, ::-1]).sum() / 2 / wide.sum(), abs=1e-5)


# --------------------------------------------------------------------------------------------------------------
# the table


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    rng = np.random.default_rng(9)
    shape = (420, 420)
    return sky_noise(rng, shape) + sources(rng, shape, 40)


def test_table_is_complete(sky):
    frames = cut_windows([sky_map(sky), sky_map(sky[:200, :150], "b", None)], 128, 100)
    table = frame_features(frames)
    assert list(table.columns) == list(FEATURES)
    assert all(FEATURES.values())
    assert list(table.index) == list(frames.frame_ids)
    assert table.index.name == "frame_id"
    assert (table.dtypes == np.float32).all()
    assert np.isfinite(table.to_numpy()).all()


def test_features_do_not_depend_on_unit_or_order(sky):
    table = frame_features(cut_windows(sky_map(sky), 128, 100))
    other = frame_features(cut_windows(sky_map(sky, scale=1e3), 128, 100))
    assert other["log_rms"].to_numpy() == pytest.approx(table["log_rms"].to_numpy() + 8, abs=1e-3)
    columns = [name for name in FEATURES if name != "log_rms"]
    assert other[columns].to_numpy() == pytest.approx(table[columns].to_numpy(), abs=0.02)
    frames = cut_windows(sky_map(sky), 128, 100)
    shuffled = np.random.default_rng(1).permutation(len(frames))
    again = frame_features(frames.select(shuffled))
    assert np.array_equal(again.to_numpy(), table.to_numpy()[shuffled])


def test_frames_of_several_beams_compare():
    """One sky on pixels of a fourth and of an eighth of the beam."""
    rng = np.random.default_rng(10)
    fine = sky_noise(rng, (512, 512), 8.0) + sources(rng, (512, 512), 30, 8.0)
    y, x = np.mgrid[:512, :512]
    fine += 6 * np.exp(-((np.hypot(y - 256, x - 256) - 70) ** 2) / 2 / 8**2).astype(np.float32)
    coarse = resize(fine, (256, 256))
    a = frame_features(cut_windows(sky_map(fine, fwhm=8.0), 512)).iloc[0]
    b = frame_features(cut_windows(sky_map(coarse, fwhm=4.0), 256)).iloc[0]
    for name in FEATURES:
        if name not in ("log_rms", "islands", "peaks"):
            assert a[name] == pytest.approx(b[name], abs=0.12), name
    assert a["islands"] == pytest.approx(b["islands"], abs=4)


def test_noise_looks_like_noise():
    rng = np.random.default_rng(11)
    table = frame_features(cut_windows(sky_map(sky_noise(rng, (768, 768))), 256, 256))
    middle = table.median()
    assert middle["log_rms"] == pytest.approx(-5, abs=0.02)
    assert middle["entropy"] == pytest.approx(4.05, abs=0.05)
    assert middle["starlet_1"] == pytest.approx(np.log10(2), abs=0.02)
    for k in range(2, 6):
        assert middle[f"starlet_{k}"] == pytest.approx(0, abs=0.04)
    assert abs(middle["skewness"]) < 0.1
    assert middle["islands"] <= 1


def test_complexity_is_that_of_gzip(sky):
    frames = cut_windows(sky_map(sky), 140, 140)
    table = frame_features(frames)
    from radiowidgets.data.sources import measure_noise

    noise = measure_noise(frames, 3)
    for i in range(0, len(frames), 3):
        z = (frames[i].pixels.astype(np.float64) - noise.background[i]) / noise.rms[i]
        levels = np.clip((z + 8) / 127.5, 0, 1)
        small = resize(levels.astype(np.float32), (64, 64))
        smooth = ndimage.correlate1d(small, [0.25, 0.5, 0.25], axis=0, mode="nearest")
        smooth = ndimage.correlate1d(smooth, [0.25, 0.5, 0.25], axis=1, mode="nearest")
        size = len(zlib.compress(np.floor(smooth * 255 + 0.5).astype(np.uint8).tobytes(), 6))
        assert table["complexity"].iloc[i] == pytest.approx(8 * size / 4096, rel=0.01)


def test_an_island_is_measured_in_beams():
    rng = np.random.default_rng(12)
    pixels = sky_noise(rng, (384, 384)) * 0.2
    y, x = np.mgrid[:384, :384]
    radius = np.hypot(y - 192, x - 192)
    disc, ring = radius < 30, np.abs(radius - 30) < 6
    bar = (np.abs(y - 192) < 6) & (np.abs(x - 192) < 48)
    beam = 1.1331 * FWHM**2
    found = {}
    for name, shape in (("disc", disc), ("ring", ring), ("bar", bar)):
        found[name] = frame_features(cut_windows(sky_map(pixels + 20 * shape), 128, 128)).iloc[4]
        assert found[name]["log_island_beams"] == pytest.approx(
            np.log10(1 + shape.sum() / beam / 10), abs=0.02
        )
        assert found[name]["extended_fraction"] > 0.99
        assert found[name]["island_asymmetry"] < 0.1
    assert found["disc"]["island_fill"] == pytest.approx(1, abs=0.03)
    assert found["disc"]["island_elongation"] == pytest.approx(0, abs=0.02)
    assert found["ring"]["island_fill"] < 0.8
    assert found["bar"]["island_elongation"] == pytest.approx(np.log10(95 / 11), abs=0.03)


def test_point_sources_are_not_extended():
    rng = np.random.default_rng(13)
    pixels = sky_noise(rng, (512, 512))
    y, x = np.mgrid[:512, :512]
    for k, snr in enumerate((10, 30, 100, 1000, 10000)):
        pixels += snr * np.exp(-4 * np.log(2) * ((y - 256) ** 2 + (x - 50 - 100 * k) ** 2) / FWHM**2).astype(
            np.float32
        )
    frame = FrameSet(sky_map(pixels), [0], [0], [200], [512], [112])
    assert frame_features(frame)["extended_fraction"].iloc[0] == 0


def test_frames_that_tell_nothing(sky):
    pixels = sky.copy()
    pixels[:, :140] = np.nan
    pixels[200:, :200] = np.nan
    pixels[200:, 200:330] = 0.0
    table = frame_features(cut_windows(sky_map(pixels), 64, 64))
    assert np.isfinite(table.to_numpy()).all()
    blank = table["blank_fraction"] == 1
    assert blank.sum() >= 10
    told = table["blank_fraction"] < 0.1
    for name in FEATURES:
        if name != "blank_fraction":
            low, high = table.loc[told, name].min(), table.loc[told, name].max()
            assert table.loc[blank, name].between(low, high).all()


@pytest.mark.parametrize(
    "image",
    [
        np.full((40, 40), np.nan),
        np.full((40, 40), 7.0),
        np.zeros((1, 1)),
        np.full((70, 3), 1e30),
        np.where(np.arange(4096).reshape(64, 64) % 2, 3e38, -3e38),
        np.where(np.arange(4096).reshape(64, 64) == 99, 1e-42, 0),
        np.arange(4096).reshape(64, 64) % 7,
        np.where(np.arange(4096).reshape(64, 64) % 9 < 3, np.inf, np.nan),
    ],
)
def test_any_image_gives_finite_features(image):
    rng = np.random.default_rng(14)
    others = [sky_noise(rng, (50, 60)) for _ in range(3)]
    for given in ([image], [image, *others]):
        table = frame_features(FrameSet.from_images(given))
        assert np.isfinite(table.to_numpy()).all()


def test_no_frames():
    table = frame_features(FrameSet.from_images([]))
    assert table.shape == (0, len(FEATURES))
    assert comparable_features(table).shape == (0, len(FEATURES) - len(CONTEXT))


def test_comparable_features_leave_out_what_is_not_sky(sky):
    pixels = sky.copy()
    pixels[:90] = np.nan
    table = frame_features(cut_windows(sky_map(pixels), 96, 48))
    comparable = comparable_features(table)
    assert list(comparable.columns) == [name for name in FEATURES if name not in CONTEXT]
    whole = table["blank_fraction"] == 0
    assert comparable[whole].to_numpy() == pytest.approx(
        table.loc[whole, comparable.columns].to_numpy(), rel=1e-4, abs=1e-6
    )
    border = (table["blank_fraction"] > 0.8).to_numpy()
    assert border.any()
    spread = np.abs(comparable - comparable.median())
    assert (spread[border].mean() <= 0.2 * np.abs(table - table.median())[comparable.columns].max()).all()


def test_a_forest_finds_the_shell_and_not_the_border():
    from sklearn.ensemble import IsolationForest

    rng = np.random.default_rng(15)
    shape = (900, 900)
    pixels = sky_noise(rng, shape) + sources(rng, shape, 150)
    y, x = np.mgrid[:900, :900]
    radius = np.hypot(y - 600, x - 350)
    pixels += 2.5 * np.exp(-((radius - 60) ** 2) / 2 / 8**2).astype(np.float32)
    pixels[(x + y) > 1500] = np.nan
    frames = cut_windows(sky_map(pixels), 128, 64)
    table = frame_features(frames)
    score = (
        -IsolationForest(n_estimators=200, random_state=0)
        .fit(comparable_features(table))
        .score_samples(comparable_features(table))
    )
    order = np.argsort(-score)
    distance = np.hypot(frames.x + 64 - 350, frames.y + 64 - 600)
    assert (distance[order[:5]] < 150).all()
    assert (table["blank_fraction"].iloc[order[:10]] < 0.5).all()

import math

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from scipy import ndimage, optimize

import radiowidgets as rw
from radiowidgets.data.bands import cut_bands
from radiowidgets.data.detection import find_sources
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.simulate.observation import mock_sky
from radiowidgets.errors import FrameError, ParameterError
from radiowidgets.features.spectral import fit_spectrum, spectral_indices, tt_plot


def test_the_line_has_the_least_distances():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 10, 60)
    low, high = x + rng.normal(size=60), 0.4 * x + 2 + 0.5 * rng.normal(size=60)
    plot = tt_plot(low, high, 1.0, 0.5)

    def distance(line):
        return np.sum((high - line[0] * low - line[1]) ** 2 / (0.5**2 + line[0] ** 2))

    best = optimize.minimize(
        distance, [0.5, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    assert (plot.slope, plot.offset) == pytest.approx(tuple(best.x), rel=1e-5)
    assert plot.chi2 == pytest.approx(best.fun / 58, rel=1e-6)


def test_the_error_covers_the_truth_when_pixels_are_correlated():
    rng = np.random.default_rng(2)
    width, alphas, errors = 2.0, [], []
    beam_pixels = 2 * math.pi * width**2
    y, x = np.mgrid[:40, :40] - 19.5
    source = np.exp(-(x**2 + y**2) / (2 * 4.0**2))
    mask = source > 0.1
    for _ in range(120):
        low, high = (ndimage.gaussian_filter(rng.normal(size=(40, 40)), width, mode="wrap") for _ in range(2))
        low, high = (noise / noise.std() for noise in (low, high))
        plot = tt_plot(
            (100 * source + low)[mask], (60 * source + high + 7)[mask], 1, 1, beam_pixels=beam_pixels
        )
        alpha, error = plot.index(1e9, 2e9)
        alphas.append(alpha)
        errors.append(error)
        assert plot.r > 0.9
    wanted = math.log(0.6) / math.log(2)
    assert np.mean(alphas) == pytest.approx(wanted, abs=0.02)
    assert np.mean(np.abs(np.array(alphas) - wanted) < 2 * np.array(errors)) > 0.9
    assert np.median(errors) < 4 * np.std(alphas)


def test_nothing_to_plot_is_nan_and_bad_numbers_are_refused():
    assert math.isnan(tt_plot([1, 2], [1, 2], 1, 1).slope)
    assert math.isnan(tt_plot([1, 1, 1], [1, 2, 3], 1, 1).slope)
    assert math.isnan(tt_plot([1, 2, 3], [3, 2, 1], 1, 1).index(1, 2)[0])
    with pytest.raises(ParameterError, match="above 0"):
        tt_plot([1, 2, 3], [1, 2, 3], 0, 1)
    with pytest.raises(ParameterError, match="3 pixels at one"):
        tt_plot([1, 2, 3], [1, 2], 1, 1)
    with pytest.raises(ParameterError, match="two different"):
        tt_plot([1, 2, 3], [1, 2, 4], 1, 1).index(1e9, 1e9)


def test_indices_of_a_mock_sky(tmp_path):
    sky = mock_sky("galactic-7band", 256, seed=3, compact=1500.0, emission=0.0)
    skies = {"1400": sky.observe(), "888": sky.observe(frequency=0.888e9)}
    sources = find_sources(skies["1400"])
    bright = sources[(sources["snr"] > 60) & ~sources["edge"]]
    frames = cut_bands(skies, bright, tmp_path / "set", size=5)
    table = spectral_indices(frames, {"1400": 1.4e9, "888": 0.888e9})
    truth = skies["1400"].truth.sources
    truth = truth[truth["label"].notna()]
    off = []
    for row, ra, dec in zip(table.itertuples(), frames.ra, frames.dec, strict=True):
        apart = np.hypot((truth["ra"] - ra) * np.cos(np.radians(dec)), truth["dec"] - dec)
        if row.reliable and apart.min() < 2 / 3600:
            off.append((row.alpha - truth["alpha"].loc[apart.idxmin()]) / math.hypot(row.alpha_error, 0.1))
    assert len(off) >= 4
    assert np.abs(np.median(off)) < 1.5 and np.mean(np.abs(off) < 3) > 0.8


def test_bands_must_be_there():
    frames = FrameSet.from_images(np.zeros((1, 9, 9, 2)))
    frames.channels = ("a", "b")
    with pytest.raises(FrameError, match="not 'c'"):
        spectral_indices(frames, {"a": 1e9, "c": 2e9})
    with pytest.raises(ParameterError, match="two bands"):
        spectral_indices(frames, {"a": 1e9})
    with pytest.raises(FrameError, match="common beam"):
        spectral_indices(frames, {"a": 1e9, "b": 2e9})
    frames.sources = pd.DataFrame({"ra": [0.0]})
    frames.sources.attrs = {"beam_arcsec_deg": (10.0, 10.0, 0.0), "pixel_scale_arcsec": 2.0}
    assert not spectral_indices(frames, {"a": 1 * u.GHz, "b": 2 * u.GHz})["reliable"].any()
    for wrong, says in (
        ({"masks": [None] * 2}, "2 masks for 1"),
        ({"seed": 1.0}, "flood"),
        ({"calibration": -1}, "an error"),
    ):
        with pytest.raises(ParameterError, match=says):
            spectral_indices(frames, {"a": 1e9, "b": 2e9}, **wrong)
    noise = FrameSet.from_images(np.random.default_rng(1).normal(size=(1, 9, 9, 2)))
    noise.channels, noise.sources = frames.channels, frames.sources
    with pytest.raises(ParameterError, match="a mask has shape"):
        spectral_indices(noise, {"a": 1e9, "b": 2e9}, [np.ones((8, 9), bool)])


def spectrum(kind):
    nu = np.array([0.87, 1.0, 1.36, 1.48, 1.6, 5.0, 9.0]) * 1e9
    x = nu / 1e9
    return nu, {
        "power_law": 0.1 * x**-0.8,
        "curved": 0.1 * x ** (0.4 - 0.5 * np.log(x)),
        "free_free": 0.1 * x**2 * -np.expm1(-(x**-2.1) * 5),
        "absorbed": 0.1 * x**-0.8 * np.exp(-1.5 * x**-2.1),
    }[kind]


@pytest.mark.parametrize("kind", ["power_law", "curved", "free_free", "absorbed"])
def test_a_spectrum_is_known_for_what_it_is(kind):
    nu, flux = spectrum(kind)
    rng = np.random.default_rng(4)
    error = 0.02 * flux
    table = fit_spectrum(nu, flux + error * rng.normal(size=len(nu)), error)
    assert table["chi2_reduced"][kind] < 3
    assert table["aic"][kind] < table["aic"].min() + 4
    if kind == "power_law":
        assert table["alpha"][kind] == pytest.approx(-0.8, abs=3 * table["alpha_error"][kind])
    else:
        assert table["chi2_reduced"]["power_law"] > 5


def test_few_points_allow_few_parameters():
    table = fit_spectrum([1e9, 2e9, 3e9], [1.0, 0.5, np.nan], [0.1, 0.1, 0.1])
    assert list(table.index) == ["power_law", "free_free"]
    assert table["alpha"]["power_law"] == pytest.approx(-1, abs=1e-4)
    with pytest.raises(ParameterError, match="points are left"):
        fit_spectrum([1e9], [1.0], [0.1])
    with pytest.raises(ParameterError, match="3 points are left, at 1 frequencies"):
        fit_spectrum([1e9] * 3, [1.0, 2.0, 3.0], [0.1] * 3)
    assert "curved" not in fit_spectrum([1e9, 1e9, 2e9], [1.0, 1.1, 0.5], [0.1] * 3).index


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "place", "published"),
    [
        # Index and error of Purser et al. 2016 (ancillary.csv), from 5.5 to 22.8 GHz.
        ("C", (141.1755, -52.0339), (-0.06, 0.06)),
        # Marked as resolved out there; from its flux densities, 42.7(5.8) and 23.0(0.4) mJy.
        ("B", (141.1793, -52.0358), (-0.43, 0.10)),
    ],
)
def test_indices_of_g274_are_the_published_ones(realdata, tmp_path, name, place, published):
    maps = realdata / "yso_radio_maps"
    low, high = (
        rw.SkyMap.open(maps / f"ATCASurveyPurser2016_{frequency}_G274.0649.fits")
        for frequency in (5500, 22800)
    )
    frequencies = {"low": low.frequency.to_value("Hz"), "high": high.frequency.to_value("Hz")}
    catalogue = pd.DataFrame({"name": [name], "ra": place[0], "dec": place[1], "radius": 8.0})
    frames = cut_bands({"low": low, "high": high}, catalogue, tmp_path / "set", size=2.5)
    row = spectral_indices(frames, frequencies, calibration=0.05).iloc[0]
    print(f"{name}: {row['alpha']:.3f} +- {row['alpha_error']:.3f}, published {published}")
    assert row["reliable"] and row["alpha_error"] < 0.2
    assert abs(row["alpha"] - published[0]) < 2 * math.hypot(row["alpha_error"], published[1])

"""Multi-band cutouts: units, resolution, grid, missing bands, resuming."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from radio_beam import Beam
from scipy import ndimage
from skies import celestial

import radiowidgets as rw
from radiowidgets.data import bands as module
from radiowidgets.data.bands import SEVEN_BANDS, Band, cut_bands, open_bands
from radiowidgets.data.regrid import (
    brightness_on_grid,
    common_beam,
    convolve,
    flux_factor,
    kernel_moments,
    smooth,
)
from radiowidgets.errors import FrameError, MapError, ParameterError

CENTRE = SkyCoord(200.0 * u.deg, -30.0 * u.deg)
FWHM = 1 / np.sqrt(8 * np.log(2))


def coordinates(kind: str, n: int, scale: float) -> WCS:
    wcs = celestial(n, n, scale=scale)
    if kind == "galactic":
        there = CENTRE.galactic
        wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
        wcs.wcs.crval = [there.l.deg, there.b.deg]
    elif kind == "turned":
        angle = np.radians(30)
        wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return wcs


def band_map(
    name, sources, flux, *, fwhm, scale=2.0, n=301, kind="equatorial", unit=u.Jy / u.beam, header=None
) -> rw.SkyMap:
    """Gaussian sources of a given flux (Jy) as a map in any unit, with the beam known for Jy/beam only."""
    wcs = coordinates(kind, n, scale)
    y, x = np.mgrid[:n, :n]
    pixels = np.zeros((n, n))
    sigma = fwhm * FWHM / scale
    for px, py in zip(*wcs.world_to_pixel(sources), strict=True):
        pixels += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    pixels *= flux / (2 * np.pi * sigma**2)  # Jy / pixel
    beam = Beam(fwhm * u.arcsec) if unit == u.Jy / u.beam else None
    sky = rw.SkyMap.from_array(
        np.zeros((n, n), np.float32), name=name, wcs=wcs, unit=unit, beam=beam, header=header,
        frequency=944 * u.MHz,
    )  # fmt: skip
    if unit == u.DN:
        pixels /= 309.540 * 10 ** (-0.4 * 20.5)
    elif unit == u.W / u.m**2 / u.sr:
        pixels *= 4e12 * 1e-26 / (scale * u.arcsec).to_value(u.rad) ** 2
    else:
        pixels /= sky.flux_factor()
    return rw.SkyMap.from_array(
        pixels, name=name, wcs=wcs, unit=unit, beam=beam, header=header, frequency=944 * u.MHz
    )


@pytest.fixture(scope="module")
def sources() -> SkyCoord:
    offsets = np.array([[0, 0], [61.3, 40.7], [-97.9, 80.1], [33.3, -101.7]]) * u.arcsec
    return CENTRE.spherical_offsets_by(*offsets.T)


def catalogue(sources: SkyCoord, radius=30.0) -> pd.DataFrame:
    return pd.DataFrame({"ra": sources.ra.deg, "dec": sources.dec.deg, "radius": radius})


@pytest.fixture(scope="module")
def set_of_units(sources) -> list[Band]:
    """One flux in maps of all units, scales, projections."""
    header = fits.Header([("MAGZP", 20.5)])
    return [
        Band("radio", band_map("jy-beam", sources, 0.5, fwhm=10, unit=u.Jy / u.beam)),
        Band(
            "milli",
            band_map("mjy", sources, 0.5, fwhm=8, kind="turned", unit=u.mJy / u.sr),
            beam=8 * u.arcsec,
        ),
        Band("3.4um", band_map("dn", sources, 0.5, fwhm=6.1, scale=1.375, n=401, unit=u.DN, header=header)),
        Band(
            "8um",
            band_map("mjy-sr", sources, 0.5, fwhm=2, scale=0.6, n=701, kind="galactic", unit=u.MJy / u.sr),
        ),
        Band(
            "watt",
            band_map("watt", sources, 0.5, fwhm=12, unit=u.W / u.m**2 / u.sr, kind="galactic"),
            beam=12 * u.arcsec,
            bandwidth=4e12,
        ),
        Band("kelvin", band_map("k", sources, 0.5, fwhm=11, unit=u.K), beam=Beam(11 * u.arcsec)),
    ]


@pytest.mark.parametrize("method", ["interp", "exact"])
def test_flux_survives_units_projections_and_resolutions(tmp_path, sources, set_of_units, method):
    frames = cut_bands(set_of_units, catalogue(sources), tmp_path / "set", method=method)
    assert frames.channels == tuple(band.name for band in set_of_units)
    pixels = frames.pixels(range(4))
    assert pixels.shape == (4, 39, 39, 6)  # 2.5 r_s in 2-arcsec pixels, odd
    flux = pixels.sum(axis=(1, 2))
    np.testing.assert_allclose(flux, 0.5, rtol=0.01)
    y, x = np.mgrid[:39, :39] - 19
    # every band has the common beam of 12 arcsec
    np.testing.assert_allclose((pixels.transpose(0, 3, 1, 2) * x).sum(axis=(2, 3)) / flux, 0, atol=0.05)
    expected = (12 * FWHM / 2) ** 2
    for axis in (x, y):
        second = (pixels.transpose(0, 3, 1, 2) * axis**2).sum(axis=(2, 3)) / flux
        np.testing.assert_allclose(second, expected, rtol=0.05)
    peak = 0.5 / (2 * np.pi * expected)
    np.testing.assert_allclose(pixels[:, 19, 19], peak, rtol=0.04)
    assert not frames.sources.filter(like="missing_").to_numpy().any()


def test_more_of_the_map_does_not_change_the_result(set_of_units):
    sky = set_of_units[0].maps
    kernel = kernel_moments(sky.beam, Beam(20 * u.arcsec))
    enough = int(np.ceil(5 * np.sqrt(kernel[0, 0]) / 2))
    near, far = (
        brightness_on_grid(sky, 200.0, -30.0, 39, 2.0, kernel=kernel, margin=margin)
        for margin in (enough, 56)  # 10 r_s
    )
    np.testing.assert_allclose(near, far, atol=1e-4 * far.max())


def test_without_a_common_beam_each_band_keeps_its_own(tmp_path, sources, set_of_units):
    frames = cut_bands(set_of_units[:3], catalogue(sources[:1]), tmp_path / "set", beam=False)
    pixels = frames[0].pixels
    np.testing.assert_allclose(pixels.sum(axis=(0, 1)), 0.5, rtol=0.01)
    widths = np.array([10, 8, 6.1]) * FWHM / 2
    np.testing.assert_allclose(pixels[19, 19], 0.5 / (2 * np.pi * widths**2), rtol=0.1)  # pixels blur
    wider = cut_bands(set_of_units[:3], catalogue(sources[:1]), tmp_path / "wide", beam=20 * u.arcsec)
    np.testing.assert_allclose(wider[0].pixels[19, 19], 0.5 / (2 * np.pi * (20 * FWHM / 2) ** 2), rtol=0.02)
    with pytest.raises(ParameterError, match="smaller than that of map jy-beam"):
        cut_bands(set_of_units[:3], catalogue(sources[:1]), tmp_path / "small", beam=9 * u.arcsec)


def test_frames_know_place_and_source(tmp_path, sources, set_of_units):
    table = catalogue(sources, [30, 12, 50.5, 24]).assign(kind=list("abcd")).set_index(pd.Index([7, 3, 9, 1]))
    frames = cut_bands(set_of_units[:2], table, tmp_path / "set")
    np.testing.assert_array_equal(frames.width, [39, 15, 65, 31])  # 37.5, 15, 63.1, 30 pixels
    np.testing.assert_allclose(frames.ra, table["ra"])
    assert frames[2].dec == table["dec"].iloc[2]
    assert frames.frame_id(0) == "J132000.00-300000.0"
    assert frames.sources.index.tolist() == [7, 3, 9, 1]
    assert frames.sources["kind"].tolist() == list("abcd")
    some = frames.select([2, 1])
    assert some.sources["kind"].tolist() == ["c", "b"]
    assert some.channels == ("radio", "milli")
    assert some.pixels([0, 1], size=20).shape == (2, 20, 20, 2)
    assert frames.network_input(size=16).shape == (4, 16, 16, 1)
    named = cut_bands(set_of_units[:1], table.assign(name=list("wxyz")), tmp_path / "named")
    assert named.frame_ids.tolist() == list("wxyz")


def test_missing_bands_are_blank_and_said_to_be(tmp_path, sources, set_of_units):
    far = band_map("far", sources, 1, fwhm=12).wcs
    far.wcs.crval = [210, -30]
    elsewhere = rw.SkyMap.from_array(np.zeros((301, 301), np.float32), name="far", wcs=far, unit=u.MJy / u.sr)
    blank = rw.SkyMap.from_array(
        np.full((301, 301), np.nan, np.float32), name="blank", wcs=celestial(301, 301), unit=u.MJy / u.sr
    )
    half = np.array(band_map("half", sources, 0.5, fwhm=12, unit=u.MJy / u.sr).pixels)
    half[:, :150] = np.nan
    half = rw.SkyMap.from_array(half, name="half", wcs=celestial(301, 301), unit=u.MJy / u.sr)
    maps = {"radio": set_of_units[0].maps, "12um": elsewhere, "22um": half, "70um": [elsewhere, blank]}
    frames = cut_bands(maps, catalogue(sources), tmp_path / "set")
    pixels = frames.pixels(range(4))
    assert np.isfinite(pixels[..., 0]).all()
    assert np.isnan(pixels[..., 1]).all()
    assert np.isnan(pixels[..., 3]).all()
    assert frames.sources["missing_12um"].all()
    assert frames.sources["missing_70um"].all()
    assert not frames.sources["missing_radio"].any()
    seen = np.isfinite(pixels[..., 2]).mean(axis=(1, 2))
    np.testing.assert_allclose(frames.sources["covered_22um"], seen)
    assert 0.4 < seen[0] < 0.6
    np.testing.assert_array_equal(frames.sources["missing_22um"], seen == 0)
    assert np.isfinite(frames.noise.rms).all()


def test_the_map_that_shows_most_of_a_source_is_taken(tmp_path, sources, set_of_units):
    half = np.array(set_of_units[0].maps.pixels)
    half[:, :150] = np.nan
    half = rw.SkyMap.from_array(
        2 * half, name="half", wcs=celestial(301, 301), unit=u.Jy / u.beam, beam=Beam(10 * u.arcsec)
    )
    frames = cut_bands([Band("radio", [half, set_of_units[0].maps])], catalogue(sources), tmp_path / "set")
    flux = np.sort(frames.pixels(range(4))[..., 0].sum(axis=(1, 2)))
    np.testing.assert_allclose(flux, [0.5, 0.5, 0.5, 1], rtol=0.01)


def test_primary_beam(tmp_path, sources, set_of_units):
    sky = band_map("attenuated", sources, 0.5, fwhm=10)
    coarse = celestial(31, 31, scale=20)
    response = np.exp(-((np.mgrid[:31, :31] - 15) ** 2).sum(axis=0) / (2 * 6**2))
    sky.primary_beam = rw.SkyMap.from_array(response, wcs=coarse)
    frames = cut_bands({"radio": sky}, catalogue(sources), tmp_path / "set", correct_primary_beam=True)
    plain = cut_bands({"radio": sky}, catalogue(sources), tmp_path / "plain")
    offsets = CENTRE.separation(sources).arcsec / 20
    ratio = plain.pixels(range(4))[:, 19, 19, 0] / frames.pixels(range(4))[:, 19, 19, 0]
    np.testing.assert_allclose(ratio, np.exp(-(offsets**2) / (2 * 6**2)), rtol=0.03)
    blanked = cut_bands(
        {"radio": sky}, catalogue(sources), tmp_path / "deep", correct_primary_beam=True, least_response=0.6
    )
    assert blanked.sources["missing_radio"].tolist() == (np.exp(-(offsets**2) / 72) < 0.5).tolist()


# ------------------------------------------------------------------------------------
# the catalogue and the folder


def test_what_is_left_out_is_listed(tmp_path, sources, set_of_units):
    table = catalogue(sources, [30.0, np.nan, 1e5, 30.0])
    table.loc[4] = [np.nan, -30, 20]
    table.loc[5] = [210, -30, 20]
    with pytest.warns(
        UserWarning, match="4 of 6 sources are left out: 1 no position, 1 no radius, 1 outside radio"
    ):
        frames = cut_bands(set_of_units[:1], table, tmp_path / "set")
    assert frames.sources.index.tolist() == [0, 3]
    assert frames.left_out["reason"].to_dict() == {
        1: "no radius", 2: "wider than 2048 pixels", 4: "no position", 5: "outside radio"
    }  # fmt: skip
    with (
        pytest.raises(ParameterError, match="no source is left"),
        pytest.warns(UserWarning, match="left out"),
    ):
        cut_bands(set_of_units[:1], table.iloc[1:3], tmp_path / "none")


def every_byte(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_stopped_set_goes_on_to_the_same_bytes(tmp_path, sources, set_of_units, monkeypatch):
    monkeypatch.setattr(module, "_MOST_TOGETHER", 2)
    table = pd.concat([catalogue(sources, r) for r in (20.0, 24.0, 28.0)], ignore_index=True)
    cut_bands(set_of_units[:2], table, tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop_after_two(done, total):
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        cut_bands(set_of_units[:2], table, tmp_path / "stopped", threads=1, progress=stop_after_two)
    with pytest.raises(FrameError, match=r"4 of 12 sources"):
        open_bands(tmp_path / "stopped")
    calls = []
    monkeypatch.setattr(module, "_cut", lambda *args, cut=module._cut: (calls.append(args[1]), cut(*args))[1])
    cut_bands(set_of_units[:2], table, tmp_path / "stopped", threads=2)
    assert len(calls) == 8
    assert every_byte(tmp_path / "stopped") == every_byte(tmp_path / "whole")
    assert len(open_bands(tmp_path / "stopped")) == 12
    for other in (
        {"size": 3},
        {"method": "exact"},
        {"pixel_scale": 3.0},
        {"beam": 30 * u.arcsec},
    ):
        with pytest.raises(FrameError, match="was made with"):
            cut_bands(set_of_units[:2], table, tmp_path / "whole", **other)
    with pytest.raises(FrameError, match="was made with"):
        cut_bands(set_of_units[:2], table.iloc[:5], tmp_path / "whole")


def test_a_killed_builder_goes_on(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        import astropy.units as u, numpy as np, pandas as pd
        sys.path.insert(0, {tests!r})
        from skies import noisy_sky
        from radiowidgets.data import bands
        bands._MOST_TOGETHER = 3
        sky = noisy_sky()
        x, y = np.random.default_rng(1).uniform(40, 200, (2, 12))
        ra, dec = sky.pixel_to_sky(x, y)
        table = pd.DataFrame(dict(ra=ra, dec=dec, radius=20.0))
        def progress(done, total):
            if len(sys.argv) > 2 and done == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        bands.cut_bands({{"radio": sky}}, table, sys.argv[1], threads=1, progress=progress)
        """
    ).format(tests=str(Path(__file__).parents[1]))
    for name, more in (("whole", []), ("killed", ["kill"]), ("killed", [])):
        result = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / name), *more], check=False, capture_output=True
        )
        if more:
            assert result.returncode == -signal.SIGKILL
            assert (tmp_path / "killed" / "build.lock").exists()
        else:
            assert result.returncode == 0, result.stderr
    assert every_byte(tmp_path / "killed") == every_byte(tmp_path / "whole")


def test_two_builders_do_not_meet(tmp_path, sources, set_of_units):
    import socket

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "build.lock").write_text(f"{socket.gethostname()} {os.getpid()}\n")
    with pytest.raises(FrameError, match=f"being written by process {os.getpid()}"):
        cut_bands(set_of_units[:1], catalogue(sources), tmp_path / "set")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: (p / "pixels.zarr").rename(p / "x"), "no multi-band cutouts"),
        (lambda p: (p / "sources.parquet").unlink(), "no multi-band cutouts"),
        (lambda p: (p / "pixels.zarr" / "zarr.json").write_text("{"), "damaged"),
        (lambda p: (p / "pixels.zarr" / "pixels" / "zarr.json").unlink(), "damaged"),
        (lambda p: rewrite(p, "format", 9), "format 9"),
        (lambda p: rewrite(p, "bands", None), "damaged"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, sources, set_of_units, harm, message):
    cut_bands(set_of_units[:1], catalogue(sources), tmp_path / "set")
    harm(tmp_path / "set")
    with pytest.raises(FrameError, match=message):
        open_bands(tmp_path / "set")


def rewrite(folder, key, value) -> None:
    place = folder / "pixels.zarr" / "zarr.json"
    content = json.loads(place.read_text())
    content["attributes"][key] = value
    place.write_text(json.dumps(content))


def test_a_folder_with_other_things_is_not_taken(tmp_path, sources, set_of_units):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FrameError, match=r"thesis\.tex"):
        cut_bands(set_of_units[:1], catalogue(sources), tmp_path)


def test_bad_input(tmp_path, sources, set_of_units):
    table, radio = catalogue(sources), set_of_units[0].maps
    bare = rw.SkyMap.from_array(np.zeros((9, 9), np.float32), unit=u.MJy / u.sr)
    unitless = rw.SkyMap.from_array(
        np.zeros((9, 9), np.float32), wcs=celestial(9, 9), beam=Beam(5 * u.arcsec)
    )
    watt = rw.SkyMap.from_array(np.zeros((9, 9), np.float32), wcs=celestial(9, 9), unit=u.W / u.m**2 / u.sr)
    for bands, options, error, message in (
        ({}, {}, ParameterError, "bands are given as"),
        ({"radio": []}, {}, ParameterError, "has no map"),
        ([Band("a", radio), Band("a", radio)], {}, ParameterError, "of its own"),
        ({"radio": radio}, {"method": "cubic"}, ParameterError, "method is 'cubic'"),
        ({"radio": radio}, {"size": 0}, ParameterError, "size is 0"),
        ({"radio": radio}, {"pixel_scale": 0}, ParameterError, "pixel_scale"),
        ({"radio": radio}, {"least_response": 1}, ParameterError, "least_response"),
        ({"radio": radio, "8um": bare}, {}, MapError, "no coordinates"),
        ({"radio": unitless}, {}, MapError, "zero_flux"),
        ({"3.4um": unitless}, {}, MapError, "MAGZP"),
        ({"radio": radio, "x": watt}, {}, MapError, "no beam"),
        ([Band("x", watt, beam=9 * u.arcsec)], {}, MapError, "bandwidth"),
    ):
        with pytest.raises(error, match=message):
            cut_bands(bands, table, tmp_path / "set", **options)
    with pytest.raises(ParameterError, match="no column radius"):
        cut_bands({"radio": radio}, table[["ra", "dec"]], tmp_path / "set")
    with pytest.raises(ParameterError, match="Parquet"):
        cut_bands({"radio": radio}, table.assign(odd=[1, "a", None, 2j]), tmp_path / "odd")


# ------------------------------------------------------------------------------------
# resolution


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.7])
def test_smoothing_is_a_gaussian(sigma):
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.normal(size=(60, 75)), 2.0)
    out = smooth(image, np.diag([sigma**2, sigma**2]))
    expected = ndimage.gaussian_filter(image, sigma, mode="constant", truncate=8) / ndimage.gaussian_filter(
        np.ones_like(image), sigma, mode="constant", truncate=8
    )
    # scipy's kernel is sampled at pixels, which is no good for a narrow one
    inside = np.s_[20:-20, 20:-20] if sigma > 0.5 else np.s_[30:31, 30:31]
    np.testing.assert_allclose(out[inside], expected[inside], atol=2e-3 * np.abs(image).max())
    image[20:25, 30:40] = np.nan
    blanked = smooth(image, np.diag([sigma**2, sigma**2]))
    np.testing.assert_array_equal(np.isnan(blanked), np.isnan(image))
    np.testing.assert_allclose(smooth(np.ones((9, 9)), np.diag([4.0, 1.0])), 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["equatorial", "turned"])
def test_convolving_a_map_keeps_peak_and_flux(kind):
    wcs = coordinates(kind, 201, 2.0)
    old = Beam(12 * u.arcsec, 8 * u.arcsec, 20 * u.deg)
    new = Beam(20 * u.arcsec, 15 * u.arcsec, 70 * u.deg)

    def point(beam: Beam) -> np.ndarray:
        y, x = np.mgrid[:201, :201] - 100
        east, north = np.tensordot(wcs.pixel_scale_matrix * 3600, np.stack([x, y]), 1)
        pa = beam.pa.to_value(u.rad)
        along, across = east * np.sin(pa) + north * np.cos(pa), east * np.cos(pa) - north * np.sin(pa)
        a, b = (axis.to_value(u.arcsec) * FWHM for axis in (beam.major, beam.minor))
        return np.exp(-(along**2 / a**2 + across**2 / b**2) / 2)

    sky = rw.SkyMap.from_array(point(old), wcs=wcs, beam=old, unit=u.mJy / u.beam)
    out = convolve(sky, new)
    np.testing.assert_allclose(out.pixels, point(new), atol=2e-3)
    assert out.beam.major.to_value(u.arcsec) == pytest.approx(20)
    assert out.flux_per_pixel().pixels.sum() == pytest.approx(sky.flux_per_pixel().pixels.sum(), rel=1e-3)
    brightness = rw.SkyMap.from_array(point(old), wcs=wcs, beam=old, unit=u.MJy / u.sr)
    assert convolve(brightness, new).pixels.sum() == pytest.approx(brightness.pixels.sum(), rel=1e-3)
    assert "convolved" in out.notes[-1]
    with pytest.raises(MapError, match="does not fit"):
        convolve(out, old)
    with pytest.raises(MapError, match="no beam"):
        convolve(rw.SkyMap.from_array(np.zeros((9, 9))), new)


def test_common_beams():
    arcsec = u.arcsec
    small, large = Beam(6 * arcsec), Beam(12 * arcsec)
    assert common_beam([small, large]) == large
    flat = Beam(14 * arcsec, 5 * arcsec, 30 * u.deg)
    both = common_beam([large, flat])
    assert kernel_moments(large, both) is not None
    assert kernel_moments(flat, both) is not None
    circle = common_beam([small, flat], turned=True)
    assert circle.major == circle.minor == 14 * arcsec
    assert kernel_moments(large, small) is None
    assert not kernel_moments(flat, Beam(14 * arcsec, 5 * arcsec, 30.0001 * u.deg)).any()
    # radio_beam agrees on what is in between
    between = both.deconvolve(small)
    axes = np.sqrt(np.linalg.eigvalsh(kernel_moments(small, both))) / FWHM
    np.testing.assert_allclose(
        axes, [between.minor.to_value(arcsec), between.major.to_value(arcsec)], rtol=1e-3
    )


def test_factors():
    wcs = celestial(9, 9)
    pixel = (2 * u.arcsec).to_value(u.rad) ** 2

    def sky(unit, **more):
        return rw.SkyMap.from_array(np.zeros((9, 9), np.float32), wcs=wcs, unit=unit, **more)

    assert flux_factor(sky(u.MJy / u.sr)) == pytest.approx(1e6 * pixel)
    assert flux_factor(sky(u.mJy / u.beam), beam=Beam(10 * u.arcsec)) == pytest.approx(
        1e-3 / (np.pi / (4 * np.log(2)) * 25)
    )
    assert flux_factor(sky(None), zero_flux=8.363, zero_point=13.0) == pytest.approx(8.363 * 10**-5.2)
    # MSX band E: 2.476e13 Jy/sr in a W/m2/sr
    assert flux_factor(sky(u.W / u.m**2 / u.sr), bandwidth=1e26 / 2.476e13) == pytest.approx(2.476e13 * pixel)
    kelvin = (1 * u.K).to_value(u.Jy / u.sr, u.brightness_temperature(1.4 * u.GHz)) * pixel
    assert flux_factor(sky(u.K), frequency=1.4 * u.GHz) == pytest.approx(kelvin, rel=1e-6)
    with pytest.raises(MapError, match="no frequency"):
        flux_factor(sky(u.K))


def test_names_of_the_paper_are_known():
    sky = rw.SkyMap.from_array(np.zeros((9, 9), np.float32), wcs=celestial(9, 9))
    for name in SEVEN_BANDS[1:]:
        assert Band(name, sky).resolution(sky).major.to_value(u.arcsec) > 1


# ------------------------------------------------------------------------------------
# real maps

MSX_E = 1e26 / 2.476e13  # Hz: what brings W/(m2 sr) to the Jy/sr of the MSX explanatory guide


def near_infrared(folder):
    """2MASS: zero magnitudes of Cohen et al. 2003; seeing of 2.5 arcsec, resampled to 5-arcsec pixels."""
    for name, zero_flux in (("j", 1594.0), ("h", 1024.0), ("k", 666.7)):
        sky = rw.SkyMap.open(folder / f"2MASS_{name}.fits.gz")
        yield Band(name.upper(), sky, beam=8 * u.arcsec, zero_flux=zero_flux)


def test_the_galactic_centre_in_five_bands(realdata, tmp_path):
    folder = realdata / "galactic_centre_multiband"
    bands = [
        Band("1.1mm", rw.SkyMap.open(folder / "gc_bolocam_gps.fits")),
        *near_infrared(folder),
        Band("21um", rw.SkyMap.open(folder / "MSX_E.fits.gz"), beam=18.3 * u.arcsec, bandwidth=MSX_E),
    ]
    # Sgr A*, Sgr C at the border of 2MASS and MSX, and a place off the map
    table = pd.DataFrame(
        {
            "ra": [266.41684, 266.15, 200.0],
            "dec": [-29.00781, -29.47, 0.0],
            "radius": 120.0,
            "name": ["Sgr A*", "Sgr C", "elsewhere"],
        }
    )
    with pytest.warns(UserWarning, match="1 of 3 sources are left out: 1 outside 1.1mm"):
        frames = cut_bands(bands, table, tmp_path / "set")
    assert frames.channels == ("1.1mm", "J", "H", "K", "21um")
    pixels = frames.pixels(range(2))
    covered = frames.sources.filter(like="covered_").to_numpy()
    assert (covered[0] == 1).all()
    assert 0 < frames.sources["covered_K"].iloc[1] < 0.5
    assert np.isfinite(pixels).mean(axis=(1, 2)) == pytest.approx(covered)
    # dust: warm outshines cold by far
    assert np.nansum(pixels[0, ..., 4]) > 50 * np.nansum(pixels[0, ..., 0]) > 0
    # the common beam is Bolocam's, 33 arcsec
    assert json.loads((tmp_path / "set" / "pixels.zarr" / "zarr.json").read_text())["attributes"][
        "beam_arcsec_deg"
    ][0] == pytest.approx(33, abs=0.1)
    # the peak of the warm dust of Sgr A* lies within the beam of the radio source
    y, x = np.unravel_index(np.nanargmax(pixels[0, ..., 4]), pixels.shape[1:3])
    centre = pixels.shape[1] // 2
    assert np.hypot(y - centre, x - centre) * 7.2 < 40


def test_magpis_and_eight_microns_on_one_grid(realdata, tmp_path):
    folder = realdata / "magpis_g10.5"
    radio = rw.SkyMap.open(folder / "magpis_G10.5+0.0_20cm.fits")
    infrared = rw.SkyMap.open(folder / "irac8um_G10.5+0.0_51arcsec.fits")
    ra, dec = radio.pixel_to_sky(149.5, 149.5)
    table = pd.DataFrame({"ra": [float(ra)], "dec": [float(dec)], "radius": [150.0]})
    frames = cut_bands(
        [Band("radio", radio), Band("8um", infrared, beam=51 * u.arcsec)], table, tmp_path / "set"
    )
    pixels = frames[0].pixels
    assert np.isfinite(pixels).all()
    # what is bright in radio is bright at 8 um
    assert np.corrcoef(pixels[..., 0].ravel(), pixels[..., 1].ravel())[0, 1] > 0.5

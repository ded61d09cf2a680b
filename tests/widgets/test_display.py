"""What Review shows: other maps on a frame's grid, channels, noise, fluxes, thumbnails."""

import json
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from radio_beam import Beam
from skies import celestial, noisy_sky

import radiowidgets as rw
from radiowidgets.data.regrid import onto_frame
from radiowidgets.errors import MapError, ParameterError
from radiowidgets.widgets.display import Display

RA, DEC = 200.01, -30.02  # of a source


def galactic(n: int, scale: float, turn: float = 25.0) -> WCS:
    """Galactic coordinates turned by some degrees, centred near the source."""
    centre = SkyCoord(200.0, -30.0, unit="deg").galactic
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.crval = [centre.l.deg, centre.b.deg]
    wcs.wcs.crpix = [(n + 1) / 2, (n + 1) / 2]
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.cd = scale / 3600 * np.array([[-cos, sin], [sin, cos]])
    return wcs


def with_source(
    n: int, wcs: WCS, fwhm: float, *, name: str = "other", peak: float = 1.0, **known
) -> rw.SkyMap:
    """A Gaussian source at RA, DEC, of `fwhm` pixels."""
    x0, y0 = wcs.world_to_pixel(SkyCoord(RA, DEC, unit="deg"))
    y, x = np.mgrid[:n, :n]
    pixels = peak * np.exp(-4 * np.log(2) * ((x - x0) ** 2 + (y - y0) ** 2) / fwhm**2)
    return rw.SkyMap.from_array(pixels, name=name, wcs=wcs, **known)


def shown(frames: rw.FrameSet, bands=None) -> Display:
    return Display(SimpleNamespace(frames=frames), bands)


def cut(sky: rw.SkyMap, bands=None, size: int = 64) -> Display:
    return shown(rw.cut_windows(sky, size=size), bands)


def centroid(image: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = np.where(image > 0.3 * np.nanmax(image), image, 0)
    return float((x * weight).sum() / weight.sum()), float((y * weight).sum() / weight.sum())


@pytest.mark.parametrize("scale", [0.7, 2.0, 9.0])
def test_a_source_of_a_turned_galactic_map_stays_where_it_is(scale):
    other = with_source(int(900 / scale), galactic(int(900 / scale), scale), max(3.0, 16 / scale))
    display = cut(noisy_sky(), [other])
    sky = display.frames.maps["field"]
    x, y = (float(values) for values in sky.wcs.world_to_pixel(SkyCoord(RA, DEC, unit="deg")))
    index = int(np.flatnonzero(
        (abs(display.frames.x + 31.5 - x) < 17) & (abs(display.frames.y + 31.5 - y) < 17)
    )[0])  # fmt: skip
    content, buffers = display.large(index, {"bands": [0, 1]})
    band = np.frombuffer(buffers[2], np.float32).reshape(64, 64)
    assert centroid(band) == pytest.approx((x - content["x"], y - content["y"]), abs=0.2)
    content, buffers = display.tiles(np.array([index]), {"size": 32, "band": 1})
    tile = np.frombuffer(buffers[0], np.float16).reshape(32, 32)[::-1].astype(float)
    place = (
        (x - int(display.frames.x[index]) + 0.5) / 2 - 0.5,
        (y - int(display.frames.y[index]) + 0.5) / 2 - 0.5,
    )
    assert centroid(tile) == pytest.approx(place, abs=0.25)
    json.dumps(content, allow_nan=False)


def test_regridding_keeps_values_blanks_and_edges():
    wcs = celestial(60, 50)
    pixels = np.random.default_rng(3).normal(size=(50, 60)).astype(np.float32)
    pixels[10:20, 5:15] = np.nan
    sky = rw.SkyMap.from_array(pixels, wcs=wcs)
    np.testing.assert_allclose(onto_frame(sky, wcs, (50, 60)), pixels, atol=1e-6)
    wide = wcs.deepcopy()
    wide.wcs.crpix += 10  # a frame that reaches ten pixels beyond the map
    image = onto_frame(sky, wide, (70, 80))
    np.testing.assert_allclose(image[10:60, 10:70], pixels, atol=1e-6)
    image[10:60, 10:70] = np.nan
    assert np.isnan(image).all()
    assert onto_frame(sky, celestial(60, 50, ra=20.0), (50, 60)) is None


def test_a_band_elsewhere_is_blank_and_one_without_coordinates_refused():
    far = rw.SkyMap.from_array(np.ones((20, 20)), name="far", wcs=celestial(20, 20, ra=10.0))
    display = cut(noisy_sky(), {"elsewhere": far})
    assert display.about["bands"][1]["name"] == "elsewhere"
    _, buffers = display.tiles(np.array([0, 1]), {"size": 32, "band": 1, "noise": "surroundings"})
    assert np.isnan(np.frombuffer(buffers[0], np.float16)).all()
    content, buffers = display.large(0, {"bands": [1]})
    assert np.isnan(np.frombuffer(buffers[0], np.float32)).all()
    json.dumps(content, allow_nan=False)
    with pytest.raises(MapError, match="no coordinates"):
        cut(noisy_sky(), [rw.SkyMap.from_array(np.ones((9, 9)), name="bare")])
    with pytest.raises(ParameterError, match="a band is a int"):
        cut(noisy_sky(), [3])
    for asked in ({"band": 2}, {"band": "x"}, {"band": True}, {"band": "rgb", "bands": [0, 1, 9]}):
        with pytest.raises(ParameterError, match="asked for bands"):
            display.tiles(np.array([0]), {"size": 32, **asked})
    with pytest.raises(ParameterError, match="noise is 'loud'"):
        display.tiles(np.array([0]), {"size": 32, "noise": "loud"})


def test_rgb_tiles_hold_three_planes_each_in_its_own_sigma():
    sky = noisy_sky()
    bright = rw.SkyMap.from_array(sky.pixels * 1000, name="bright", wcs=sky.wcs)
    display = cut(sky, [bright])
    content, buffers = display.tiles(np.array([2, 5]), {"size": 64, "band": "rgb", "bands": [0, 1, 1]})
    tiles = np.frombuffer(buffers[0], np.float16).reshape(2, 3, 64, 64).astype(float)
    assert content["planes"] == 3 and content["bands"] == [0, 1, 1]
    np.testing.assert_array_equal(tiles[:, 1], tiles[:, 2])
    assert np.abs(tiles[:, 0] - tiles[:, 1]).max() < 0.03 * np.abs(tiles).max()


def test_channels_of_colour_images_are_bands():
    images = np.random.default_rng(0).normal(size=(3, 40, 40, 3)).astype(np.float32)
    images += np.array([10, 20, 30], np.float32)
    images[1, :, :, 2] = np.nan
    display = shown(rw.FrameSet.from_images(images))
    assert [band["name"] for band in display.about["bands"]] == ["mean of channels", "red", "green", "blue"]
    content, buffers = display.large(1, {"bands": [0, 2, 3]})
    mean, green, blue = (
        np.frombuffer(buffers[k], np.float32).reshape(40, 40) for k in (0, 2, 3)
    )  # buffer 1 is the sky
    np.testing.assert_allclose(mean, images[1, :, :, :2].mean(axis=-1), rtol=1e-5)
    np.testing.assert_allclose(green, images[1, :, :, 1], rtol=1e-6)
    assert np.isnan(blue).all()
    assert content["bands"][1]["background"] == pytest.approx(20, abs=0.2)
    assert content["bands"][0]["flux"] is None and content["bands"][0]["no_flux"]


def test_a_frame_full_of_emission_is_shown_against_what_is_round_it():
    rng = np.random.default_rng(5)
    pixels = rng.normal(size=(320, 320)).astype(np.float32)
    pixels[128:192, 128:192] += 300 * rng.random((64, 64)).astype(np.float32)
    sky = rw.SkyMap.from_array(pixels, name="full", wcs=celestial(320, 320), unit="Jy/beam")
    display = cut(sky)
    full = int(np.flatnonzero((display.frames.x == 128) & (display.frames.y == 128))[0])
    loud = display.levels(0, np.array([full]), "frame")[1][0]
    background, rms = (values[0] for values in display.levels(0, np.array([full]), "surroundings"))
    assert loud > 50 and rms == pytest.approx(1, abs=0.15) and background == pytest.approx(0, abs=0.2)
    assert display.levels(0, np.array([full]), "map")[1][0] == pytest.approx(1, abs=0.1)
    quiet = display.levels(0, np.array([0]), "surroundings")[1][0]
    assert quiet <= display.frames.noise.rms[0] * 1.0001


def test_sums_become_flux_densities_in_every_band():
    wcs, beam = celestial(256, 256), Beam(12 * u.arcsec)
    own = with_source(256, wcs, 6, name="own", peak=0.5, unit=u.Jy / u.beam, beam=beam)
    # The same source of 0.5 Jy on pixels of 3 arcsec, in MJy/sr.
    solid = 0.5e-6 / beam.sr.to_value(u.sr)
    other = with_source(200, galactic(200, 3.0), 4, peak=solid, unit=u.MJy / u.sr)
    unknown = with_source(200, galactic(200, 3.0), 4, name="counts")
    display = cut(own, [other, unknown], size=256)
    content, buffers = display.large(0, {"bands": [0, 1, 2]})
    for k, place in ((0, 0), (1, 2)):
        pixels = np.frombuffer(buffers[place], np.float32)
        assert np.nansum(pixels) * content["bands"][k]["flux"] == pytest.approx(0.5, rel=0.01)
    assert content["bands"][0]["beam_area"] == pytest.approx(own.beam_area_pixels)
    assert content["bands"][1]["beam_area"] == pytest.approx(2.25, rel=1e-3)  # no beam: one of its own pixels
    assert content["bands"][2]["flux"] is None and "no unit" in content["bands"][2]["no_flux"]


def test_thumbnail_of_the_parent_map():
    pixels = np.random.default_rng(2).normal(size=(700, 1100)).astype(np.float32)
    pixels[600:690, 50:140] += 100
    display = cut(rw.SkyMap.from_array(pixels, name="wide"), size=128)
    content, buffers = display.parent(3)
    assert content["size"] == [1100, 700] and max(content["width"], content["height"]) == 256
    small = np.frombuffer(buffers[0], np.float16).reshape(content["height"], content["width"])
    y, x = np.unravel_index(small.argmax(), small.shape)
    assert 2 <= y < 25 and 10 < x < 35  # at the upper left: the top row comes first
    images = rw.FrameSet.from_images(np.zeros((2, 8, 8)))
    content, _ = shown(images).parent(0)
    assert content["map"] is None


def test_objects_are_placed_in_pixels_of_the_frame():
    display = cut(noisy_sky())
    frame = display.frames[4]
    where = frame.wcs.pixel_to_world(20.25, 41.5).icrs
    display._objects = lambda _: [("SNRs", "G1.9<b>", where.ra.deg, where.dec.deg, 3.0)]
    (found,) = display.large(4, {})[0]["objects"]
    assert (found["name"], found["catalogue"]) == ("G1.9<b>", "SNRs")
    assert (found["x"], found["y"]) == pytest.approx((20.25, 41.5), abs=1e-3)

"""Frames centred on catalogued sources."""

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from skies import celestial, noisy_sky

import radiowidgets as rw
from radiowidgets.data.catalogues import read_catalogue
from radiowidgets.data.cutouts import cut_sources
from radiowidgets.data.headers import pixel_coordinates
from radiowidgets.errors import MapError, ParameterError


def catalogue(sky: rw.SkyMap, x, y, **columns) -> pd.DataFrame:
    ra, dec = sky.pixel_to_sky(np.asarray(x, float), np.asarray(y, float))
    return pd.DataFrame({"ra": ra, "dec": dec, **columns})


def points(x: np.ndarray, y: np.ndarray, shape=(256, 320)) -> np.ndarray:
    """Point sources at whole pixels."""
    pixels = np.zeros(shape, np.float32)
    pixels[y, x] = 1
    return pixels


def test_sources_lie_in_the_central_pixel():
    rng = np.random.default_rng(1)
    x, y = rng.integers(30, 290, 50), rng.integers(30, 220, 50)
    sky = rw.SkyMap.from_array(points(x, y), wcs=celestial(320, 256))
    table = catalogue(sky, x, y, major=rng.uniform(10, 60, 50))
    frames = cut_sources(sky, table)
    assert len(frames) == 50
    # twice the FWHM in 2-arcsec pixels, times 1.5
    np.testing.assert_array_equal(frames.width, np.ceil(1.5 * table["major"]))
    np.testing.assert_array_equal(frames.width, frames.height)
    for frame in frames:
        assert frame.pixels[frame.height // 2, frame.width // 2] == 1
    assert frames.left_out is not None
    assert frames.left_out.empty


def test_positions_between_pixels_are_centred_to_half_a_pixel():
    sky = noisy_sky()
    x, y = np.random.default_rng(2).uniform(20, 200, (2, 500))
    for size in (20, 21):
        frames = cut_sources(sky, catalogue(sky, x, y), size=size)
        assert np.abs(frames.x + (size - 1) / 2 - x).max() <= 0.5 + 1e-6
        assert np.abs(frames.y + (size - 1) / 2 - y).max() <= 0.5 + 1e-6
        apart = SkyCoord(frames.ra * u.deg, frames.dec * u.deg).separation(
            SkyCoord(*(frames.sources[c].to_numpy() * u.deg for c in ("ra", "dec")))
        )
        assert apart.arcsec.max() <= 2 * 0.5 * np.sqrt(2) + 1e-3


def test_frames_reach_beyond_the_map_and_are_blank_there():
    sky = noisy_sky()
    frames = cut_sources(sky, catalogue(sky, [0, 319, 100], [0, 255, 100]), size=64)
    assert frames.x.tolist() == [-32, 287, 68]
    assert np.isnan(frames[0].pixels[:32]).all()
    np.testing.assert_array_equal(frames[0].pixels[32:, 32:], sky.pixels[:32, :32])
    assert frames.noise.blank_fraction[2] == 0
    assert frames.noise.blank_fraction[0] == pytest.approx(1 - (32 / 64) ** 2)


def test_what_gives_no_frame_is_counted_and_listed():
    sky = noisy_sky()
    table = catalogue(
        sky,
        [10, 400, 20, np.nan, 30, 50, 60],
        [10, 10, -3, 40, 40, 50, 60],
        radius=[20, 20, 20, 20, np.nan, 0, 1e7],
        name=list("abcdefg"),
    ).set_index("name")
    table.loc["h"] = [table["ra"]["a"] + 180, -table["dec"]["a"], 20]
    with pytest.warns(
        UserWarning,
        match=r"7 of 8 sources have no frame: 1 an extent of over 4 maps, 2 no extent, 1 no position, 3 outside",
    ):
        frames = cut_sources(sky, table)
    assert frames.sources.index.tolist() == ["a"]
    assert frames.left_out["reason"].to_dict() == {
        "b": "outside",
        "c": "outside",
        "d": "no position",
        "e": "no extent",
        "f": "no extent",
        "g": "an extent of over 4 maps",
        "h": "outside",
    }
    with pytest.warns(UserWarning, match="8 of 8"):
        none = cut_sources(sky, table.assign(ra=table["ra"] + 90))
    assert len(none) == len(none.sources) == 0
    assert len(none.table) == 0


def test_rows_follow_their_frames():
    sky = noisy_sky()
    frames = cut_sources(sky, catalogue(sky, np.arange(20, 120, 10), np.full(10, 50)), size=16)
    some = frames.select([7, 2])
    assert some.sources.index.tolist() == [7, 2]
    assert some.frame_ids.tolist() == [frames.frame_id(7), frames.frame_id(2)]
    assert frames.frame_id(0) == "field-x00012-y00042-16x16"


def test_sources_in_one_pixel_keep_a_frame_each():
    sky = noisy_sky()
    frames = cut_sources(sky, catalogue(sky, [50.0, 50.1, 50.2, 80], [50.0, 50.1, 50.0, 60]), size=9)
    first = "field-x00046-y00046-9x9"
    assert frames.frame_ids.tolist() == [first, f"{first}-2", f"{first}-3", "field-x00076-y00056-9x9"]


def test_extents_come_from_the_box_the_circle_or_the_axis():
    sky = noisy_sky()
    table = catalogue(sky, [100, 150], [100, 150], major=[10.0, 20.0])
    assert cut_sources(sky, table).width.tolist() == [15, 30]
    table["radius"] = [20.0, 30.0]
    assert cut_sources(sky, table).width.tolist() == [30, 45]
    table["x"], table["y"] = [100, 150], [100, 150]
    for name, values in {"x0": [95, 140], "x1": [105, 160], "y0": [90, 145], "y1": [111, 150]}.items():
        table[name] = values
    assert cut_sources(sky, table).width.tolist() == [32, 30]
    assert cut_sources(sky, table, factor=1).width.tolist() == [21, 20]
    # boxes of another map are in other pixels
    finer = rw.SkyMap.from_array(np.zeros((512, 640), np.float32), wcs=celestial(640, 512, scale=1.0))
    assert cut_sources(finer, table).width.tolist() == [60, 90]
    table["LAS"] = [200.0, 100.0]
    assert cut_sources(sky, table, extent="LAS").width.tolist() == [150, 75]


def test_found_sources_fill_their_frames():
    sky = noisy_sky()
    found = rw.find_sources(sky)
    frames = cut_sources(sky, found)
    assert len(frames) == len(found)
    box = np.maximum(found["x1"] - found["x0"], found["y1"] - found["y0"])
    np.testing.assert_array_equal(frames.width, np.ceil(1.5 * box))
    for frame, snr in zip(frames, found["snr"], strict=True):
        middle = frame.pixels[frame.height // 2 - 2 :, frame.width // 2 - 2 :][:5, :5]
        if snr > 20:
            assert np.nanmax(middle) > 0.5 * np.nanmax(frame.pixels)


def test_pixels_serve_where_there_are_no_coordinates():
    bare = rw.SkyMap.from_array(np.zeros((100, 120), np.float32))
    table = pd.DataFrame({"x": [50, 60], "y": [20, 30], "ra": [np.nan, 3], "dec": [np.nan, 4]})
    assert cut_sources(bare, table, size=11).x.tolist() == [45, 55]
    sky = noisy_sky()
    assert cut_sources(sky, table[["x", "y"]], size=11).x.tolist() == [45, 55]
    with pytest.raises(MapError, match="no coordinates"):
        cut_sources(bare, table[["ra", "dec"]], size=11)
    with pytest.raises(MapError, match="no pixel scale"):
        cut_sources(bare, table.assign(major=3.0))


def test_size_may_be_an_angle():
    sky = noisy_sky()
    table = catalogue(sky, [100], [100])
    assert cut_sources(sky, table, size=1 * u.arcmin).width.tolist() == [30]


def test_several_maps_each_give_a_frame():
    left = noisy_sky(name="left")
    right = rw.SkyMap.from_array(
        np.zeros((256, 320), np.float32), name="right", wcs=celestial(320, 256, ra=199.95)
    )
    table = catalogue(left, [10, 200, 250], [100, 100, 120])
    frames = cut_sources([left, right], table, size=12)
    assert [frame.map for frame in frames] == ["left", "left", "left", "right", "right"]
    assert frames.sources.index.tolist() == [0, 1, 2, 1, 2]
    for frame, (_, row) in zip(frames, frames.sources.iterrows(), strict=True):
        assert frame.ra == pytest.approx(row["ra"], abs=2 / 3600)
        assert frame.dec == pytest.approx(row["dec"], abs=2 / 3600)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 3.5}, "size is 3.5"),
        ({"size": 3 * u.Jy}, "angle"),
        ({"size": np.inf * u.deg}, "size is inf"),
        ({"factor": 0}, "factor is 0"),
        ({"factor": np.nan}, "factor is nan"),
        ({"extent": "LAS"}, "no column 'LAS'"),
        ({}, "extent"),
    ],
)
def test_bad_parameters(options, message):
    sky = noisy_sky()
    with pytest.raises(ParameterError, match=message):
        cut_sources(sky, catalogue(sky, [100], [100]), **options)


def test_bad_catalogues():
    sky = noisy_sky()
    with pytest.raises(ParameterError, match="pandas"):
        cut_sources(sky, [(1, 2)], size=8)
    with pytest.raises(ParameterError, match="neither columns ra, dec nor x, y, but RA, DEC"):
        cut_sources(sky, pd.DataFrame({"RA": [1.0], "DEC": [2.0]}), size=8)
    with pytest.raises(ParameterError, match="'ra' of the catalogue holds no numbers"):
        cut_sources(sky, pd.DataFrame({"ra": ["13h20m"], "dec": ["-30d"]}), size=8)
    with pytest.raises(ParameterError, match="no map"):
        cut_sources([], pd.DataFrame(), size=8)


@pytest.mark.parametrize(
    "axes", [("RA---SIN", "DEC--SIN"), ("RA---TAN", "DEC--TAN"), ("DEC--TAN", "RA---TAN")]
)
def test_pixels_of_positions_invert_positions_of_pixels(axes):
    wcs = celestial(100, 80, dec=-70)
    wcs.wcs.ctype = axes
    if axes[0].startswith("DEC"):
        wcs.wcs.crval = wcs.wcs.crval[::-1]
    sky = rw.SkyMap.from_array(np.zeros((80, 100), np.float32), wcs=wcs)
    x, y = np.random.default_rng(3).uniform(-20, 120, (2, 200))
    again = pixel_coordinates(wcs, *sky.pixel_to_sky(x, y))
    np.testing.assert_allclose(again, (x, y), atol=1e-5)


def test_galactic_maps_take_equatorial_catalogues():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["GLON-CAR", "GLAT-CAR"], [10.0, 0.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [51, 51], [-0.001, 0.001]
    sky = rw.SkyMap.from_array(np.zeros((100, 100), np.float32), wcs=wcs)
    there = SkyCoord(l=[10.01] * u.deg, b=[0.02] * u.deg, frame="galactic").icrs
    frames = cut_sources(sky, pd.DataFrame({"ra": there.ra.deg, "dec": there.dec.deg}), size=1)
    assert (frames.x[0], frames.y[0]) == (40, 70)


def test_lofar_sources_are_centred_to_a_pixel(realdata):
    """Sources of LoTSS DR1: the brightest pixel near the middle, and the peaks of catalogue and map agree."""
    sky = rw.SkyMap.open(realdata / "lotss_dr1" / "P205+55-mosaic.fits")
    table = read_catalogue(realdata / "lotss_dr1" / "catalog_shimwell_reduced.srl.fits")
    with pytest.warns(UserWarning, match="outside"):
        frames = cut_sources(sky, table, size=25)
    assert len(frames) == 27
    assert len(frames) + len(frames.left_out) == len(table)
    strong = (frames.sources["peak"] > 10 * frames.sources["rms"]).to_numpy()
    offsets, ratios = [], []
    for frame, peak in zip(frames.select(strong), frames.sources["peak"][strong], strict=True):
        middle = frame.pixels[8:17, 8:17]
        offsets.append(np.subtract(np.unravel_index(np.nanargmax(middle), middle.shape), 4))
        ratios.append(np.nanmax(middle) / peak)
    assert len(ratios) >= 5
    assert np.median(np.abs(offsets)) <= 1
    assert np.median(ratios) == pytest.approx(1, abs=0.05)

"""Frames are views that cover their maps, with stable names and the right pixels."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from skies import celestial

from radiowidgets.data import strips
from radiowidgets.data.frames import FrameSet, cut_windows, make_frame_id
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.resampling import resize
from radiowidgets.errors import FrameError, ParameterError


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def sky_of(rng, ny=300, nx=410, name="sky", **options):
    return SkyMap.from_array(rng.normal(size=(ny, nx)).astype(np.float32), name=name, **options)


def covered(frames, sky):
    counts = np.zeros(sky.shape, int)
    for x, y, w, h in zip(frames.x, frames.y, frames.width, frames.height, strict=True):
        counts[y : y + h, x : x + w] += 1
    return counts


# ------------------------------------------------------------------------------------
# cutting


@pytest.mark.parametrize(
    ("size", "step"), [(128, None), (100, 100), (64, 20), (7, 5), (300, 1000), (150, 160)]
)
def test_windows_cover_every_pixel(rng, size, step):
    sky = sky_of(rng)
    frames = cut_windows(sky, size, step)
    gap = step is not None and step > size
    assert gap or covered(frames, sky).min() >= 1
    assert frames.x.max() + size == sky.shape[1]
    assert frames.y.max() + size == sky.shape[0]
    assert frames.x.min() == frames.y.min() == 0
    assert len({(x, y) for x, y in zip(frames.x, frames.y, strict=True)}) == len(frames)
    assert frames.x.dtype == frames.map_codes.dtype == np.int32


def test_windows_overlap_by_half_by_default(rng):
    frames = cut_windows(sky_of(rng, 256, 256), 128)
    assert sorted(set(frames.x)) == [0, 64, 128]


def test_the_last_window_may_be_dropped(rng):
    sky = sky_of(rng)
    frames = cut_windows(sky, 128, 64, border="drop")
    assert sorted(set(frames.x)) == [0, 64, 128, 192, 256]
    assert sorted(set(frames.y)) == [0, 64, 128]
    assert np.all(np.isin(frames.frame_ids, cut_windows(sky, 128, 64).frame_ids))


def test_a_smaller_map_gives_one_frame_of_its_own_size(rng):
    small, narrow = sky_of(rng, 40, 50, "small"), sky_of(rng, 400, 50, "narrow")
    frames = cut_windows([small, narrow], 256, border="drop")
    assert frames.frame_ids.tolist() == ["small-x00000-y00000-50x40", "narrow-x00000-y00000-50x256",
                                         "narrow-x00000-y00128-50x256"]  # fmt: skip
    np.testing.assert_array_equal(frames[0].pixels, small.pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": -5}, "size is -5"),
        ({"size": 2.5}, r"size is 2\.5"),
        ({"size": True}, "size is True"),
        ({"size": "256"}, "size is '256'"),
        ({"step": 0}, "step is 0"),
        ({"border": "wrap"}, "border is 'wrap'"),
    ],
)
def test_wrong_parameters_are_named(rng, options, message):
    with pytest.raises(ParameterError, match=message):
        cut_windows(sky_of(rng), **options)


def test_too_many_frames_are_refused(tmp_path):
    path = tmp_path / "large.fits"
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 20_000, "NAXIS2": 20_000})
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        file.truncate(2880 + 400_000_000 + 2880)
    with pytest.raises(ParameterError, match="take a larger step"):
        cut_windows(SkyMap.open(path), 64, 2)


def test_what_is_no_map_is_refused(rng):
    for maps in ("sky.fits", np.zeros((5, 5)), [sky_of(rng), "sky.fits"], None):
        with pytest.raises(ParameterError, match=r"SkyMap\.open"):
            cut_windows(maps)
    with pytest.raises(ParameterError, match="no map is given"):
        cut_windows([])


def test_different_maps_of_one_name_are_refused_naming_both(tmp_path, rng):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        fits.writeto(tmp_path / folder / "sky.fits", rng.normal(size=(50, 50)))
    one, two = (SkyMap.open(tmp_path / folder / "sky.fits") for folder in ("one", "two"))
    with pytest.raises(FrameError, match="'sky'") as caught:
        cut_windows([one, two])
    assert str(one.path) in str(caught.value)
    assert str(two.path) in str(caught.value)
    other = SkyMap.open(two.path, name="other")
    assert list(cut_windows([one, other]).maps) == ["sky", "other"]
    assert len(cut_windows([one, SkyMap.open(one.path)], 50)) == 1  # the same map twice


# ------------------------------------------------------------------------------------
# names


def test_frame_ids_are_readable_and_stable(rng):
    frames = cut_windows(sky_of(rng), 128)
    assert frames.frame_ids[5] == frames.frame_id(5) == frames[5].frame_id == "sky-x00282-y00000-128x128"
    assert all(re.fullmatch(r"sky-x\d{5}-y\d{5}-128x128", name) for name in frames.frame_ids)
    assert len(set(frames.frame_ids)) == len(frames)
    assert [frames.index_of(name) for name in frames.frame_ids] == list(range(len(frames)))
    assert make_frame_id("emu", 123456, -3, 5, 6) == "emu-x123456-y-0003-5x6"
    with pytest.raises(FrameError, match="there is no frame 'sky-x1'"):
        frames.index_of("sky-x1")


def test_a_million_frames_are_cheap(tmp_path):
    path = tmp_path / "large.fits"
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 20_000, "NAXIS2": 20_000})
    header.update(celestial(20_000, 20_000).to_header())
    with path.open("wb") as file:
        text = header.tostring().encode()
        file.write(text)
        file.truncate(len(text) + 400_000_000 + 2880)
    sky = SkyMap.open(path)
    tracemalloc.start()
    frames = cut_windows(sky, 256, 20)
    ids = frames.frame_ids
    assert len(ids) > 950_000
    assert np.isfinite(frames.ra).all()
    assert tracemalloc.get_traced_memory()[1] < 500e6
    tracemalloc.stop()
    assert frames.index_of(ids[-1]) == len(ids) - 1


# ------------------------------------------------------------------------------------
# single frames and selections


def test_a_frame_knows_its_place(rng):
    wcs = celestial(410, 300)
    sky = sky_of(rng, wcs=wcs, unit="Jy/beam")
    frames = cut_windows(sky, 128)
    frame = frames[7]
    assert (frame.map, frame.x, frame.y, frame.width, frame.height) == ("sky", 64, 64, 128, 128)
    assert frame.sky is sky
    assert frame.pixels.dtype == np.float32
    np.testing.assert_array_equal(frame.pixels, sky.pixels[64:192, 64:192])
    np.testing.assert_allclose(
        frame.wcs.all_pix2world(5, 9, 0), wcs.all_pix2world(69, 73, 0), rtol=0, atol=1e-10
    )
    assert (frame.ra, frame.dec) == pytest.approx((frames.ra[7], frames.dec[7]))
    centre = wcs.all_pix2world(64 + 63.5, 64 + 63.5, 0)
    assert (frame.ra, frame.dec) == pytest.approx(tuple(map(float, centre)))
    assert frame.beam is None
    assert repr(frame) == "<Frame sky-x00064-y00064-128x128>"
    assert frames[-1].frame_id == frames.frame_ids[-1]
    assert [f.frame_id for f in frames] == frames.frame_ids.tolist()
    with pytest.raises(IndexError, match="frame 99 does not exist"):
        frames[99]


def test_positions_are_icrs_whatever_the_map(rng):
    wcs = celestial(410, 300, ra=30.0, dec=1.0)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    frames = cut_windows([sky_of(rng, wcs=wcs), sky_of(rng, name="bare")], 300)
    expected = SkyCoord(*wcs.all_pix2world(149.5, 149.5, 0), unit="deg", frame="galactic").icrs
    assert (frames.ra[0], frames.dec[0]) == pytest.approx((expected.ra.deg, expected.dec.deg))
    assert np.isnan(frames.ra[frames.map_codes == 1]).all()
    assert frames.ra.dtype == np.float64


def test_selections(rng):
    frames = cut_windows([sky_of(rng), sky_of(rng, name="other")], 128)
    frames.set_noise(np.arange(len(frames)), np.ones(len(frames)), np.zeros(len(frames)))
    chosen = frames.select([40, 3, -1])
    assert chosen.frame_ids.tolist() == frames.frame_ids[[40, 3, -1]].tolist()
    np.testing.assert_array_equal(chosen.noise.background, [40, 3, len(frames) - 1])
    np.testing.assert_array_equal(chosen.pixels([0])[0], frames.pixels([40])[0])
    assert len(frames.select(frames.map_codes == 1)) == len(frames) // 2
    assert len(frames.select([])) == 0
    assert frames.select([]).to_table().empty
    with pytest.raises(FrameError, match="does not exist"):
        frames.select([1000])
    with pytest.raises(ParameterError, match="mask"):
        frames.select([True, False])
    with pytest.raises(ParameterError, match="whole numbers"):
        frames.select([0.5])


def test_columns_cannot_be_changed_by_accident(rng):
    frames = cut_windows(sky_of(rng), 128)
    with pytest.raises(ValueError, match="read-only"):
        frames.x[0] = 5


# ------------------------------------------------------------------------------------
# frames anywhere, tables


def test_frames_may_lie_partly_outside(rng):
    sky = sky_of(rng, 40, 50)
    frames = FrameSet(sky, 0, [-10, 45, 10], [5, -3, 35], 20, 16)
    assert frames.frame_ids.tolist() == [
        "sky-x-0010-y00005-20x16",
        "sky-x00045-y-0003-20x16",
        "sky-x00010-y00035-20x16",
    ]
    padded = np.pad(sky.pixels, 30, constant_values=np.nan)
    got = frames.pixels([0, 1, 2])[..., 0]
    for k, (x, y) in enumerate(zip(frames.x, frames.y, strict=True)):
        np.testing.assert_array_equal(got[k], padded[30 + y : 46 + y, 30 + x : 50 + x])
        np.testing.assert_array_equal(frames[k].pixels, got[k])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((0, [500], [0], 10, 10), "1 frames lie outside their map, the first at x=500, y=0 of map sky"),
        ((0, [-10], [0], 10, 10), "outside"),
        ((1, [0], [0], 10, 10), "map code 1 does not exist"),
        ((-1, [0], [0], 10, 10), "map code -1 does not exist"),
        ((0, [0], [0], 0, 10), "width 0"),
        ((0, [0], [0], 10, 10**7), "height 10000000"),
        ((0, [0.5], [0], 10, 10), "whole pixels"),
        ((0, ["a"], [0], 10, 10), "give integers"),
        ((0, [np.nan], [0], 10, 10), "whole pixels"),
        ((0, [2**40], [0], 10, 10), "no pixel of a map"),
        (
            (0, [0, 0], [0, 0], 10, 10),
            "1 frames are there twice, the first of them 'sky-x00000-y00000-10x10'",
        ),
        ((0, [0, 1], [0, 1, 2], 10, 10), "differ in length"),
    ],
)
def test_impossible_frames_are_refused(rng, columns, message):
    with pytest.raises(FrameError, match=message):
        FrameSet(sky_of(rng), *columns)


def test_ids_may_be_given(rng):
    frames = FrameSet(sky_of(rng), 0, [0, 0], [0, 0], 10, 10, ids=["a", "b"])
    assert frames.index_of("b") == 1
    assert frames.select([1]).frame_ids.tolist() == ["b"]
    with pytest.raises(FrameError, match="1 of 2 ids differ"):
        FrameSet(sky_of(rng), 0, [0, 1], [0, 0], 10, 10, ids=["a", "a"])
    with pytest.raises(FrameError, match="1 ids for 2 frames"):
        FrameSet(sky_of(rng), 0, [0, 1], [0, 0], 10, 10, ids=["a"])


def test_tables_bring_frames_back(rng, tmp_path):
    skies = [sky_of(rng, wcs=celestial(410, 300)), sky_of(rng, 90, 80, name="small")]
    frames = cut_windows(skies, 128).select(np.r_[19:5:-1, 0])
    frames.set_noise(*rng.normal(size=(3, len(frames))))
    table = frames.table
    assert table.columns.tolist() == [
        "frame_id", "map", "x", "y", "width", "height", "ra", "dec", "background", "rms", "blank_fraction",
    ]  # fmt: skip
    assert isinstance(table.index, pd.RangeIndex)
    table.to_parquet(tmp_path / "frames.parquet")
    again = FrameSet.from_table(
        pd.read_parquet(tmp_path / "frames.parquet"), dict(zip(["sky", "small"], skies, strict=True))
    )
    assert again.frame_ids.tolist() == frames.frame_ids.tolist()
    pd.testing.assert_frame_equal(again.table, table)
    without = frames.to_table(noise=False)
    assert "rms" not in without
    assert FrameSet.from_table(without, skies).frame_ids.tolist() == frames.frame_ids.tolist()


def test_tables_that_do_not_fit_are_refused(rng):
    sky = sky_of(rng)
    table = cut_windows(sky, 128).to_table(noise=False)
    with pytest.raises(FrameError, match="need map 'sky'; pass it in maps"):
        FrameSet.from_table(table, [])
    with pytest.raises(FrameError, match="no column width, height"):
        FrameSet.from_table(table.drop(columns=["width", "height"]), sky)
    with pytest.raises(FrameError, match="outside"):
        FrameSet.from_table(table.assign(x=10_000), sky)
    with pytest.raises(FrameError, match="under the name 'other'"):
        FrameSet.from_table(table, {"other": sky})
    assert len(FrameSet.from_table(table[:0], sky)) == 0


def test_ids_of_a_table_are_kept(rng):
    sky = sky_of(rng)
    table = cut_windows(sky, 300).to_table(noise=False).assign(frame_id=["one", "two"])
    assert FrameSet.from_table(table, sky).frame_ids.tolist() == ["one", "two"]


def test_noise_is_measured_once_or_given(rng, monkeypatch):
    frames = cut_windows(sky_of(rng), 128)
    noise = frames.noise
    assert noise is frames.noise
    assert noise.rms.dtype == np.float32
    np.testing.assert_allclose(noise.rms, 1.0, atol=0.05)
    assert frames[3].rms == noise.rms[3]
    assert frames[3].background == noise.background[3]
    with pytest.raises(FrameError, match=r"rms has shape \(2,\)"):
        frames.set_noise(np.zeros(len(frames)), np.zeros(2), np.zeros(len(frames)))


def test_network_input(rng):
    network = cut_windows(sky_of(rng), 128).network_input(size=32)
    assert network.shape == (24, 32, 32, 1)
    assert network.min() >= 0
    assert network.max() <= 1


# ------------------------------------------------------------------------------------
# pixels


def test_pixels_in_any_order_and_again(rng):
    sky = sky_of(rng)
    frames = cut_windows(sky, 64, 20)
    indices = rng.integers(0, len(frames), 50)
    got = frames.pixels(indices)
    assert got.shape == (50, 64, 64, 1)
    assert got.dtype == np.float32
    for k, pixels in zip(indices, got, strict=True):
        x, y = frames.x[k], frames.y[k]
        np.testing.assert_array_equal(pixels[..., 0], sky.pixels[y : y + 64, x : x + 64])
    assert frames.pixels([]).shape == (0, 0, 0, 1)


def test_batches_go_through_all_frames(rng):
    frames = cut_windows(sky_of(rng), 128)
    batches = list(frames.batches(7))
    assert np.concatenate([indices for indices, _ in batches]).tolist() == list(range(len(frames)))
    np.testing.assert_array_equal(
        np.concatenate([pixels for _, pixels in batches]), frames.pixels(np.arange(len(frames)))
    )
    assert next(frames.batches(5, size=16))[1].shape == (5, 16, 16, 1)
    with pytest.raises(ParameterError, match="batch_size is 0"):
        next(frames.batches(0))


def test_ragged_frames_need_a_size(rng):
    frames = cut_windows([sky_of(rng), sky_of(rng, 40, 50, "small")], 128)
    with pytest.raises(FrameError, match="differ in size"):
        frames.pixels(np.arange(len(frames)))
    assert frames.pixels(np.arange(len(frames)), size=32).shape == (len(frames), 32, 32, 1)
    with pytest.raises(ParameterError, match=r"size is 3\.2"):
        frames.pixels([0], size=3.2)


# ------------------------------------------------------------------------------------
# strips


def check_strips(frames, **options):
    """Check that every frame is in one strip, in its right place; return the strips."""
    seen = []
    found = list(frames.strips(**options))
    for strip in found:
        assert strip.pixels.dtype == np.float32
        assert strip.pixels.flags.c_contiguous
        for k in strip.indices:
            top, left = frames.y[k] - strip.y0, frames.x[k] - strip.x0
            assert top >= 0
            assert left >= 0
            piece = strip.pixels[top : top + frames.height[k], left : left + frames.width[k]]
            np.testing.assert_array_equal(piece, frames[k].pixels)
        seen.extend(strip.indices.tolist())
    assert sorted(seen) == list(range(len(frames)))
    return found


@pytest.mark.parametrize("limit", [10_000, 150_000, 2**26])
def test_strips_hold_every_frame_once(rng, limit, monkeypatch):
    monkeypatch.setattr(strips, "STRIP_BYTES", limit)
    frames = cut_windows([sky_of(rng), sky_of(rng, 40, 50, "small"), sky_of(rng, name="more")], 64, 24)
    for strip in check_strips(frames):
        assert strip.pixels.nbytes <= limit or len(strip.indices) == 1


def test_overlapping_windows_are_read_little_more_than_once(rng, monkeypatch):
    sky = sky_of(rng, 1200, 400)
    monkeypatch.setattr(strips, "STRIP_BYTES", 400 * 300 * 4)
    frames = cut_windows(sky, 64)
    read = sum(strip.pixels.size for strip in frames.strips())
    assert read < 1.3 * sky.pixels.size


def test_scattered_frames_go_through_strips_too(rng):
    sky = sky_of(rng, 2000, 2000)
    x, y = rng.integers(-20, 1980, (2, 40))
    found = check_strips(FrameSet(sky, 0, x, y, rng.integers(21, 60, 40), 32))
    assert (
        sum(strip.pixels.size for strip in found) < 0.2 * sky.pixels.size
    )  # not the whole map for a few frames
    x, y = rng.integers(-20, 1980, (2, 4000))
    assert (
        len(
            check_strips(
                FrameSet(sky, 0, x, y, 64, 64, ids=[str(k) for k in range(4000)]).select(np.arange(300))
            )
        )
        > 0
    )


def test_strips_of_some_frames(rng):
    frames = cut_windows(sky_of(rng), 64)
    (strip,) = frames.strips([3, 5])
    assert strip.indices.tolist() == [3, 5]
    assert list(frames.select([]).strips()) == []


def test_strips_are_not_kept(rng, monkeypatch):
    monkeypatch.setattr(strips, "STRIP_BYTES", 400 * 300 * 4)
    frames = cut_windows(sky_of(rng, 4000, 400), 64)
    tracemalloc.start()
    for strip in frames.strips():
        del strip
    assert tracemalloc.get_traced_memory()[1] < 2 * strips.STRIP_BYTES
    tracemalloc.stop()


# ------------------------------------------------------------------------------------
# images without a map


def test_images_without_a_map(rng):
    images = rng.integers(0, 255, (5, 20, 30)).astype(np.uint8)
    frames = FrameSet.from_images(images)
    assert frames.frame_ids.tolist() == [f"image-{k:06d}" for k in range(1, 6)]
    assert frames.pixels([4, 0]).shape == (2, 20, 30, 1)
    np.testing.assert_array_equal(frames.pixels([4])[0, ..., 0], images[4])
    assert frames.maps == {}
    assert frames[0].wcs is frames[0].beam is frames[0].sky is None
    assert np.isnan(frames.ra).all()
    assert np.isnan(frames[0].ra)
    np.testing.assert_array_equal(frames[1].pixels, images[1])
    check_strips(frames)
    assert np.isfinite(frames.noise.rms).all()
    table = frames.table
    assert set(table["map"]) == {"images"}
    again = FrameSet.from_table(table, images=images)
    assert again.frame_ids.tolist() == frames.frame_ids.tolist()
    np.testing.assert_array_equal(again.noise.rms, frames.noise.rms)
    assert repr(frames) == "<FrameSet: 5 frames of images>"
    frames.place(np.arange(5.0), np.arange(-2.0, 3.0))
    again = FrameSet.from_table(frames.table, images=images)
    np.testing.assert_array_equal(again.ra, frames.ra)
    np.testing.assert_array_equal(again.dec, frames.dec)


def test_colour_images_of_several_sizes(rng):
    images = [rng.random((20, 30, 3)), rng.random((25, 15, 3))]
    frames = FrameSet.from_images(images, ids=["a", "b"])
    with pytest.raises(FrameError, match="differ in size"):
        frames.pixels([0, 1])
    assert frames.pixels([0, 1], size=8).shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(frames[1].pixels, images[1].astype(np.float32))
    for strip, image in zip(frames.strips(), images, strict=True):
        np.testing.assert_allclose(strip.pixels, image.mean(axis=2), rtol=1e-5)
    assert frames.select([1]).pixels([0]).shape == (1, 25, 15, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([np.zeros(3)], r"image 0 has shape \(3,\)"),
        ([np.zeros((0, 3))], "image 0"),
        ([np.zeros((2, 2)), np.zeros((2, 2, 3))], "channels"),
        ([[["a"]]], "image 0"),
    ],
)
def test_images_that_are_none(images, message):
    with pytest.raises(FrameError, match=message):
        FrameSet.from_images(images)


# ------------------------------------------------------------------------------------
# resizing


def test_shrinking_takes_the_mean_over_the_area(rng):
    image = rng.normal(size=(12, 30)).astype(np.float32)
    expected = image.reshape(4, 3, 10, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, (4, 10)), expected, atol=1e-6)
    # by a factor that is not whole: against a finer grid on which it is
    fine = np.repeat(np.repeat(image, 5, axis=0), 7, axis=1)
    expected = fine.reshape(5, 12, 7, 30).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, (5, 7)), expected, atol=1e-6)
    assert resize(image, (5, 7)).mean() == pytest.approx(image.mean(), abs=1e-6)


def test_growing_is_bilinear():
    ramp = np.add.outer(np.arange(10.0), 2 * np.arange(12.0)).astype(np.float32)
    grown = resize(ramp, (20, 36))
    y, x = (np.arange(20) + 0.5) / 2 - 0.5, (np.arange(36) + 0.5) / 3 - 0.5
    inside = np.ix_((y >= 0) & (y <= 9), (x >= 0) & (x <= 11))
    np.testing.assert_allclose(grown[inside], np.add.outer(y, 2 * x)[inside], atol=1e-5)
    assert resize(ramp, (5, 24)).shape == (5, 24)  # one way each
    assert resize(ramp, (10, 12)) is ramp


@pytest.mark.parametrize("shape", [(4, 5), (3, 7), (16, 20), (8, 10)])
def test_only_what_is_all_blank_stays_blank(shape):
    image = np.ones((8, 10), np.float32)
    image[:, :6] = np.nan
    image[2, 2] = 3.0
    out = resize(image, shape)
    np.testing.assert_allclose(out[:, -1], 1.0, rtol=1e-6)
    assert np.nanmax(out) == pytest.approx(3.0)
    assert np.isnan(out[-1, 0])

"""Maps of every kind are either read right or refused in one clear line."""

import gzip
import hashlib
import os
import re
import threading
import tracemalloc
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from radio_beam import Beam

from radiowidgets.data import fitsfile, pixels
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import MapError, ParameterError

SHAPE = (24, 36)  # rows, columns


def sky_header(projection="SIN", lon="RA--", lat="DEC-", **cards):
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = f"{lon}-{projection}", f"{lat}-{projection}"
    header["CRVAL1"], header["CRVAL2"] = 200.0, -30.0
    header["CRPIX1"], header["CRPIX2"] = 18.5, 12.5
    header["CDELT1"], header["CDELT2"] = -2.0 / 3600, 2.0 / 3600
    header["BUNIT"] = "JY/BEAM"
    header["BMAJ"], header["BMIN"], header["BPA"] = 10 / 3600, 8 / 3600, 30.0
    header["RESTFRQ"] = 1.4e9
    for key, value in cards.items():
        header[key.replace("_", "-")] = value
    return header


@pytest.fixture
def values(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def write(tmp_path):
    def write(data, header=None, name="sky.fits", hdu=fits.PrimaryHDU):
        path = tmp_path / name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits.HDUList(
                [hdu(data, header)] if hdu is fits.PrimaryHDU else [fits.PrimaryHDU(), hdu(data, header)]
            ).writeto(path, output_verify="ignore", overwrite=True)
        return path

    return write


def refused(path, **options):
    """Open what must be refused; return the message, having checked its form."""
    with pytest.raises(MapError) as caught:
        SkyMap.open(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 400
    return message


# ------------------------------------------------------------------------------------
# pixels of every type


def test_a_plain_map_is_read_right(write, values):
    sky = SkyMap.open(write(values, sky_header()))
    assert sky.shape == SHAPE
    np.testing.assert_array_equal(sky.pixels, values)
    rows = sky.rows(3, 9)
    np.testing.assert_array_equal(rows, values[3:9])
    assert rows.dtype == np.float32
    assert rows.dtype.isnative
    assert rows.flags.c_contiguous
    assert rows.flags.writeable
    piece = sky.read(3, 9, 5, 30)
    np.testing.assert_array_equal(piece, values[3:9, 5:30])
    assert piece.flags.c_contiguous
    assert sky.name == "sky"
    assert sky.notes == []


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_every_type_and_byte_order(write, rng, dtype):
    stored = rng.integers(0, 200, SHAPE).astype(dtype)
    sky = SkyMap.open(write(stored, sky_header()))
    np.testing.assert_array_equal(sky.rows(0, SHAPE[0]), stored.astype(np.float32))


def test_scaled_integers_and_blank(write, tmp_path):
    stored = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    hdu = fits.PrimaryHDU(stored, sky_header())
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, 100.0, 7
    raw = tmp_path / "scaled.fits"
    # written by hand: astropy would apply the scaling
    header = hdu.header.tostring().encode()
    raw.write_bytes(header + stored.astype(">i2").tobytes().ljust(2880, b"\0"))
    sky = SkyMap.open(raw)
    expected = stored * 0.5 + 100
    assert np.isnan(sky.pixels.flat[7])
    mask = stored != 7
    np.testing.assert_allclose(sky.pixels[mask], expected[mask])
    np.testing.assert_array_equal(sky.pixels, fits.getdata(raw).astype(np.float32))


def test_unsigned_integers(write):
    stored = np.full(SHAPE, 65000, dtype=np.uint16)
    np.testing.assert_array_equal(SkyMap.open(write(stored)).pixels, 65000)


def test_infinite_and_huge_values_become_blank(write):
    stored = np.zeros(SHAPE)
    stored[2, 3], stored[4, 5], stored[6, 7], stored[8, 9] = np.inf, -np.inf, np.nan, 1e300
    sky = SkyMap.open(write(stored, sky_header()))
    expected = np.zeros(SHAPE, bool)
    expected[[2, 4, 6, 8], [3, 5, 7, 9]] = True
    np.testing.assert_array_equal(np.isnan(sky.pixels), expected)


def test_blank_of_a_floating_point_map_is_ignored(write, values):
    values[3, 3] = -1
    path = write(values, sky_header(BLANK=-1))
    sky = SkyMap.open(path)
    assert sky.pixels[3, 3] == -1
    assert any("BLANK -1 ignored" in note for note in sky.notes)


def test_rows_allocate_no_more_than_the_rows(tmp_path):
    path = tmp_path / "tall.fits"
    fits.writeto(path, np.zeros((8000, 1000), np.float32))
    sky = SkyMap.open(path)
    tracemalloc.start()
    rows = sky.rows(1000, 3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes + 2 * pixels._PIECE_BYTES


@pytest.mark.parametrize("box", [(-1, 3, 0, 4), (0, 25, 0, 4), (5, 5, 0, 4), (0, 3, 30, 37), (6, 4, 0, 4)])
def test_boxes_beyond_the_map_are_refused(write, values, box):
    with pytest.raises(ParameterError, match="are not within map sky"):
        SkyMap.open(write(values)).read(*box)


def test_several_threads_read_one_map(tmp_path, rng):
    array = rng.normal(size=(500, 400)).astype(np.float32)
    plain = tmp_path / "plain.fits"
    tiled = tmp_path / "tiled.fits.fz"
    fits.writeto(plain, array)
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(array, compression_type="GZIP_1", quantize_level=0)]
    ).writeto(tiled)
    for sky in (SkyMap.open(plain), SkyMap.open(tiled)):
        wrong = []

        def read(start, sky=sky, wrong=wrong):
            for y in range(start, 490, 40):
                if not np.array_equal(sky.rows(y, y + 10), array[y : y + 10]):
                    wrong.append(y)

        threads = [threading.Thread(target=read, args=(start,)) for start in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


# ------------------------------------------------------------------------------------
# axes


def test_axes_of_length_one_are_dropped(write, values):
    header = sky_header(CTYPE3="FREQ", CRVAL3=9e8, CDELT3=1e6, CRPIX3=1.0, CTYPE4="STOKES", CRVAL4=1.0)
    del header["RESTFRQ"]
    sky = SkyMap.open(write(values[np.newaxis, np.newaxis], header))
    assert sky.shape == SHAPE
    assert sky.wcs.naxis == 2
    assert sky.frequency == 9e8 * u.Hz
    np.testing.assert_array_equal(sky.pixels, values)


def test_degenerate_axes_may_come_first(write, values):
    header = fits.Header()
    for old, new in ((1, 2), (2, 3)):
        for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT"):
            header[f"{key}{new}"] = sky_header()[f"{key}{old}"]
    header["CTYPE1"], header["CRVAL1"] = "FREQ", 1e9
    sky = SkyMap.open(write(values[..., np.newaxis], header))
    assert sky.shape == SHAPE
    np.testing.assert_array_equal(sky.pixels, values)
    ra, dec = sky.pixel_to_sky(17.5, 11.5)
    assert (ra, dec) == pytest.approx((200.0, -30.0))
    assert sky.frequency.to_value(u.GHz) == 1


def test_cubes_are_refused_naming_the_axis(write):
    cube = np.zeros((5, *SHAPE), np.float32)
    message = refused(write(cube, sky_header(CTYPE3="FREQ")))
    assert "cube, 36x24x5: axis 3 ('FREQ') has length 5" in message
    assert "2-D image" in message
    assert "axis 3 ('no CTYPE') has length 5" in refused(write(cube))
    stokes = np.zeros((4, 1, *SHAPE), np.float32)
    assert "axis 4 ('STOKES') has length 4" in refused(write(stokes, sky_header(CTYPE4="STOKES")))


def test_a_plane_of_position_and_velocity_is_no_map(write, values):
    assert "axis 2 ('VRAD') has length 24" in refused(write(values, sky_header(CTYPE2="VRAD")))


def test_no_pixels_and_one_axis_are_refused(tmp_path):
    path = tmp_path / "empty.fits"
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 0, "NAXIS2": 0})
    path.write_bytes(header.tostring().encode())
    assert "without pixels" in refused(path)
    fits.writeto(path, np.zeros(20, np.float32), overwrite=True)
    assert "1-D image" in refused(path)
    fits.writeto(path, np.zeros((1, 20), np.float32), overwrite=True)
    assert "1-D image (20x1)" in refused(path)
    fits.PrimaryHDU().writeto(path, overwrite=True)
    assert "holds no image" in refused(path)


def test_a_single_row_of_sky_is_a_map(write):
    sky = SkyMap.open(write(np.zeros((1, 20), np.float32), sky_header()))
    assert sky.shape == (1, 20)


# ------------------------------------------------------------------------------------
# files that are no maps


def test_what_is_not_fits_is_refused(tmp_path):
    path = tmp_path / "sky.fits"
    path.write_bytes(b"")
    assert "is empty" in refused(path)
    path.write_text("RA,DEC\n1,2\n")
    assert "not a FITS file: it begins with b'RA,DEC" in refused(path)
    path.write_text("<html>404</html>")
    assert "failed download" in refused(path)
    path.write_bytes(b"\x89PNG\r\n" + bytes(100))
    assert "from_images" in refused(path)
    path.write_bytes(gzip.compress(b"hello"))
    assert "not a FITS file" in refused(path)
    path.write_bytes(b"BZh91AY" + bytes(100))
    assert "bunzip2" in refused(path)
    path.write_bytes(b"SIMPLE  =                    T" + b" " * 9000)
    assert "truncated" in refused(path)
    assert "folder" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "none.fits")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    assert "not an ordinary file" in refused(tmp_path / "pipe.fits")


def test_truncated_files_are_refused(write, values, tmp_path):
    whole = write(values, sky_header()).read_bytes()
    path = tmp_path / "cut.fits"
    for length in (100, 2880, 2880 + 100, 2880 + values.nbytes - 1):
        path.write_bytes(whole[:length])
        assert "truncated" in refused(path)
    path.write_bytes(whole[: 2880 + values.nbytes])  # only the padding is missing
    np.testing.assert_array_equal(SkyMap.open(path).pixels, values)
    zipped = gzip.compress(whole)
    path = tmp_path / "cut.fits.gz"
    for length in (15, len(zipped) // 2, len(zipped) - 600):
        path.write_bytes(zipped[:length])
        assert re.search("truncated|damaged", refused(path))


def test_a_map_survives_damage_behind_it(write, values, tmp_path):
    path = tmp_path / "sky.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(5000.0))])
    fits.HDUList([fits.PrimaryHDU(values, sky_header()), table]).writeto(path)
    path.write_bytes(path.read_bytes()[:-3000])
    sky = SkyMap.open(path)
    np.testing.assert_array_equal(sky.pixels, values)
    assert any("HDU 1, behind the image, is ignored" in note for note in sky.notes)


def test_tables_and_visibilities_are_refused(tmp_path):
    path = tmp_path / "catalogue.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(5.0))]).writeto(path)
    assert "holds only tables" in refused(path)
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 3, "NAXIS1": 0, "NAXIS2": 3, "NAXIS3": 4})
    header.update({"GROUPS": True, "GCOUNT": 2, "PCOUNT": 5})
    path.write_bytes(header.tostring().encode() + bytes(2880))
    assert "visibilities" in refused(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("BITPIX", 12, "BITPIX 12"),
        ("BITPIX", "x", "BITPIX 'x'"),
        ("NAXIS", -1, "NAXIS is -1"),
        ("NAXIS1", -36, "NAXIS1 is -36"),
        ("NAXIS1", 10**12, "truncated"),
        ("NAXIS1", 3.5, "NAXIS1 is 3.5"),
        ("BSCALE", 0.0, "BSCALE 0"),
        ("BSCALE", "many", "BSCALE 'many'"),
    ],
)
def test_absurd_headers_are_refused(write, values, key, value, message):
    path = write(values, sky_header())
    header = fits.getheader(path)
    header[key] = value
    path.write_bytes(header.tostring().encode() + values.astype(">f4").tobytes())
    assert message in refused(path)


def test_an_endless_header_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fitsfile, "MAX_HEADER_BYTES", 10 * 2880)
    path = tmp_path / "sky.fits"
    path.write_bytes(b"SIMPLE  =                    T".ljust(80) + b"COMMENT x".ljust(80) * 36 * 30)
    assert "header of more than" in refused(path)


# ------------------------------------------------------------------------------------
# several images, compressed images


def test_the_image_may_lie_in_an_extension(tmp_path, values):
    path = tmp_path / "sky.fits"
    other = fits.ImageHDU(values[:5] * 2, name="RMS")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values, sky_header(), name="SCI"), other]).writeto(path)
    sky = SkyMap.open(path)
    np.testing.assert_array_equal(sky.pixels, values)
    assert any("2 images in the file: HDU 1 is used" in note for note in sky.notes)
    for hdu in (2, "rms"):
        other = SkyMap.open(path, hdu=hdu)
        assert other.hdu == hdu
        np.testing.assert_array_equal(other.pixels, values[:5] * 2)
        assert other.verify() == sky.verify()
    assert "has no HDU 7" in refused(path, hdu=7)
    assert "has no image in HDU 0" in refused(path, hdu=0)


def test_gzipped_maps(write, values, tmp_path):
    path = tmp_path / "sky.fits.gz"
    path.write_bytes(gzip.compress(write(values[np.newaxis], sky_header()).read_bytes()))
    sky = SkyMap.open(path)
    assert sky.name == "sky"
    np.testing.assert_array_equal(sky.pixels, values)
    assert sky.unit == u.Jy / u.beam
    # also where the name does not tell, and behind an empty primary unit
    hidden = tmp_path / "hidden.fits"
    plain = tmp_path / "two.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values.astype(">i2"), sky_header())]).writeto(plain)
    hidden.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(SkyMap.open(hidden).pixels, values.astype(np.int16))


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
@pytest.mark.parametrize("keep", [pixels.KEEP_DECODED_BYTES, 0])
def test_tile_compressed_maps(write, method, keep, rng, monkeypatch):
    monkeypatch.setattr(pixels, "KEEP_DECODED_BYTES", keep)
    stored = rng.integers(0, 900, SHAPE).astype(np.int16)
    path = write(
        stored,
        sky_header(),
        "sky.fits.fz",
        lambda data, header: fits.CompImageHDU(data, header, compression_type=method),
    )
    sky = SkyMap.open(path)
    assert sky.name == "sky"
    assert sky.shape == SHAPE
    np.testing.assert_array_equal(sky.pixels, stored)
    np.testing.assert_array_equal(sky.read(5, 9, 2, 7), stored[5:9, 2:7])
    assert sky.header["NAXIS1"] == SHAPE[1]
    assert "TFORM1" not in sky.header
    assert sky.frequency == 1.4e9 * u.Hz


def test_tile_compressed_floats_with_blanks_and_extra_axes(write, values):
    values[3:6, 4] = np.nan
    path = write(
        values[np.newaxis],
        sky_header(CTYPE3="FREQ", CRVAL3=2e9),
        "sky.fits.fz",
        lambda data, header: fits.CompImageHDU(data, header, compression_type="RICE_1", quantize_level=64),
    )
    sky = SkyMap.open(path)
    assert sky.shape == SHAPE
    np.testing.assert_array_equal(np.isnan(sky.pixels), np.isnan(values))
    np.testing.assert_allclose(sky.pixels, values, atol=0.05)


def test_scaled_tile_compressed_integers(tmp_path, rng):
    stored = rng.integers(0, 900, SHAPE).astype(np.int16)
    stored[2, 2] = -5
    hdu = fits.CompImageHDU(stored, sky_header())
    path = tmp_path / "sky.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        hdus[1].header["BSCALE"], hdus[1].header["BZERO"], hdus[1].header["BLANK"] = 0.25, 10.0, -5
        hdus[1].header["ZBLANK"] = -5
    expected = stored * 0.25 + 10
    pixels = SkyMap.open(path).pixels
    assert np.isnan(pixels[2, 2])
    good = stored != -5
    np.testing.assert_allclose(pixels[good], expected[good])


def test_damaged_tiles_are_refused(write, values):
    path = write(
        values, sky_header(), "sky.fits.fz", lambda d, h: fits.CompImageHDU(d, h, compression_type="GZIP_1")
    )
    whole = bytearray(path.read_bytes())
    with fits.open(path, disable_image_compression=True) as hdus:
        heap = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    whole[heap : heap + 400] = b"\xff" * 400
    path.write_bytes(whole)
    assert "cannot be decompressed" in refused(path)


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fitsfile, "MAX_EXPANDED_BYTES", 2**20)
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 100_000, "NAXIS2": 100_000})
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(header.tostring().encode() + bytes(50_000_000)))
    tracemalloc.start()
    assert "would expand to 40000000000 bytes" in refused(path)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()
    # bytes of one byte each become four
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 1000, "NAXIS2": 1000})
    path.write_bytes(gzip.compress(header.tostring().encode() + bytes(1_000_000)))
    assert "bytes of memory" in refused(path)
    path = tmp_path / "bomb.fits.fz"
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((3000, 3000), np.int16), compression_type="GZIP_1")]
    ).writeto(path)
    assert "would expand from" in refused(path)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        hdus[1].header["ZNAXIS2"] = 10**9
    assert "compressed tiles" in refused(path)


# ------------------------------------------------------------------------------------
# what the header says


@pytest.mark.parametrize("projection", ["NCP", "SIN", "TAN", "ZEA", "AIT", "CAR", "ARC"])
def test_projections(write, values, projection):
    header = sky_header(projection)
    if projection in ("AIT", "CAR"):
        header["CRVAL2"] = 0.0
    sky = SkyMap.open(write(values, header))
    assert sky.notes == []
    ra, dec = sky.pixel_to_sky([17.5, 20.5], [11.5, 11.5])
    assert ra[0] == pytest.approx(200.0)
    assert dec[0] == pytest.approx(header["CRVAL2"])
    # 3 pixels of 2 arcsec to the east
    assert (ra[1] - ra[0]) * np.cos(np.radians(dec[0])) * 3600 == pytest.approx(-6, rel=1e-3)
    assert sky.pixel_scale == pytest.approx(2.0, rel=1e-3)


def test_galactic_coordinates_become_icrs(write, values):
    header = sky_header("TAN", "GLON", "GLAT", CRVAL1=30.0, CRVAL2=1.0)
    sky = SkyMap.open(write(values, header))
    ra, dec = sky.pixel_to_sky(17.5, 11.5)
    expected = SkyCoord(30.0, 1.0, unit="deg", frame="galactic").icrs
    assert (ra, dec) == (pytest.approx(expected.ra.deg), pytest.approx(expected.dec.deg))


def test_older_equinoxes_become_icrs(write, values):
    sky = SkyMap.open(write(values, sky_header(EPOCH=1950.0)))
    expected = SkyCoord(200.0, -30.0, unit="deg", frame="fk4", equinox="B1950").icrs
    ra, dec = sky.pixel_to_sky(17.5, 11.5)
    assert (ra, dec) == (pytest.approx(expected.ra.deg, abs=1e-4), pytest.approx(expected.dec.deg, abs=1e-4))


def test_declination_may_come_first(write, values):
    header = sky_header()
    for key in ("CTYPE", "CRVAL", "CDELT"):
        header[f"{key}1"], header[f"{key}2"] = header[f"{key}2"], header[f"{key}1"]
    sky = SkyMap.open(write(values, header))
    ra, dec = sky.pixel_to_sky(17.5, 11.5)
    assert (ra, dec) == (pytest.approx(200.0), pytest.approx(-30.0))


def test_pixels_off_the_sky_have_no_position(write, values):
    sky = SkyMap.open(write(values, sky_header("AIT", CDELT1=-20.0, CDELT2=20.0, CRVAL2=0.0)))
    ra, dec = sky.pixel_to_sky([17.5, 0.0], [11.5, 0.0])
    assert np.isfinite(ra[0])
    assert np.isnan(ra[1])
    assert np.isnan(dec[1])


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "Jy/beam"},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"},
        {"CTYPE2": ""},
        {"CRVAL2": 120.0},
        {"CDELT1": 0.0},
        {"CRVAL1": "unknown"},
        {"CRPIX1": None},
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
        {"CUNIT1": "metres", "CUNIT2": "metres", "CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CTYPE1": "RA---NCP", "CTYPE2": "DEC--NCP", "CRVAL2": 0.0},
    ],
)
def test_broken_coordinates_become_a_note(write, values, cards):
    header = sky_header()
    for key, value in cards.items():
        header[key] = value
    sky = SkyMap.open(write(values, header))
    assert sky.wcs is None
    assert any(note.startswith("no celestial coordinates: ") for note in sky.notes)
    ra, dec = sky.pixel_to_sky(1, 1)
    assert np.isnan(ra)
    assert np.isnan(dec)
    assert all("\n" not in note and len(note) < 200 for note in sky.notes)
    np.testing.assert_array_equal(sky.pixels, values)


@pytest.mark.parametrize("missing", ["CRVAL1", "CRPIX2", "CDELT1"])
def test_coordinates_are_not_made_up(write, values, missing):
    header = sky_header()
    del header[missing]
    sky = SkyMap.open(write(values, header))
    assert sky.wcs is None
    assert f"no celestial coordinates: {missing} is missing." in sky.notes


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE3": "NONSENSE-XYZ", "CRVAL3": 1.0, "CUNIT3": "bananas"},
        {"CTYPE3": "FREQ-LSR", "CRVAL3": 1.4e9, "SPECSYS": "NOWHERE"},
        {"EQUINOX": 0.0},
        {"EQUINOX": "J2000"},
        {"RADESYS": "J2000"},
        {"RADESYS": "utter nonsense"},
        {"CUNIT1": "DEGREE ", "CUNIT2": "DEGREE "},
        {"CUNIT1": "wombat", "CUNIT2": "wombat"},
        {"CRVAL1": "200.0"},
        {"DATE-OBS": "yesterday"},
    ],
)
def test_oddities_do_not_spoil_good_coordinates(write, values, cards):
    header = sky_header()
    for key, value in cards.items():
        header[key] = value
    sky = SkyMap.open(write(values, header))
    ra, dec = sky.pixel_to_sky(17.5, 11.5)
    assert (ra, dec) == (pytest.approx(200.0, abs=1e-4), pytest.approx(-30.0, abs=1e-4))


def test_nothing_is_warned_of(write, values):
    header = sky_header(EPOCH=2000.0, BLANK=-1, RADECSYS="FK5", CTYPE3="FREQ-LSR", CRVAL3=1e9)
    header["DATE-OBS"] = "01/02/93"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sky = SkyMap.open(write(values, header))
        assert sky.pixels.shape == SHAPE
        sky.pixel_to_sky(1, 1)


def test_a_bare_map_is_allowed_and_noted(write, values):
    sky = SkyMap.open(write(values))
    assert sky.wcs is None
    assert sky.beam is None
    assert sky.unit is None
    assert sky.frequency is None
    assert sky.pixel_scale is None
    assert sky.beam_area_pixels is None
    assert [note.split(":")[0] for note in sky.notes] == [
        "no celestial coordinates",
        "no beam",
        "no unit",
        "no frequency",
    ]


def test_pixel_scale_from_cdelt_alone(write, values):
    header = sky_header()
    del header["CTYPE1"], header["CTYPE2"]
    sky = SkyMap.open(write(values, header))
    assert sky.wcs is None
    assert sky.pixel_scale == pytest.approx(2.0)
    assert sky.beam_area_pixels == pytest.approx(1.1331 * 10 * 8 / 4, rel=1e-4)


def test_header_text_is_harmless(write, values):
    header = sky_header(BUNIT="<script>alert(1)</script>", OBJECT="$(rm -rf /)")
    sky = SkyMap.open(write(values, header))
    assert sky.unit is None
    path = write(values, sky_header())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"JY/BEAM")
    raw[at : at + 3] = b"\x1b[2"
    path.write_bytes(raw)
    sky = SkyMap.open(path)
    assert all(character.isprintable() for note in sky.notes for character in note)
    assert any("not understood" in note for note in sky.notes)


# ------------------------------------------------------------------------------------
# names, fingerprints


def test_names_are_safe(write, values, tmp_path):
    path = write(values, name="my map (final) ../x.fits".replace("/", "_"))
    assert SkyMap.open(path).name == "my_map_final_.._x"
    assert SkyMap.open(path, name="EMU/2137").name == "EMU_2137"


def test_the_fingerprint_recognises_a_map(write, values, tmp_path):
    path = write(values, sky_header())
    first = SkyMap.open(path).fingerprint
    copy = tmp_path / "copy.fits"
    copy.write_bytes(path.read_bytes())
    assert SkyMap.open(copy).fingerprint == first
    assert SkyMap.open(write(values + 1, sky_header())).fingerprint != first
    assert SkyMap.open(write(values, sky_header(OBJECT="x"))).fingerprint != first
    assert re.fullmatch(r"\d+-[0-9a-f]{16}-[0-9a-f]{16}", first)


def test_a_large_map_opens_at_once(tmp_path):
    path = tmp_path / "large.fits"
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 20_000, "NAXIS2": 20_000})
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        file.truncate(2880 + 1_600_000_000 + 2880)  # sparse: takes no space
    tracemalloc.start()
    sky = SkyMap.open(path)
    assert sky.rows(19_990, 20_000).shape == (10, 20_000)
    assert sky.read(10_000, 10_256, 10_000, 10_256).sum() == 0
    assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    tracemalloc.stop()


def test_verify_hashes_the_whole_file(write, values):
    path = write(values, sky_header())
    sky = SkyMap.open(path)
    assert sky.verify() == hashlib.sha256(path.read_bytes()).hexdigest()
    write(values * 2, sky_header())
    with pytest.raises(MapError, match="has changed since it was opened"):
        sky.verify()


@pytest.mark.parametrize("keep", [0, pixels.KEEP_MAPPED_BYTES])
def test_a_file_that_changes_while_open_is_noticed(write, values, keep, monkeypatch):
    monkeypatch.setattr(pixels, "KEEP_MAPPED_BYTES", keep)
    path = write(values, sky_header())
    sky = SkyMap.open(path)
    sky.rows(0, 2)
    with path.open("r+b") as file:
        file.truncate(3000)  # reading on in the mapping would kill the process
    with pytest.raises(MapError, match="has changed since it was opened"):
        sky.rows(0, SHAPE[0])
    path.unlink()
    with pytest.raises(MapError, match="can no longer be read"):
        sky.rows(0, 2)


def test_thousands_of_maps_can_be_open(tmp_path, values):
    resource = pytest.importorskip("resource")
    path = tmp_path / "sky.fits"
    fits.writeto(path, values)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 128), hard))
    try:
        skies = [SkyMap.open(path) for _ in range(200)]
        assert all(sky.rows(0, 1).shape == (1, SHAPE[1]) for sky in skies)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ------------------------------------------------------------------------------------
# maps in memory, written maps, converted maps


def mock(values, **options):
    wcs = WCS(sky_header()).celestial
    beam = Beam(10 * u.arcsec, 8 * u.arcsec, 30 * u.deg)
    given = {
        "wcs": wcs,
        "beam": beam,
        "unit": u.Jy / u.beam,
        "frequency": 1.4 * u.GHz,
        "name": "mock",
    } | options
    return SkyMap.from_array(values, **given)


def test_a_map_of_an_array(values):
    sky = mock(values)
    assert sky.path is None
    assert sky.pixels.base is not None
    assert np.shares_memory(sky.pixels, values)  # not copied
    assert not sky.pixels.flags.writeable
    rows = sky.rows(2, 4)
    rows += 1
    np.testing.assert_array_equal(sky.pixels, values)
    assert sky.notes == []
    assert sky.beam.major.to_value(u.arcsec) == pytest.approx(10)
    assert sky.beam_area_pixels == pytest.approx(1.1331 * 80 / 4, rel=1e-4)
    assert mock(values.copy()).fingerprint == sky.fingerprint
    assert mock(values + 1).fingerprint != sky.fingerprint
    assert mock(values, unit="mJy/beam").fingerprint != sky.fingerprint
    assert mock(values).verify() == sky.verify() == hashlib.sha256(values.tobytes()).hexdigest()
    assert "mock: 36 x 24 pixels, 2" in repr(sky)


def test_a_map_of_an_array_and_a_header(values):
    sky = SkyMap.from_array(values, header=sky_header())
    assert sky.unit == u.Jy / u.beam
    assert sky.frequency == 1.4e9 * u.Hz
    assert sky.pixel_scale == pytest.approx(2)
    bare = SkyMap.from_array(values)
    assert bare.notes == [
        f"no {what} given." for what in ("celestial coordinates", "beam", "unit", "frequency")
    ]


def test_infinities_of_an_array_become_blank_without_touching_it(values):
    values[0, 0] = np.inf
    sky = SkyMap.from_array(values)
    assert np.isnan(sky.pixels[0, 0])
    assert np.isinf(values[0, 0])


@pytest.mark.parametrize(
    "array", [np.zeros(5), np.zeros((0, 3)), np.zeros((2, 2, 2)), np.zeros((2, 2), complex), [["a", "b"]]]
)
def test_arrays_that_are_no_maps(array):
    with pytest.raises(MapError, match="give real numbers in two axes"):
        SkyMap.from_array(array)


def test_round_trip(values, tmp_path):
    values[4:7, 8:12] = np.nan
    sky = mock(values, header=fits.Header({"OBJECT": "Mock", "TELESCOP": "none"}))
    path = sky.write(tmp_path / "mock.fits")
    again = SkyMap.open(path)
    np.testing.assert_array_equal(again.pixels, values)
    assert again.unit == sky.unit
    assert again.frequency == sky.frequency
    assert again.header["OBJECT"] == "Mock"
    for angle in ("major", "minor", "pa"):
        assert getattr(again.beam, angle).to_value(u.deg) == pytest.approx(
            getattr(sky.beam, angle).to_value(u.deg), rel=1e-12
        )
    x, y = np.meshgrid([0, 17, 35], [0, 12, 23])
    np.testing.assert_allclose(again.pixel_to_sky(x, y), sky.pixel_to_sky(x, y), rtol=0, atol=1e-10)
    assert again.notes == []
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data, values)
    assert fits.getheader(path)["BUNIT"] == "Jy/beam"
    with pytest.raises(MapError, match=r"mock\.fits exists"):
        sky.write(path)
    sky.write(path, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["mock.fits"]


@pytest.mark.parametrize("projection", ["NCP", "ZEA", "AIT"])
def test_an_opened_map_is_written_in_full(write, values, tmp_path, projection):
    sky = SkyMap.open(write(values.astype(np.float64), sky_header(projection)))
    again = SkyMap.open(sky.write(tmp_path / "again.fits"))
    np.testing.assert_allclose(again.pixel_to_sky(3, 4), sky.pixel_to_sky(3, 4), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(again.pixels, sky.pixels)


def test_writing_where_it_cannot_be(values, tmp_path):
    with pytest.raises(MapError, match=r"does not end in \.fits"):
        mock(values).write(tmp_path / "mock.png")
    with pytest.raises(MapError, match="cannot be written"):
        mock(values).write(tmp_path / "none" / "mock.fits")


def test_flux_per_pixel(values):
    area = mock(values).beam_area_pixels
    sky = mock(values).flux_per_pixel()
    assert sky.unit == u.Jy / u.pix
    np.testing.assert_allclose(sky.pixels, values / area, rtol=1e-6)
    np.testing.assert_array_equal(sky.flux_per_pixel().pixels, sky.pixels)
    assert sky.fingerprint != mock(values).fingerprint
    milli = mock(values, unit="mJy/beam").flux_per_pixel()
    np.testing.assert_allclose(milli.rows(2, 3), values[2:3] / area / 1000, rtol=1e-6)
    per_sr = mock(values, unit="MJy/sr").flux_per_pixel()
    pixel = (2 * u.arcsec) ** 2
    np.testing.assert_allclose(per_sr.pixels, values * (1 * u.MJy / u.sr * pixel).to_value(u.Jy), rtol=1e-5)
    kelvin = mock(values, unit="K").flux_per_pixel()
    expected = (1 * u.K).to(u.Jy / u.sr, u.brightness_temperature(1.4 * u.GHz)) * pixel
    np.testing.assert_allclose(kelvin.pixels, values * expected.to_value(u.Jy), rtol=1e-5)


def test_a_point_source_keeps_its_flux_density():
    y, x = np.mgrid[:61, :81]
    beam = Beam(12 * u.arcsec, 12 * u.arcsec, 0 * u.deg)
    peak = np.exp(-4 * np.log(2) * ((x - 40) ** 2 + (y - 30) ** 2) / 6.0**2)
    sky = mock(0.7 * peak, beam=beam).flux_per_pixel()
    assert sky.pixels.sum() == pytest.approx(0.7, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": None}, "has no unit"),
        ({"beam": None}, "has no beam"),
        ({"wcs": None}, "has no pixel scale"),
        ({"unit": "K", "frequency": None}, "has no frequency"),
        ({"unit": "km/s"}, "no surface brightness"),
        ({"unit": "MJy/sr", "wcs": None}, "has no pixel scale"),
    ],
)
def test_what_flux_per_pixel_needs(values, options, message):
    with pytest.raises(MapError, match=message):
        mock(values, **options).flux_per_pixel()


def test_attributes_can_be_set(write, values):
    sky = SkyMap.open(write(values))
    sky.unit = "mJy / beam"
    sky.beam = Beam(10 * u.arcsec, 8 * u.arcsec, 30 * u.deg)
    sky.wcs = WCS(sky_header()).celestial
    sky.frequency = 1 * u.GHz
    assert sky.flux_per_pixel().unit == u.Jy / u.pix


# ------------------------------------------------------------------------------------


def test_every_real_file_is_read_or_refused(realdata):
    opened, messages = 0, []
    paths = sorted(realdata.rglob("*.fits"))
    paths += sorted(realdata.rglob("*.gz")) + sorted(realdata.rglob("*.fz"))[::10]  # 607 much alike
    for path in paths:
        try:
            sky = SkyMap.open(path)
        except MapError as error:
            messages.append(str(error))
            continue
        opened += 1
        ny, nx = sky.shape
        middle = sky.read(ny // 2, ny // 2 + 1, 0, nx)
        assert np.isfinite(middle).any()
        assert all("\n" not in note and len(note) < 200 for note in sky.notes)
    assert opened == len(paths) - 4
    assert len(messages) == 4  # catalogues
    assert all("holds only tables" in message for message in messages)


def test_real_maps_mean_what_they_say(realdata):
    sky = SkyMap.open(realdata / "scorpio" / "ScorpioS17Field.fits")
    assert sky.pixel_scale == pytest.approx(1.5, rel=1e-3)
    assert sky.beam.major.to_value(u.arcsec) == pytest.approx(6.5, rel=1e-2)
    assert sky.unit == u.Jy / u.beam
    sky = SkyMap.open(realdata / "magpis_g10.5" / "magpis_G10.5+0.0_20cm.fits")
    assert sky.frequency.to_value(u.GHz) == pytest.approx(1.407, rel=1e-3)  # of a wavelength axis
    expected = SkyCoord(10.5, 0.0, unit="deg", frame="galactic").icrs
    ra, dec = sky.pixel_to_sky(149.5, 149.5)
    assert SkyCoord(ra, dec, unit="deg").separation(expected).arcsec < 4
    sky = SkyMap.open(realdata / "small_maps" / "aegean_1904-66_SIN.fits")
    assert 0.3 < np.isnan(sky.pixels).mean() < 0.5


@pytest.mark.parametrize("kind", ["plain", "tiled", "gzipped"])
def test_damaged_bytes_never_get_through(write, values, tmp_path, kind):
    def tiled(data, header):
        return fits.CompImageHDU(data, header, compression_type="RICE_1", quantize_level=16)

    whole = write(
        values, sky_header(CTYPE3="FREQ", CRVAL3=1e9), hdu=tiled if kind == "tiled" else fits.PrimaryHDU
    )
    whole = whole.read_bytes()
    header = whole.rindex(b"END" + b" " * 77)
    words = [b"NaN", b"1E400", b"-1", b"9" * 20, b"'x'", b"T", b"0", b"\xff\x00", b"''", b"1e-320", b"2"]
    rng = np.random.default_rng(11)
    path = tmp_path / "damaged.fits"
    opened, messages = 0, []
    for _ in range(80):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            if rng.random() < 0.7:  # the value of a card
                at = int(rng.integers(header // 80)) * 80
                data[at + 10 : at + 30] = words[rng.integers(len(words))].rjust(20)
            else:
                data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(gzip.compress(bytes(data), 1) if kind == "gzipped" else bytes(data))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                sky = SkyMap.open(path)
                found = sky.rows(0, sky.shape[0])
                sky.pixel_to_sky([0, 1], [0, 1])
        except MapError as error:
            messages.append(str(error))
            continue
        opened += 1
        assert not np.isinf(found).any()
        assert sky.beam_area_pixels is None or sky.beam_area_pixels > 0
    assert opened > 10
    assert len(messages) > 10
    assert all("\n" not in message for message in messages)

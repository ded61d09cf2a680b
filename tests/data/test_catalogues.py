"""Catalogues of every format: written by astropy, pandas or hand, read back with the right units and missing values."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import radiowidgets as rw
from radiowidgets.data.catalogues import NORMALISED, Catalogue, read_catalogue
from radiowidgets.data.matches import cross_match
from radiowidgets.errors import CatalogueError, ParameterError, RadioWidgetsError


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def example() -> Table:
    table = Table()
    table["Source"] = ["one", "two", "three"]
    table["RA"] = [10.0, 200.5, 359.9] * u.deg
    table["DEC"] = [-5.0, 60.25, 0.0] * u.deg
    table["Total_flux"] = MaskedColumn([1.5, 2.5, 3.5], mask=[False, True, False], unit="mJy")
    table["Peak_flux"] = [1.0, 2.0, 3.0] * u.mJy / u.beam
    table["Maj"] = [0.002, 0.003, 0.004] * u.deg
    table["Number"] = MaskedColumn([1, 2, 3], mask=[False, False, True])
    return table


def check_example(catalogue: Catalogue) -> None:
    assert isinstance(catalogue, Catalogue) and len(catalogue) == 3
    np.testing.assert_allclose(catalogue.ra, [10, 200.5, 359.9])
    np.testing.assert_allclose(catalogue.dec, [-5, 60.25, 0])
    np.testing.assert_allclose(catalogue.flux, [1.5e-3, np.nan, 3.5e-3])
    np.testing.assert_allclose(catalogue.peak, [1e-3, 2e-3, 3e-3])
    np.testing.assert_allclose(catalogue.major, [7.2, 10.8, 14.4])
    np.testing.assert_allclose(catalogue.Total_flux, [1.5, np.nan, 3.5])
    np.testing.assert_array_equal(catalogue.Number, [1, 2, np.nan])
    assert catalogue.name.tolist() == ["one", "two", "three"]
    assert catalogue.units["flux"] == "Jy" and catalogue.units["Total_flux"] == "mJy"
    assert any("converted from mJy" in note for note in catalogue.notes)


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("fits", "a.fits"),
        ("votable", "a.xml"),
        ("ascii.ipac", "a.tbl"),
        ("ascii.ecsv", "a.ecsv"),
        ("fits", "a.dat"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_formats_with_units(tmp_path, format, name, packed):
    path = tmp_path / name
    table = example()
    if format == "ascii.ipac":
        table["Peak_flux"].unit = "mJy/beam"
    table.write(path, format=format)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    check_example(read_catalogue(path))
    assert rw.read_catalogue is read_catalogue


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_with_units_in_names(tmp_path, delimiter, end):
    lines = [
        ["Source", "RA", "DEC", "Total_flux_mJy", "Peak_flux_mJy/beam", "Maj[deg]", "Number"],
        ["one", "10.0", "-5", "1.5", "1", "0.002", "1"],
        ["two", "200.5", "60.25", "-", "2", "0.003", "2"],
        ["three", "359.9", "0.0", "3.5", "3", "0.004", "-999"],
    ]
    lines[0][4] = "Peak_flux_mJy_beam"
    path = write(tmp_path / "a.csv", "\ufeff" + end.join(delimiter.join(line) for line in lines) + end)
    catalogue = read_catalogue(path).rename(columns={"Total_flux_mJy": "Total_flux"})
    catalogue.units["Total_flux"] = catalogue.units.pop("Total_flux_mJy")
    check_example(catalogue)


def test_missing_values_of_all_kinds(tmp_path):
    text = "name,ra,dec,flux (mJy),vlsr,kind,flag\n"
    rows = [
        "a,1,2,3,-999,x,true",
        "b,1,2,0.00,-999..,-,false",
        "c,1,2,,5,-999,true",
        "d,1,2,-NaN,inf,null,false",
    ]
    catalogue = read_catalogue(write(tmp_path / "a.csv", text + "\n".join(rows)))
    np.testing.assert_allclose(catalogue.flux, [3e-3, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(catalogue.vlsr, [np.nan, np.nan, 5, np.nan])
    assert catalogue.kind.isna().tolist() == [False, True, True, True]
    assert catalogue.flag.tolist() == [True, False, True, False]
    assert any("0 (a flux) in flux (mJy) 1" in note for note in catalogue.notes)
    assert any("-999 in vlsr 2" in note for note in catalogue.notes)
    kept = read_catalogue(tmp_path / "a.csv", zero_is_missing=False, missing={"vlsr": 5})
    assert kept.flux[1] == 0 and kept.vlsr.isna().all()


def test_limits_do_not_become_fluxes(tmp_path):
    text = 'ra,dec,flux (Jy),note\n1,2,<0.5,"5"" beam"\n1,2,1.5,"\n3,4,5,x\n1,2\n'
    catalogue = read_catalogue(write(tmp_path / "a.csv", text))
    np.testing.assert_allclose(catalogue.flux, [np.nan, 1.5, 5])
    assert catalogue["flux (Jy)"][0] == "<0.5"
    assert any("limits" in note for note in catalogue.notes) and any(
        "1 lines" in note for note in catalogue.notes
    )


def test_a_unit_is_never_guessed(tmp_path):
    path = write(tmp_path / "a.csv", "ra,dec,flux,peak,rms,major,S1400\n1,2,3,4,5,6,7\n")
    catalogue = read_catalogue(path)
    assert not {"flux", "peak", "rms", "major"} & set(catalogue.columns)
    assert catalogue.flux_original[0] == 3
    assert sum("has no unit" in note for note in catalogue.notes) >= 4
    told = read_catalogue(
        path, units={"S1400": "mJy", "peak": "uJy/beam", "rms": "mJy"}, columns={"flux": "S1400"}
    )
    assert told.flux[0] == pytest.approx(7e-3) and told.peak[0] == pytest.approx(4e-6)
    assert told.rms[0] == pytest.approx(5e-3) and any("taken as mJy / beam" in note for note in told.notes)
    for wrong in (
        {"units": {"nope": "Jy"}}, {"units": {"flux": "foo"}}, {"columns": {"flux": "nope"}},
        {"columns": {"colour": "flux"}}, {"frame": "b1950"}, {"missing": {"nope": 1}},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            read_catalogue(path, **wrong)


# --------------------------------------------------------------------------------
# positions


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        ("17:45:40.04", "-29:00:28.1", "17:45:40.04 -29:00:28.1"),
        ("17 45 40", "-00 28", "17:45:40 -00:28:00"),
        ("17h45m40.04s", "+29d00m28.1s", "17:45:40.04 +29:00:28.1"),
        ("17 45.5", "29 00", "17:45:30 +29:00:00"),
    ],
)
def test_sexagesimal_positions(tmp_path, ra, dec, expected):
    catalogue = read_catalogue(write(tmp_path / "a.csv", f"ra,dec\n{ra},{dec}\n{ra},\n"), frame="icrs")
    here = SkyCoord(expected, unit=("hourangle", "deg"))
    assert SkyCoord(catalogue.ra[0], catalogue.dec[0], unit="deg").separation(here).arcsec < 1e-6
    assert np.isnan(catalogue.ra[1]) and any("1 of 2 rows" in note for note in catalogue.notes)


@pytest.mark.parametrize(
    ("names", "frame", "lon", "lat"),
    [
        ("RAJ2000,DEJ2000", "fk5", 83.6, 22.0), ("RAB1950,DEB1950", "fk4", 83.6, 22.0),
        ("GLON,GLAT", "galactic", 30, -1),
        ("GLong<br>(deg.),GLat<br>(deg.)", "galactic", 30.0, -1.0), ("l,b", "galactic", 359.9, 0.1),
        ("RA_ICRS,DE_ICRS", "icrs", 83.6, 22.0),
    ],
)  # fmt: skip
def test_frames_against_astropy(tmp_path, names, frame, lon, lat):
    catalogue = read_catalogue(write(tmp_path / "a.csv", f"{names},x\n{lon},{lat},a\n"))
    here = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
    assert SkyCoord(catalogue.ra[0], catalogue.dec[0], unit="deg").separation(here).arcsec < 1e-6
    assert not any("<" in name for name in catalogue.columns)


def test_columns_in_hours_minutes_and_seconds(tmp_path):
    path = write(tmp_path / "a.csv", "RAh,RAm,RAs,DE-,DEd,DEm,DEs\n5,34,31.94,-,0,52,2.0\n")
    catalogue = read_catalogue(path, frame="icrs")
    assert (catalogue.ra[0], catalogue.dec[0]) == pytest.approx((83.633083, -(52 / 60 + 2 / 3600)), abs=1e-5)


def test_right_ascension_without_its_hours(tmp_path):
    head, row = "name,ra,dec", "G010.1615-00.3623,09:26.9,-20:19:28.2"
    catalogue = read_catalogue(
        write(tmp_path / "a.csv", f"{head},GAL_LONG,GAL_LAT\n{row},10.16161933,-0.362468943\n")
    )
    here = SkyCoord("18:09:26.9 -20:19:28.2", unit=("hourangle", "deg"), frame="fk5")
    assert SkyCoord(catalogue.ra[0], catalogue.dec[0], unit="deg").separation(here).arcsec < 2
    assert any("lacks its hours" in note for note in catalogue.notes)
    named = read_catalogue(write(tmp_path / "b.csv", f"{head}\n{row}\n"))
    assert SkyCoord(named.ra[0], named.dec[0], unit="deg").separation(here).arcsec < 2
    assert any("from the names" in note for note in named.notes)


def test_positions_that_contradict_are_told(tmp_path):
    path = write(tmp_path / "a.csv", "ra,dec,glon,glat\n10,10,10,10\n400,95,0,0\n")
    catalogue = read_catalogue(path)
    assert any("disagree" in note for note in catalogue.notes)
    assert np.isnan(catalogue.ra[1])
    galactic = read_catalogue(path, frame="galactic")
    assert galactic.ra[0] == pytest.approx(SkyCoord(10, 10, unit="deg", frame="galactic").icrs.ra.deg)


# --------------------------------------------------------------------------------
# programs


def test_pybdsf_text(tmp_path):
    text = (
        "# Gaussian list for PyBDSF\n# Generated on 2024-01-01\n#\n"
        "# Source_id, Isl_id, RA, E_RA, DEC, E_DEC, Total_flux, E_Total_flux, Peak_flux, Maj, Min, PA, S_Code\n"
        "0, 0, 150.1, 1e-5, 2.2, 1e-5, 0.002, 0.0001, 0.0015, 0.002, 0.001, 30.0, S\n"
    )
    catalogue = read_catalogue(write(tmp_path / "a.csv", text))
    assert catalogue.format == "PyBDSF CSV"
    row = catalogue.iloc[0]
    assert (row.flux, row.flux_error, row.peak, row.major, row.pa) == pytest.approx(
        (0.002, 1e-4, 0.0015, 7.2, 30)
    )
    assert any("as PyBDSF writes them" in note for note in catalogue.notes)


def test_aegean_errors_of_minus_one_are_missing(tmp_path):
    text = (
        "island,source,background,local_rms,ra_str,dec_str,ra,err_ra,dec,err_dec,peak_flux,err_peak_flux,int_flux,"
        "err_int_flux,a,err_a,b,err_b,pa,err_pa,flags,psf_a,psf_b,psf_pa\n"
        "1,0,0.0,0.001,10:00:00,-20:00:00,150.0,-1,-20.0,-1,0.5,-1,0.6,0.01,30,-1,20,1,10,1,0,25,20,0\n"
    )
    row = read_catalogue(write(tmp_path / "a.csv", text)).iloc[0]
    assert (row.flux, row.flux_error, row.peak, row.rms, row.major, row.minor) == (
        0.6,
        0.01,
        0.5,
        0.001,
        30,
        20,
    )
    assert np.isnan(row.peak_error) and np.isnan(row.err_a)


def test_ds9_regions(tmp_path):
    text = (
        "# Region file format: DS9 version 4.1\nglobal color=green\nfk5\n"
        'circle(83.6,22.0,30") # text={Crab} tag={SNR}\nellipse(10.0,0.0,60",20",90)\n'
        "galactic;point(30.0,-1.0)\nfk5;polygon(10,0,10.1,0,10.1,0.1,10,0.1)\nimage;circle(101,51,5)\n"
    )
    catalogue = read_catalogue(write(tmp_path / "a.reg", text))
    assert catalogue.shape[0] == 5 and catalogue["text"][0] == "Crab" and catalogue.format == "DS9 regions"
    here = SkyCoord(83.6, 22.0, unit="deg", frame="fk5").icrs
    assert SkyCoord(catalogue.ra[0], catalogue.dec[0], unit="deg").separation(here).arcsec < 1e-6
    assert catalogue.radius[0] == pytest.approx(30)
    assert (catalogue.major[1], catalogue.minor[1]) == pytest.approx((120, 40))
    assert (catalogue.pa[1] + 90) % 180 - 90 == pytest.approx(
        0, abs=0.1
    )  # DS9 counts from west, we from north
    assert SkyCoord(catalogue.ra[2], catalogue.dec[2], unit="deg").galactic.l.deg == pytest.approx(30)
    assert catalogue.ra[3] == pytest.approx(10.05, abs=1e-3)
    assert np.isnan(catalogue.ra[4]) and (catalogue.x[4], catalogue.y[4]) == (100, 50)


def test_vizier_text(tmp_path):
    text = (
        "#\n#Coosys\tJ2000:\teq_FK5 J2000\n#Column\tSNR\t(A11)\tname\nSNR;RAJ2000;DEJ2000;S\n"
        ' ;"h:m:s";"d:m:s";mJy\n-----------;--------;------;---\nG000.0+00.0;17 45 44;-29 00;1000\n'
    )
    catalogue = read_catalogue(write(tmp_path / "a.tsv", text))
    here = SkyCoord("17:45:44 -29:00:00", unit=("hourangle", "deg"), frame="fk5").icrs
    assert SkyCoord(catalogue.ra[0], catalogue.dec[0], unit="deg").separation(here).arcsec < 1e-6
    assert catalogue.flux[0] == 1 and catalogue.name[0] == "G000.0+00.0"


# --------------------------------------------------------------------------------
# what is wrong


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"), (b"\n \n", "empty"),
        (b"<html><body>Error 404", "web page"), (b"\x89HDF\r\n\x1a\n\0\0", "binary"),
        (b"1 2 3\n4 5 6\n", "no column names"), (b"# only a comment\n", "no rows"), (b"\x1f\x8b\x08junk", "damaged"),
        (b'<?xml version="1.0"?><!DOCTYPE V [<!ENTITY a "b">]><VOTABLE version="1.3"></VOTABLE>', "entities"),
        (b"<VOTABLE><RESOURCE><TABLE><DATA><BINARY><STREAM href='file:///etc/passwd'/>", "kept elsewhere"),
        (b"<VOTABLE version='1.3'><RESOURCE/></VOTABLE>", "no table"), (b"<VOTABLE>", "no readable VOTable"),
        (b"a b c\n1 2\n3\n4 5\n", "do not have"), (b"SIMPLE  =                    T", "FITS"),
        (b"|a|b|\n|int|banana|\n 1   2  \n", "IPAC"), (b"# Region file format: DS9\nfk5\nbanana(1,2)\n", "region"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, content, message):
    with pytest.raises(CatalogueError, match=message) as caught:
        read_catalogue(write(tmp_path / "a.tbl", content))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(CatalogueError, match="cannot be read"):
            read_catalogue(path)


def test_a_map_is_no_catalogue(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "a.fits")
    with pytest.raises(CatalogueError, match="SkyMap"):
        read_catalogue(tmp_path / "a.fits")
    example().write(tmp_path / "b.fits")
    with pytest.raises(CatalogueError, match="no table"):
        read_catalogue(tmp_path / "b.fits", hdu=0)
    cut = (
        (tmp_path / "b.fits")
        .read_bytes()
        .replace(b"NAXIS2  =                    3", b"NAXIS2  =             99999999")
    )
    with pytest.raises(CatalogueError, match="promises"):
        read_catalogue(write(tmp_path / "c.fits", cut))


def test_a_table_without_rows_or_names(tmp_path):
    assert len(read_catalogue(write(tmp_path / "a.csv", "ra,dec,flux (Jy)\n"))) == 0
    catalogue = read_catalogue(write(tmp_path / "b.txt", "1 2 3\n4 5 6\n"), names=["ra", "dec", "S_mJy"])
    assert catalogue.ra.tolist() == [1, 4] and catalogue.flux.tolist() == [3e-3, 6e-3]
    with pytest.raises(CatalogueError, match="2 entries"):
        read_catalogue(tmp_path / "b.txt", names=["ra", "dec"])
    twice = read_catalogue(write(tmp_path / "c.csv", "ra,dec,x,x\n1,2,3,4\n"))
    assert twice["x_2"][0] == 4 and any("second column" in note for note in twice.notes)


def _seeds() -> list[bytes]:
    result = []
    for kind in ("fits", "votable", "ascii.ipac", "ascii.ecsv", "ascii.csv"):
        buffer = io.BytesIO() if kind in {"fits", "votable"} else io.StringIO()
        table = example()
        if kind == "ascii.ipac":
            table.remove_column("Peak_flux")
        table.write(buffer, format=kind)
        content = buffer.getvalue()
        result.append(content if isinstance(content, bytes) else content.encode())
    result.append(b'fk5\ncircle(83.6,22.0,30")\nellipse(10.0,0.0,60",20",90)\n')
    result.append(
        b'#Coosys J2000\nSNR;RAJ2000;DEJ2000\n ;"h:m:s";"d:m:s"\n---;---;---\nG0+0;17 45 44;-29 00\n'
    )
    return result


SEEDS = _seeds()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_bytes_never_crash(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.integers(0, 3))
        piece = data.draw(st.binary(min_size=1, max_size=6))
        if what == 0:
            content[place : place + len(piece)] = piece
        elif what == 1:
            del content[place : place + data.draw(st.integers(1, 200))]
        elif what == 2:
            content[place:place] = piece
        else:
            del content[place:]
        if not content:
            break
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content))
    check_read_or_refused(path)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_bytes_never_crash(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    check_read_or_refused(path)


def check_read_or_refused(path) -> None:
    try:
        catalogue = read_catalogue(path)
    except RadioWidgetsError as error:
        message = str(error)
    else:
        message = ""
        assert {"ra", "dec"} <= set(catalogue.columns)
        assert catalogue.ra.dropna().between(0, 360).all() and catalogue.dec.dropna().between(-90, 90).all()
    assert "\n" not in message


# --------------------------------------------------------------------------------
# published catalogues


def test_lofar_catalogue_and_its_map(realdata):
    catalogue = read_catalogue(realdata / "lotss_dr1" / "catalog_shimwell_reduced.srl.fits")
    assert catalogue.format == "PyBDSF FITS" and len(catalogue) == 12093
    np.testing.assert_allclose(catalogue.flux, catalogue.Total_flux / 1000)
    np.testing.assert_allclose(catalogue.peak, catalogue.Peak_flux / 1000)
    sky = rw.SkyMap.open(realdata / "lotss_dr1" / "P205+55-mosaic.fits")
    x, y = sky.wcs.all_world2pix(catalogue.ra, catalogue.dec, 0)
    near = catalogue[(x > -0.5) & (y > -0.5) & (x < 399.5) & (y < 399.5)]
    assert len(near) == 27
    sources = rw.find_sources(sky)
    pairs = cross_match(sources, near, sky.beam)
    assert len(pairs) >= 20
    ratio = sources.peak.to_numpy()[pairs.a] / near.peak.to_numpy()[pairs.b]
    assert np.median(ratio[sources.snr.to_numpy()[pairs.a] > 10]) == pytest.approx(1, abs=0.05)


def test_infrared_bubbles(realdata):
    catalogue = read_catalogue(realdata / "catalogues" / "wise_hii_V2.2.csv")
    assert len(catalogue) == 8412 and not catalogue.ra.isna().any()
    np.testing.assert_allclose(catalogue.radius, catalogue["Radius (arcsec.)"])
    here = SkyCoord(catalogue.ra, catalogue.dec, unit="deg").galactic
    assert np.abs(here.b.deg - catalogue["GLat (deg.)"]).max() < 1e-6
    for name in ("GLIMPSE 8um (Jy)", "WISE 22um (Jy)", "Hi-Gal 70um (Jy)", "MAGPIS 20cm (Jy)"):
        assert catalogue.units[name] == "Jy" and catalogue[name].dtype == float
        assert not (catalogue[name] == 0).any() and 300 < catalogue[name].notna().sum() < 1100
    assert catalogue.name[0] == "G000.003+00.127"


def test_red_msx_sources(realdata):
    catalogue = read_catalogue(realdata / "catalogues" / "rms_allyoung_full_nokda.csv")
    assert len(catalogue) == 1573 and not catalogue.ra.isna().any()
    assert not (catalogue.select_dtypes("number") == -999).any(axis=None)
    assert 200 < catalogue.jmag.isna().sum() < 400
    assert not catalogue.kds.eq("-999").any()
    lon, lat = catalogue.name.str.extract(r"G([\d.]+)([+-][\d.]+)").astype(float).to_numpy().T
    here = SkyCoord(catalogue.ra, catalogue.dec, unit="deg")
    apart = here.separation(SkyCoord(lon, lat, unit="deg", frame="galactic"))
    assert np.nanmedian(apart.arcsec) < 1
    assert any("lacks its hours" in note for note in catalogue.notes)


def test_galactic_plane_at_90_ghz(realdata):
    catalogue = read_catalogue(realdata / "catalogues" / "mgps90_concatenated_catalog.ipac")
    assert len(catalogue) == 709 and not catalogue.ra.isna().any()
    here = SkyCoord(catalogue.ra, catalogue.dec, unit="deg").galactic
    np.testing.assert_allclose(here.b.deg, catalogue.y_cen, atol=1e-6)
    assert catalogue.units["MUSTANG_dend_flux"] == "Jy"
    assert catalogue.Fint20cm.notna().sum() == 60 and not (catalogue.Fint870um == 0).any()
    assert not np.isinf(catalogue.select_dtypes("number").to_numpy()).any()
    told = read_catalogue(
        realdata / "catalogues" / "mgps90_concatenated_catalog.ipac", columns={"flux": "MUSTANG_dend_flux"}
    )
    np.testing.assert_allclose(told.flux, catalogue.MUSTANG_dend_flux)


def test_other_catalogues(realdata):
    folder = realdata / "catalogues"
    racs = read_catalogue(folder / "racs_1357-18_aegean_comp.fits")
    assert racs.format == "Aegean FITS" and len(racs) == 7225
    strings = SkyCoord(racs.ra_str, racs.dec_str, unit=("hourangle", "deg"))
    assert strings.separation(SkyCoord(racs.ra, racs.dec, unit="deg")).arcsec.max() < 0.3
    np.testing.assert_allclose(racs.flux, racs.int_flux)
    assert (racs.err_a.dropna() > 0).all() and racs.err_a.isna().sum() == 265
    snr = read_catalogue(folder / "snr_green2019_vizier.tsv")
    assert len(snr) == 294 and snr.ra.notna().all() and snr.name[0] == "G000.0+00.0"
    green = read_catalogue(
        folder / "GalacticSNRs_Green2014.csv", units={"size_major": "arcmin", "flux": "Jy"}
    )
    assert green.major[1] == 900 and green.flux[0] == 100
    pairs = cross_match(snr, green, 60)
    assert len(pairs) > 280  # two editions of one catalogue
    pne = read_catalogue(folder / "pne_kohoutek2001_vizier.tsv")
    assert len(pne) == 1510 and pne.ra.notna().all()
    assert pne.ra[0] == pytest.approx(15 * 12.9 / 60, abs=1e-3)
    mingo = read_catalogue(folder / "mingo19_lomorph_lotss.fits")
    assert len(mingo) == 5805 and mingo.FR1.sum() > 1000
    np.testing.assert_allclose(mingo.flux, mingo.LM_Flux / 1000)
    radcat = read_catalogue(folder / "RADCAT.csv")
    assert radcat.ra.notna().all() and radcat.units["RA/deg"] == "deg"


def test_every_real_table_is_read_or_refused(realdata):
    paths = sorted((realdata / "catalogues").iterdir()) + sorted(
        (realdata / "yso_radio_maps" / "tables").iterdir()
    )
    for path in paths:
        check_read_or_refused(path)
    truth = read_catalogue(
        realdata / "sdc1_sim" / "truth_B1_0.3tr.cat",
        names=[
            "ID",
            "RA_core",
            "DEC_core",
            "RA",
            "DEC",
            "FLUX",
            "CORE",
            "BMAJ",
            "BMIN",
            "PA",
            "SIZE",
            "CLASS",
        ],
        units={"FLUX": "Jy"},
    )
    assert len(truth) == 17731 and truth.ra.notna().all() and truth.flux.median() < 1e-4
    assert set(NORMALISED) & set(truth.columns) >= {"ra", "dec", "flux"}
    assert isinstance(truth.iloc[:3], pd.DataFrame)

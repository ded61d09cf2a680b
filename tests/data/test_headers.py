"""What headers say about beam, unit, frequency and name, however it is written."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, Sip

from radiowidgets.data.headers import beam_size, frequency_hertz, parse_unit, shifted_wcs, slug

ARCSEC = 1 / 3600


def header_of(cards, history=()):
    header = fits.Header(cards)
    for line in history:
        header["HISTORY"] = line
    return header


# ------------------------------------------------------------------------------------
# beam


@pytest.mark.parametrize(
    ("cards", "history", "expected"),
    [
        ({"BMAJ": 10 * ARCSEC, "BMIN": 8 * ARCSEC, "BPA": 30.0}, [], (10, 8, 30)),
        ({"BMAJ": 10 * ARCSEC, "BMIN": 8 * ARCSEC, "BPA": -30.0}, [], (10, 8, 150)),
        ({"BMAJ": 8 * ARCSEC, "BMIN": 10 * ARCSEC, "BPA": 30.0}, [], (10, 8, 120)),
        ({"BMAJ": 10 * ARCSEC}, [], (10, 10, 0)),
        ({"BMAJ": "2.7777777777777778E-03"}, [], (10, 10, 0)),
        ({}, ["AIPS   CLEAN BMAJ=  1.7778E-03 BMIN=  1.5000E-03 BPA=   2.61"], (6.4, 5.4, 2.61)),
        (
            {},
            ["CLEAN BMAJ=  1.0E-03 BMIN=  1.0E-03 BPA= 0.", "CLEAN BMAJ=  2.0D-03 BMIN=  1.0E-03 BPA= 9."],
            (7.2, 3.6, 9),
        ),
        (
            {},
            ["Fitted beam used in", "> restoration: 1.34841 by 0.83 (arcsec)", "  at pa 82.8827 (deg)"],
            (1.34841, 0.83, 82.8827),
        ),
        ({"BMAJ": 0.0, "BMIN": 0.0, "BPA": 0.0}, ["CLEAN BMAJ= 0.001 BMIN= 0.001 BPA= 0"], (3.6, 3.6, 0)),
    ],
)  # fmt: skip
def test_beams(cards, history, expected):
    found = beam_size(header_of(cards, history), 1.0, [])
    assert (found[0] * 3600, found[1] * 3600, found[2]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("cards", "history", "note"),
    [
        ({}, [], "no beam"),
        ({"BMAJ": -1.0}, [], "BMAJ -1.0 ignored"),
        ({"BMAJ": "wide"}, [], "BMAJ 'wide' ignored"),
        ({"BMAJ": 45.0, "BMIN": 45.0}, [], "is it in arcsec"),
        ({"CASAMBM": True}, [], "several beams"),
        ({}, ["AIPS   CLEAN BMAJ=  0.0000E+00 BMIN=  0.0000E+00 BPA=   0.00"], "no beam"),
        ({}, ["AIPS   CLEAN BMAJ=  BMIN= BPA="], "no beam"),
    ],
)
def test_beams_that_are_not_believed(cards, history, note):
    notes = []
    assert beam_size(header_of(cards, history), 1.0, notes) is None
    assert any(note in line for line in notes)


# ------------------------------------------------------------------------------------
# unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("JY/BEAM", u.Jy / u.beam),
        ("Jy/beam ", u.Jy / u.beam),
        ("Jy beam-1", u.Jy / u.beam),
        ("beam-1 Jy", u.Jy / u.beam),
        ("Jy.beam^-1", u.Jy / u.beam),
        ("jy/bm", u.Jy / u.beam),
        ("mJy/beam", u.mJy / u.beam),
        ("UJY/BEAM", u.uJy / u.beam),
        ("MJY/BEAM", u.mJy / u.beam),
        ("MJy/beam", u.MJy / u.beam),
        ("MJy/sr", u.MJy / u.sr),
        ("MJY/SR", u.MJy / u.sr),
        ("JY/PIXEL", u.Jy / u.pix),
        ("Jy/arcsec**2", u.Jy / u.arcsec**2),
        ("JY", u.Jy),
        ("K", u.K),
        ("KELVIN", u.K),
        ("K (Tb)", u.K),
        ("mK", u.mK),
        ("W/m^2-sr", u.W / u.m**2 / u.sr),
        ("W m**-2 sr**-1", u.W / u.m**2 / u.sr),
    ],
)
def test_units(text, unit):
    assert parse_unit(text, []) == unit


@pytest.mark.parametrize(
    "text",
    [
        "counts per hour?",
        "10**10**10",
        "m**99999999",
        "<b>Jy</b>",
        "?Jy/beam",
        "x" * 10_000,
        "((((((",
        "9**9**9 Jy",
    ],
)
def test_unknown_units_become_a_note(text):
    notes = []
    assert parse_unit(text, notes) is None
    assert len(notes) == 1
    assert "not understood" in notes[0]
    assert len(notes[0]) < 100


# ------------------------------------------------------------------------------------
# frequency


@pytest.mark.parametrize(
    ("cards", "gigahertz"),
    [
        ({"CTYPE3": "FREQ", "CRVAL3": 1.4e9}, 1.4),
        ({"CTYPE3": "FREQ-LSR", "CRVAL3": 1.4e9, "RESTFRQ": 2e9}, 1.4),
        ({"CTYPE4": "FREQ", "CRVAL4": 1400.0, "CUNIT4": "MHz"}, 1.4),
        ({"CTYPE3": "FREQ", "CRVAL3": 1.4, "CUNIT3": "GHZ"}, 1.4),
        ({"NAXIS": 3, "CTYPE3": "FREQ", "CRVAL3": 1.3e9, "CRPIX3": 0.0, "CDELT3": 1e8}, 1.4),
        ({"NAXIS": 2, "CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CRPIX3": 0.0, "CDELT3": 1e8}, 1.4),
        ({"CTYPE3": "LAMBDA", "CRVAL3": 0.21413747}, 1.4),
        ({"CTYPE3": "VRAD", "CRVAL3": 1e4, "RESTFRQ": 1.4e9}, 1.4),
        ({"RESTFREQ": 1.4e9}, 1.4),
        ({"OBSFREQ": "1.4E9"}, 1.4),
        ({"CRVAL3": 1.4e9}, 1.4),
        ({"CTYPE3": "FREQ", "CRVAL3": 0.0, "RESTFRQ": 1.4e9}, 1.4),
    ],
)
def test_frequencies(cards, gigahertz):
    assert frequency_hertz(header_of(cards), []) / 1e9 == pytest.approx(gigahertz)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"RESTFRQ": 0.0},
        {"RESTFRQ": 1420.0},  # MHz? not said
        {"CRVAL3": 1.0},
        {"CTYPE3": "STOKES", "CRVAL3": 1.4e9},
        {"CTYPE3": "FREQ", "CRVAL3": 1.4, "CUNIT3": "parsecs"},
    ],
)
def test_what_is_no_frequency(cards):
    notes = []
    assert frequency_hertz(header_of(cards), notes) is None
    assert notes[-1].startswith("no frequency")


# ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("P205+55-mosaic.fits", "P205+55-mosaic"),
        ("emu.FITS.GZ", "emu"),
        ("a.b.fits.fz", "a.b"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden.fits", "hidden"),
        ("-rf.fits", "rf"),
        ("Größe.fits", "Gr_e"),
        ("<img src=x>", "img_src_x"),
        ("", "map"),
        ("***", "map"),
    ],
)
def test_slugs(text, name):
    assert slug(text) == name


def test_long_names_stay_apart():
    one, two = slug("x" * 200 + "1"), slug("x" * 200 + "2")
    assert one != two
    assert len(one) == 64


def test_a_piece_of_a_distorted_map_keeps_its_coordinates():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [10, 20], [50, 60], [-1e-3, 1e-3]
    a = np.zeros((3, 3))
    a[2, 0] = 1e-4
    wcs.sip = Sip(a, a.T, None, None, wcs.wcs.crpix)
    piece = shifted_wcs(wcs, 30, -7)
    np.testing.assert_allclose(piece.all_pix2world(5, 12, 0), wcs.all_pix2world(35, 5, 0), rtol=0, atol=1e-12)

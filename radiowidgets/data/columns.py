"""What the columns of a catalogue mean: their units, missing values, and the positions and fluxes in them.

Names are compared in lower case with everything but letters and digits made '_'. Each list is in order of preference.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data.headers import parse_unit

RA = ("ra", "raj2000", "ra_j2000", "ra_icrs", "raicrs", "ra_deg", "radeg", "alpha_j2000", "right_ascension")
DEC = (
    "dec", "dej2000", "decj2000", "dec_j2000", "de_icrs", "dec_icrs", "deicrs", "dec_deg", "decdeg", "dedeg",
    "delta_j2000", "declination", "decl", "de",
)  # fmt: skip
RA_1950, DEC_1950 = ("rab1950", "ra_b1950", "ra1950"), ("deb1950", "decb1950", "dec_b1950", "dec1950")
LON = ("glon", "glong", "gal_long", "gal_lon", "galactic_longitude", "gal_l", "lii", "l")
LAT = ("glat", "gal_lat", "galactic_latitude", "gal_b", "bii", "b")
# Of no stated system; taken only if the names of the sources agree.
UNNAMED = (("x_cen", "y_cen"), ("lon", "lat"), ("center_x", "center_y"))
NAMES = (
    "source_name", "sourcename", "name", "objname", "object_name", "wise_name", "component_name", "designation",
    "object", "source_id", "source", "snr", "pk", "text",
)  # fmt: skip

FLUX = (
    "total_flux", "totalflux", "int_flux", "flux_int", "integrated_flux", "flux_integrated", "fint", "f_int", "sint",
    "s_int", "total_flux_density", "flux_total", "stotal", "s_total", "s_tot", "totflux", "flux_density", "fi", "si",
    "ft", "st", "lm_flux", "flux", "s1_4", "s",
)  # fmt: skip
PEAK = (
    "peak_flux", "peakflux", "flux_peak", "fpeak", "f_peak", "speak", "s_peak", "peak_flux_density", "peak_intensity",
    "peak", "fp", "sp",
)  # fmt: skip
MAJOR = (
    "maj",
    "major",
    "maj_axis",
    "major_axis",
    "majaxis",
    "fwhm_major",
    "major_fwhm",
    "theta_maj",
    "size_major",
)
MINOR = (
    "min",
    "minor",
    "min_axis",
    "minor_axis",
    "minaxis",
    "fwhm_minor",
    "minor_fwhm",
    "theta_min",
    "size_minor",
)
PA = ("pa", "position_angle", "posangle", "theta_pa")
RADIUS = ("radius", "rad")
NOISE = ("isl_rms", "local_rms", "rms", "rms_noise", "rms_isl", "noise")

# Units that a program writes without saying so, from its documentation.
_ASSUMED = {
    "PyBDSF": {
        "deg": "ra dec e_ra e_dec ra_max dec_max pa e_pa dc_pa maj e_maj min e_min dc_maj dc_min",
        "Jy": "total_flux e_total_flux isl_total_flux e_isl_total_flux",
        "Jy/beam": "peak_flux e_peak_flux isl_rms isl_mean resid_isl_rms resid_isl_mean",
    },
    "Aegean": {
        "deg": "ra dec err_ra err_dec pa err_pa psf_pa",
        "Jy": "int_flux err_int_flux",
        "Jy/beam": "peak_flux err_peak_flux background local_rms residual_mean residual_std",
        "arcsec": "a b err_a err_b psf_a psf_b",
    },
}
_IN_NAME = re.compile(
    r"^(?P<base>.*?\S)\s*(?:[(\[](?P<bracket>[^()\[\]]{1,20})[)\]]|/(?P<slash>deg|Jy|mJy|uJy|arcsec|arcmin)"
    r"|_(?P<end>deg|[mu]?Jy|arcsec|arcmin|[mu]?Jy_?(?:per_?)?beam))$"
)
_WORDS = {
    '"': "arcsec", "''": "arcsec", "'": "arcmin", "degree": "deg", "degrees": "deg", "arcseconds": "arcsec",
    "arcsecs": "arcsec", "asec": "arcsec", "amin": "arcmin", "hours": "hourangle", "h": "hourangle", "hr": "hourangle",
}  # fmt: skip
_FLUX_LIKE = re.compile(r"e?_?(flux|fint|fpeak|sint|speak|s_?\d)", re.IGNORECASE)
_SENTINELS = (-999.0, -9999.0, -99999.0)


def key(name: str) -> str:
    """Return a column's name in the form in which names are compared."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def clean_name(name: str) -> tuple[str, str, str]:
    """Return a column's name without markup, the same without its unit, and that unit (or '')."""
    plain = " ".join(re.sub(r"<[^<>]{0,40}>", " ", name).split()) or name
    match = _IN_NAME.match(plain)
    if match is None:
        return plain, plain, ""
    text = match["bracket"] or match["slash"] or match["end"].replace("_per_", "/").replace("_", "/")
    if match["end"] and text.endswith("beam") and "/" not in text:
        text = text.removesuffix("beam") + "/beam"
    return (plain, match["base"], text) if as_unit(text) is not None else (plain, plain, "")


def as_unit(text: str) -> u.UnitBase | None:
    """Return a unit as catalogues write it, or None."""
    text = text.strip().rstrip(".")
    return parse_unit(_WORDS.get(text.lower(), text), []) if text else None


def program(keys: set[str]) -> str | None:
    """Return the source finder that writes such columns, or None."""
    if {"island", "source", "peak_flux", "int_flux", "psf_a"} <= keys:
        return "Aegean"
    if {"isl_id", "total_flux", "peak_flux"} <= keys and ("s_code" in keys or "dc_maj" in keys):
        return "PyBDSF"
    return None


def assumed_unit(finder: str | None, name: str) -> str:
    """Return the unit that a source finder is documented to write, or ''."""
    for unit, names in _ASSUMED.get(finder or "", {}).items():
        if name in names.split():
            return unit
    return ""


def honour_missing(
    columns: dict[str, pd.Series],
    units: dict[str, u.UnitBase],
    finder: str | None,
    missing: Any,
    zero_is_missing: bool,
    notes: list[str],
) -> None:
    """Replace, in place, what stands for a missing value by NaN, and count it in the notes."""
    counts: dict[str, list[str]] = {}
    for name, column in columns.items():
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            continue
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        flux = _is_flux(name, units.get(name)) and zero_is_missing
        given = missing.get(name, ()) if isinstance(missing, dict) else () if missing is None else missing
        tests = [(f"{value:g}", values == value) for value in {*_SENTINELS, *np.atleast_1d(given).tolist()}]
        tests.append(("infinite values", np.isinf(values)))
        tests.append(("0 (a flux)", (values == 0) & flux))
        if finder == "Aegean" and name.startswith("err_"):
            tests.append(("-1 (an error)", values == -1))
        gone = np.zeros(len(values), bool)
        for what, hit in tests:
            if hit.any():
                counts.setdefault(what, []).append(f"{name} {int(hit.sum())}")
                gone |= hit
        if gone.any():
            columns[name] = pd.Series(np.where(gone, np.nan, values))
    for what, where in sorted(counts.items()):
        notes.append(f"taken as missing: {what} in {', '.join(where)}.")


def _is_flux(name: str, unit: u.UnitBase | None) -> bool:
    if unit is None:
        return bool(_FLUX_LIKE.match(name))
    return bool(unit.is_equivalent(u.Jy) or unit.is_equivalent(u.Jy / u.beam))


# --------------------------------------------------------------------------------
# positions

_SEXAGESIMAL = re.compile(
    r"([+-]?)\s*(\d{1,3})[hd:°\s]+(\d{1,2}(?:\.\d*)?)(?:[m:'′\s]+(\d{1,2}(?:\.\d*)?)\s*[s\"″]?)?[m']?"
)
_GALACTIC_NAME = re.compile(r"G0*(\d{1,3}\.\d+)([+-]\d{1,2}\.\d+)", re.IGNORECASE)


def sexagesimal(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return text such as '17 45 40.0' as a number in its first unit, and how many fields each has (0: not read)."""
    values, fields = np.full(len(column), np.nan), np.zeros(len(column), int)
    for i, text in enumerate(column):
        match = _SEXAGESIMAL.fullmatch(text.strip().replace("−", "-")) if isinstance(text, str) else None
        if match is None:
            continue
        minutes, seconds = float(match[3]), float(match[4] or 0)
        if minutes >= 60 or seconds >= 60.0001:
            continue
        values[i] = (float(match[2]) + minutes / 60 + seconds / 3600) * (-1 if match[1] == "-" else 1)
        fields[i] = 2 if match[4] is None else 3
    return values, fields


def galactic_of_names(names: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return longitude, latitude and their rounding (degrees) that names such as G010.1615-00.3623 hold."""
    result = np.full((3, len(names)), np.nan)
    for i, text in enumerate(names):
        match = _GALACTIC_NAME.search(text) if isinstance(text, str) else None
        if match:
            digits = min(len(part.partition(".")[2]) for part in match.groups())
            result[:, i] = float(match[1]), float(match[2]), 0.5 * 10.0**-digits
    return result[0], result[1], result[2]

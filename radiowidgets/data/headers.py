"""Read what a FITS header says about a map: celestial coordinates, beam, unit and frequency.

Headers are written by many programs and now and then by hand. What is missing or cannot be understood becomes None and
a short note, never an exception and never a guess that goes unsaid.
"""

import math
import re
import string
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from radiowidgets.data.fitsfile import card, caught_warnings, number, shorten

# What wcslib, by way of astropy, raises on coordinates that make no sense.
WCS_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)

SPEED_OF_LIGHT = 299792458.0
BEAM_SOLID_ANGLE = math.pi / (4 * math.log(2))  # of a Gaussian, in units of bmaj bmin: 1.1331

# bmaj and bmin in degrees (FWHM), position angle in degrees from north through east
BeamSize = tuple[float, float, float]


# --------------------------------------------------------------------------------------------------------------------
# coordinates

_AXIS_CARDS = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA")
_MATRIX_CARD = re.compile(r"(PC|CD)0{0,2}(\d)_?0{0,2}(\d)$")
_PARAMETER_CARD = re.compile(r"(PV|PS)(\d)_(\d{1,2})$")
_OTHER_CARDS = re.compile(
    r"(LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|DATE-OBS|MJD-OBS|(A|B|AP|BP)_(ORDER|DMAX|\d_\d))$"
)


def celestial_wcs(header: fits.Header, kept: tuple[int, int], notes: list[str]) -> WCS | None:
    """Return the 2-D celestial WCS of the two axes `kept` (x, y) of an image, or None and a note."""
    types = [str(card(header, f"CTYPE{axis}", "") or "").strip() for axis in kept]
    if not any(types):
        notes.append("no celestial coordinates: the header has no CTYPE.")
        return None
    cleaned = _wcs_cards(header, kept, notes)
    attempts = [cleaned]
    if any(f"CUNIT{axis}" in cleaned for axis in (1, 2)):
        without = cleaned.copy()
        for axis in (1, 2):
            without.remove(f"CUNIT{axis}", ignore_missing=True)
        attempts.append(without)
    failure = ""
    for attempt in attempts:
        try:
            with caught_warnings():
                wcs = WCS(attempt, fix=True)
                if not wcs.has_celestial:
                    failure = (
                        f"CTYPE {', '.join(shorten(kind) for kind in types)} is not a pair of celestial axes"
                    )
                    break
                _check(wcs)
        except WCS_ERRORS as error:
            failure = failure or _first_line(error)
            continue
        if attempt is not cleaned:
            units = ", ".join(shorten(card(cleaned, f"CUNIT{axis}", "")) for axis in (1, 2))
            notes.append(f"CUNIT {units} not understood: degrees assumed.")
        return wcs
    notes.append(f"no celestial coordinates: {failure}.")
    return None


def _first_line(error: Exception) -> str:
    lines = [
        line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("ERROR")
    ]
    return shorten(lines[-1] if lines else str(error), 100).strip("'").rstrip(".")


def _wcs_cards(header: fits.Header, kept: tuple[int, int], notes: list[str]) -> fits.Header:
    """Return only the cards that place the two axes on the sky, renumbered to 1 and 2.

    A broken third axis (a frequency in an unknown frame, say) then cannot spoil the celestial ones.
    """
    order = {axis: position for position, axis in enumerate(kept, start=1)}
    out = fits.Header()
    for key in header:
        value = None
        new = ""
        if key[:-1] in _AXIS_CARDS and key[-1:].isdigit() and int(key[-1]) in order:
            new = f"{key[:-1]}{order[int(key[-1])]}"
        elif match := _MATRIX_CARD.match(key):
            i, j = int(match[2]), int(match[3])
            if i in order and j in order:
                new = f"{match[1]}{order[i]}_{order[j]}"
        elif match := _PARAMETER_CARD.match(key):
            if int(match[2]) in order:
                new = f"{match[1]}{order[int(match[2])]}_{int(match[3])}"
        elif _OTHER_CARDS.match(key):
            new = key
        if not new or new in out:
            continue
        value = card(header, key)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        if new in ("EQUINOX", "EPOCH"):
            year = number(header, key)
            if year is None or not 1800 <= year <= 2200:
                if not any(note.startswith("EQUINOX") for note in notes):
                    notes.append(f"EQUINOX {shorten(value)} ignored: it is not a year.")
                continue
        out[new] = value
    return out


def _check(wcs: WCS) -> None:
    """Raise ValueError unless the coordinates can be computed at the reference pixel, in a frame that is known."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs.wcs.set()
    wcs_to_celestial_frame(wcs)
    if wcs.wcs.lngtyp.strip() not in ("RA", "GLON", "ELON"):
        raise ValueError(f"axes of type {wcs.wcs.lngtyp.strip()} are not on the sky")
    lon, lat = wcs.all_pix2world([wcs.wcs.crpix[0]], [wcs.wcs.crpix[1]], 1)
    scale = pixel_area(wcs)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all() and math.isfinite(scale) and scale > 0):
        raise ValueError("the coordinates of the reference pixel are not finite")


def pixel_area(wcs: WCS) -> float:
    """Return the area of a pixel at the reference point, in square degrees."""
    return float(abs(np.linalg.det(wcs.pixel_scale_matrix)))


def world_coordinates(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ICRS right ascension and declination in degrees of pixel positions (0-based); NaN off the sky."""
    from astropy.coordinates import ICRS, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    ra, dec = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    frame = wcs_to_celestial_frame(wcs)
    for start in range(0, x.size, 250_000):  # bounds the memory of the transformation
        part = slice(start, start + 250_000)
        world = wcs.all_pix2world(x[part], y[part], 0)
        lon, lat = np.asarray(world[wcs.wcs.lng]), np.asarray(world[wcs.wcs.lat])
        good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
        if not isinstance(frame, ICRS):
            icrs = SkyCoord(lon[good] * u.deg, lat[good] * u.deg, frame=frame).icrs
            lon[good], lat[good] = icrs.ra.deg, icrs.dec.deg
        ra[part] = np.where(good, lon % 360.0, np.nan)
        dec[part] = np.where(good, lat, np.nan)
    return ra, dec


def bare_pixel_scale(header: fits.Header, kept: tuple[int, int], notes: list[str]) -> float | None:
    """Return the pixel scale in degrees that CDELT alone gives, for maps without usable coordinates."""
    steps = [number(header, f"CDELT{axis}") for axis in kept]
    units = [str(card(header, f"CUNIT{axis}", "") or "deg").strip().lower() for axis in kept]
    if (
        steps[0] is None
        or steps[1] is None
        or not all(0 < abs(step) < 1 for step in steps if step is not None)
    ):
        return None
    if any(unit not in ("deg", "degree", "degrees") for unit in units):
        return None
    notes.append("pixel scale taken from CDELT, in degrees.")
    return math.sqrt(abs(steps[0] * steps[1]))


# --------------------------------------------------------------------------------------------------------------------
# beam

_FLOAT = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?)"
_AIPS_BEAM = re.compile(rf"BMAJ\s*=\s*{_FLOAT}\s+BMIN\s*=\s*{_FLOAT}\s+BPA\s*=\s*{_FLOAT}")
_CASA_BEAM = re.compile(
    rf"restoration:\s*{_FLOAT}\s+by\s+{_FLOAT}\s*\(arcsec\)\s*(?:>\s*)?at\s+pa\s+{_FLOAT}\s*\(deg\)"
)


def beam_size(header: fits.Header, extent: float | None, notes: list[str]) -> BeamSize | None:
    """Return the beam as (bmaj, bmin, pa) in degrees, or None and a note.

    Parameters
    ----------
    extent : float, optional
        Diagonal of the map in degrees: a larger beam is not believed (BMAJ in arcsec, most often).
    """
    bmaj, bmin, pa = number(header, "BMAJ"), number(header, "BMIN"), number(header, "BPA")
    if card(header, "CASAMBM") is True:
        notes.append("several beams in a BEAMS table: only the one in the header, if any, is used.")
    if bmaj is None or bmaj <= 0:
        if card(header, "BMAJ") is not None:
            notes.append(f"BMAJ {shorten(card(header, 'BMAJ'))} ignored: it is not a positive number.")
        found = _beam_in_history(header)
        if found is None:
            notes.append("no beam: the header has neither BMAJ nor a HISTORY entry of AIPS or CASA.")
            return None
        bmaj, bmin, pa = found
        notes.append("beam taken from HISTORY.")
    if bmin is None or bmin <= 0:
        notes.append("BMIN missing: a circular beam is assumed.")
        bmin = bmaj
    if bmin > bmaj:
        notes.append("BMIN is larger than BMAJ: exchanged, BPA turned by 90 deg.")
        bmaj, bmin, pa = bmin, bmaj, (pa or 0.0) + 90.0
    if extent is not None and bmaj > extent:
        notes.append(
            f"beam ignored: BMAJ {bmaj:g} deg is larger than the map ({extent:g} deg); is it in arcsec?"
        )
        return None
    if bmaj > 180 or bmaj < 1e-10:
        notes.append(f"beam ignored: BMAJ {bmaj:g} deg cannot be.")
        return None
    return bmaj, bmin, (pa or 0.0) % 180.0


def _beam_in_history(header: fits.Header) -> BeamSize | None:
    """Return the last beam that AIPS or CASA wrote into HISTORY."""
    try:
        lines = [str(line) for line in header["HISTORY"]]
    except (KeyError, fits.VerifyError, ValueError, TypeError):
        return None

    def values(match: re.Match[str]) -> tuple[float, float, float]:
        major, minor, angle = (float(match[k].upper().replace("D", "E")) for k in (1, 2, 3))
        return major, minor, angle

    last = None
    for line in lines:
        if match := _AIPS_BEAM.search(line):
            last = values(match)
    for match in _CASA_BEAM.finditer(re.sub(r"\s*>\s*", " ", " ".join(lines))):
        major, minor, angle = values(match)
        last = (major / 3600, minor / 3600, angle)
    if last is None or not all(math.isfinite(value) for value in last) or last[0] <= 0 or last[1] <= 0:
        return None
    return last


# --------------------------------------------------------------------------------------------------------------------
# unit

_PREFIXES = {"": "", "m": "m", "u": "u", "µ": "u", "n": "n", "k": "k"}
_UNIT_TEXT = re.compile(r"[A-Za-z0-9 .*/^()+\-_\[\]%]{1,40}$")
_LARGE_NUMBER = re.compile(r"\d{3}|[*^]{2}.*[*^]{2}")


def parse_unit(text: Any, notes: list[str]) -> u.UnitBase | None:
    """Return the unit that a BUNIT names, or None and a note."""
    if text is None or not str(text).strip():
        notes.append("no unit: the header has no BUNIT.")
        return None
    original = str(text).strip()
    compact = re.sub(r"[\s.*]+", "", original)
    folded = compact.casefold()
    for pattern, denominator in (
        (r"(.?)jy(?:/|per)?(?:beam|bm)(?:-1|\^-1)?", u.beam),
        (r"(.?)jy(?:/|per)?pix(?:el)?s?(?:-1|\^-1)?", u.pix),
        (r"(.?)jy(?:/|per)?(?:sr|ster|steradian)(?:-1|\^-1)?", u.sr),
        (r"(.?)jy(?:/|per)?arcsec(?:\^|\*\*)?2", u.arcsec**2),
        (r"(.?)jy/(?:sq|square)arcsec", u.arcsec**2),
        (r"(.?)jy", None),
    ):
        match = re.fullmatch(pattern, folded)
        if not match:
            continue
        prefix = compact[: len(match[1])]
        if prefix == "M" and denominator is not u.sr:
            if compact == compact.upper():
                notes.append(
                    f"unit {shorten(original)} read as milli-jansky (mega would be absurd for radio maps)."
                )
                prefix = "m"
        elif prefix not in ("M", "G", "T"):
            prefix = _PREFIXES.get(prefix.lower(), "?")
        if prefix == "m" and denominator is u.sr and match[1] != prefix:
            prefix = "M"
        if prefix == "?":
            break
        jansky = u.Unit(f"{prefix}Jy")
        return jansky if denominator is None else jansky / denominator
    kelvin = re.fullmatch(r"([mµuM]?)(?:k|kelvin)(?:\(?(?:tb|tmb|ta\*?|rj|cmb)\)?)?", compact, re.IGNORECASE)
    if kelvin and kelvin[1] != "M":
        return u.Unit(_PREFIXES[kelvin[1].lower()] + "K")
    if _UNIT_TEXT.match(original) and not _LARGE_NUMBER.search(original):
        for candidate in (original, re.sub(r"(\w)-(\w)", r"\1/\2", original)):
            try:
                with caught_warnings():
                    return u.Unit(candidate)
            except (ValueError, TypeError, ArithmeticError, AttributeError):
                continue
    notes.append(f"unit {shorten(original)} not understood.")
    return None


# --------------------------------------------------------------------------------------------------------------------
# frequency

_FREQUENCY_RANGE = (1e6, 1e16)
_KEYWORDS = ("RESTFRQ", "RESTFREQ", "FREQ", "OBSFREQ", "FREQUENC", "OBS-FREQ", "CENTFREQ")


def frequency_hertz(header: fits.Header, notes: list[str]) -> float | None:
    """Return the frequency in Hz from a FREQ or wavelength axis, RESTFRQ and its variants, or a bare CRVAL3."""
    axes = [(axis, str(card(header, f"CTYPE{axis}", "") or "").strip().upper()) for axis in range(1, 10)]
    for axis, kind in axes:
        value = _on_plane(header, axis)
        if value is None:
            continue
        if kind.startswith("FREQ"):
            hertz = _in(value, card(header, f"CUNIT{axis}"), u.Hz)
        elif kind.startswith(("WAVE", "LAMBDA", "AWAV")):
            metres = _in(value, card(header, f"CUNIT{axis}"), u.m)
            hertz = SPEED_OF_LIGHT / metres if metres else None
        else:
            continue
        if hertz is not None and _FREQUENCY_RANGE[0] <= hertz <= _FREQUENCY_RANGE[1]:
            return hertz
        notes.append(f"CRVAL{axis} {value:g} of axis {shorten(kind)} ignored: not a plausible frequency.")
    for key in _KEYWORDS:
        value = number(header, key)
        if value is not None and _FREQUENCY_RANGE[0] <= value <= _FREQUENCY_RANGE[1]:
            return value
    value = number(header, "CRVAL3")
    if value is not None and not axes[2][1] and _FREQUENCY_RANGE[0] <= value <= _FREQUENCY_RANGE[1]:
        notes.append("frequency taken from CRVAL3, whose axis has no CTYPE.")
        return value
    notes.append("no frequency: the header has neither a FREQ axis nor RESTFRQ.")
    return None


def _on_plane(header: fits.Header, axis: int) -> float | None:
    """Return the coordinate of the first (the only) pixel along an axis; CRVAL where the image lacks the axis."""
    value = number(header, f"CRVAL{axis}")
    step, reference = number(header, f"CDELT{axis}"), number(header, f"CRPIX{axis}")
    if value is None or step is None or reference is None or axis > (card(header, "NAXIS") or 0):
        return value
    return value + (1.0 - reference) * step


def _in(value: float, unit: Any, target: u.UnitBase) -> float | None:
    text = str(unit or "").strip()
    if not text:
        return value
    if len(text) > 12:
        return None
    for candidate in (text, text.capitalize(), text[:1].upper() + text[1:].lower().replace("hz", "Hz")):
        try:
            with caught_warnings():
                return float((value * u.Unit(candidate)).to_value(target))
        except (ValueError, TypeError, ArithmeticError):
            continue
    return None


# --------------------------------------------------------------------------------------------------------------------
# names

_SUFFIXES = re.compile(r"\.(fits?|fts)(\.(gz|fz))?$|\.(gz|fz)$", re.IGNORECASE)
_SAFE = frozenset(string.ascii_letters + string.digits + "._+-")


def slug(text: str) -> str:
    """Return a name that is safe in file names, tables and frame ids: ASCII letters, digits and ``._+-``, at most 64.

    Examples
    --------
    >>> slug("P205+55-mosaic.fits.gz")
    'P205+55-mosaic'
    >>> slug("my map (final)")
    'my_map_final'
    """
    text = _SUFFIXES.sub("", text)
    cleaned = "".join(character if character in _SAFE else "_" for character in text)
    cleaned = re.sub(r"_{2,}", "_", cleaned).strip("_").lstrip(".-")
    if len(cleaned) > 64:
        import hashlib

        cleaned = cleaned[:55] + "-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return cleaned or "map"

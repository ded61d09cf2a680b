"""Read what a FITS header says about a map: celestial coordinates, beam, unit and frequency.

Headers are written by many programs and now and then by hand. What is missing or cannot be understood becomes
None and a short note, never an exception and never a guess that goes unsaid.
"""

import math
import re
import string
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS, Sip

from radiowidgets.data.cards import card, caught_warnings, number, shorten

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


# ------------------------------------------------------------------------------------
# coordinates

_AXIS_CARDS = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA")
_NUMERIC_CARDS = ("CRVAL", "CRPIX", "CDELT", "CROTA", "PC", "CD", "PV", "LONPOLE", "LATPOLE")
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
    try:
        cleaned = _wcs_cards(header, kept, notes)
    except ValueError as error:
        notes.append(f"no celestial coordinates: {error}.")
        return None
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

    Raises
    ------
    ValueError
        If a card is missing or unusable without which positions would be made up.
    """
    order = {str(axis): position for position, axis in enumerate(kept, start=1)}
    out = fits.Header()
    for key in header:
        new = _renumbered(key, order)
        if not new or new in out:
            continue
        value = card(header, key)
        if new.startswith(_NUMERIC_CARDS):
            value = number(header, key)
            if value is None:
                raise ValueError(f"{key} is {shorten(card(header, key))}")
        if value is not None:
            out[new] = value
    scaled = any(key.startswith("CD") and not key.startswith("CDELT") for key in out)
    for axis, old in enumerate(kept, start=1):
        for name in ("CRVAL", "CRPIX") if scaled else ("CRVAL", "CRPIX", "CDELT"):
            if f"{name}{axis}" not in out:
                raise ValueError(f"{name}{old} is missing")
    if scaled and out.get("CD1_1", 0.0) * out.get("CD2_2", 0.0) == out.get("CD1_2", 0.0) * out.get(
        "CD2_1", 0.0
    ):
        raise ValueError("the CD matrix is singular")  # which wcslib replaces by degrees if it is all zero
    _mend_frame(out, notes)
    return out


def _renumbered(key: str, order: dict[str, int]) -> str:
    """Return the key of a coordinate card for the axes in `order` (old to new), or '' for any other card."""
    if key[:-1] in _AXIS_CARDS and key[-1] in order:
        return f"{key[:-1]}{order[key[-1]]}"
    if match := _MATRIX_CARD.match(key):
        if match[2] in order and match[3] in order:
            return f"{match[1]}{order[match[2]]}_{order[match[3]]}"
    elif match := _PARAMETER_CARD.match(key):
        if match[2] in order:
            return f"{match[1]}{order[match[2]]}_{int(match[3])}"
    elif _OTHER_CARDS.match(key):
        return key
    return ""


_FRAMES = {
    "ICRS": "ICRS", "FK5": "FK5", "FK4": "FK4", "FK4-NO-E": "FK4-NO-E", "J2000": "FK5", "FK5/J2000": "FK5",
    "B1950": "FK4", "FK4/B1950": "FK4",
}  # fmt: skip


def _mend_frame(cards: fits.Header, notes: list[str]) -> None:
    """Bring the names of frames and equinoxes into the form of the standard; drop what is none."""
    for key in ("EQUINOX", "EPOCH"):
        if key in cards:
            text = str(cards[key]).strip().lstrip("JBjb")
            try:
                year = float(text)
            except ValueError:
                year = 0.0
            if 1800 <= year <= 2200:
                cards[key] = year
            else:
                if not any(note.startswith("EQUINOX") for note in notes):
                    notes.append(f"{key} {shorten(cards[key])} ignored: it is not a year.")
                del cards[key]
    for key in ("RADESYS", "RADECSYS"):
        if key in cards:
            name = _FRAMES.get(str(cards[key]).strip().upper())
            if name is None:
                if str(cards[key]).strip():
                    notes.append(f"{key} {shorten(cards[key])} ignored: it is not a known frame.")
                del cards[key]
            else:
                cards[key] = name


_SMALLEST = 1e-12  # degrees along the side of a pixel; interferometers across the Earth have 1e-10


def _check(wcs: WCS) -> None:
    """Raise ValueError unless coordinates can be computed, in a frame that is known."""
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs.wcs.set()
    wcs_to_celestial_frame(wcs)
    if wcs.wcs.lngtyp.strip() not in ("RA", "GLON", "ELON"):
        raise ValueError(f"axes of type {wcs.wcs.lngtyp.strip()} are not on the sky")
    lon, lat = wcs.all_pix2world([wcs.wcs.crpix[0]], [wcs.wcs.crpix[1]], 1)
    scale = pixel_area(wcs)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise ValueError("the coordinates of the reference pixel are not finite")
    if not _SMALLEST**2 <= scale <= 360**2:
        raise ValueError(f"a pixel of {scale:g} square degrees is none of the sky")


def pixel_area(wcs: WCS) -> float:
    """Return the area of a pixel at the reference point, in square degrees."""
    return float(abs(np.linalg.det(wcs.pixel_scale_matrix)))


def world_coordinates(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ICRS right ascension and declination in degrees of 0-based pixels; NaN off the sky."""
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


def pixel_coordinates(wcs: WCS, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 0-based pixels of ICRS positions in degrees; NaN where a position is not on the map's sky.

    What a projection or its distortions fold back from elsewhere on the sky is not taken for a pixel.
    """
    from astropy.coordinates import ICRS, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    x, y = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
    frame = wcs_to_celestial_frame(wcs)
    for start in range(0, ra.size, 250_000):  # bounds the memory of the transformation
        part = np.arange(start, min(start + 250_000, ra.size))
        part = part[np.isfinite(ra[part]) & np.isfinite(dec[part]) & (np.abs(dec[part]) <= 90)]
        lon, lat = ra[part], dec[part]
        if not isinstance(frame, ICRS):
            there = SkyCoord(lon * u.deg, lat * u.deg).transform_to(frame).spherical
            lon, lat = there.lon.deg, there.lat.deg
        world = (lon, lat) if wcs.wcs.lng == 0 else (lat, lon)
        x[part], y[part] = wcs.all_world2pix(*world, 0, quiet=True)
        back = directions(*world_coordinates(wcs, x[part], y[part]))
        folded = ~(np.abs(back - directions(ra[part], dec[part])).max(axis=0) < 1e-4)
        x[part[folded]] = y[part[folded]] = np.nan
    return x, y


def directions(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return unit vectors (3, n) of positions in degrees."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def shifted_wcs(wcs: WCS, x: int, y: int) -> WCS:
    """Return the coordinates of a piece of an image whose lower-left pixel is (x, y)."""
    out = wcs.deepcopy()
    out.wcs.crpix -= (x, y)
    if wcs.sip is not None:  # distortions have a reference pixel of their own
        sip = wcs.sip
        out.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, sip.crpix - (x, y))
    out.wcs.set()
    return out


def bare_pixel_scale(header: fits.Header, kept: tuple[int, int], notes: list[str]) -> float | None:
    """Return the pixel scale in degrees that CDELT alone gives, for maps without usable coordinates."""
    steps = [number(header, f"CDELT{axis}") for axis in kept]
    units = [str(card(header, f"CUNIT{axis}", "") or "deg").strip().lower() for axis in kept]
    if (
        steps[0] is None
        or steps[1] is None
        or not all(_SMALLEST < abs(step) < 1 for step in steps if step is not None)
    ):
        return None
    if any(unit not in ("deg", "degree", "degrees") for unit in units):
        return None
    notes.append("pixel scale taken from CDELT, in degrees.")
    return math.sqrt(abs(steps[0] * steps[1]))


# ------------------------------------------------------------------------------------
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


# ------------------------------------------------------------------------------------
# unit

_PER = {"": None, "beam": u.beam, "bm": u.beam, "pixel": u.pix, "pix": u.pix, "px": u.pix, "sr": u.sr,
        "ster": u.sr, "steradian": u.sr, "arcsec2": u.arcsec**2, "sqarcsec": u.arcsec**2}  # fmt: skip
_JANSKY = re.compile(rf"([munkMGT]?)jy(?:/|per)?({'|'.join(_PER)})(?:-1)?")
_KELVIN = re.compile(r"([mun]?)k(?:elvin)?(?:\(?t?(?:b|mb|a|rj|cmb)\)?)?")
# What may be handed to the parser of units: short, and without powers of powers or large exponents.
_UNIT_TEXT = re.compile(r"(?!.*\d{3})(?!.*\*\*[^*]*\d\s*\*\*\s*[\d(])[A-Za-z0-9 .*/^()+\-%]{1,40}")


def parse_unit(text: Any, notes: list[str]) -> u.UnitBase | None:
    """Return the unit that a BUNIT names, or None and a note."""
    original = "" if text is None else str(text).strip()
    if not original:
        notes.append("no unit: the header has no BUNIT.")
        return None
    unit = _brightness(original, notes)
    if unit is None and _UNIT_TEXT.fullmatch(original):
        for candidate in (original, re.sub(r"(\w)-([a-z])", r"\1/\2", original)):  # 'W/m^2-sr'
            try:
                with caught_warnings():
                    return u.Unit(candidate)
            except (ValueError, TypeError, ArithmeticError, AttributeError):
                continue
    if unit is None:
        notes.append(f"unit {shorten(original)} not understood.")
    return unit


def _brightness(original: str, notes: list[str]) -> u.UnitBase | None:
    """Return a unit of flux density, surface brightness or temperature, in whatever case it is written."""
    compact = re.sub(r"[\s.*^_]+", "", original)
    # The case of all but the prefix says nothing: 'JY/BEAM' is what AIPS writes.
    prefix, rest = (
        (compact[:1], compact[1:].lower()) if compact[1:3].lower() == "jy" else ("", compact.lower())
    )
    if match := _JANSKY.fullmatch(("" if prefix in ("", "M", "G", "T") else prefix.lower()) + rest):
        per = _PER[match[2]]
        if prefix == "M" and compact == compact.upper() and per is not u.sr:
            notes.append(f"unit {shorten(original)} read as milli-jansky: headers in capitals cannot tell.")
            prefix = "m"
        jansky = u.Unit(f"{prefix if prefix in ('M', 'G', 'T') else prefix.lower()}Jy")
        return jansky if per is None else jansky / per
    if compact[:1] != "M" and (match := _KELVIN.fullmatch(compact.lower())):
        return u.Unit(f"{match[1]}K")
    return None


# ------------------------------------------------------------------------------------
# frequency

_FREQUENCY_RANGE = (1e6, 1e16)
_KEYWORDS = ("RESTFRQ", "RESTFREQ", "FREQ", "OBSFREQ", "FREQUENC", "OBS-FREQ", "CENTFREQ")


def frequency_hertz(header: fits.Header, notes: list[str]) -> float | None:
    """Return the frequency in Hz: of a FREQ or wavelength axis, RESTFRQ and the like, or a bare CRVAL3."""
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
    """Return the coordinate of the only pixel along an axis; CRVAL where the image lacks the axis."""
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


# ------------------------------------------------------------------------------------
# names

_SUFFIXES = re.compile(r"\.(fits?|fts)(\.(gz|fz))?$|\.(gz|fz)$", re.IGNORECASE)
_SAFE = frozenset(string.ascii_letters + string.digits + "._+-")


def slug(text: str) -> str:
    """Return a name that is safe anywhere: at most 64 ASCII letters, digits and ``._+-``.

    Examples
    --------
    >>> slug("P205+55-mosaic.fits.gz")
    'P205+55-mosaic'
    >>> slug("my map (final)")
    'my_map_final'
    """
    text = _SUFFIXES.sub("", text)
    cleaned = "".join(character if character in _SAFE else "_" for character in text)
    # No hidden file, no option of a command, no formula in a spreadsheet.
    cleaned = re.sub(r"_{2,}", "_", cleaned).lstrip("._+-").rstrip("._")
    if len(cleaned) > 64:
        import hashlib

        cleaned = cleaned[:55] + "-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return cleaned or "map"

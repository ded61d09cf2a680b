"""Read source catalogues as published, into columns of one meaning and one unit beside the original ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data import columns as meaning
from radiowidgets.data.noted import NotedTable
from radiowidgets.data.tablefiles import RawTable, read_table
from radiowidgets.errors import CatalogueError, ParameterError, check_one_of

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

#: The columns of one meaning; those that a file does not give are left out, but for ra and dec.
NORMALISED = (
    "name", "ra", "dec", "flux", "flux_error", "peak", "peak_error", "rms", "major", "minor", "pa", "radius",
)  # fmt: skip
_POSITION = ("ra", "dec", "glon", "glat")
_FRAMES = ("icrs", "fk5", "fk4", "galactic")
_DISAGREE = 0.25  # degrees; Galactic coordinates are often rounded to 0.1
_AGREE = 0.1


class Catalogue(NotedTable):
    """A DataFrame of a published catalogue; its attribute `format` says what the file was, `notes` what was assumed."""

    _metadata: ClassVar[list[str]] = ["units", "notes", "format"]

    format: str


def read_catalogue(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    missing: float | Sequence[float] | Mapping[str, Any] | None = None,
    zero_is_missing: bool = True,
    frame: str | None = None,
    names: Sequence[str] | None = None,
    hdu: int | str | None = None,
) -> Catalogue:
    """Read a catalogue: FITS, VOTable, CSV, TSV, ASCII, IPAC, VizieR, ECSV, tables of PyBDSF and Aegean, DS9 regions.

    The format is told by the content. Columns keep their names (without HTML) and units; beside them stand those of
    one meaning, where the file holds them:

    - name; ra, dec: ICRS degrees, from right ascension and declination in degrees or sexagesimal, from Galactic
      coordinates, or from names such as G010.1615-00.3623;
    - flux, flux_error: integrated flux density in Jy; peak, peak_error, rms: Jy/beam;
    - major, minor: as the file gives them, in arcsec (of PyBDSF FWHM, with the beam); pa: degrees from north to
      east; radius: arcsec.

    An original column that bears one of these names is renamed to ``<name>_original``.

    Parameters
    ----------
    path : str or path
    columns : dict, optional
        Which column holds what, where it is not found or the wrong one is: ``{"flux": "S1400", "ra": "RA2"}``; keys are
        `NORMALISED`, 'glon' or 'glat'.
    units : dict, optional
        Units of columns that the file does not state, or states wrongly: ``{"S1400": "mJy"}``.
    missing : float, sequence or dict of them by column, optional
        Further numbers that stand for a missing value. Blank fields, '-', 'null', -999, -9999 and infinities always do.
    zero_is_missing : bool
        Whether a flux of exactly 0 is a missing one.
    frame : {'icrs', 'fk5', 'fk4', 'galactic'}, optional
        Coordinate system of the positions, if the file is wrong or silent about it.
    names : sequence of str, optional
        Column names of a text file without any.
    hdu : int or str, optional
        The HDU of a FITS file (or the number of a VOTable's table), if not its first table.

    Returns
    -------
    Catalogue
        A DataFrame, one row a source; ra and dec are NaN where there is no position. Its attributes: `units` of
        columns, `format`, and `notes`: everything that was assumed, converted, skipped or taken as missing.

    Raises
    ------
    CatalogueError
        If the file cannot be read or is no table.
    ParameterError
        If a column or a unit that is named does not exist.
    """
    if frame is not None:
        check_one_of("frame", frame, _FRAMES)
    raw = read_table(Path(path).expanduser(), names=names, hdu=hdu)
    notes = raw.notes
    table, bases, stated = _clean(raw, dict(units or {}))
    finder = meaning.program({meaning.key(name) for name in table})
    parsed = _parse_units(table, bases, stated, finder, notes)
    _check_named("missing", missing if isinstance(missing, Mapping) else {}, table)
    meaning.honour_missing(
        table,
        parsed,
        finder,
        dict(missing) if isinstance(missing, Mapping) else missing,
        zero_is_missing,
        notes,
    )
    reader = _Normaliser(table, bases, parsed, notes, finder, dict(columns or {}))
    source_names = reader.names()
    fresh: dict[str, Any] = {} if source_names is None else {"name": source_names}
    fresh["ra"], fresh["dec"] = reader.positions(frame, raw.frame)
    with np.errstate(over="ignore"):
        fresh |= reader.brightness() | reader.sizes()
    for name in fresh.keys() - {"name"}:
        values = np.asarray(fresh[name], np.float64)
        if np.isinf(values).any():  # a number at the edge of what there is, in a smaller unit
            notes.append(
                f"{name}: {int(np.isinf(values).sum())} values are beyond all bounds and count as missing."
            )
            fresh[name] = np.where(np.isinf(values), np.nan, values)

    index = pd.RangeIndex(len(next(iter(table.values()))))
    data: dict[str, Any] = {name: fresh[name] for name in NORMALISED if name in fresh}
    known = {"ra": "deg", "dec": "deg", "pa": "deg", "major": "arcsec", "minor": "arcsec", "radius": "arcsec"}
    known |= {"flux": "Jy", "flux_error": "Jy"} | dict.fromkeys(("peak", "peak_error", "rms"), "Jy / beam")
    labels = {name: unit for name, unit in known.items() if name in data}
    for name, column in table.items():
        kept = name
        while kept in data or kept in NORMALISED:  # a `flux` of unknown unit must not pass for one in Jy
            kept += "_original"
        data[kept] = column.to_numpy()
        if name in parsed:
            labels[kept] = parsed[name].to_string()
    result = Catalogue(pd.DataFrame(data, index=index))
    result.units, result.notes, result.format = (
        labels,
        notes,
        f"{finder} {raw.format}" if finder else raw.format,
    )
    lost = int(np.isnan(result["ra"].to_numpy(dtype=float)).sum())
    if lost:
        notes.append(f"{lost} of {len(result)} rows have no position.")
    return result


def _clean(
    raw: RawTable, given: dict[str, str]
) -> tuple[dict[str, pd.Series], dict[str, str], dict[str, str]]:
    """Return columns by cleaned name, what each is called without its unit, and units as text."""
    table: dict[str, pd.Series] = {}
    bases: dict[str, str] = {}
    stated: dict[str, str] = {}
    renamed = 0
    unused = set(given)
    for name, column in raw.columns.items():
        plain, base, unit = meaning.clean_name(name)
        while plain in table:
            plain += "_"
        renamed += plain != name
        table[plain], bases[plain] = column, base
        for form in (name, plain):
            unused.discard(form)
        stated[plain] = given.get(plain, given.get(name, raw.units.get(name) or unit))
    if unused:
        raise ParameterError(
            f"units names {min(unused)!r}, which is no column; there are {', '.join(table)}."
        )
    for name, unit in given.items():
        if meaning.as_unit(unit) is None:
            raise ParameterError(
                f"the unit of {name!r} is {unit!r}; give one as astropy writes it, such as 'mJy'."
            )
    if renamed:
        raw.notes.append(f"{renamed} column names were freed of markup or blanks.")
    return table, bases, stated


def _parse_units(
    table: dict[str, pd.Series],
    bases: dict[str, str],
    stated: dict[str, str],
    finder: str | None,
    notes: list[str],
) -> dict[str, u.UnitBase]:
    parsed: dict[str, u.UnitBase] = {}
    assumed = []
    for name in table:
        text = stated[name]
        if not text:
            text = meaning.assumed_unit(finder, meaning.key(bases[name]))
            assumed += [f"{name} {text}"] if text else []
        unit = meaning.as_unit(text)
        if unit is not None:
            parsed[name] = unit
    if assumed:
        notes.append(f"units as {finder} writes them: {', '.join(assumed)}.")
    return parsed


def _check_named(what: str, named: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    for name in named:
        if name not in table:
            raise ParameterError(f"{what} names {name!r}, which is no column; there are {', '.join(table)}.")


class _Normaliser:
    """Find columns by their meaning and bring them to one unit, noting what is assumed."""

    def __init__(
        self,
        table: dict[str, pd.Series],
        bases: dict[str, str],
        units: dict[str, u.UnitBase],
        notes: list[str],
        finder: str | None,
        chosen: dict[str, str],
    ) -> None:
        for role in chosen:
            check_one_of("a key of columns", role, [*NORMALISED, "glon", "glat"])
        _check_named("columns", dict.fromkeys(chosen.values()), table)
        self.table, self.units, self.notes, self.finder, self.chosen = table, units, notes, finder, chosen
        self.by_key: dict[str, list[str]] = {}
        for name, base in bases.items():
            self.by_key.setdefault(meaning.key(base), []).append(name)

    def find(self, role: str, keys: Sequence[str]) -> list[str]:
        """Return the columns that may hold something, best first."""
        if role in self.chosen:
            return [self.chosen[role]]
        return [name for key in keys for name in self.by_key.get(key, [])]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64, NaN where it is no number."""
        column = self.table[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        lost = int((column.notna().to_numpy() & np.isnan(values)).sum())
        if lost and lost < len(values):
            self.notes.append(f"{name}: {lost} entries are no numbers (limits?) and count as missing.")
        return values

    # ----------------------------------------------------------------------------
    # names and positions

    def names(self) -> pd.Series | None:
        for name in self.find("name", meaning.NAMES):
            if not pd.api.types.is_numeric_dtype(self.table[name]):
                return self.table[name]
        return None

    def positions(self, frame: str | None, stated: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Return ICRS right ascension and declination in degrees."""
        n = len(next(iter(self.table.values())))
        galactic = self._galactic()
        equatorial = None if frame == "galactic" else self._equatorial(frame, stated)
        if frame == "galactic" and galactic is None:
            pair = self._pair(meaning.RA, meaning.DEC) or self._unnamed()
            if pair is not None:
                self.notes.append(f"positions: {pair[0]}, {pair[1]} as Galactic, as you said.")
                galactic = _icrs(self.numbers(pair[0]), self.numbers(pair[1]), "galactic")
        if equatorial is not None and galactic is not None:
            self._compare(equatorial, galactic)
        for found in (equatorial, galactic):
            if found is not None:
                return found.ra.deg, found.dec.deg
        if (found := self._from_names()) is not None:
            return found.ra.deg, found.dec.deg
        self.notes.append("no columns with positions; name them in columns, as in {'ra': ..., 'dec': ...}.")
        return np.full(n, np.nan), np.full(n, np.nan)

    def _pair(
        self, first: Sequence[str], second: Sequence[str], roles: tuple[str, str] = ("ra", "dec")
    ) -> Any:
        """Return the names of two columns of positions, numbers before text."""
        a, b = self.find(roles[0], first), self.find(roles[1], second)
        if not a or not b:
            return None
        text = [not pd.api.types.is_numeric_dtype(self.table[name]) for name in a]
        b_text = [not pd.api.types.is_numeric_dtype(self.table[name]) for name in b]
        return a[text.index(min(text))], b[b_text.index(min(b_text))]

    def _equatorial(self, frame: str | None, stated: str | None) -> SkyCoord | None:
        pair = self._pair(meaning.RA, meaning.DEC)
        system = frame or stated or ("fk5" if pair and "2000" in pair[0] else "icrs")
        if pair is None:
            pair = self._pair(meaning.RA_1950, meaning.DEC_1950)
            system = frame or "fk4"
        if pair is None:
            return self._split_sexagesimal(frame or stated or "fk5")
        ra, ra_fields = self._angle(pair[0], hours=True)
        dec, dec_fields = self._angle(pair[1], hours=False)
        if ra_fields == 2 and dec_fields == 3:
            # A spreadsheet took hh:mm:ss for a time and dropped the hours; what is left is mm:ss.
            self.notes.append(
                f"{pair[0]} lacks its hours (such as {self._example(pair[0])}): not used for positions."
            )
            return None
        if system != "icrs":
            self.notes.append(
                f"positions: {pair[0]}, {pair[1]} taken as {system.upper()}, converted to ICRS."
            )
        found = _icrs(ra, dec, system)
        return None if np.isnan(found.ra.deg).all() and len(ra) else found

    def _example(self, name: str) -> str:
        from radiowidgets.data.cards import shorten

        there = self.table[name].dropna()
        return shorten(there.iloc[0], 20) if len(there) else "''"

    def _angle(self, name: str, *, hours: bool) -> tuple[np.ndarray, int]:
        """Return an angle in degrees and the number of its sexagesimal fields (1: decimal)."""
        column, unit = self.table[name], self.units.get(name)
        if not pd.api.types.is_numeric_dtype(column):
            values, fields = meaning.sexagesimal(column)
            if (fields > 0).sum() > 0.5 * column.notna().sum():
                counts = np.bincount(fields[fields > 0])
                lost = int((column.notna().to_numpy() & (fields == 0)).sum())
                if lost:
                    self.notes.append(f"{name}: {lost} entries are no angles and count as missing.")
                return values * (15 if hours else 1), int(counts.argmax())
        values = self.numbers(name)
        if unit is None or not unit.is_equivalent(u.deg):
            self.notes.append(f"{name} has no unit of angle: taken as degrees.")
            return values, 1
        return values * unit.to(u.deg), 1

    def _split_sexagesimal(self, system: str) -> SkyCoord | None:
        """Read positions from columns RAh, RAm, RAs, DE-, DEd, DEm, DEs, as CDS tables have them."""
        ra = [self.by_key.get(f"ra{part}") for part in "hms"]
        dec = [self.by_key.get(f"de{part}") or self.by_key.get(f"dec{part}") for part in "dms"]
        signs = ("decsign", "design", "dec_sign", "de_sign", "de", "dec")
        sign = next((self.by_key[name] for name in signs if name in self.by_key), None)
        if ra[0] is None or dec[0] is None or sign is None:
            return None
        zero = np.zeros(len(self.table[ra[0][0]]))
        h, m, s = (self.numbers(part[0]) if part else zero for part in ra)
        d, dm, ds = (self.numbers(part[0]) if part else zero for part in dec)
        negative = (self.table[sign[0]].astype(str) == "-").to_numpy()
        self.notes.append(f"positions: from {ra[0][0]} ... and {dec[0][0]} ..., taken as {system.upper()}.")
        return _icrs(
            15 * (h + m / 60 + s / 3600), np.where(negative, -1, 1) * (d + dm / 60 + ds / 3600), system
        )

    def _galactic(self) -> SkyCoord | None:
        pair = self._pair(meaning.LON, meaning.LAT, ("glon", "glat"))
        if pair is None and (pair := self._unnamed()) is not None:
            names = self.names()
            if names is None:
                return None
            lon, lat, _ = meaning.galactic_of_names(names)
            near = np.hypot(lon - self.numbers(pair[0]), lat - self.numbers(pair[1])) < _AGREE
            if not near.sum() > 0.9 * np.isfinite(lon).sum() > 0:
                return None
            self.notes.append(f"positions: {pair[0]}, {pair[1]} are Galactic, as the names say.")
        if pair is None or any(not pd.api.types.is_numeric_dtype(self.table[name]) for name in pair):
            return None
        return _icrs(self._angle(pair[0], hours=False)[0], self._angle(pair[1], hours=False)[0], "galactic")

    def _unnamed(self) -> tuple[str, str] | None:
        for pair in meaning.UNNAMED:
            if all(name in self.by_key for name in pair):
                return self.by_key[pair[0]][0], self.by_key[pair[1]][0]
        return None

    def _from_names(self) -> SkyCoord | None:
        names = self.names()
        if names is None:
            return None
        lon, lat, rounding = meaning.galactic_of_names(names)
        if not np.isfinite(lon).sum() > 0.5 * len(lon):
            return None
        self.notes.append(
            f"positions: from the names, good to {3600 * np.nanmedian(rounding):.2g} arcsec only."
        )
        return _icrs(lon, lat, "galactic")

    def _compare(self, equatorial: SkyCoord, galactic: SkyCoord) -> None:
        apart = equatorial.separation(galactic).deg
        wrong = int((apart > _DISAGREE).sum())
        if wrong:
            self.notes.append(
                f"equatorial and Galactic positions disagree in {wrong} rows by over {_DISAGREE} degrees."
            )

    # ----------------------------------------------------------------------------
    # fluxes and sizes

    def _convert(
        self, role: str, names: list[str], targets: Sequence[u.UnitBase]
    ) -> tuple[str, np.ndarray] | None:
        """Return the first column that has one of these units, in the first of them."""
        for name in names:
            unit = self.units.get(name)
            if unit is None:
                if not pd.api.types.is_object_dtype(self.table[name]) or role in self.chosen:
                    self.notes.append(
                        f"{name} has no unit and gives no {role}; name it in units if it is one."
                    )
                continue
            for target in targets:
                if unit.is_equivalent(target):
                    if target != targets[0]:
                        self.notes.append(f"{name} is in {unit}: taken as {unit} / beam.")
                    if unit != target:
                        self.notes.append(f"{role}: {name} converted from {unit}.")
                    return name, self.numbers(name) * unit.to(target)
        return None

    def brightness(self) -> dict[str, np.ndarray]:
        per_beam = u.Jy / u.beam
        found: dict[str, np.ndarray] = {}
        wanted: list[tuple[str, Sequence[str], list[u.UnitBase]]] = [
            ("flux", meaning.FLUX, [u.Jy]),
            ("peak", meaning.PEAK, [per_beam, u.Jy]),
            ("rms", meaning.NOISE, [per_beam, u.Jy]),
        ]
        for role, keys, targets in wanted:
            got = self._convert(role, self.find(role, keys), targets)
            if got is None:
                continue
            found[role] = got[1]
            if role == "rms":
                continue
            stem = meaning.key(got[0])
            errors = [f"e_{stem}", f"err_{stem}", f"{stem}_err", f"{stem}_error", f"{stem}err", f"e{stem}"]
            error = self._convert(f"{role}_error", self.find(f"{role}_error", errors), targets)
            if error is not None:
                found[f"{role}_error"] = error[1]
        return found

    def sizes(self) -> dict[str, np.ndarray]:
        major, minor = list(meaning.MAJOR), list(meaning.MINOR)
        if self.finder == "Aegean":
            major, minor = ["a"], ["b"]
        found = {}
        for role, keys in (
            ("major", major),
            ("minor", minor),
            ("pa", meaning.PA),
            ("radius", meaning.RADIUS),
        ):
            names = self.find(role, keys)
            if role == "pa" and names and names[0] not in self.units and "major" in found:
                self.notes.append(f"{names[0]} has no unit: taken as degrees from north to east.")
                found[role] = self.numbers(names[0])
                continue
            got = self._convert(role, names, [u.deg if role == "pa" else u.arcsec])
            if got is not None:
                found[role] = got[1]
        return found


def _icrs(lon: np.ndarray, lat: np.ndarray, frame: str) -> SkyCoord:
    """Return ICRS coordinates; NaN where an angle is missing or no position."""
    from astropy.coordinates import SkyCoord

    good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360)
    ra, dec = np.full(len(lon), np.nan), np.full(len(lon), np.nan)
    if good.any():
        icrs = SkyCoord(lon[good], lat[good], unit="deg", frame=frame).icrs
        ra[good], dec[good] = icrs.ra.deg, icrs.dec.deg
    return SkyCoord(ra, dec, unit="deg", frame="icrs")


__all__ = ["NORMALISED", "Catalogue", "CatalogueError", "read_catalogue"]

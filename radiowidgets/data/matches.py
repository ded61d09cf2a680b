"""Match catalogues by position, tell how many matches are due to chance, and take labels over.

Positions are columns `ra` and `dec` in ICRS degrees, as `find_sources` and `read_catalogue` give them. Rows without a
position match nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data.headers import directions
from radiowidgets.data.noted import NotedTable
from radiowidgets.errors import ParameterError, check_one_of

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from numpy.typing import NDArray
    from radio_beam import Beam

    from radiowidgets.data.maps import SkyMap


def as_radius(radius: Beam | u.Quantity | float) -> float:
    """Return a match radius in arcsec; a number is in arcsec, a beam stands for the FWHM of its major axis."""
    value = getattr(radius, "major", radius)
    try:
        arcsec = float(value.to_value(u.arcsec) if isinstance(value, u.Quantity) else value)
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise ParameterError(f"radius is {radius!r}; give arcsec, an angle or a beam.") from error
    if not 0 < arcsec < 180 * 3600:
        raise ParameterError(f"radius is {arcsec} arcsec; give more than 0, usually the beam.")
    return arcsec


def as_coordinates(table: pd.DataFrame | SkyCoord) -> SkyCoord:
    """Return the ICRS positions of a table (columns `ra` and `dec` in degrees) or of coordinates; NaN where unknown."""
    from astropy.coordinates import SkyCoord

    if isinstance(table, SkyCoord):
        return table.icrs.reshape(-1)
    missing = [name for name in ("ra", "dec") if name not in table]
    if missing:
        raise ParameterError(
            f"the table has no column {missing[0]!r}; give ra and dec in ICRS degrees, as read_catalogue does."
        )
    try:
        ra, dec = (table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("ra", "dec"))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"ra and dec are no numbers ({error}); give ICRS degrees.") from error
    good = np.isfinite(ra) & (np.abs(dec) <= 90)
    return SkyCoord(np.where(good, ra, np.nan), np.where(good, dec, np.nan), unit="deg", frame="icrs")


def _pairs(a: SkyCoord, b: SkyCoord, radius: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return all pairs within a radius: rows of a, rows of b, separation in arcsec; by rows of a, then separation."""
    good_a, good_b = np.flatnonzero(np.isfinite(a.ra.deg)), np.flatnonzero(np.isfinite(b.ra.deg))
    if not len(good_a) or not len(good_b):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    first, second, apart, _ = b[good_b].search_around_sky(a[good_a], radius * u.arcsec)
    first, second, apart = good_a[first], good_b[second], apart.to_value(u.arcsec)
    order = np.lexsort((second, apart, first))
    return first[order], second[order], apart[order]


class Positions:
    """Where the rows of a catalogue lie, kept in a tree to ask again and again what is near a place.

    Parameters
    ----------
    table : DataFrame or SkyCoord
        With columns `ra` and `dec` in ICRS degrees.
    """

    def __init__(self, table: pd.DataFrame | SkyCoord) -> None:
        from scipy.spatial import cKDTree

        where = as_coordinates(table)
        self.ra, self.dec = np.asarray(where.ra.deg), np.asarray(where.dec.deg)
        self._rows = np.flatnonzero(np.isfinite(self.ra))
        self._tree = cKDTree(directions(self.ra[self._rows], self.dec[self._rows]).T)

    def within(self, ra: float, dec: float, radius: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows within a radius of a place, all in degrees, nearest first, and separations in arcsec."""
        place = directions(np.array([ra]), np.array([dec]))[:, 0]
        chord = 2 * np.sin(np.radians(min(radius, 180.0)) / 2)
        found = np.sort(np.array(self._tree.query_ball_point(place, chord * (1 + 1e-9)), np.int64))
        apart = 2 * np.arcsin(np.minimum(np.linalg.norm(self._tree.data[found] - place, axis=1) / 2, 1))
        order = np.argsort(apart, kind="stable")
        return self._rows[found[order]], np.degrees(apart[order]) * 3600


def cross_match(
    a: pd.DataFrame | SkyCoord,
    b: pd.DataFrame | SkyCoord,
    radius: Beam | u.Quantity | float,
    *,
    every: bool = False,
) -> pd.DataFrame:
    """Match two catalogues by position.

    Parameters
    ----------
    a, b : DataFrame or SkyCoord
        With columns `ra` and `dec` in ICRS degrees.
    radius : Beam, Quantity or float (arcsec)
        Largest separation; of a beam, the FWHM of its major axis (compact-sources section 3.1).
    every : bool
        Give all pairs within the radius; else for each row of `a` the nearest of `b`.

    Returns
    -------
    DataFrame
        One row a pair: a, b (row numbers, for ``.iloc``), separation (arcsec), n_b and n_a (how many rows of b lie
        within the radius of this a, and the reverse), mutual (each is the nearest to the other). Sorted by a,
        then separation.

    Raises
    ------
    ParameterError
        If a table has no positions, or the radius is no angle.
    """
    first, second, apart = _pairs(as_coordinates(a), as_coordinates(b), as_radius(radius))
    pairs = pd.DataFrame({"a": first, "b": second, "separation": apart})
    pairs["n_b"] = pairs.groupby("a")["b"].transform("size").astype(np.int64)
    pairs["n_a"] = pairs.groupby("b")["a"].transform("size").astype(np.int64)
    nearest_b = ~pairs.duplicated("a")
    order = np.lexsort((first, apart, second))
    nearest_a = np.zeros(len(pairs), bool)
    nearest_a[order] = ~pd.Series(second[order]).duplicated().to_numpy()
    pairs["mutual"] = nearest_b & nearest_a
    return pairs if every else pairs[nearest_b].reset_index(drop=True)


# --------------------------------------------------------------------------------
# chance


@dataclass(frozen=True)
class ChanceMatches:
    """How many matches are due to chance.

    Attributes
    ----------
    matched : int
        Rows of `a` with a row of `b` within the radius.
    expected : float
        The same with random positions, averaged over the trials.
    error : float
        Standard error of `expected`.
    rate : float
        expected / matched: the fraction of the matches that is spurious, at most 1; NaN without matches.
    """

    matched: int
    expected: float
    error: float
    rate: float


def chance_match_rate(
    a: pd.DataFrame | SkyCoord,
    b: pd.DataFrame | SkyCoord,
    radius: Beam | u.Quantity | float,
    *,
    method: str = "shifted",
    sky: SkyMap | None = None,
    trials: int = 20,
    seed: int = 0,
    shift: tuple[float, float] = (5.0, 15.0),
) -> ChanceMatches:
    """Estimate how many of the matches of `a` in `b` are due to chance.

    'uniform' is what compact-sources section 3.1 does: positions of `a` are drawn anew, uniformly over the map, and
    matched again. It takes sources to be spread evenly. In the Galactic plane both catalogues crowd towards the
    same latitudes and complexes, and uniform positions then **underestimate** the number of chance matches. 'shifted'
    moves each position of `a` by a few radii in a random direction instead, which keeps the crowding; it is the
    default. Where `b` crowds round `a` within the shift (real companions), it overestimates.

    Parameters
    ----------
    a, b : DataFrame or SkyCoord
    radius : Beam, Quantity or float (arcsec)
        As for `cross_match`.
    method : 'shifted' or 'uniform'
    sky : SkyMap, optional
        For 'uniform': where positions are drawn, outside blank pixels. Without it: the box of right ascension and
        declination that holds all of `a`.
    trials : int
        Random catalogues to average over.
    seed : int
    shift : (float, float)
        Smallest and largest shift, in radii; the smallest above 2.

    Returns
    -------
    ChanceMatches

    Raises
    ------
    ParameterError
        For an unknown method, or where nothing has a position.
    """
    check_one_of("method", method, ["shifted", "uniform"])
    if not (2 < shift[0] <= shift[1]) or trials < 1:
        raise ParameterError(
            f"shift is {shift!r} and trials {trials!r}; give 2 < smallest <= largest, trials > 0."
        )
    limit = as_radius(radius)
    where, others = as_coordinates(a), as_coordinates(b)
    where = where[np.isfinite(where.ra.deg)]
    if not len(where):
        raise ParameterError("no row of a has a position; chance needs some.")
    rng = np.random.default_rng(seed)
    counts = np.empty(trials)
    for trial in range(trials):
        if method == "shifted":
            distance = limit * np.sqrt(rng.uniform(shift[0] ** 2, shift[1] ** 2, len(where)))
            angle = rng.uniform(0, 360, len(where)) * u.deg
            moved = where.directional_offset_by(angle, distance * u.arcsec)
        else:
            moved = _uniform(where, sky, rng)
        counts[trial] = len(np.unique(_pairs(moved, others, limit)[0]))
    matched = len(np.unique(_pairs(where, others, limit)[0]))
    expected = float(counts.mean())
    error = float(counts.std(ddof=1) / np.sqrt(trials)) if trials > 1 else float(np.sqrt(expected))
    rate = min(expected / matched, 1.0) if matched else float("nan")
    return ChanceMatches(matched, expected, error, rate)


def _uniform(where: SkyCoord, sky: SkyMap | None, rng: np.random.Generator) -> SkyCoord:
    """Draw as many positions, uniformly over a map or over the box that holds them."""
    from astropy.coordinates import SkyCoord

    n = len(where)
    if sky is None:
        turn = where[0].ra.deg - 180  # so that a field across 0 h is in one piece
        east = (where.ra.deg - turn) % 360
        sine = np.sin(where.dec.rad)
        ra = rng.uniform(east.min(), east.max(), n) + turn
        dec = np.degrees(np.arcsin(rng.uniform(sine.min(), sine.max(), n)))
        return SkyCoord(ra, dec, unit="deg")
    if sky.wcs is None:
        raise ParameterError(f"map {sky.name} has no coordinates to draw positions from; set its wcs.")
    rows, columns = np.nonzero(np.isfinite(sky.pixels))
    if not len(rows):
        raise ParameterError(f"map {sky.name} is all blank; there is nowhere to draw positions.")
    drawn = rng.integers(0, len(rows), n)
    dx, dy = rng.uniform(-0.5, 0.5, (2, n))
    return SkyCoord(*sky.pixel_to_sky(columns[drawn] + dx, rows[drawn] + dy), unit="deg")


# --------------------------------------------------------------------------------
# labels


class LabelledTable(NotedTable):
    """Labels of sources, with what is not clear listed beside them.

    Attributes
    ----------
    ambiguities : DataFrame
        One row a candidate of a source whose label is not clear: source (row number), catalogue, row, label,
        separation (arcsec), reason.
    """

    _metadata = ["units", "notes", "ambiguities"]  # noqa: RUF012 - pandas reads it

    ambiguities: pd.DataFrame


def assign_labels(
    sources: pd.DataFrame | SkyCoord,
    catalogues: Mapping[str, pd.DataFrame | SkyCoord],
    radius: Beam | u.Quantity | float,
    *,
    columns: Mapping[str, str] | None = None,
) -> LabelledTable:
    """Label sources by the objects of reference catalogues within a radius.

    A source is labelled only if all objects within the radius bear one label, and if none of them is as well within
    the radius of another source. Everything else is left without a label and listed: nothing is
    decided by the nearest, nor by the order of the catalogues.

    Parameters
    ----------
    sources : DataFrame or SkyCoord
    catalogues : dict
        Reference catalogues by name; the name is the label of their objects.
    radius : Beam, Quantity or float (arcsec)
        As for `cross_match`.
    columns : dict, optional
        For a catalogue of several classes, the column that holds them: ``{"rms": "type"}``. Objects without an entry
        there are left out and counted.

    Returns
    -------
    LabelledTable
        One row a source, with its index: label (None where there is none or it is not clear), catalogue and row of
        the nearest object, separation (arcsec), n_candidates, ambiguous. Its attribute `ambiguities` lists every
        candidate of the ambiguous ones, with the reason: 'labels differ', 'shared object', or both.

    Raises
    ------
    ParameterError
        If a named column does not exist, or positions are missing.
    """
    columns = dict(columns or {})
    limit = as_radius(radius)
    where = as_coordinates(sources)
    unknown = set(columns) - set(catalogues)
    if unknown:
        raise ParameterError(f"columns names {min(unknown)!r}, which is not among the catalogues.")
    notes: list[str] = []
    parts = [
        _candidates(name, catalogue, where, limit, columns.get(name), notes)
        for name, catalogue in catalogues.items()
    ]
    empty = _candidates("", where[:0], where, limit, None, notes)
    found = pd.concat([empty, *parts], ignore_index=True) if parts else empty
    found = found.sort_values(["source", "separation"], kind="stable").reset_index(drop=True)
    differ = found.groupby("source")["label"].transform("nunique") > 1
    shared = found.groupby(["catalogue", "row"])["source"].transform("nunique") > 1
    by_source = pd.DataFrame({"differ": differ, "shared": shared}).groupby(found["source"]).transform("any")
    unclear = by_source.any(axis=1)
    reasons = [
        ", ".join(text for text, holds in (("labels differ", a), ("shared object", b)) if holds)
        for a, b in zip(by_source["differ"], by_source["shared"], strict=True)
    ]

    n = len(where)
    nearest = found[~found.duplicated("source")].set_index("source").reindex(range(n))
    result = LabelledTable(index=sources.index if isinstance(sources, pd.DataFrame) else pd.RangeIndex(n))
    ambiguous = np.zeros(n, bool)
    ambiguous[found.loc[unclear, "source"].unique()] = True
    for name, hidden in (("label", ambiguous), ("catalogue", np.zeros(n, bool))):
        values = nearest[name].to_numpy(object, copy=True)
        values[hidden | pd.isna(values)] = None
        result[name] = pd.Series(values, index=result.index, dtype=object)
    result["row"] = nearest["row"].astype("Int64").to_numpy()
    result["separation"] = nearest["separation"].to_numpy(dtype=np.float64)
    result["n_candidates"] = found["source"].value_counts().reindex(range(n), fill_value=0).to_numpy()
    result["ambiguous"] = ambiguous
    result.units = {"separation": "arcsec"}
    result.notes = notes
    result.ambiguities = found.assign(reason=reasons)[unclear].reset_index(drop=True)
    if ambiguous.any():
        notes.append(f"{int(ambiguous.sum())} sources are ambiguous and bear no label; see ambiguities.")
    return result


def _candidates(
    name: str,
    catalogue: pd.DataFrame | SkyCoord,
    where: SkyCoord,
    limit: float,
    column: str | None,
    notes: list[str],
) -> pd.DataFrame:
    """Return every object of one catalogue near a source, with its label."""
    source, row, separation = _pairs(where, as_coordinates(catalogue), limit)
    labels = np.full(len(row), name, object)
    if column is not None:
        if not isinstance(catalogue, pd.DataFrame) or column not in catalogue:
            raise ParameterError(
                f"catalogue {name!r} has no column {column!r}; name the one that holds its classes."
            )
        labels = catalogue[column].to_numpy(object)[row]
    known = ~pd.isna(labels)
    if not known.all():
        notes.append(f"{name}: {int((~known).sum())} candidates without {column} were left out.")
    table = pd.DataFrame(
        {"source": source, "catalogue": name, "row": row, "label": labels, "separation": separation}
    )
    return table.astype({"catalogue": object, "label": object})[known]

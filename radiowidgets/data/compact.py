"""Select compact sources by the five criteria of compact-sources section 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data.matches import as_coordinates, as_radius, cross_match
from radiowidgets.errors import ParameterError

if TYPE_CHECKING:
    from radio_beam import Beam

    from radiowidgets.data.detection import SourceTable


def compact_criteria(
    sources: SourceTable,
    references: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    *,
    beam: Beam | u.Quantity | float | None = None,
    max_size: float = 10.0,
    isolation: float = 1.0,
    min_snr: float = 3.0,
    min_pixels: int = 7,
) -> pd.DataFrame:
    """Tell for each source which of the five criteria it meets; parameters as for `compact_sources`.

    Returns
    -------
    DataFrame of bool
        With the index of `sources` and the columns isolated, simple, matched, significant, inside.
    """
    size = _beam(sources, beam)
    radius = sources["radius"].to_numpy()
    if np.isnan(radius).any():
        raise ParameterError("the sources have no sizes on the sky; give the map a WCS before finding them.")
    criteria = pd.DataFrame(index=sources.index)
    criteria["isolated"] = (2 * radius <= max_size * size) & _alone(sources, radius, isolation * size)
    criteria["simple"] = sources["n_peaks"] == 1
    criteria["matched"] = True
    if references is not None:
        several = [references] if isinstance(references, pd.DataFrame) else list(references)
        hits = [cross_match(sources, reference, size)["a"].to_numpy() for reference in several]
        matched = np.zeros(len(sources), bool)
        matched[np.concatenate([np.empty(0, int), *hits])] = True
        criteria["matched"] = matched
    criteria["significant"] = (sources["snr"] > min_snr) & (sources["n_pixels"] >= min_pixels)
    criteria["inside"] = ~sources["edge"]
    return criteria


def compact_sources(
    sources: SourceTable,
    references: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    **options: Any,
) -> SourceTable:
    """Select the compact sources of a map, as compact-sources section 3.1 does.

    The five criteria, and how they are read here where the paper gives no number:

    1. isolated single-island source, point-like or slightly resolved: 2 r_s is at most `max_size` (10) beams, and the
       circle round it is at least `isolation` (1) beam away from that round any other island;
    2. no diffuse, extended or complex morphology, such as child sources inside the contour: one peak only
       (`prominence` of `find_sources`);
    3. an object of a reference catalogue within the beam (FWHM of the major axis);
    4. clearly above the background: snr > `min_snr` (3) and more than 6 pixels;
    5. not at the map's border, nor at blank pixels.

    The paper looked at what it had selected; so should you.

    Parameters
    ----------
    sources : SourceTable
        Of `find_sources`.
    references : DataFrame or list of them, optional
        Reference catalogues with ra and dec, as `read_catalogue` gives them; without any, criterion 3 is left out.
    beam : radio_beam.Beam, Quantity or float (arcsec), optional
        Default: the beam of the map.
    max_size, isolation : float
        In beams.
    min_snr : float
    min_pixels : int

    Returns
    -------
    SourceTable
        The rows that meet all; `compact_criteria` tells why the others do not.

    Raises
    ------
    ParameterError
        If the beam or the sizes are not known.
    """
    selected = sources[compact_criteria(sources, references, **options).all(axis=1)]
    if references is None:
        selected.notes = [*sources.notes, "compact: no reference catalogue given, criterion 3 left out."]
    return selected


def _beam(sources: SourceTable, beam: Beam | u.Quantity | float | None) -> float:
    beam = getattr(sources, "beam", None) if beam is None else beam
    if beam is None:
        raise ParameterError("the sources have no beam; give beam, in arcsec.")
    return as_radius(beam)


def _alone(sources: SourceTable, radius: np.ndarray, margin: float) -> np.ndarray:
    """Tell which circles have no other within the margin."""
    alone = np.ones(len(sources), bool)
    if len(sources) > 1:
        where = as_coordinates(sources)
        first, second, separation, _ = where.search_around_sky(where, (2 * radius.max() + margin) * u.arcsec)
        near = (first != second) & (separation.to_value(u.arcsec) < radius[first] + radius[second] + margin)
        alone[first[near]] = False
    return alone

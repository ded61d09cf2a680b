"""Select compact sources by the five criteria of compact-sources section 3.1; mock ones with known classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data.bands import SEVEN_BANDS, cut_bands
from radiowidgets.data.matches import as_coordinates, as_radius, cross_match
from radiowidgets.errors import ParameterError, check_one_of

if TYPE_CHECKING:
    import os

    from radio_beam import Beam

    from radiowidgets.data.detection import SourceTable
    from radiowidgets.data.frames import FrameSet
    from radiowidgets.parallel import Progress


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


def mock_compact(
    path: str | os.PathLike[str],
    *,
    size: int = 512,
    seed: int = 0,
    bands: Sequence[str] = SEVEN_BANDS,
    density: float = 2000.0,
    width: float = 6.0,
    progress: str | Progress | None = None,
) -> FrameSet:
    """Make a mock field of the Galactic plane and cut its compact sources from several bands, with their classes.

    The maps are those of ``simulate("galactic-7band")`` with more compact sources. These are found, selected and
    matched as compact-sources section 3.1 says, with the mock catalogue as the reference.

    Parameters
    ----------
    path
        Folder of the cutouts, see `cut_bands`; one that is there and finished is opened.
    size
        Of the maps, pixels of 2 arcsec.
    seed
        Another one makes another field.
    bands
        'radio' first, others of `SEVEN_BANDS`. 8 and 70 um cover the lower half of the field, the plane.
    density
        Compact sources per square degree; about three in five pass the selection.
    width
        Side of the cutouts in r_s, of which networks are shown the inner 2.5.
    progress
        See `radiowidgets.parallel.map_chunks`.

    Returns
    -------
    FrameSet
        Of `open_bands`; its `sources` have a column label, the class that the catalogue tells, and population, the
        class that is true: as in the paper, some matches are spurious, and some labels are wrong.
    """
    from radiowidgets.data.detection import find_sources
    from radiowidgets.data.simulate import simulate

    for band in bands:
        check_one_of("band", band, SEVEN_BANDS)
    field: Any = simulate("galactic-7band", size=size, seed=seed, compact=density)
    maps = {band: field[band.removesuffix("um")] for band in bands}
    catalogue = maps["radio"].truth.sources
    catalogue = catalogue[catalogue["label"].fillna("") != ""].reset_index(drop=True)
    sources = compact_sources(find_sources(maps["radio"]), catalogue)
    pairs = cross_match(sources, catalogue, as_radius(sources.beam))
    pairs = pairs.sort_values("separation").drop_duplicates("a").sort_values("a")
    found = sources.iloc[pairs["a"].to_numpy()].reset_index(drop=True)
    for column in ("label", "population"):
        found[column] = catalogue[column].to_numpy()[pairs["b"].to_numpy()]
    return cut_bands(maps, found, path, size=width, progress=progress)


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

"""Cutouts: frames centred on catalogued sources ('banner' frames), as views of their maps."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from radiowidgets.data.frames import MAX_FRAMES, MAX_SIDE, FrameSet, as_list, make_frame_id
from radiowidgets.data.headers import pixel_coordinates
from radiowidgets.errors import MapError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from radiowidgets.data.maps import SkyMap

_BOX = ("x0", "y0", "x1", "y1")
# A frame this many times larger than its map says that the extent is wrong.
_ABSURD = 4
# Of a pixel: what coordinates lose on the way to the sky and back shall not decide on a whole pixel.
_ROUNDING = 1e-6


def cut_sources(
    maps: SkyMap | Sequence[SkyMap] | Mapping[str, SkyMap],
    catalogue: pd.DataFrame,
    size: int | u.Quantity | None = None,
    factor: float = 1.5,
    *,
    extent: str | None = None,
) -> FrameSet:
    """Cut square frames round the sources of a catalogue, as views: nothing is read.

    Parameters
    ----------
    maps : SkyMap, or sequence or mapping of SkyMap
        With several maps a source gives a frame in each map that holds it.
    catalogue : pandas.DataFrame
        Positions in the columns ra and dec (ICRS degrees) or, for a map without coordinates, x and y (pixels
        from 0); such as `find_sources` and `read_catalogue` return.
    size : int or angle, optional
        Side of all frames, in pixels or as an astropy quantity. Default: `factor` times each source's extent.
    factor : float
        peculiar-frames section 2.2 takes 1.5; ssl-benchmark takes 2.5 for its own sources.
    extent : str, optional
        The column that holds the largest extent of each source in arcsec. Default, the first that there is:

        - the longer side of the bounding box x0, y0, x1, y1 (pixels, ends exclusive), if x and y say that it was
          measured on this map;
        - the diameter of the circle round the island, 2 `radius` (arcsec);
        - 2 `major`, twice the FWHM (arcsec): what a Gaussian source shows above a 16th of its peak.

    Returns
    -------
    FrameSet
        In the order of the catalogue, map by map. Its attribute `sources` is the catalogue's row of each frame,
        `left_out` the rows without a frame with a column `reason`: no position, no extent, outside every map.
        A frame may reach beyond its map, where it is blank. The source lies in pixel side // 2 of both axes,
        to half a pixel.

    Warns
    -----
    UserWarning
        If sources are left out, with their number and the reasons.

    Raises
    ------
    ParameterError
        If the catalogue has no usable columns, or `size` or `factor` make no sense.
    MapError
        If positions are in degrees and a map has no coordinates.
    """
    import pandas as pd

    skies = as_list(maps)
    if not skies:
        raise ParameterError("no map is given; pass at least one.")
    if not isinstance(catalogue, pd.DataFrame):
        raise ParameterError(
            f"the catalogue is of type {type(catalogue).__name__}; give a pandas table (table.to_pandas())."
        )
    if len(catalogue) * len(skies) > MAX_FRAMES:
        raise ParameterError(
            f"{len(catalogue)} sources in {len(skies)} maps are more than {MAX_FRAMES}; give fewer."
        )
    if not (isinstance(factor, int | float) and 0 < factor < np.inf):
        raise ParameterError(f"factor is {factor!r}; give a number above 0, such as 1.5.")
    boxes: list[tuple[NDArray[Any], ...]] = []
    reasons = np.full(len(catalogue), "outside", dtype=object)
    for code, sky in enumerate(skies):
        x, y = source_pixels(sky, catalogue)
        side, why = _sides(sky, catalogue, x, y, size, factor, extent)
        ny, nx = sky.shape
        # A pixel reaches half a pixel round its centre.
        inside = (x >= -0.5) & (y >= -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
        rows = np.flatnonzero(inside & (side > 0))
        reasons[rows] = ""
        missed = (reasons != "") & inside
        reasons[missed] = why[missed]
        left, bottom = (np.ceil(c[rows] - side[rows] / 2 - _ROUNDING) for c in (x, y))
        boxes.append((np.full(len(rows), code), left, bottom, side[rows], rows))
    columns = [np.concatenate(column).astype(np.int64) for column in zip(*boxes, strict=True)]
    rows = columns.pop()
    codes, left, bottom, sides = columns
    frames = FrameSet(skies, codes, left, bottom, sides, sides, ids=_ids(skies, codes, left, bottom, sides))
    frames.sources = catalogue.iloc[rows]
    has_position = _has_position(catalogue)
    reasons[(reasons != "") & ~has_position] = "no position"
    _report(frames, catalogue, reasons)
    return frames


def source_pixels(sky: SkyMap, catalogue: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where a catalogue's sources lie in a map, in pixels from 0; NaN where that is not known."""
    if {"ra", "dec"} <= set(catalogue.columns):
        ra, dec = (numbers(catalogue, name) for name in ("ra", "dec"))
        if sky.wcs is not None and (np.isfinite(ra).any() or "x" not in catalogue.columns):
            return pixel_coordinates(sky.wcs, ra, dec)
        if not {"x", "y"} <= set(catalogue.columns):
            raise MapError(
                f"map {sky.name} has no coordinates; set sky.wcs, or give a catalogue with columns x and y."
            )
    if not {"x", "y"} <= set(catalogue.columns):
        raise ParameterError(
            f"the catalogue has neither columns ra, dec nor x, y, but {', '.join(map(str, catalogue.columns[:12]))};"
            " rename them (catalogue.rename(columns={'RA': 'ra', 'DEC': 'dec'}))."
        )
    return numbers(catalogue, "x"), numbers(catalogue, "y")


def _sides(
    sky: SkyMap,
    catalogue: pd.DataFrame,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size: int | u.Quantity | None,
    factor: float,
    extent: str | None,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the side of each source's frame in pixels, 0 where it has none, and why."""
    if size is not None:
        return np.full(len(x), _fixed_side(sky, size)), np.full(len(x), "", dtype=object)
    pixels = _extent(sky, catalogue, x, y, extent)
    with np.errstate(invalid="ignore"):
        side = np.ceil(factor * pixels - _ROUNDING)
        known = np.isfinite(side) & (side > 0)
        absurd = known & (side > min(_ABSURD * max(sky.shape), MAX_SIDE))
    why = np.where(absurd, f"an extent of over {_ABSURD} maps", "no extent").astype(object)
    return np.where(known & ~absurd, side, 0).astype(np.int64), why


def _fixed_side(sky: SkyMap, size: int | u.Quantity) -> int:
    if isinstance(size, u.Quantity):
        if not size.isscalar or not size.unit.is_equivalent(u.arcsec):
            raise ParameterError(f"size is {size}; give a number of pixels or one angle.")
        if sky.pixel_scale is None:
            raise MapError(f"map {sky.name} has no pixel scale; give size in pixels.")
        side = size.to_value(u.arcsec) / sky.pixel_scale
        side = math.ceil(side - _ROUNDING) if math.isfinite(side) else 0
    elif isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise ParameterError(f"size is {size!r}; give a whole number of pixels or an angle.")
    else:
        side = int(size)
    if not 1 <= side <= MAX_SIDE:
        raise ParameterError(f"size is {size}, {side} pixels; give 1 to {MAX_SIDE} pixels.")
    return side


def _extent(
    sky: SkyMap, catalogue: pd.DataFrame, x: NDArray[np.float64], y: NDArray[np.float64], extent: str | None
) -> NDArray[np.float64]:
    """Return the largest extent of each source in pixels of the map; NaN where that is not known."""
    present = set(catalogue.columns)
    if extent is not None and extent not in present:
        raise ParameterError(
            f"the catalogue has no column {extent!r}; it has {', '.join(map(str, catalogue.columns[:12]))}."
        )
    if extent is None and {*_BOX, "x", "y"} <= present:
        apart = np.hypot(numbers(catalogue, "x") - x, numbers(catalogue, "y") - y)
        here = apart[np.isfinite(apart)]
        if here.size and np.quantile(here, 0.9) < 1:
            x0, y0, x1, y1 = (numbers(catalogue, name) for name in _BOX)
            return np.maximum(x1 - x0, y1 - y0)
    if extent is not None:
        arcsec = numbers(catalogue, extent)
    elif "radius" in present:
        arcsec = 2 * numbers(catalogue, "radius")
    elif "major" in present:
        arcsec = 2 * numbers(catalogue, "major")
    else:
        raise ParameterError(
            "the catalogue has no column x0 ... y1, radius or major that tells the extent of a source; give "
            "size=, or extent= the name of a column in arcsec."
        )
    if sky.pixel_scale is None:
        raise MapError(f"map {sky.name} has no pixel scale to measure extents with; give size= in pixels.")
    return arcsec / sky.pixel_scale


def numbers(catalogue: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as float64, NaN where there is no number."""
    import pandas as pd

    column = catalogue[name]
    if column.ndim != 1:
        raise ParameterError(f"the catalogue has several columns {name!r}; leave one.")
    if column.dtype.kind not in "fiu":
        try:
            column = pd.to_numeric(column)
        except (ValueError, TypeError) as error:
            raise ParameterError(f"column {name!r} of the catalogue holds no numbers: {error}") from error
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _has_position(catalogue: pd.DataFrame) -> NDArray[np.bool_]:
    found = np.zeros(len(catalogue), dtype=bool)
    for pair in (("ra", "dec"), ("x", "y")):
        if set(pair) <= set(catalogue.columns):
            found |= np.isfinite(numbers(catalogue, pair[0])) & np.isfinite(numbers(catalogue, pair[1]))
    return found


def _ids(skies: list[SkyMap], *columns: NDArray[np.int64]) -> list[str] | None:
    """Return ids for frames of which some are the same box, None where all differ."""
    import pandas as pd

    number = pd.DataFrame(dict(enumerate(columns))).groupby(list(range(len(columns)))).cumcount().to_numpy()
    if not number.any():
        return None
    boxes = zip(*(column.tolist() for column in columns), number, strict=True)
    return [
        make_frame_id(skies[code].name, x, y, side, side) + (f"-{n + 1}" if n else "")
        for code, x, y, side, n in boxes
    ]


def _report(frames: FrameSet, catalogue: pd.DataFrame, reasons: NDArray[Any]) -> None:
    missing = np.flatnonzero(reasons != "")
    frames.left_out = catalogue.iloc[missing].assign(reason=reasons[missing])
    if len(missing):
        which, counts = np.unique(reasons[missing].astype(str), return_counts=True)
        parts = ", ".join(f"{n} {why}" for why, n in zip(which, counts, strict=True))
        warnings.warn(
            f"{len(missing)} of {len(catalogue)} sources have no frame: {parts}; see frames.left_out.",
            stacklevel=3,
        )

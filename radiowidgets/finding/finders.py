"""What every source finder is: a callable that takes a map and returns what it found.

``finder(sky) -> Found``. `find` runs one by its name, or any callable of that kind, and times it.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError, check_one_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from radiowidgets.data.maps import SkyMap

#: The columns of every table of sources that a finder returns.
COLUMNS = ("x", "y", "ra", "dec", "flux", "peak", "score", "kind")

#: The finders known by name, and the functions that make them: ``maker(**options)`` returns a finder.
FINDERS = {
    "islands": "peers:islands",
    "pinpoint": "pinpoint:pinpoint",
    "sep": "peers:sep",
    "pybdsf": "peers:pybdsf",
    "cosmodeep-islands": "peers:cosmodeep_islands",
    "convosource": "convosource:load_convosource",
    "cosmodeep": "cosmodeep:load_cosmodeep",
    "web-pixels": "cosmodeep:load_web_pixels",
    "maskrcnn": "maskrcnn:maskrcnn",
}


@dataclass(frozen=True)
class Found:
    """What a finder found in a map.

    Attributes
    ----------
    table : DataFrame
        A row a source: x, y (pixels of the map, from 0), ra, dec (ICRS degrees, NaN without coordinates), flux (Jy, NaN
        where unknown), peak (in the map's unit), score (0 to 1, larger = surer; NaN where the finder has none), kind
        (class, '' where it tells none). Finders may add columns, such as `island`.
    name : str
        Name of the finder.
    seconds : float
        Time that it took.
    masks : (ny, nx) int32 array or None
        The value of the column `island` in a source's pixels, 0 outside.
    patches : list of (y0, x0, bool array) or None
        Masks of sources that may overlap, a row of the table each.
    probability : (ny, nx) float32 array or None
        How sure the finder is that a source is at a pixel, 0 to 1; NaN where blank.
    notes : list of str
        What was assumed or left out, a short line each.
    """

    table: pd.DataFrame
    name: str = ""
    seconds: float = float("nan")
    masks: NDArray[np.int32] | None = field(default=None, repr=False)
    patches: list[tuple[int, int, NDArray[np.bool_]]] | None = field(default=None, repr=False)
    probability: NDArray[np.float32] | None = field(default=None, repr=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.table]
        if missing:
            raise ParameterError(
                f"the table of finder {self.name!r} has no column {missing[0]!r}; make it with source_table."
            )
        lost = ~np.isfinite(self.table[["x", "y"]].to_numpy(np.float64)).all(axis=1)
        if lost.any():
            raise ParameterError(
                f"source {int(np.flatnonzero(lost)[0])} of finder {self.name!r} has no position; leave it out."
            )
        if self.masks is not None and "island" not in self.table:
            raise ParameterError(f"finder {self.name!r} gives masks but its table has no column 'island'.")
        if self.patches is not None and len(self.patches) != len(self.table):
            raise ParameterError(
                f"finder {self.name!r} gives {len(self.patches)} patches for {len(self.table)} sources; give one each."
            )

    def __len__(self) -> int:
        return len(self.table)

    def above(self, score: float) -> Found:
        """Return only the sources of at least this score; those without a score are kept, masks stay as they are."""
        kept = ~(self.table["score"].to_numpy(dtype=np.float64) < score)
        patches = None
        if self.patches is not None:
            patches = [patch for patch, keep in zip(self.patches, kept, strict=True) if keep]
        return replace(self, table=self.table[kept].reset_index(drop=True), patches=patches)


#: A finder: takes a map, returns what it found.
Finder = Callable[["SkyMap"], Found]


def source_table(sky: SkyMap, x: ArrayLike, y: ArrayLike, **columns: Any) -> pd.DataFrame:
    """Make the table of a finder from pixel positions.

    Parameters
    ----------
    sky : SkyMap
    x, y : (n,) arrays
        Pixels from 0.
    **columns : (n,) arrays or one value
        Any of `COLUMNS`, and more. What is not given: ra and dec from the map's coordinates, peak from its nearest
        pixel, flux and score NaN, kind ''.

    Returns
    -------
    DataFrame
    """
    x, y = np.atleast_1d(np.asarray(x, np.float64)), np.atleast_1d(np.asarray(y, np.float64))
    table = pd.DataFrame({"x": x, "y": y})
    if not {"ra", "dec"} <= set(columns):
        known = sky.wcs is not None and len(table) > 0
        table["ra"], table["dec"] = sky.pixel_to_sky(x, y) if known else (np.nan, np.nan)
    if "peak" not in columns:
        columns["peak"] = _nearest(sky, x, y)
    for name in COLUMNS[4:]:
        table[name] = columns.pop(name, "" if name == "kind" else np.nan)
    for name, column in columns.items():
        table[name] = column
    rest = [name for name in table if name not in COLUMNS]
    return table[[*COLUMNS, *rest]]


def _nearest(sky: SkyMap, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return the map's values at the nearest pixels, NaN outside."""
    column, row = np.rint(x), np.rint(y)
    inside = (column >= 0) & (row >= 0) & (column < sky.shape[1]) & (row < sky.shape[0])
    values = np.full(len(x), np.nan)
    if inside.any():
        values[inside] = sky.pixels[row[inside].astype(np.int64), column[inside].astype(np.int64)]
    return values


def find(sky: SkyMap, finder: str | Finder = "islands", **options: Any) -> Found:
    """Find the sources of a map with any finder, timed.

    Parameters
    ----------
    sky : SkyMap
    finder : str or callable
        One of `FINDERS`, or a callable that takes a map and returns a `Found`.
    **options
        Settings of a finder that is given by name; of a network that you trained: `folder`, where it was saved.

    Returns
    -------
    Found

    Raises
    ------
    ParameterError
        If no finder has that name or it takes no such option, or the callable returns something else.
    MissingExtraError
        If the finder needs a package that is not installed.

    Examples
    --------
    >>> import radiowidgets as rw
    >>> found = rw.find(rw.simulate("emu", size=256, seed=1), "sep")
    >>> list(found.table.columns[:4])
    ['x', 'y', 'ra', 'dec']
    """
    if isinstance(finder, str):
        name, finder = finder, make_finder(finder, **options)
    elif options:
        raise ParameterError(f"options are for a finder by name; {finder!r} already has its own.")
    else:
        name = getattr(finder, "__name__", type(finder).__name__)
    start = time.perf_counter()
    found = finder(sky)
    if not isinstance(found, Found):
        raise ParameterError(f"finder {name} returned a {type(found).__name__}; it must return a Found.")
    return replace(found, name=found.name or name, seconds=time.perf_counter() - start)


def make_finder(name: str, **options: Any) -> Finder:
    """Return the finder of that name, with these settings.

    Raises
    ------
    ParameterError
        If no finder has that name, or it takes no such option.
    MissingExtraError
        If it needs a package that is not installed.
    """
    check_one_of("finder", name, FINDERS)
    module, function = FINDERS[name].split(":")
    maker = getattr(importlib.import_module(f"radiowidgets.finding.{module}"), function)
    try:
        inspect.signature(maker).bind(**options)
    except TypeError as error:
        raise ParameterError(f"finder {name}: {error}; see help({maker.__module__}.{function}).") from error
    return maker(**options)

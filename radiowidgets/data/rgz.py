"""Radio Galaxy Zoo: the sources, classes and balanced sets of peculiar-frames section 3.1.

The table is the flat catalogue of the project, ``static_rgz_flat_*.csv``, in either spelling of its columns
(``radio.number_components`` or ``radio.numberComponents``); images are FITS files of FIRST, one a source, named
``<rgz_name>.fits`` or ``FIRST_<rgz_name>.fits``, as public code for the catalogue saves them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.data.cutouts import cut_sources
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.tablefiles import read_table
from radiowidgets.errors import CatalogueError, DataError, ParameterError

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

#: C components (islands) and P peaks; a source has at least as many peaks as components.
CLASSES = ("1C-1P", "1C-2P", "1C-3P", "2C-2P", "2C-3P", "3C-3P")
LEAST_CONSENSUS = 0.6

_COLUMNS = {
    "name": ("rgz_name",),
    "ra": ("radio.ra",),
    "dec": ("radio.dec",),
    "consensus": ("consensus.radio_level", "consensus.level"),
    "components": ("radio.number_components", "radio.numberComponents"),
    "peaks": ("radio.number_peaks", "radio.numberPeaks"),
    "extent": ("radio.max_angular_extent", "radio.maxAngularExtent"),
}


class BalancedSet(NamedTuple):
    """Positions of the frames to train on and of those to test, as many of each class."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def read_rgz(path: str | os.PathLike[str], *, consensus: float = LEAST_CONSENSUS) -> pd.DataFrame:
    """Read the sources of the six classes from the flat catalogue.

    Parameters
    ----------
    path
        CSV, or what `read_catalogue` reads too.
    consensus
        Least consensus of the radio classification; 0.6 in peculiar-frames.

    Returns
    -------
    DataFrame
        name, ra and dec (ICRS degrees), extent (arcsec), components, peaks, consensus, class; each name once.

    Raises
    ------
    CatalogueError
        If columns are missing.
    """
    if not 0 <= consensus <= 1:
        raise ParameterError(f"consensus is {consensus!r}; give a number from 0 to 1.")
    raw = read_table(Path(path)).columns
    found = {}
    for name, spellings in _COLUMNS.items():
        there = [spelling for spelling in spellings if spelling in raw]
        if not there:
            raise CatalogueError(
                f"{Path(path).name} has no column {' or '.join(spellings)}; give the flat table of Radio Galaxy Zoo, "
                f"not one with {', '.join(map(str, list(raw)[:6]))}..."
            )
        found[name] = raw[there[0]]
    table = pd.DataFrame(found)
    for name in table.columns.drop("name"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table = table.dropna()
    table["class"] = [
        f"{int(c)}C-{int(p)}P" for c, p in zip(table["components"], table["peaks"], strict=True)
    ]
    kept = table[(table["consensus"] >= consensus) & table["class"].isin(CLASSES) & (table["extent"] > 0)]
    return kept.drop_duplicates("name").reset_index(drop=True)


def balanced_sets(
    classes: ArrayLike,
    *,
    count: int = 5,
    sizes: tuple[int, int] = (1000, 600),
    seed: int = 0,
) -> list[BalancedSet]:
    """Draw sets with as many frames of each class: five of 1000 to train on and 600 to test in peculiar-frames.

    No frame is on both sides of one set; sets are drawn one by one and share frames. A class that is too rare (of
    1C-3P there are about 1,560) is split in the same ratio, and its frames are repeated, as in ssl-benchmark section
    3.4.

    Parameters
    ----------
    classes : (n,)
    count
        Sets.
    sizes
        Frames of each class to train on and to test.
    """
    classes = np.asarray(classes)
    train, test = sizes
    if min(train, test, count) < 1:
        raise ParameterError(f"{count} sets of {train} and {test} frames; give numbers from 1.")
    if not len(classes):
        raise ParameterError("there are no classes to draw sets of.")
    rng = np.random.default_rng(seed)
    sets = []
    for _ in range(count):
        sides: tuple[list[Any], list[Any]] = ([], [])
        for name in np.unique(classes):
            own = rng.permutation(np.flatnonzero(classes == name))
            if len(own) < 2:
                raise ParameterError(f"class {name} has {len(own)} frame; two are needed, for both sides.")
            split = train
            if len(own) < train + test:
                split = min(max(round(len(own) * train / (train + test)), 1), len(own) - 1)
            sides[0].append(np.resize(own[:split], train))
            sides[1].append(np.resize(own[split:], test))
        sets.append(BalancedSet(*(rng.permutation(np.concatenate(side)) for side in sides)))
    return sets


def load_rgz(
    table: pd.DataFrame | str | os.PathLike[str], folder: str | os.PathLike[str], *, factor: float = 1.5
) -> FrameSet:
    """Cut the sources out of their images.

    Parameters
    ----------
    table
        Of `read_rgz`, or the file to read with it.
    folder
        Of the FITS images.
    factor
        Side of a frame in units of the source's extent: 1.5 in peculiar-frames and for RGZ in ssl-benchmark.

    Returns
    -------
    FrameSet
        The ids are the names of RGZ. `sources` holds the rows of the frames, `left_out` those without an image or
        outside it.

    Raises
    ------
    DataError
        If the folder holds no image of any source.
    """
    sources = table if isinstance(table, pd.DataFrame) else read_rgz(table)
    place = Path(folder)
    images, kept = [], []
    paths: list[Path] = []
    for row in range(len(sources)):
        name = str(sources["name"].iloc[row])
        paths = [place / f"{prefix}{name}.fits" for prefix in ("", "FIRST_")]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            continue
        cut = cut_sources(SkyMap.open(path), sources.iloc[[row]], factor=factor, extent="extent")
        if len(cut):
            images.append(np.array(cut[0].pixels))
            kept.append(row)
    if not images:
        raise DataError(
            f"{place} holds no image of the {len(sources)} sources; expected files such as "
            f"{paths[0].name} or {paths[1].name}."
            if len(sources)
            else "the table has no sources; lower the consensus."
        )
    frames = FrameSet.from_images(images, [str(name) for name in sources["name"].iloc[kept]])
    frames.sources = sources.iloc[kept].reset_index(drop=True)
    frames.left_out = sources.drop(index=sources.index[kept]).reset_index(drop=True)
    return frames

"""Frames that are like a given one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiowidgets.parallel import map_chunks
from radiowidgets.ranking.active import reference_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 1 << 16  # in one step
NEAREST = 10
FAR = np.float32(10.0)  # robust widths; nothing counts as farther out


class Neighbours:
    """Distances between rows of values that are each brought to a common width.

    A column is measured in robust widths from its median, and cut at 10 of them, so that neither the unit of a column
    nor a single huge value decides what is near. Distances are exact, by comparing with all rows.

    Parameters
    ----------
    values : (n, d) array
    usable : (n,) array of bool, optional
        Rows that are near to none, and do not count for the widths.
    """

    def __init__(self, values: np.ndarray, usable: np.ndarray | None = None) -> None:
        n, d = values.shape
        self._usable = np.ones(n, bool) if usable is None else np.asarray(usable, bool)
        self._values = np.zeros((n, d), np.float32)
        for k in range(d):  # column by column, which needs little memory
            column = np.asarray(values[:, k], np.float64)
            self._values[:, k] = _spread(column, column[self._usable])
        self._squares = np.einsum("ij,ij->i", self._values, self._values)

    def distances(self, row: int) -> NDArray[np.float32]:
        """Return the root mean square distance of every row from `row`, (n,) float32; infinite where not usable."""
        out = np.empty(len(self._values), np.float32)
        query = self._values[row]

        def work(start: int) -> None:
            part = slice(start, start + ROWS)
            out[part] = self._values[part] @ query
            out[part] *= -2
            out[part] += self._squares[part] + self._squares[row]

        map_chunks(work, range(0, len(out), ROWS))
        np.maximum(out, 0, out=out)
        out /= max(len(query), 1)
        np.sqrt(out, out=out)
        if self._usable[row]:
            out[~self._usable] = np.inf
        out[row] = 0
        return out

    def nearest(self, row: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the `count` rows nearest to `row`, without it, and their distances; of equal ones the first."""
        out = self.distances(row)
        out[row] = np.inf
        count = min(count, int(np.isfinite(out).sum()))
        if count <= 0:
            return np.zeros(0, np.int64), np.zeros(0)
        # The squares' difference loses digits where rows are close, so that more are taken and measured again.
        more = min(len(out), 2 * count + 16)
        farthest = np.partition(out, more - 1)[more - 1]
        found = np.flatnonzero((out <= farthest) & np.isfinite(out))
        apart = self._values[found].astype(np.float64) - self._values[row]
        exact = np.sqrt(np.mean(apart**2, axis=1)) if apart.shape[1] else np.zeros(len(found))
        order = np.argsort(exact, kind="stable")[:count]
        return found[order], exact[order]

    def order(self, row: int) -> NDArray[np.uint32]:
        """Return all rows by their distance from `row`, which comes first."""
        out = self.distances(row)
        out[row] = -1
        return np.argsort(out).astype(np.uint32)


def far_off(spread: np.ndarray, like: np.ndarray | None = None, *, seed: int = 0) -> NDArray[np.float64]:
    """Return how far frames are from those most like them: the mean distance (n,) to the ten nearest others.

    Parameters
    ----------
    spread : (n, d) array
        As `radiowidgets.ranking.active.clipped_spread` makes it.
    like : (m, d) array, optional
        Other frames to compare with; default: these. Of more than 5,000 as many are drawn.
    seed : int
        Of the draw.
    """
    from sklearn.neighbors import NearestNeighbors

    known = spread if like is None else like
    drawn = reference_rows(len(known), seed)
    own = np.zeros(len(spread), bool)
    if like is None:
        own[drawn] = True  # such a frame is its own nearest
    nearest = NearestNeighbors(n_neighbors=min(NEAREST + 1, len(drawn)), algorithm="brute").fit(known[drawn])
    distance = np.sort(nearest.kneighbors(spread)[0].astype(np.float64), axis=1)
    if distance.shape[1] == 1:
        return distance[:, 0]
    return np.where(own, distance[:, 1:].mean(axis=1), distance[:, :-1].mean(axis=1))


def _spread(column: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return values in robust widths from the median of the `known` ones, within `FAR`."""
    if not len(known):
        return np.zeros(len(column), np.float32)
    middle = np.median(known)
    away = np.abs(known - middle)
    width = 1.4826 * np.median(away)
    if not width > 1e-6 * away.max():  # most are equal
        width = np.sqrt(np.mean(away**2))
    return np.clip((column - middle) / max(width, 1e-30), -FAR, FAR).astype(np.float32)

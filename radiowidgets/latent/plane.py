"""Points in a plane, sorted so that what is in view is found without looking at the rest.

Millions of them are drawn as pictures of the size of the screen; the points of a small part of the plane, the one
nearest to a place and those inside a drawn line cost as much as there are points there.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from radiowidgets.errors import ParameterError
from radiowidgets.parallel import available_cores, map_chunks

MOST_CELLS = 1024  # along each side of the grid
POINTS_A_CELL = 8
EDGE = 0.001  # share of the points that may lie beyond the grid's first and last cell

Range = tuple[float, float, float, float]


class Picture(NamedTuple):
    """Points of a view, one number a pixel, the top row first."""

    points: np.ndarray  # (height, width) float32: how many
    value: (
        np.ndarray
    )  # (height, width) float32: mean of the values, or code of the category; NaN where none is known
    chosen: np.ndarray | None  # (height, width) float32: how many are chosen


class Plane:
    """Points in a plane.

    Parameters
    ----------
    places : (n, 2) array
        Rows that are not finite are nowhere.

    Attributes
    ----------
    frames : (m,) uint32
        Rows of the points, in the order in which they are kept.
    x, y : (m,) float32
    """

    def __init__(self, places: np.ndarray) -> None:
        places = np.asarray(places, dtype=np.float32)
        if places.ndim != 2 or places.shape[1] != 2:
            raise ParameterError(f"The places have shape {places.shape}; give (n, 2).")
        known = np.isfinite(places[:, 0]) & np.isfinite(places[:, 1])
        rows = np.flatnonzero(known).astype(np.uint32) if not known.all() else None
        x, y = np.ascontiguousarray((places if rows is None else places[rows]).T)
        self.side = int(np.clip(np.sqrt(len(x) / POINTS_A_CELL), 1, MOST_CELLS))
        self._grid = (*_edges(x, self.side), *_edges(y, self.side))
        self._starts, order, self.x, self.y = _sort(x, y, *self._grid, self.side)
        self.frames = order if rows is None else rows[order]
        self._where: np.ndarray | None = None
        self.count = len(places)

    def __len__(self) -> int:
        return len(self.frames)

    def bounds(self, share: float = 0.0) -> Range:
        """Return x0, x1, y0, y1 of all points, or without `share` of them at each end."""
        if not len(self):
            return (0.0, 1.0, 0.0, 1.0)
        found: list[float] = []
        for values in (self.x, self.y):
            sample = values[:: max(1, len(values) // 500_000)] if share else values
            low, high = np.quantile(sample, [share, 1 - share]) if share else (values.min(), values.max())
            found += [float(low), float(high)] if high > low else [float(low) - 0.5, float(high) + 0.5]
        return (found[0], found[1], found[2], found[3])

    def places(self, frames: np.ndarray) -> np.ndarray:
        """Return where frames are, (k, 2) float32; NaN where they are nowhere."""
        if self._where is None:
            self._where = np.full(self.count, -1, np.int32)
            self._where[self.frames] = np.arange(len(self), dtype=np.int32)
        at = self._where[np.asarray(frames, dtype=np.int64)]
        out = np.full((len(at), 2), np.nan, np.float32)
        here = at >= 0
        out[here, 0], out[here, 1] = self.x[at[here]], self.y[at[here]]
        return out

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """Return one value a frame in the order in which the points are kept."""
        return np.ascontiguousarray(values[self.frames])

    def at_most_in(self, view: Range) -> int:
        """Return how many points lie in the cells that are in view, wholly or partly."""
        row0, row1, column0, column1 = self._cells(view)
        first = np.arange(row0, row1 + 1) * self.side
        return int((self._starts[first + column1 + 1] - self._starts[first + column0]).sum())

    def points_in(self, view: Range) -> np.ndarray:
        """Return which points are in view: places in `x`, `y`, `frames`, as int64."""
        return _points(self.x, self.y, self._starts, self.side, self._cells(view), view)

    def nearest(self, x: float, y: float, reach_x: float, reach_y: float) -> int:
        """Return the frame nearest to a place, in units of the reaches and within them; -1 if there is none."""
        view = (x - reach_x, x + reach_x, y - reach_y, y + reach_y)
        found = _nearest(
            self.x, self.y, self._starts, self.side, self._cells(view), (x, y), (reach_x, reach_y)
        )
        return -1 if found < 0 else int(self.frames[found])

    def inside(self, polygon: np.ndarray) -> np.ndarray:
        """Return the frames inside a closed line of (k, 2) places, in ascending order (int64)."""
        polygon = np.asarray(polygon, dtype=np.float64)
        if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3 or not np.isfinite(polygon).all():
            raise ParameterError(f"A line has shape {polygon.shape}; give at least three places x, y.")
        (x0, y0), (x1, y1) = polygon.min(axis=0), polygon.max(axis=0)
        found = self.points_in((x0, x1, y0, y1))
        held = _inside(self.x[found], self.y[found], polygon)
        return np.sort(self.frames[found[held]]).astype(np.int64)

    def picture(
        self,
        view: Range,
        width: int,
        height: int,
        values: np.ndarray | None = None,
        chosen: np.ndarray | None = None,
    ) -> Picture:
        """Return the points in view as a picture.

        Parameters
        ----------
        view : x0, x1, y0, y1
        width, height : int
            Pixels.
        values : (m,) array, optional
            From `arrange`: float32, whose mean is shown, NaN where nothing is known; or int8 codes of categories,
            of which the one that most points of a pixel have is shown, -1 where there is none.
        chosen : (m,) array of bool, optional
            From `arrange`.
        """
        row0, row1, column0, column1 = self._cells(view)
        counted = values is not None and values.dtype == np.int8
        given = np.zeros(0, np.float32) if values is None else values
        marked = np.zeros(0, bool) if chosen is None else chosen
        rows = np.unique(np.linspace(row0, row1 + 1, available_cores() + 1).astype(int))

        def paint(k: int) -> tuple[np.ndarray, ...]:
            planes = tuple(np.zeros((height, width), np.float32) for _ in range(4))
            if counted:
                planes[1].fill(-1)
            cells = (int(rows[k]), int(rows[k + 1]) - 1, column0, column1)
            draw = _vote if counted else _add
            draw(self.x, self.y, self._starts, self.side, cells, view, given, marked, *planes)
            return planes

        parts = map_chunks(paint, range(len(rows) - 1))
        count, value, known, marks = parts[0]
        for more in parts[1:]:
            count += more[0]
            marks += more[3]
            if counted:
                _elect(value, known, more[1], more[2])
            else:
                value += more[1]
                known += more[2]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(value >= 0, value, np.nan) if counted else value / known
        return Picture(count, value, marks if chosen is not None else None)

    def _cells(self, view: Range) -> tuple[int, int, int, int]:
        """Return first and last row and column of the cells that hold all points in view."""
        x0, dx, y0, dy = self._grid
        return (
            _cell(view[2], y0, dy, self.side),
            _cell(view[3], y0, dy, self.side),
            _cell(view[0], x0, dx, self.side),
            _cell(view[1], x0, dx, self.side),
        )


def _edges(values: np.ndarray, side: int) -> tuple[float, float]:
    """Return where the grid begins and cells per unit; what lies beyond belongs to the outermost cells."""
    if not len(values):
        return 0.0, 1.0
    sample = values[:: max(1, len(values) // 200_000)]
    low, high = (float(edge) for edge in np.quantile(sample, [EDGE, 1 - EDGE]))
    return low, side / (high - low) if high > low else 1.0


@njit(nogil=True, cache=True)
def _cell(value: float, start: float, scale: float, side: int) -> int:
    # Limited before it is rounded: what is far outside would not fit into an integer.
    return int(min(max((value - start) * scale, 0.0), side - 1.0))


@njit(nogil=True, cache=True)
def _sort(x, y, x0, dx, y0, dy, side):
    """Return where each cell begins, and the points in the order of their cells: which, x and y."""
    n = len(x)
    cells = np.empty(n, np.int32)
    starts = np.zeros(side * side + 1, np.int64)
    for i in range(n):
        cells[i] = _cell(y[i], y0, dy, side) * side + _cell(x[i], x0, dx, side)
        starts[cells[i] + 1] += 1
    for c in range(side * side):
        starts[c + 1] += starts[c]
    order, sorted_x, sorted_y = np.empty(n, np.uint32), np.empty_like(x), np.empty_like(y)
    free = starts[:-1].copy()
    for i in range(n):
        k = free[cells[i]]
        order[k], sorted_x[k], sorted_y[k] = i, x[i], y[i]
        free[cells[i]] += 1
    return starts, order, sorted_x, sorted_y


@njit(nogil=True, cache=True)
def _count(x, y, starts, side, cells, view):
    x0, x1, y0, y1 = view
    found = 0
    for row in range(cells[0], cells[1] + 1):
        for i in range(starts[row * side + cells[2]], starts[row * side + cells[3] + 1]):
            found += x0 <= x[i] <= x1 and y0 <= y[i] <= y1
    return found


@njit(nogil=True, cache=True)
def _points(x, y, starts, side, cells, view):
    x0, x1, y0, y1 = view
    out = np.empty(_count(x, y, starts, side, cells, view), np.int64)
    k = 0
    for row in range(cells[0], cells[1] + 1):
        for i in range(starts[row * side + cells[2]], starts[row * side + cells[3] + 1]):
            if x0 <= x[i] <= x1 and y0 <= y[i] <= y1:
                out[k] = i
                k += 1
    return out


@njit(nogil=True, cache=True)
def _nearest(x, y, starts, side, cells, at, reach):
    best, found = 1.0, -1
    for row in range(cells[0], cells[1] + 1):
        for i in range(starts[row * side + cells[2]], starts[row * side + cells[3] + 1]):
            apart = ((x[i] - at[0]) / reach[0]) ** 2 + ((y[i] - at[1]) / reach[1]) ** 2
            if apart < best:
                best, found = apart, i
    return found


@njit(nogil=True, cache=True)
def _inside(x, y, polygon):
    """Even-odd rule: a line from each point to the right crosses the polygon an odd number of times."""
    out = np.zeros(len(x), np.bool_)
    for i in range(len(x)):
        held = False
        k = len(polygon) - 1
        for j in range(len(polygon)):
            if (polygon[j, 1] > y[i]) != (polygon[k, 1] > y[i]):
                share = (y[i] - polygon[j, 1]) / (polygon[k, 1] - polygon[j, 1])
                if x[i] < polygon[j, 0] + share * (polygon[k, 0] - polygon[j, 0]):
                    held = not held
            k = j
        out[i] = held
    return out


@njit(nogil=True, cache=True)
def _add(x, y, starts, side, cells, view, values, chosen, count, total, known, marks):
    """Sum points, their values, and how many have one or are chosen, pixel by pixel."""
    x0, x1, y0, y1 = view
    height, width = count.shape
    fx, fy = width / (x1 - x0), height / (y1 - y0)
    for row in range(cells[0], cells[1] + 1):
        for i in range(starts[row * side + cells[2]], starts[row * side + cells[3] + 1]):
            if x0 <= x[i] <= x1 and y0 <= y[i] <= y1:
                c = min(int((x[i] - x0) * fx), width - 1)
                r = min(int((y1 - y[i]) * fy), height - 1)
                count[r, c] += 1
                if len(values) and values[i] == values[i]:
                    total[r, c] += values[i]
                    known[r, c] += 1
                if len(chosen) and chosen[i]:
                    marks[r, c] += 1


@njit(nogil=True, cache=True)
def _vote(x, y, starts, side, cells, view, codes, chosen, count, leader, votes, marks):
    """Sum points, and let those with a category vote (Boyer & Moore 1991), pixel by pixel."""
    x0, x1, y0, y1 = view
    height, width = count.shape
    fx, fy = width / (x1 - x0), height / (y1 - y0)
    for row in range(cells[0], cells[1] + 1):
        for i in range(starts[row * side + cells[2]], starts[row * side + cells[3] + 1]):
            if x0 <= x[i] <= x1 and y0 <= y[i] <= y1:
                c = min(int((x[i] - x0) * fx), width - 1)
                r = min(int((y1 - y[i]) * fy), height - 1)
                count[r, c] += 1
                if codes[i] >= 0:
                    if votes[r, c] == 0:
                        leader[r, c] = codes[i]
                    votes[r, c] += 1 if leader[r, c] == codes[i] else -1
                if len(chosen) and chosen[i]:
                    marks[r, c] += 1


@njit(nogil=True, cache=True)
def _elect(leader, votes, other_leader, other_votes):
    """Join two counts of votes."""
    for r in range(votes.shape[0]):
        for c in range(votes.shape[1]):
            if other_leader[r, c] < 0:
                continue
            if leader[r, c] == other_leader[r, c]:
                votes[r, c] += other_votes[r, c]
            elif leader[r, c] < 0 or other_votes[r, c] > votes[r, c]:
                leader[r, c] = other_leader[r, c]
                votes[r, c] = other_votes[r, c] - votes[r, c]
            else:
                votes[r, c] -= other_votes[r, c]

"""Stacks of overlapping frames that show the same thing, so that a reviewer looks at it once.

Walking in rank order, a frame that is in no stack yet leads one, and takes those later frames of its map whose own
focus, the place of what is brightest in them, lies inside it. What the leader does not show is never hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from radiowidgets.data.sources import boxes_in_strips
from radiowidgets.errors import ParameterError
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet

CELLS_PER_FRAME = 4  # the grid has no more cells than this times the frames


def measure_focus(frames: FrameSet, progress: str | Progress | None = None) -> NDArray[np.float32]:
    """Return where each frame is brightest, in one pass over the pixels.

    That is where the distance of the pixels from the frame's background, summed over 3 x 3 pixels of the frame, is
    largest; of equal ones the first. Blank pixels, and those outside the frame, count as background.

    Returns
    -------
    (n, 2) float32
        x and y in pixels of the map (of an image without a map, in its own); NaN where a frame has no valid pixel,
        or all pixels are equal.
    """
    focus = np.full((len(frames), 2), np.nan, np.float32)
    background = np.nan_to_num(frames.noise.background)
    chunks = ((*chunk, background[chunk[0]]) for chunk in boxes_in_strips(frames))
    for indices, found in map_chunks(_focus_of_chunk, chunks, progress=progress):
        focus[indices, 0] = frames.x[indices] + found[:, 0]
        focus[indices, 1] = frames.y[indices] + found[:, 1]
    return focus


def _focus_of_chunk(chunk: tuple[Any, ...]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    indices, pixels, y, x, height, width, background = chunk
    found = np.empty((len(indices), 2), np.float32)
    _find_focus(pixels, y, x, height, width, background.astype(np.float32), found)
    return indices, found


@njit(nogil=True, cache=True, fastmath={"contract"})
def _find_focus(pixels, y, x, height, width, background, found):
    side = 0
    for k in range(len(y)):
        side = max(side, width[k])
    lines = np.zeros((3, side), np.float32)
    sums = np.empty(side + 2, np.float32)
    for k in range(len(y)):
        h, w = height[k], width[k]
        best = np.float32(0.0)
        found[k, 0] = found[k, 1] = np.nan
        lines[:] = 0
        for row in range(h + 1):  # the sums of the row before are complete with this one
            line = lines[row % 3, :w]
            if row < h:
                values = pixels[y[k] + row, x[k] : x[k] + w]
                for column in range(w):
                    value = values[column] - background[k]
                    line[column] = value if value - value == 0 else np.float32(0.0)
            else:
                line[:] = 0
            if row == 0:
                continue
            sums[0] = sums[w + 1] = 0
            a, b, c = lines[0, :w], lines[1, :w], lines[2, :w]
            for column in range(w):
                sums[column + 1] = a[column] + b[column] + c[column]
            highest = np.float32(0.0)
            for column in range(w):
                highest = max(highest, abs(sums[column] + sums[column + 1] + sums[column + 2]))
            if highest > best:
                best = highest
                for column in range(w):
                    if abs(sums[column] + sums[column + 1] + sums[column + 2]) == highest:
                        found[k, 0], found[k, 1] = column, row - 1
                        break


def fold(frames: FrameSet, ranks: Any, focus: Any) -> NDArray[np.int32]:
    """Return for each frame the index of the frame that leads its stack: itself where it leads or is alone.

    Parameters
    ----------
    frames : FrameSet
        n frames. Images without a map are never folded.
    ranks : (n,) array of int
        Lower = looked at first; of equal ranks the first frame.
    focus : (n, 2) array
        See `measure_focus`; a frame whose focus is NaN is never folded.

    Returns
    -------
    (n,) int32
    """
    n = len(frames)
    ranks, focus = np.asarray(ranks), np.asarray(focus, dtype=np.float64)
    if ranks.shape != (n,) or focus.shape != (n, 2):
        raise ParameterError(
            f"ranks and focus have shapes {ranks.shape} and {focus.shape}; {n} frames need ({n},) and ({n}, 2)."
        )
    leaders = np.arange(n, dtype=np.int32)
    order = np.argsort(ranks, kind="stable")
    known = np.isfinite(focus).all(axis=1)
    for code, name in enumerate(frames.map_names):
        if name not in frames.maps:
            continue
        mine = order[(frames.map_codes[order] == code) & known[order]]
        if len(mine) > 1:
            _fold_map(frames, mine, focus, leaders)
    return leaders


def _fold_map(
    frames: FrameSet, mine: NDArray[Any], focus: NDArray[np.float64], leaders: NDArray[np.int32]
) -> None:
    """Fold frames of one map, given in rank order."""
    low = focus[mine].min(axis=0)
    extent = focus[mine].max(axis=0) - low + 1
    cell = float(np.sqrt(np.median(frames.width[mine]) * np.median(frames.height[mine])))
    cell = max(cell, float(np.sqrt(extent.prod() / (CELLS_PER_FRAME * len(mine)))), extent.max() / 2**15)
    across, up = (int(length // cell) + 1 for length in extent)
    column, row = ((focus[mine] - low) / cell).astype(np.int64).T
    number = row * across + column
    within = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[within], np.arange(across * up + 1))
    box = np.column_stack(
        [
            frames.x[mine],
            frames.y[mine],
            frames.x[mine] + frames.width[mine],
            frames.y[mine] + frames.height[mine],
        ]
    ).astype(np.float64)
    place = np.zeros(len(mine), np.int64)
    leads = _walk(box, focus[mine], low, cell, across, up, within, starts, place)
    leaders[mine] = mine[leads]


@njit(nogil=True, cache=True)
def _walk(box, focus, low, cell, across, up, members, starts, place):
    """Return the row of the leader of each row; rows are in rank order, `members` by cell from `starts` on."""
    n = len(box)
    leads = np.full(n, -1, np.int64)
    ends = starts[1:].copy()
    for k in range(n):
        place[members[k]] = k
    for k in range(n):
        if leads[k] >= 0:
            continue
        leads[k] = k
        _take_out(k, focus, low, cell, across, members, ends, place)
        first = max(int((box[k, 0] - low[0]) / cell), 0)
        last = min(int((box[k, 2] - low[0]) / cell), across - 1)
        for row in range(
            max(int((box[k, 1] - low[1]) / cell), 0), min(int((box[k, 3] - low[1]) / cell), up - 1) + 1
        ):
            for column in range(first, last + 1):
                number = row * across + column
                at = starts[number]
                while at < ends[number]:
                    other = members[at]
                    if box[k, 0] <= focus[other, 0] < box[k, 2] and box[k, 1] <= focus[other, 1] < box[k, 3]:
                        leads[other] = k
                        _take_out(other, focus, low, cell, across, members, ends, place)
                    else:
                        at += 1
    return leads


@njit(nogil=True, cache=True)
def _take_out(k, focus, low, cell, across, members, ends, place):
    """Put the last of the cell in the place of row k."""
    number = int((focus[k, 1] - low[1]) / cell) * across + int((focus[k, 0] - low[0]) / cell)
    ends[number] -= 1
    other = members[ends[number]]
    members[place[k]] = other
    place[other] = place[k]

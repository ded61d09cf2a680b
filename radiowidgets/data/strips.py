"""Read the frames of a map in one pass, in strips that several share."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from radiowidgets.data.maps import SkyMap

# Bytes of pixels that one strip may hold, unless a single frame holds more.
STRIP_BYTES = 30 * 2**20  # small enough for the allocator to use the same memory again
# A box of which less than this share belongs to frames is not worth reading as a whole.
_WORTH_READING = 0.25


class Strip(NamedTuple):
    """A piece of a map that holds some frames completely.

    Frame i of `indices` is ``pixels[y - y0 : y - y0 + height, x - x0 : x - x0 + width]``, where x, y, width
    and height are ``frames.x[i]`` and so on. Pixels outside the map are NaN.
    """

    indices: np.ndarray
    y0: int
    pixels: np.ndarray
    x0: int


class Group(NamedTuple):
    """Frames (positions in the arrays given) that are read at once, and the box that holds them."""

    members: np.ndarray
    y0: int
    y1: int
    x0: int
    x1: int


class Boxes(NamedTuple):
    """Edges of frames in pixels, int64; upper edges exclusive."""

    y0: np.ndarray
    y1: np.ndarray
    x0: np.ndarray
    x1: np.ndarray

    def around(self, members: np.ndarray) -> Group:
        """Return the box that holds these frames."""
        return Group(
            members,
            int(self.y0[members].min()),
            int(self.y1[members].max()),
            int(self.x0[members].min()),
            int(self.x1[members].max()),
        )

    def area(self, members: np.ndarray) -> int:
        """Return the number of pixels in these frames, overlaps counted twice."""
        return int(((self.y1[members] - self.y0[members]) * (self.x1[members] - self.x0[members])).sum())


def group_frames(
    x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray, limit: int | None = None
) -> Iterator[Group]:
    """Share the frames of one map out among boxes that are each worth reading at once.

    Frames that start at neighbouring rows go together as long as the box stays below `limit` bytes, by
    default `STRIP_BYTES`; overlapping windows are then read little more than once.
    """
    limit = STRIP_BYTES if limit is None else limit
    if len(x) == 0:
        return
    x0, y0 = x.astype(np.int64), y.astype(np.int64)
    boxes = Boxes(y0, y0 + height, x0, x0 + width)
    order = np.lexsort((x0, y0))
    rows = y0[order]
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    ends = np.r_[starts[1:], len(order)]
    tops = np.maximum.reduceat(boxes.y1[order], starts)
    across = int(boxes.x1.max() - boxes.x0.min())
    first = 0
    while first < len(starts):
        last, top = first, int(tops[first])
        while last + 1 < len(starts):
            higher = max(top, int(tops[last + 1]))
            if (higher - rows[starts[first]]) * across * 4 > limit:
                break
            last, top = last + 1, higher
        yield from _divide(boxes, order[starts[first] : ends[last]], limit)
        first = last + 1


def _divide(boxes: Boxes, members: np.ndarray, limit: int) -> Iterator[Group]:
    """Yield the frames as one group, or as several where their box is too large or mostly empty."""
    whole = boxes.around(members)
    area = (whole.y1 - whole.y0) * (whole.x1 - whole.x0)
    if boxes.area(members) < _WORTH_READING * area:
        for member in members:  # a few lonely frames
            yield boxes.around(np.array([member]))
        return
    if area * 4 <= limit or len(members) == 1:
        yield whole
        return
    members = members[np.argsort(boxes.x0[members], kind="stable")]
    columns = max(1, limit // (4 * (whole.y1 - whole.y0)))
    reach = np.maximum.accumulate(boxes.x1[members])
    start = 0
    while start < len(members):
        end = int(np.searchsorted(reach, boxes.x0[members[start]] + columns, side="right"))
        end = max(end, start + 1)
        yield boxes.around(members[start:end])
        start = end


def read_padded(sky: SkyMap, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    """Read a box that may reach beyond the map; NaN there."""
    ny, nx = sky.shape
    inside = (max(0, y0), min(ny, y1), max(0, x0), min(nx, x1))
    if inside == (y0, y1, x0, x1):
        return sky.read(y0, y1, x0, x1)
    out = np.full((y1 - y0, x1 - x0), np.nan, dtype=np.float32)
    if inside[0] < inside[1] and inside[2] < inside[3]:
        out[inside[0] - y0 : inside[1] - y0, inside[2] - x0 : inside[3] - x0] = sky.read(*inside)
    return out

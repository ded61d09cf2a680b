"""Islands of pixels above the noise, and what is measured in them; kernels for `detection`.

An island is a 4-connected set of pixels above the flood threshold with at least one above the seed threshold
(compact-sources, section 1, note a). sep and SExtractor join pixels by their corners too, so islands are grown here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What `measure` returns of each island, one column each.
MEASURED = (
    "n_pixels", "n_peaks", "edge", "x0", "y0", "x1", "y1", "x_peak", "y_peak", "peak", "rms", "total",
    "x", "y", "xx", "yy", "xy", "reach",
)  # fmt: skip


def find_islands(snr: NDArray[np.float32], seed: float, flood: float) -> tuple[NDArray[np.int32], int]:
    """Label the islands of an image in units of its noise.

    Parameters
    ----------
    snr : (ny, nx) float32
        Blank pixels are NaN and belong to no island.
    seed, flood : float
        An island's pixels lie above `flood`, one of them at least above `seed`.

    Returns
    -------
    labels : (ny, nx) int32
        Number of the island of each pixel, 0 outside; numbered by their first seed, row by row.
    n : int
        Number of islands.
    """
    labels = np.zeros(snr.shape, np.int32)
    return labels, int(_grow(snr, np.float32(seed), np.float32(flood), labels))


def measure(
    values: NDArray[np.float32],
    rms: NDArray[np.float32],
    labels: NDArray[np.int32],
    n: int,
    prominence: float,
) -> dict[str, NDArray[Any]]:
    """Measure each island.

    Parameters
    ----------
    values : (ny, nx) float32
        The image without its background, NaN where blank.
    rms : (ny, nx) float32
        Its noise.
    labels, n
        As `find_islands` returns them.
    prominence : float
        A peak counts if it rises by this many rms above the saddle that joins it to a higher one.

    Returns
    -------
    dict of (n,) float64 arrays
        `MEASURED`: number of pixels and peaks; whether the island touches the border or a blank pixel; bounding
        box (ends exclusive); brightest pixel, peak interpolated between pixels, noise there; sum of pixels;
        centroid and second moments (pixels); largest distance of a pixel from the centroid.
    """
    out = np.zeros((len(MEASURED), n))
    if n:
        _measure(values, rms, labels, n, prominence, out)
    return dict(zip(MEASURED, out, strict=True))


def sum_apertures(
    values: NDArray[np.float32],
    labels: NDArray[np.int32],
    own: NDArray[np.int32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    radius: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum circular apertures, without what belongs to other islands.

    Pixels of other islands, blank pixels and those beyond the border count as empty sky. sep's apertures would instead
    scale the sum up by the area that is left out, which is wrong for a source in the middle of its aperture.

    Returns
    -------
    total, area, lost : (n,) float64
        Sum of the pixels, area in pixels that was summed, and fraction of the aperture that was not.
    """
    total, area, lost = np.zeros(len(x)), np.zeros(len(x)), np.zeros(len(x))
    _sum_apertures(values, labels, own, x, y, radius, total, area, lost)
    return total, area, lost


@njit(nogil=True, cache=True)
def _grow(snr, seed, flood, labels):
    """Flood from each seed, 4-connected; return the number of islands."""
    ny, nx = snr.shape
    stack = np.empty(1024, np.int64)
    n = 0
    for i in range(ny):
        for j in range(nx):
            if not snr[i, j] > seed or labels[i, j] > 0:
                continue
            n += 1
            labels[i, j] = n
            stack[0] = i * nx + j
            size = 1
            while size > 0:
                size -= 1
                row, column = divmod(stack[size], nx)
                if size + 4 > stack.size:
                    longer = np.empty(2 * stack.size, np.int64)
                    longer[:size] = stack[:size]
                    stack = longer
                for k in range(4):
                    r = row + (k == 0) - (k == 1)
                    c = column + (k == 2) - (k == 3)
                    if r < 0 or r >= ny or c < 0 or c >= nx or labels[r, c] > 0:
                        continue
                    if snr[r, c] > flood:
                        labels[r, c] = n
                        stack[size] = r * nx + c
                        size += 1
    return n


@njit(nogil=True, cache=True)
def _measure(values, rms, labels, n, prominence, out):
    """Fill `out` (one row each of MEASURED) for islands 1..n."""
    ny, nx = values.shape
    box = np.empty((n, 4), np.int64)
    box[:, 0] = nx
    box[:, 1] = ny
    box[:, 2:] = 0
    for i in range(ny):
        for j in range(nx):
            k = labels[i, j] - 1
            if k < 0:
                continue
            value = np.float64(values[i, j])
            box[k, 0] = min(box[k, 0], j)
            box[k, 1] = min(box[k, 1], i)
            box[k, 2] = max(box[k, 2], j + 1)
            box[k, 3] = max(box[k, 3], i + 1)
            if out[0, k] == 0 or value > out[9, k]:
                out[7, k] = j
                out[8, k] = i
                out[9, k] = value
                out[10, k] = rms[i, j]
            out[0, k] += 1
            out[11, k] += value
            out[12, k] += value * j
            out[13, k] += value * i
            if _at_edge(values, i, j):
                out[2, k] = 1
    for k in range(n):
        out[12, k] /= out[11, k]
        out[13, k] /= out[11, k]
        for m in range(4):
            out[3 + m, k] = box[k, m]
    for i in range(ny):
        for j in range(nx):
            k = labels[i, j] - 1
            if k < 0:
                continue
            weight = np.float64(values[i, j]) / out[11, k]
            x = j - out[12, k]
            y = i - out[13, k]
            out[14, k] += weight * x * x
            out[15, k] += weight * y * y
            out[16, k] += weight * x * y
            out[17, k] = max(out[17, k], np.sqrt(x * x + y * y))
    for k in range(n):
        out[1, k] = _count_peaks(values, labels, k + 1, box[k], out[0, k], prominence * out[10, k])
        out[9, k] = _interpolated(values, int(out[7, k]), int(out[8, k]))


@njit(nogil=True, cache=True)
def _at_edge(values, i, j):
    """Tell whether a pixel lies at the border or beside a blank pixel."""
    ny, nx = values.shape
    if i == 0 or j == 0 or i == ny - 1 or j == nx - 1:
        return True
    total = values[i - 1, j] + values[i + 1, j] + values[i, j - 1] + values[i, j + 1]
    return not np.isfinite(total)


@njit(nogil=True, cache=True)
def _interpolated(values, x, y):
    """Peak of the parabolas, in the logarithm, through a pixel and its neighbours: exact for a Gaussian."""
    centre = values[y, x]
    result = np.log(np.float64(centre))
    for dx, dy in ((1, 0), (0, 1)):
        if min(x - dx, y - dy) < 0 or x + dx >= values.shape[1] or y + dy >= values.shape[0]:
            continue
        before = values[y - dy, x - dx]
        after = values[y + dy, x + dx]
        if not (0 < before <= centre and 0 < after <= centre):  # blank, negative, or no peak along this line
            continue
        left, middle, right = (
            np.log(np.float64(before)),
            np.log(np.float64(centre)),
            np.log(np.float64(after)),
        )
        curvature = left - 2 * middle + right
        if curvature < 0:
            result -= (right - left) ** 2 / (8 * curvature)
    return np.exp(result)


@njit(nogil=True, cache=True)
def find_root(parent: NDArray[Any], i: int) -> int:
    """Return the number that stands for the set of `i`, and shorten the way to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _count_peaks(values, labels, label, box, n_pixels, least):
    """Count the peaks of one island that rise by `least` above the saddle to a higher one.

    Pixels are added from the brightest down; where two hills meet, the lower one's prominence is known.
    """
    x0, y0, x1, y1 = box
    n = int(n_pixels)
    height = np.empty(n)
    place = np.empty(n, np.int64)
    width = x1 - x0 + 2
    number = np.full((y1 - y0 + 2) * width, -1, np.int64)  # order of each pixel within a margin of one
    m = 0
    for i in range(y0, y1):
        for j in range(x0, x1):
            if labels[i, j] == label:
                height[m] = values[i, j]
                place[m] = (i - y0 + 1) * width + (j - x0 + 1)
                m += 1
    parent = np.arange(n)
    peaks = 1
    for k in np.argsort(-height, kind="mergesort"):
        here = place[k]
        number[here] = k
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                other = number[here + dy * width + dx]
                if other < 0 or other == k:
                    continue
                a, b = find_root(parent, k), find_root(parent, other)
                if a == b:
                    continue
                if height[a] < height[b]:
                    a, b = b, a
                if height[b] - height[k] >= least:
                    peaks += 1
                parent[b] = a
    return peaks


@njit(nogil=True, cache=True)
def _sum_apertures(values, labels, own, x, y, radius, total, area, lost):
    ny, nx = values.shape
    fine = 5
    for k in range(x.size):
        r = radius[k]
        whole = 0.0
        for i in range(int(np.floor(y[k] - r)), int(np.ceil(y[k] + r)) + 1):
            for j in range(int(np.floor(x[k] - r)), int(np.ceil(x[k] + r)) + 1):
                distance = np.sqrt((i - y[k]) ** 2 + (j - x[k]) ** 2)
                if distance > r + 0.71:
                    continue
                share = 1.0
                if distance > r - 0.71:  # the rim: count a lattice of points in the pixel
                    inside = 0
                    for p in range(fine):
                        for q in range(fine):
                            dy = i - y[k] + (p + 0.5) / fine - 0.5
                            dx = j - x[k] + (q + 0.5) / fine - 0.5
                            inside += dx * dx + dy * dy <= r * r
                    share = inside / (fine * fine)
                whole += share
                if i < 0 or j < 0 or i >= ny or j >= nx or not np.isfinite(values[i, j]):
                    continue
                if labels[i, j] > 0 and labels[i, j] != own[k]:
                    continue
                total[k] += share * values[i, j]
                area[k] += share
        lost[k] = 1.0 - area[k] / whole if whole > 0 else 1.0

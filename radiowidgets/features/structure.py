"""Kernels that measure what is in one frame; `radiowidgets.features.frames` joins them into a table.

All take z, a float32 image in units of its rms above the background, in which blank pixels are 0 (`valid`
tells them apart). Lengths are in pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from radiowidgets.data.islands import find_root

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.float32]
    Mask: TypeAlias = NDArray[np.bool_]

# Sums may be added up in any order, as vector instructions do; blanks and infinities keep their meaning.
SUMS = {"reassoc", "contract"}

SEED = 5.0
FLOOD = 2.5
SIDE, NEXT, CENTRE = np.float32(1 / 16), np.float32(4 / 16), np.float32(6 / 16)  # the B3 spline

# Columns of the table of islands.
AREA, FLUX, PEAK, X, Y, XX, YY, XY = range(8)


@njit(nogil=True, cache=True, fastmath=SUMS)
def moments(z: Image, valid: Mask, centre: float, width: float, limit: float) -> tuple[float, float]:
    """Return skewness and excess kurtosis of the valid pixels within `limit` times `width` of `centre`."""
    middle = np.float32(centre)
    factor = np.float32(1.0 / width)
    edge = np.float32(limit)
    n = 0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    s4 = 0.0
    for y in range(z.shape[0]):
        r1 = np.float32(0.0)
        r2 = np.float32(0.0)
        r3 = np.float32(0.0)
        r4 = np.float32(0.0)
        for x in range(z.shape[1]):
            t = (z[y, x] - middle) * factor
            inside = valid[y, x] and abs(t) < edge
            n += 1 if inside else 0
            t = t if inside else np.float32(0.0)
            square = t * t
            r1 += t
            r2 += square
            r3 += t * square
            r4 += square * square
        s1 += np.float64(r1)
        s2 += np.float64(r2)
        s3 += np.float64(r3)
        s4 += np.float64(r4)
    if n < 16:
        return 0.0, 0.0
    s1 /= n
    s2 /= n
    s3 /= n
    s4 /= n
    variance = s2 - s1 * s1
    if not variance > 1e-6:
        return 0.0, 0.0
    third = s3 - 3 * s1 * s2 + 2 * s1**3
    fourth = s4 - 4 * s1 * s3 + 6 * s1 * s1 * s2 - 3 * s1**4
    return third / variance**1.5, fourth / variance**2 - 3.0


@njit(nogil=True, cache=True)
def entropy(z: Image, valid: Mask, n: int) -> float:
    """Return the Shannon entropy in bits of the n valid pixels.

    In bins of 1/4 between -8 and 8, and of a quarter of an octave beyond.
    """
    counts = np.zeros(64 + 2 * 4 * 128, np.int64)
    for y in range(z.shape[0]):
        for x in range(z.shape[1]):
            if not valid[y, x]:
                continue
            t = z[y, x]
            if abs(t) < 8:
                counts[int(np.float32(4.0) * (t + np.float32(8.0)))] += 1
            else:
                beyond = min(int(4 * math.log2(abs(t) / 8)), 511)
                counts[64 + 2 * beyond + (1 if t > 0 else 0)] += 1
    bits = 0.0
    for count in counts:
        if count > 0:
            bits -= count / n * math.log2(count / n)
    return bits


@njit(nogil=True, cache=True, fastmath=SUMS)
def shrink(z: Image, valid: Mask, factor: int) -> tuple[Image, Mask]:
    """Return means over blocks of `factor` x `factor` pixels, and which blocks are valid throughout."""
    height = z.shape[0] // factor
    width = z.shape[1] // factor
    small = np.zeros((height, width), np.float32)
    whole = np.ones((height, width), np.bool_)
    share = np.float32(1.0 / (factor * factor))
    for y in range(height * factor):
        out = small[y // factor]
        good = whole[y // factor]
        for x in range(width):
            total = np.float32(0.0)
            for k in range(x * factor, (x + 1) * factor):
                total += z[y, k]
                good[x] &= valid[y, k]
            out[x] += total * share
    return small, whole


@njit(nogil=True, cache=True)
def label_islands(
    z: Image, labels: NDArray[np.int32], seed: float = SEED, flood: float = FLOOD
) -> NDArray[np.float64]:
    """Find islands: 4-connected sets of pixels not below `flood` that hold one not below `seed`.

    Parameters
    ----------
    z : (h, w) float32
    labels : (h, w) int32
        Filled with the number of each pixel's island, from 1 in the order of first pixels; 0 elsewhere.

    Returns
    -------
    (n, 8) float64
        Area, sum and maximum of z, mean x, mean y, and the covariances xx, yy, xy of the pixel positions (a pixel
        is a square, not a point, so that no variance is 0).
    """
    height, width = z.shape
    parent = np.zeros(height * width // 2 + 2, np.int32)
    count = _unite(z, labels, parent, flood)
    if count == 0:
        return np.zeros((0, 8))
    seeded = np.zeros(count + 1, np.bool_)
    for k in range(1, count + 1):
        parent[k] = find_root(parent, k)
    for y in range(height):
        for x in range(width):
            if z[y, x] >= seed:
                seeded[parent[labels[y, x]]] = True
    number = np.zeros(count + 1, np.int32)
    n = 0
    for k in range(1, count + 1):
        if parent[k] == k and seeded[k]:
            n += 1
            number[k] = n
    table = np.zeros((n, 8))
    _measure_islands(z, labels, parent, number, table)
    return table


@njit(nogil=True, cache=True)
def _unite(z, labels, parent, flood):
    """Give each pixel above `flood` a number, and join the numbers that touch (the smaller one is the parent)."""
    height, width = z.shape
    count = 0
    for y in range(height):
        for x in range(width):
            if not z[y, x] >= flood:
                labels[y, x] = 0
                continue
            left = labels[y, x - 1] if x > 0 else 0
            above = labels[y - 1, x] if y > 0 else 0
            if left == 0 and above == 0:
                count += 1
                parent[count] = count
                labels[y, x] = count
            elif left == 0 or above == 0:
                labels[y, x] = max(left, above)
            else:
                a = find_root(parent, left)
                b = find_root(parent, above)
                parent[max(a, b)] = min(a, b)
                labels[y, x] = min(a, b)
    return count


@njit(nogil=True, cache=True)
def _measure_islands(z, labels, parent, number, table):
    """Give islands their final numbers and measure them."""
    height, width = z.shape
    for y in range(height):
        for x in range(width):
            if labels[y, x] == 0:
                continue
            k = number[parent[labels[y, x]]]
            labels[y, x] = k
            if k == 0:
                continue
            row = table[k - 1]
            value = np.float64(z[y, x])
            row[AREA] += 1.0
            row[FLUX] += value
            row[PEAK] = max(row[PEAK], value)
            row[X] += x
            row[Y] += y
            row[XX] += x * x
            row[YY] += y * y
            row[XY] += x * y
    for k in range(len(table)):
        row = table[k]
        area = row[AREA]
        row[X] /= area
        row[Y] /= area
        row[XX] = row[XX] / area - row[X] ** 2 + 1 / 12
        row[YY] = row[YY] / area - row[Y] ** 2 + 1 / 12
        row[XY] = row[XY] / area - row[X] * row[Y]


@njit(nogil=True, cache=True)
def count_peaks(z: Image, radius: int, seed: float = SEED) -> int:
    """Count pixels above `seed` that are the largest within `radius` in x and y; of equal ones the first."""
    height, width = z.shape
    n = 0
    for y in range(height):
        for x in range(width):
            if z[y, x] >= seed and _is_peak(z, y, x, radius):
                n += 1
    return n


@njit(nogil=True, cache=True)
def _is_peak(z, y, x, radius):
    height, width = z.shape
    value = z[y, x]
    # Nearest rows first, where a larger neighbour is most likely.
    for distance in range(radius + 1):
        for row in (y - distance, y + distance):
            if row < 0 or row >= height:
                continue
            for column in range(max(0, x - radius), min(width, x + radius + 1)):
                other = z[row, column]
                if other > value or (other == value and (row < y or (row == y and column < x))):
                    return False
    return True


@njit(nogil=True, cache=True)
def island_asymmetry(z: Image, labels: NDArray[np.int32], number: int, x: float, y: float) -> float:
    """Return the asymmetry of one island under a rotation by 180 degrees about (x, y), 0 (symmetric) to 1.

    Half the sum of |z - rotated z| over the sum of z, where z counts as 0 outside the island.
    """
    height, width = z.shape
    twice_x = math.floor(2 * x + 0.5)
    twice_y = math.floor(2 * y + 0.5)
    total = 0.0
    difference = 0.0
    for row in range(height):
        for column in range(width):
            if labels[row, column] != number:
                continue
            value = np.float64(z[row, column])
            total += value
            other_row = twice_y - row
            other_column = twice_x - column
            if (
                0 <= other_row < height
                and 0 <= other_column < width
                and labels[other_row, other_column] == number
            ):
                difference += abs(value - np.float64(z[other_row, other_column]))
            else:
                difference += 2.0 * value  # once here, once where it is rotated to
    return 0.5 * difference / total


@njit(nogil=True, cache=True, fastmath=SUMS)
def starlet_energies(z: Image, valid: Mask, scales: int) -> NDArray[np.float64]:
    """Return the mean squares of the starlet coefficients (a trous, B3 spline) of scales 1, 2, ... `scales`.

    Over the valid pixels; borders are continued by the nearest pixel. Starck, Murtagh and Bertero (2015),
    "Starlet transform in astronomical data processing".
    """
    height, width = z.shape
    smooth = z.copy()
    half = np.empty_like(z)
    line = np.empty(width, np.float32)
    weight = np.empty(z.shape, np.float32)
    n = 0
    for y in range(height):
        for x in range(width):
            weight[y, x] = 1.0 if valid[y, x] else 0.0
            n += 1 if valid[y, x] else 0
    energies = np.zeros(scales)
    for scale in range(scales):
        step = 1 << scale
        for y in range(height):
            a = smooth[max(y - 2 * step, 0)]
            b = smooth[max(y - step, 0)]
            c = smooth[y]
            d = smooth[min(y + step, height - 1)]
            e = smooth[min(y + 2 * step, height - 1)]
            out = half[y]
            for x in range(width):
                out[x] = SIDE * (a[x] + e[x]) + NEXT * (b[x] + d[x]) + CENTRE * c[x]
        total = 0.0
        for y in range(height):
            _smooth_row(half[y], line, step)
            row = smooth[y]
            share = weight[y]
            square = np.float32(0.0)
            for x in range(width):
                coefficient = (row[x] - line[x]) * share[x]
                square += coefficient * coefficient
                row[x] = line[x]
            total += np.float64(square)
        energies[scale] = total / max(n, 1)
    return energies


@njit(nogil=True, cache=True, fastmath=SUMS)
def _smooth_row(row, out, step):
    width = len(row)
    first = min(2 * step, width)
    last = max(width - 2 * step, first)
    for x in range(first):
        out[x] = _smooth_at(row, x, step)
    inner = last - first
    if inner > 0:
        # Slices, because indices that might be negative would keep the loop from becoming vector instructions.
        a = row[:inner]
        b = row[step : step + inner]
        c = row[2 * step : 2 * step + inner]
        d = row[3 * step : 3 * step + inner]
        e = row[4 * step : 4 * step + inner]
        middle = out[first:last]
        for x in range(inner):
            middle[x] = SIDE * (a[x] + e[x]) + NEXT * (b[x] + d[x]) + CENTRE * c[x]
    for x in range(last, width):
        out[x] = _smooth_at(row, x, step)


@njit(nogil=True, cache=True)
def _smooth_at(row, x, step):
    end = len(row) - 1
    return (
        SIDE * (row[max(x - 2 * step, 0)] + row[min(x + 2 * step, end)])
        + NEXT * (row[max(x - step, 0)] + row[min(x + step, end)])
        + CENTRE * row[x]
    )


@lru_cache(maxsize=256)
def starlet_noise(fwhm: float, factor: int, scales: int) -> NDArray[np.float64]:
    """Return the variances of the starlet coefficients of unit noise that a Gaussian beam has correlated.

    Parameters
    ----------
    fwhm
        Full width at half maximum of the beam, in pixels of the map.
    factor
        The map was shrunk by this factor, in blocks, before the transform.
    scales
        Number of scales.
    """
    # Noise smoothed by a beam of width s has the correlation exp(-d^2 / 4 s^2), which is a product over x and y,
    # and so are the smoothing kernels of all scales; a coefficient is the difference of two such products.
    width = max(fwhm, 1e-3) / math.sqrt(8 * math.log(2))
    kernel = np.full(factor, 1 / factor)
    kernels = [kernel]
    for scale in range(scales):
        holes = np.zeros(4 * (factor << scale) + 1)
        holes[:: factor << scale] = SIDE, NEXT, CENTRE, NEXT, SIDE
        kernel = np.convolve(kernel, holes)
        kernels.append(kernel)

    def product(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        cross = np.correlate(a, b, "full")
        distance = np.arange(len(cross)) - (len(cross) - 1) / 2
        return float(cross @ np.exp(-(distance**2) / (4 * width**2)))

    return np.array(
        [product(a, a) ** 2 - 2 * product(a, b) ** 2 + product(b, b) ** 2 for a, b in pairwise(kernels)]
    )


@njit(nogil=True, cache=True, fastmath=SUMS)
def orientation(z: Image, valid: Mask, step: int) -> float:
    """Return the coherence of the gradients' directions: 0, none is preferred, to 1, all are along one line.

    From the structure tensor of differences over twice `step` pixels, averaged over the frame.
    """
    height, width = z.shape
    inner = width - 2 * step
    if inner < 1 or height - 2 * step < 1:
        return 0.0
    xx = 0.0
    yy = 0.0
    xy = 0.0
    for y in range(step, height - step):
        left, right = z[y, :inner], z[y, 2 * step :]
        below, above = z[y - step, step : step + inner], z[y + step, step : step + inner]
        good_left, good_right = valid[y, :inner], valid[y, 2 * step :]
        good_below, good_above = valid[y - step, step : step + inner], valid[y + step, step : step + inner]
        row_xx = np.float32(0.0)
        row_yy = np.float32(0.0)
        row_xy = np.float32(0.0)
        for x in range(inner):
            whole = good_left[x] & good_right[x] & good_below[x] & good_above[x]
            dx = (right[x] - left[x]) * whole
            dy = (above[x] - below[x]) * whole
            row_xx += dx * dx
            row_yy += dy * dy
            row_xy += dx * dy
        xx += np.float64(row_xx)
        yy += np.float64(row_yy)
        xy += np.float64(row_xy)
    total = xx + yy
    return math.sqrt((xx - yy) ** 2 + 4 * xy * xy) / total if total > 0 else 0.0

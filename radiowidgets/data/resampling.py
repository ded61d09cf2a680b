"""Bring images to another size: area means where they shrink, bilinear where they grow, blanks left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = np.float32(1e-6)  # a pixel of which less than this share is not blank stays blank


def resize(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bring an image to another shape: mean over the area along axes that shrink, bilinear where they grow.

    Blank (not finite) pixels do not count; a result is blank, NaN, only where nothing else went into it.

    Parameters
    ----------
    image : ndarray of float32, shape (h, w)
    shape : tuple of int
        New height and width.
    """
    if image.shape == tuple(shape):
        return image
    out = np.empty((1, *shape), np.float32)
    zero, height, width = (np.array([value]) for value in (0, *image.shape))
    resize_into(np.ascontiguousarray(image, np.float32), zero, zero, height, width, out, zero)
    return out[0]


@njit(nogil=True, cache=True)
def resize_into(
    pixels: NDArray[np.float32],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    out: NDArray[np.float32],
    places: NDArray[np.int64],
) -> None:
    """Bring boxes of one array to the size of the images in `out`, box i to ``out[places[i]]``.

    Along one axis a pixel of the result is a weighted sum of a few source pixels, with the same weights all
    along the other axis: rows are summed first, whole lines at a time, then columns.
    """
    rows, columns = out.shape[1], out.shape[2]
    widest = 1
    tallest = 1
    for i in range(len(y)):
        widest = max(widest, width[i])
        tallest = max(tallest, height[i])
    row_first = np.empty(rows, np.uint64)
    row_weight = np.empty((tallest // rows + 3, rows), np.float32)
    column_first = np.empty(columns, np.uint64)
    column_weight = np.empty((widest // columns + 3, columns), np.float32)
    total = np.zeros(widest + len(column_weight), np.float32)  # weights beyond the last pixel are 0
    share = np.zeros(widest + len(column_weight), np.float32)
    whole = np.empty(columns, np.float32)
    row_taps = 0
    column_taps = 0
    h = -1
    w = -1
    for i in range(len(y)):
        if height[i] != h:
            h = height[i]
            row_taps = _find_weights(h, rows, row_first, row_weight)
        if width[i] != w:
            w = width[i]
            column_taps = _find_weights(w, columns, column_first, column_weight)
            total[w:] = 0
            share[w:] = 0
        valid = _count_finite(pixels, y[i], x[i], h, w)
        target = out[places[i]]
        if valid == 0:
            target[:, :] = np.nan
            continue
        for row in range(rows):
            total[:w] = 0
            share[:w] = 0
            for k in range(row_taps):
                weight = row_weight[k, row]
                if weight > 0:
                    line = pixels[y[i] + np.int64(row_first[row]) + k, x[i] : x[i] + w]
                    if valid == h * w:
                        _add_line(line, weight, total)
                    else:
                        _add_valid(line, weight, total, share)
            _sum_columns(total, column_first, column_weight, column_taps, target[row])
            if valid < h * w:
                _sum_columns(share, column_first, column_weight, column_taps, whole)
                for column in range(columns):
                    known = whole[column] > _LEAST
                    target[row, column] = target[row, column] / whole[column] if known else np.float32(np.nan)


@njit(nogil=True, cache=True)
def _find_weights(n, m, first, weight):
    """Find the first of n source pixels that goes into each of m, the weights of it and those that follow.

    The weights of one result sum to 1. Returns how many there are for each at most.
    """
    weight[:, :] = 0
    taps = 1
    for i in range(m):
        if m <= n:
            low = i * n / m
            high = (i + 1) * n / m
            start = int(low)
            k = 0
            while start + k < min(np.float64(n), high):
                weight[k, i] = (min(high, start + k + 1.0) - max(low, np.float64(start + k))) * m / n
                k += 1
            taps = max(taps, k)
        else:
            centre = min(max((i + 0.5) * n / m - 0.5, 0.0), n - 1.0)
            start = int(centre)
            weight[0, i] = 1 - (centre - start)
            weight[1, i] = centre - start  # 0 at the last pixel
            taps = 2
        first[i] = start
    return taps


@njit(nogil=True, cache=True)
def _count_finite(pixels, y, x, h, w):
    valid = 0
    for row in range(y, y + h):
        line = pixels[row, x : x + w]
        found = 0
        for k in range(w):
            # Finite minus itself is zero, anything else is NaN; a form that becomes vector instructions.
            found += 1 if line[k] - line[k] == 0 else 0
        valid += found
    return valid


@njit(nogil=True, cache=True)
def _add_line(line, weight, total):
    for k in range(len(line)):
        total[k] += line[k] * weight


@njit(nogil=True, cache=True)
def _add_valid(line, weight, total, share):
    for k in range(len(line)):
        finite = line[k] - line[k] == 0
        total[k] += line[k] * weight if finite else np.float32(0)
        share[k] += weight if finite else np.float32(0)


@njit(nogil=True, cache=True)
def _sum_columns(values, first, weight, taps, out):
    # Tap by tap, for vector instructions; unsigned positions need no check for counting from the end.
    for column in range(len(out)):
        out[column] = values[first[column]] * weight[0, column]
    for k in range(1, taps):
        shift = np.uint64(k)
        for column in range(len(out)):
            out[column] += values[first[column] + shift] * weight[k, column]

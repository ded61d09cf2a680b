"""How alike two images of one source are: the structural similarity of Wang et al. (2004, IEEE TIP 13, 600)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 7  # pixels, as in scikit-image
C1, C2 = 0.01**2, 0.03**2  # for images in [0, 1]


@njit(nogil=True, cache=True)
def mean_ssim(first: NDArray[np.float32], second: NDArray[np.float32], window: int = WINDOW) -> float:
    """Return the mean SSIM of two images, each scaled to [0, 1] by its own extremes (data range 1).

    compact-sources equation 1, with the choices of `skimage.metrics.structural_similarity`: a uniform window of
    `window` x `window` pixels, sample covariances (n - 1), c1 = 0.01^2 and c2 = 0.03^2, the mean over all windows
    that lie inside. Windows that hold a blank pixel are left out. Where the images are smaller than the window, it
    is the largest odd one that fits.

    Parameters
    ----------
    first, second : (h, w) float32
        Blank pixels are not finite.
    window : int
        Odd.

    Returns
    -------
    float
        -1 to 1; NaN where no window is free of blanks or one of the images is of one value.
    """
    height, width = first.shape
    side = min(window, height, width)
    side -= 1 - side % 2
    low_a, scale_a = _range(first)
    low_b, scale_b = _range(second)
    if not (scale_a > 0.0 and scale_b > 0.0):
        return math.nan
    columns = np.zeros((6, width))  # sums over `side` rows: pixels that count, a, b, aa, bb, ab
    area = side * side
    sample = area / (area - 1.0) if area > 1 else 1.0
    total = 0.0
    n = 0
    for y in range(height):
        _add_row(first[y], second[y], low_a, scale_a, low_b, scale_b, 1.0, columns)
        if y >= side:
            _add_row(first[y - side], second[y - side], low_a, scale_a, low_b, scale_b, -1.0, columns)
        if y < side - 1:
            continue
        count = a = b = aa = bb = ab = 0.0
        for x in range(width):
            count += columns[0, x]
            a += columns[1, x]
            b += columns[2, x]
            aa += columns[3, x]
            bb += columns[4, x]
            ab += columns[5, x]
            if x >= side:
                k = x - side
                count -= columns[0, k]
                a -= columns[1, k]
                b -= columns[2, k]
                aa -= columns[3, k]
                bb -= columns[4, k]
                ab -= columns[5, k]
            if x < side - 1 or count < area - 0.5:
                continue
            mean_a = a / area
            mean_b = b / area
            var_a = sample * (aa / area - mean_a * mean_a)
            var_b = sample * (bb / area - mean_b * mean_b)
            covariance = sample * (ab / area - mean_a * mean_b)
            total += ((2 * mean_a * mean_b + C1) * (2 * covariance + C2)) / (
                (mean_a * mean_a + mean_b * mean_b + C1) * (var_a + var_b + C2)
            )
            n += 1
    return total / n if n > 0 else math.nan


@njit(nogil=True, cache=True)
def _range(image):
    """Return the lowest value and what brings the range to 1; 0 where there is none."""
    low = np.inf
    high = -np.inf
    for row in image:
        for value in row:
            if math.isfinite(value):
                low = min(low, np.float64(value))
                high = max(high, np.float64(value))
    return low, (1.0 / (high - low) if high > low else 0.0)


@njit(nogil=True, cache=True)
def _add_row(a, b, low_a, scale_a, low_b, scale_b, sign, columns):
    for x in range(len(a)):
        if not (math.isfinite(a[x]) and math.isfinite(b[x])):
            continue
        u = (a[x] - low_a) * scale_a
        v = (b[x] - low_b) * scale_b
        columns[0, x] += sign
        columns[1, x] += sign * u
        columns[2, x] += sign * v
        columns[3, x] += sign * u * u
        columns[4, x] += sign * v * v
        columns[5, x] += sign * u * v

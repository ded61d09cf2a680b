"""Frames as a network wants them: stretched to [0, 1], without blanks, all of one size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from radiowidgets.data.sources import strip_boxes
from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet
    from radiowidgets.data.strips import Strip

STRETCHES = ("zscale", "sigma", "minmax")
LARGEST = float(np.finfo(np.float32).max)

# The constants of IRAF's zscale, as in `astropy.visualization.ZScaleInterval`.
_SAMPLES = 1000
_MAX_REJECT = 0.5
_MIN_PIXELS = 5
_K_REJECT = 2.5
_MAX_ROUNDS = 5


def network_input(
    frames: FrameSet,
    size: int = 64,
    stretch: str = "zscale",
    *,
    contrast: float = 0.25,
    sigma_low: float = 5.0,
    sigma_high: float = 30.0,
    progress: str | Progress | None = None,
) -> NDArray[np.float32]:
    """Return all frames as one array that a network can take.

    Parameters
    ----------
    frames
        The frames, of any sizes.
    size
        Width and height of the result. Larger frames are shrunk by area means, each source pixel counting by
        the share of it that falls into a pixel of the result; smaller ones are enlarged by the same rule.
    stretch
        What becomes 0 and 1, frame by frame: 'zscale', the limits of `astropy.visualization.ZScaleInterval`;
        'sigma', from `sigma_low` rms below the background to `sigma_high` rms above; 'minmax', the extremes.
        The values between are mapped linearly, before shrinking.
    contrast
        Contrast of zscale.
    sigma_low, sigma_high
        Limits of 'sigma'.
    progress
        Text of a progress bar, or a function that is told how many chunks are done, and of how many.

    Returns
    -------
    array of shape (n, size, size, 1), float32
        Values in [0, 1]. Blank pixels take the frame's lower limit, 0; so does a frame without any contrast.
    """
    check_one_of("stretch", stretch, STRETCHES)
    if size < 1:
        raise ParameterError(f"size is {size!r}; give a number of pixels, 1 or more (64, say).")
    if stretch == "sigma" and not sigma_low + sigma_high > 0:
        raise ParameterError(
            f"sigma_low + sigma_high is {sigma_low + sigma_high!r}; the limits must leave a range above 0."
        )
    out = np.empty((len(frames), size, size, 1), np.float32)
    noise = frames.noise if stretch == "sigma" else None

    def work(strip: Strip) -> None:
        indices, pixels, y, x, height, width = strip_boxes(frames, strip)
        if noise is not None:
            background, rms = (column[indices].astype(np.float64) for column in noise[:2])
            # A frame that is blank altogether has no noise: it becomes 0 everywhere.
            low, high = (
                np.nan_to_num(np.clip(limit, -LARGEST, LARGEST)).astype(np.float32)
                for limit in (background - sigma_low * rms, background + sigma_high * rms)
            )
        elif stretch == "zscale":
            low, high = zscale_limits(pixels, y, x, height, width, contrast=contrast)
        else:
            low, high = np.zeros((2, len(indices)), np.float32)
            _extremes(pixels, y, x, height, width, low, high)
        out[indices, :, :, 0] = shrink_boxes(pixels, y, x, height, width, low, high, size)

    map_chunks(work, frames.strips(), progress=progress)
    return out


def zscale_limits(
    strip: NDArray[np.float32],
    y: NDArray[np.int32],
    x: NDArray[np.int32],
    height: NDArray[np.int32],
    width: NDArray[np.int32],
    *,
    contrast: float = 0.25,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the zscale limits of boxes of one array, as `astropy.visualization.ZScaleInterval` finds them.

    Parameters
    ----------
    strip
        Pixels, float32, any of them not finite (blank).
    y, x, height, width
        The boxes, in pixels of `strip`, all inside it.
    contrast
        The slope of the sorted pixels is divided by it: small values narrow the limits.

    Returns
    -------
    low, high
        The limits; 0 and 0 for a box without a valid pixel.
    """
    samples = np.empty((len(y), _SAMPLES), np.float32)
    counts = np.zeros(len(y), np.int64)
    low = np.zeros(len(y), np.float32)
    high = np.zeros(len(y), np.float32)
    _gather_evenly(strip, y, x, height, width, samples, counts)
    samples.sort(axis=1)  # blanks are +inf and come last
    _fit_zscale(samples, counts, contrast, low, high)
    return low, high


@njit(nogil=True, cache=True)
def _gather_evenly(strip, y, x, height, width, samples, counts):
    """Take every stride-th of the valid pixels, row by row, as ZScaleInterval does."""
    for i in range(len(y)):
        valid = 0
        for row in range(y[i], y[i] + height[i]):
            line = strip[row, x[i] : x[i] + width[i]]
            found = 0
            for k in range(width[i]):
                # Finite minus itself is zero, anything else is NaN; a form that becomes vector instructions.
                found += 1 if line[k] - line[k] == 0 else 0
            valid += found
        stride = max(1, int(valid / _SAMPLES))
        n = min(_SAMPLES, (valid + stride - 1) // stride)
        if valid == height[i] * width[i]:
            for k in range(n):
                place = k * stride
                samples[i, k] = strip[y[i] + place // width[i], x[i] + place % width[i]]
        else:
            seen = 0
            k = 0
            for row in range(y[i], y[i] + height[i]):
                for column in range(x[i], x[i] + width[i]):
                    value = strip[row, column]
                    if math.isfinite(value):
                        if seen % stride == 0 and k < n:
                            samples[i, k] = value
                            k += 1
                        seen += 1
        samples[i, n:] = np.inf
        counts[i] = n


@njit(nogil=True, cache=True)
def _extremes(strip, y, x, height, width, low, high):
    """Find the smallest and the largest valid pixel of each box."""
    for i in range(len(y)):
        least = np.inf
        most = -np.inf
        for row in range(y[i], y[i] + height[i]):
            for value in strip[row, x[i] : x[i] + width[i]]:
                if math.isfinite(value):
                    least = min(least, value)
                    most = max(most, value)
        if least <= most:
            low[i] = least
            high[i] = most


@njit(nogil=True, cache=True)
def _fit_zscale(samples, counts, contrast, low, high):
    """Fit a line to the sorted samples, rejecting what lies off it, and derive the limits."""
    bad = np.empty(samples.shape[1], np.bool_)
    grown = np.empty(samples.shape[1], np.bool_)
    for i in range(len(counts)):
        n = counts[i]
        if n == 0:
            continue
        values = samples[i]
        low[i] = values[0]
        high[i] = values[n - 1]
        least = max(_MIN_PIXELS, int(n * _MAX_REJECT))
        bad[:n] = False
        good = n
        last_good = n + 1
        slope = 0.0
        for _ in range(_MAX_ROUNDS):
            if good >= last_good or good < least:
                break
            slope = _reject(values, n, good, bad)
            last_good = good
            good = _grow(n, bad, grown)
        if good >= least:
            if contrast > 0:
                slope /= contrast
            centre = (n - 1) // 2
            median = 0.5 * (np.float64(values[centre]) + np.float64(values[n // 2]))
            low[i] = np.float32(max(np.float64(values[0]), median - (centre - 1) * slope))
            high[i] = np.float32(min(np.float64(values[n - 1]), median + (n - centre) * slope))


@njit(nogil=True, cache=True)
def _reject(values, n, good, bad):
    """Fit a line to the good samples, mark those off it as bad, and return its slope."""
    # Values are taken from the middle one, so that a large offset costs no precision.
    zero = np.float64(values[(n - 1) // 2])
    sx = 0.0
    sy = 0.0
    for k in range(n):
        weight = 0.0 if bad[k] else 1.0
        sx += weight * k
        sy += weight * (np.float64(values[k]) - zero)
    mx = sx / good
    my = sy / good
    sxx = 0.0
    sxy = 0.0
    for k in range(n):
        weight = 0.0 if bad[k] else 1.0
        sxx += weight * (k - mx) ** 2
        sxy += weight * (k - mx) * (np.float64(values[k]) - zero - my)
    slope = sxy / sxx if sxx > 0 else 0.0
    square = 0.0  # the residuals of a fitted line have mean zero
    for k in range(n):
        weight = 0.0 if bad[k] else 1.0
        square += weight * (np.float64(values[k]) - zero - my - slope * (k - mx)) ** 2
    threshold = _K_REJECT * math.sqrt(square / good)
    for k in range(n):
        if abs(np.float64(values[k]) - zero - my - slope * (k - mx)) > threshold:
            bad[k] = True
    return slope


@njit(nogil=True, cache=True)
def _grow(n, bad, grown):
    """Let bad samples take their neighbours along, and return how many good ones are left."""
    width = max(1, int(n * 0.01))
    after = (width - 1) // 2  # one less than before, for an even width, as in numpy.convolve
    before = width - 1 - after
    last = -n
    for k in range(min(after, n)):
        if bad[k]:
            last = k
    good = 0
    for k in range(n):
        ahead = k + after
        if ahead < n and bad[ahead]:
            last = ahead
        grown[k] = last >= k - before
        good += 0 if grown[k] else 1
    bad[:n] = grown[:n]
    return good


def shrink_boxes(
    strip: NDArray[np.float32],
    y: NDArray[np.int32],
    x: NDArray[np.int32],
    height: NDArray[np.int32],
    width: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    size: int,
) -> NDArray[np.float32]:
    """Stretch boxes linearly from their limits to [0, 1] and bring them to one size by area means.

    Blank pixels take the lower limit, 0; so does a box whose limits leave nothing between them.

    Returns
    -------
    array of shape (n, size, size), float32
    """
    out = np.empty((len(y), size, size), np.float32)
    shrink_into(strip, y, x, height, width, low, high, out)
    return out


@njit(nogil=True, cache=True)
def shrink_into(
    strip: NDArray[np.float32],
    y: NDArray[np.int32],
    x: NDArray[np.int32],
    height: NDArray[np.int32],
    width: NDArray[np.int32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill `out` as `shrink_boxes` does; for kernels."""
    size = out.shape[1]
    total = np.empty(width.max() if len(width) else 1, np.float32)
    for i in range(len(y)):
        span = np.float64(high[i]) - np.float64(low[i])
        factor = np.float32(1.0 / span) if span > 1e-37 else np.float32(0.0)
        floor = low[i]
        h = height[i]
        w = width[i]
        whole = w % size == 0
        step = w // size
        for row in range(size):
            top = row * h / size
            bottom = (row + 1) * h / size
            first = int(top)
            last = min(h, math.ceil(bottom))
            total[:w] = 0.0
            for source in range(first, last):
                share = np.float32(min(bottom, source + 1.0) - max(top, np.float64(source)))
                _stretch_row(strip, y[i] + source, x[i], w, floor, factor, share, total)
            scale = np.float32(1.0 / ((bottom - top) * w / size))
            if whole:
                for column in range(size):
                    value = np.float32(0.0)
                    for k in range(column * step, (column + 1) * step):
                        value += total[k]
                    out[i, row, column] = min(value * scale, np.float32(1.0))
            else:
                for column in range(size):
                    left = column * w / size
                    right = (column + 1) * w / size
                    value = np.float32(0.0)
                    for k in range(int(left), min(w, math.ceil(right))):
                        value += total[k] * np.float32(min(right, k + 1.0) - max(left, np.float64(k)))
                    out[i, row, column] = min(value * scale, np.float32(1.0))


@njit(nogil=True, cache=True)
def _stretch_row(strip, row, x0, width, floor, factor, share, total):
    """Add one stretched row, weighted by the share of it that counts."""
    line = strip[row, x0 : x0 + width]
    for k in range(width):
        t = (line[k] - floor) * factor
        t = t if t > 0 else np.float32(0.0)  # also for NaN
        t = t if t < 1 else np.float32(1.0)
        total[k] += t * share

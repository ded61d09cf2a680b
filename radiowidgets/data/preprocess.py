"""Frames as a network wants them: stretched to [0, 1], without blanks, all of one size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from radiowidgets.data.frames import NoiseTable
from radiowidgets.data.sources import Chunk, boxes_in_strips, clip_frames, small_pieces
from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet

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
    measure: bool = False,
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
    measure
        Measure the noise of the frames in the same pass over their pixels, as `frames.noise` otherwise does in
        a pass of its own, and keep it there.
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
    known = frames.noise if stretch == "sigma" and not measure else None
    measured = NoiseTable(*(np.empty(len(frames) if measure else 0, np.float32) for _ in range(3)))

    def work(chunk: Chunk) -> None:
        for indices, pixels, y, x, height, width in small_pieces(chunk):
            if measure:
                for column, values in zip(measured, clip_frames(pixels, y, x, height, width), strict=True):
                    column[indices] = values
            if stretch == "sigma":
                background, rms, _ = (column[indices] for column in known or measured)
                low, high = _around(background, rms, sigma_low, sigma_high)
            elif stretch == "zscale":
                low, high = zscale_limits(pixels, y, x, height, width, contrast=contrast)
            else:
                low, high = _extremes(pixels, y, x, height, width)
            out[indices, :, :, 0] = shrink_boxes(pixels, y, x, height, width, low, high, size)

    map_chunks(work, boxes_in_strips(frames), progress=progress)
    if measure:
        frames.set_noise(*measured)
    return out


def _around(
    background: NDArray[np.float32], rms: NDArray[np.float32], below: float, above: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return limits so many rms below and above the background; 0 and 0 where there is no noise."""
    middle, unit = background.astype(np.float64), rms.astype(np.float64)
    low = np.clip(middle - below * unit, -LARGEST, LARGEST)
    high = np.clip(middle + above * unit, -LARGEST, LARGEST)
    return np.nan_to_num(low).astype(np.float32), np.nan_to_num(high).astype(np.float32)


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
def _extremes(strip, y, x, height, width):
    """Find the smallest and the largest valid pixel of each box; 0 and 0 where there is none."""
    low = np.zeros(len(y), np.float32)
    high = np.zeros(len(y), np.float32)
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
    return low, high


@njit(nogil=True, cache=True)
def _fit_zscale(samples, counts, contrast, low, high):
    """Fit a line to the sorted samples, rejecting what lies off it, and derive the limits."""
    longest = samples.shape[1]
    values = np.empty(longest)
    good = np.empty(longest)
    for i in range(len(counts)):
        n = counts[i]
        if n == 0:
            continue
        low[i] = samples[i, 0]
        high[i] = samples[i, n - 1]
        # Values are taken from the middle one, so that a large offset costs no precision.
        zero = np.float64(samples[i, (n - 1) // 2])
        for k in range(n):
            values[k] = np.float64(samples[i, k]) - zero
            good[k] = 1.0
        least = max(_MIN_PIXELS, int(n * _MAX_REJECT))
        left = n
        last_left = n + 1
        slope = 0.0
        for _ in range(_MAX_ROUNDS):
            if left >= last_left or left < least:
                break
            slope = _reject(values[:n], good[:n], left)
            last_left = left
            left = _grow(good[:n])
        if left >= least:
            if contrast > 0:
                slope /= contrast
            centre = (n - 1) // 2
            median = zero + 0.5 * (values[centre] + values[n // 2])
            low[i] = np.float32(max(np.float64(low[i]), median - (centre - 1) * slope))
            high[i] = np.float32(min(np.float64(high[i]), median + (n - centre) * slope))


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _reject(values, good, left):
    """Fit a line to the good values (1, else 0), make those off it bad, and return its slope."""
    n = len(values)
    sx = 0.0
    sy = 0.0
    for k in range(n):
        sx += good[k] * k
        sy += good[k] * values[k]
    mx = sx / left
    my = sy / left
    sxx = 0.0
    sxy = 0.0
    for k in range(n):
        sxx += good[k] * (k - mx) * (k - mx)
        sxy += good[k] * (k - mx) * (values[k] - my)
    slope = sxy / sxx if sxx > 0 else 0.0
    square = 0.0  # the residuals of a fitted line have mean zero
    for k in range(n):
        off = values[k] - my - slope * (k - mx)
        square += good[k] * off * off
    threshold = _K_REJECT * math.sqrt(square / left)
    for k in range(n):
        off = abs(values[k] - my - slope * (k - mx))
        good[k] = 0.0 if off > threshold else good[k]
    return slope


@njit(nogil=True, cache=True)
def _grow(good):
    """Let bad values take their neighbours along, and return how many good ones are left."""
    n = len(good)
    width = max(1, int(n * 0.01))
    after = (width - 1) // 2  # one less than before, for an even width, as in numpy.convolve
    before = width - 1 - after
    last = -n  # the last bad value up to `after` ahead
    for k in range(min(after, n)):
        if good[k] == 0:
            last = k
    left = 0
    for k in range(n):
        ahead = k + after
        if ahead < n and good[ahead] == 0:
            last = ahead
        # What is written lies behind all that is still to be read.
        good[k] = 0.0 if last >= k - before else 1.0
        left += 0 if last >= k - before else 1
    return left


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
    pairs = np.empty_like(total)
    least = np.float32(0.0)
    most = np.float32(1.0)
    for i in range(len(y)):
        span = np.float64(high[i]) - np.float64(low[i])
        factor = np.float32(1.0 / span) if span > 1e-37 else least
        h = height[i]
        w = width[i]
        for row in range(size):
            top = row * h / size
            bottom = (row + 1) * h / size
            total[:w] = 0.0
            for source in range(int(top), min(h, math.ceil(bottom))):
                share = np.float32(min(bottom, source + 1.0) - max(top, np.float64(source)))
                line = strip[y[i] + source, x[i] : x[i] + w]
                for k in range(w):
                    t = (line[k] - low[i]) * factor
                    t = t if t > least else least  # noqa: FURB136 - so that NaN becomes 0
                    t = t if t < most else most  # noqa: FURB136
                    total[k] += t * share
            scale = np.float32(size / ((bottom - top) * w))
            if w % size == 0:
                _sum_blocks(total[:w], w // size, scale, pairs, out[i, row])
            else:
                _sum_shares(total[:w], scale, out[i, row])


@njit(nogil=True, cache=True)
def _sum_blocks(total, step, scale, pairs, out):
    """Sum each `step` neighbours."""
    values = total
    if step % 2 == 0:
        # Pairs first, which become vector instructions.
        step //= 2
        for k in range(len(total) // 2):
            pairs[k] = total[2 * k] + total[2 * k + 1]
        values = pairs
    if step == 2:
        for column in range(len(out)):
            out[column] = min((values[2 * column] + values[2 * column + 1]) * scale, np.float32(1.0))
        return
    for column in range(len(out)):
        value = np.float32(0.0)
        for k in range(column * step, (column + 1) * step):
            value += values[k]
        out[column] = min(value * scale, np.float32(1.0))


@njit(nogil=True, cache=True)
def _sum_shares(total, scale, out):
    """Sum what falls into each pixel of `out`, of a pixel on a border the share that does."""
    size = len(out)
    w = len(total)
    for column in range(size):
        left = column * w / size
        right = (column + 1) * w / size
        value = np.float32(0.0)
        for k in range(int(left), min(w, math.ceil(right))):
            value += total[k] * np.float32(min(right, k + 1.0) - max(left, np.float64(k)))
        out[column] = min(value * scale, np.float32(1.0))

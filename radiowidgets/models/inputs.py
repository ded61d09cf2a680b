"""What the shipped encoder sees of a frame: the whole of it, and a closer look at what stands out in it.

Brightness is counted in the frame's own noise above its own background, and each look is scaled by its own peak: an
embedding shall tell what is there, not how deep the map is. Three channels show one look in three stretches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from radiowidgets.data.sources import boxes_in_strips, clip_frames, small_pieces
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from radiowidgets.data.frames import FrameSet
    from radiowidgets.data.sources import Chunk

SIZE = 64  # pixels of a look
LOOKS = ("whole", "focus")
CHANNELS = ("linear", "log", "faint")

_FLOOR = 2.5  # rms: what is fainter does not draw the eye
_RANGE = 0.02  # of the peak: nor what may be its sidelobes
_LEAST_PEAK = 10.0  # rms: a frame of noise stays dim
_CLOSEST = 16.0  # pixels of the frame; the focus looks no closer
_WIDTH = 4.5  # the focus is this many standard deviations of the emission wide, along its long axis
_REACH = 2.2  # the window is this many of them: two lobes stay in it
_ROUNDS = 6
_QUIET = 1.5  # rms that the logarithm leaves out
_SAMPLED = 32  # pixels along a box that say what its darkest part is like
_DARK = 0.1  # of these lie closest together there
_FILLED = 0.6  # of the rms, or less, below that: the box is full of emission, or thresholded
_DEEPEST = 100.0  # rms that the peak of such a box has at most


def encoder_input(frames: FrameSet, *, progress: str | Progress | None = None) -> NDArray[np.uint8]:
    """Return both looks at each frame.

    The focus is found as adaptive moments are: a Gaussian window over what is brighter than 2.5 rms and 2 % of the
    peak moves to the centre of the emission in it and takes twice its width, six times over, from a first one that
    nearly fills the frame. A frame of noise keeps its centre.

    Parameters
    ----------
    frames
        Of any sizes; of several channels the first is taken.
    progress
        As in `radiowidgets.parallel.map_chunks`.

    Returns
    -------
    ndarray of uint8, shape (n, 2, 64, 64, 3)
        Looks `LOOKS` in channels `CHANNELS`, 255 standing for 1. 'linear' ends at the look's peak, 'log' too, and
        'faint' shows from 2 rms below the background to 6 above. Blanks are background.
    """
    out = np.empty((len(frames), len(LOOKS), SIZE, SIZE, len(CHANNELS)), np.uint8)

    def work(chunk: Chunk) -> None:
        for indices, pixels, y, x, height, width in small_pieces(chunk):
            background, rms, _ = clip_frames(pixels, y, x, height, width)
            look_into(pixels, y, x, height, width, background, rms, indices, out)

    map_chunks(work, boxes_in_strips(frames), progress=progress)
    return out


@njit(nogil=True, cache=True)
def look_into(
    strip: NDArray[np.float32],
    y: NDArray[np.int32],
    x: NDArray[np.int32],
    height: NDArray[np.int32],
    width: NDArray[np.int32],
    background: NDArray[np.float32],
    rms: NDArray[np.float32],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Fill ``out[places[i]]`` with both looks at box i of one array; for kernels."""
    image = np.empty((SIZE, SIZE), np.float32)
    smooth = np.empty((SIZE, SIZE), np.float32)
    for i in range(len(y)):
        box = strip[y[i] : y[i] + height[i], x[i] : x[i] + width[i]]
        unit = rms[i] if rms[i] > 0 else np.float32(1.0)
        level = background[i] if math.isfinite(background[i]) else np.float32(0.0)
        level, unit = _dark_level(box, level, unit)
        _sample(box, level, unit, 0.0, 0.0, float(height[i]), float(width[i]), image)
        _paint(image, out[places[i], 0])
        row, column, spread = _find_focus(image, smooth)
        pixel_y, pixel_x = height[i] / SIZE, width[i] / SIZE
        side = max(_WIDTH * spread * max(pixel_y, pixel_x), _CLOSEST)
        side = min(side, float(min(height[i], width[i])))
        centre_y = min(max((row + 0.5) * pixel_y, side / 2), height[i] - side / 2)
        centre_x = min(max((column + 0.5) * pixel_x, side / 2), width[i] - side / 2)
        _sample(box, level, unit, centre_y - side / 2, centre_x - side / 2, side, side, image)
        _paint(image, out[places[i], 1])


@njit(nogil=True, cache=True)
def _dark_level(box, level, unit):
    """Return level and noise of the darkest part of a box that emission fills; what was given for any other.

    Sigma clipping takes an object that fills its frame for the background. The dark level is where a tenth of the
    pixels in the lower half of the range lie closest together, and the noise that of pixels below it.
    """
    h, w = box.shape
    step_y, step_x = max(h // _SAMPLED, 1), max(w // _SAMPLED, 1)
    values = np.empty(((h + step_y - 1) // step_y) * ((w + step_x - 1) // step_x), np.float32)
    count = 0
    for row in range(0, h, step_y):
        for column in range(0, w, step_x):
            if math.isfinite(box[row, column]):
                values[count] = box[row, column]
                count += 1
    if count < 64:
        return level, unit
    values = np.sort(values[:count])
    low, peak = values[0], values[count - 1]
    half = np.searchsorted(values, low + 0.5 * (peak - low))
    held = max(int(_DARK * half), 8)
    best, narrowest = 0, np.inf
    for first in range(half - held):
        if values[first + held] - values[first] < narrowest:
            best, narrowest = first, values[first + held] - values[first]
    dark = values[best + held // 2]
    total, below = 0.0, 0
    while below < count and values[below] < dark:
        total += (values[below] - dark) ** 2
        below += 1
    noise = math.sqrt(total / below) if below else 0.0
    if noise > _FILLED * unit or peak <= dark:
        return level, unit
    return dark, np.float32(max(noise, (peak - dark) / _DEEPEST))


@njit(nogil=True, cache=True)
def _sample(box, level, unit, top, left, tall, broad, image):
    """Bring a part of a box to the size of `image`, in units above a level: area means, or bilinear where it grows."""
    size = image.shape[0]
    h, w = box.shape
    taps_y = int(tall / size) + 3
    taps_x = int(broad / size) + 3
    first_y, weight_y = np.empty(size, np.int64), np.zeros((size, taps_y), np.float32)
    first_x, weight_x = np.empty(size, np.int64), np.zeros((size, taps_x), np.float32)
    _weigh(top, tall, h, first_y, weight_y)
    _weigh(left, broad, w, first_x, weight_x)
    line = np.empty(w, np.float32)
    for row in range(size):
        line[:] = 0
        for k in range(taps_y):
            weight = weight_y[row, k]
            if weight > 0:
                source = box[first_y[row] + k]
                for column in range(w):
                    value = (source[column] - level) / unit
                    line[column] += weight * value if value - value == 0 else np.float32(0.0)
        for column in range(size):
            total = np.float32(0.0)
            for k in range(taps_x):
                weight = weight_x[column, k]
                if weight > 0:
                    total += weight * line[first_x[column] + k]
            image[row, column] = total


@njit(nogil=True, cache=True)
def _weigh(start, length, n, first, weight):
    """Find the first of n source pixels that goes into each pixel of the result, and the weights from there on."""
    size = len(first)
    step = length / size
    for i in range(size):
        if step >= 1:
            low = start + i * step
            high = min(low + step, float(n))
            first[i] = min(int(low), n - 1)
            for k in range(weight.shape[1]):
                share = min(high, first[i] + k + 1.0) - max(low, float(first[i] + k))
                weight[i, k] = max(share, 0.0) / step if first[i] + k < n else 0.0
        else:
            place = min(max(start + (i + 0.5) * step - 0.5, 0.0), n - 1.0)
            first[i] = int(place)
            weight[i, 0] = 1 - (place - first[i])
            weight[i, 1] = place - first[i] if first[i] + 1 < n else 0.0


@njit(nogil=True, cache=True)
def _paint(image, out):
    """Fill the three channels of one look."""
    size = image.shape[0]
    peak = np.float32(_LEAST_PEAK)
    for row in range(size):
        for column in range(size):
            peak = max(peak, image[row, column])
    scale = np.float32(255.0 / peak)
    log_scale = np.float32(255.0 / math.log1p(peak - _QUIET))
    for row in range(size):
        for column in range(size):
            value = image[row, column]
            out[row, column, 0] = np.uint8(max(value, 0.0) * scale + 0.5)
            out[row, column, 1] = np.uint8(math.log1p(max(value - _QUIET, 0.0)) * log_scale + 0.5)
            out[row, column, 2] = np.uint8(min(max((value + 2.0) / 8.0, 0.0), 1.0) * 255.0 + 0.5)


@njit(nogil=True, cache=True)
def _find_focus(image, smooth):
    """Return row, column and standard deviation of what stands out, by moments in a window that follows it."""
    size = image.shape[0]
    peak = _smooth(image, smooth)
    floor = max(_FLOOR, _RANGE * peak)
    centre = (size - 1) / 2
    y, x = centre, centre
    start = size / 3.2
    reach = start
    spread = start
    for _ in range(_ROUNDS):
        total, y, x, square = _moments(smooth, floor, y, x, reach)
        if total <= 0:
            return centre, centre, start
        # The window narrows what is seen through it.
        spread = math.sqrt(1 / max(1 / max(square, 0.1) - 1 / reach**2, 1 / start**2))
        reach = min(max(_REACH * spread, 2.0), start)
    return y, x, spread


@njit(nogil=True, cache=True)
def _smooth(image, smooth):
    """Fill `smooth` with means over 3 x 3 pixels, and return its peak."""
    size = image.shape[0]
    peak = 0.0
    for row in range(size):
        for column in range(size):
            total = 0.0
            count = 0
            for r in range(max(row - 1, 0), min(row + 2, size)):
                for c in range(max(column - 1, 0), min(column + 2, size)):
                    total += image[r, c]
                    count += 1
            smooth[row, column] = total / count
            peak = max(peak, total / count)
    return peak


@njit(nogil=True, cache=True)
def _moments(smooth, floor, y, x, reach):
    """Return weight, centre and variance along the long axis of what is above a floor in a Gaussian window."""
    total, sum_y, sum_x, yy, xx, xy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for row in range(smooth.shape[0]):
        for column in range(smooth.shape[1]):
            if smooth[row, column] > floor:
                dy, dx = row - y, column - x
                # The root, so that the brighter of two lobes does not draw the window to itself.
                weight = math.sqrt(smooth[row, column] - floor) * math.exp(
                    -0.5 * (dy * dy + dx * dx) / reach**2
                )
                total += weight
                sum_y += weight * dy
                sum_x += weight * dx
                yy += weight * dy * dy
                xx += weight * dx * dx
                xy += weight * dy * dx
    if total <= 0:
        return 0.0, y, x, 0.0
    sum_y /= total
    sum_x /= total
    yy = yy / total - sum_y * sum_y
    xx = xx / total - sum_x * sum_x
    xy = xy / total - sum_y * sum_x
    long = 0.5 * (yy + xx) + math.sqrt(0.25 * (yy - xx) ** 2 + xy * xy)
    return total, y + sum_y, x + sum_x, long

"""What the networks of the papers are fed: each recipe is one function over many images at once.

Images are float32 (n, h, w), with blank pixels that are not finite. `network_input` is this package's own recipe;
these are for comparison with published results, and for weights that were trained on them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from radiowidgets.data.islands import find_islands
from radiowidgets.data.preprocess import zscale_limits
from radiowidgets.data.resampling import resize_into
from radiowidgets.data.sources import MAX_ROUNDS, SIGMA, clip_sorted
from radiowidgets.errors import ParameterError
from radiowidgets.parallel import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

_ROUNDS = 5  # of clipping, as `astropy.stats.sigma_clip` does by default
_BLOCK_BYTES = 8 * 2**20


def three_channels(
    images: ArrayLike,
    size: int = 224,
    *,
    sigma_low: float = 5.0,
    sigma_high: float = 30.0,
    contrasts: Sequence[float] = (0.25, 0.4),
) -> NDArray[np.float32]:
    """Return images in three channels, each with another contrast: peculiar-frames section 2.3.

    Channel 1 is clipped as `astropy.stats.sigma_clip` does; the others are stretched as
    `astropy.visualization.ZScaleInterval` does. Each is brought to [0, 1] by its own minimum and maximum, and
    then to one size.

    Parameters
    ----------
    images : array_like, shape (n, h, w) or (n, h, w, 1)
    size : int
        Height and width of the result: area means where it shrinks, bilinear where it grows.
    sigma_low, sigma_high : float
        Channel 1 ends this many standard deviations below and above the median of what is left after clipping
        by the same numbers.
    contrasts : sequence of float
        Of zscale, one for each further channel.

    Returns
    -------
    ndarray of float32, shape (n, size, size, 1 + len(contrasts))
        Blank pixels take the lower limit, 0; so does a channel without contrast.
    """
    images = _stack(images)
    if not 1 <= size <= 2**15:
        raise ParameterError(f"size is {size!r}; give a number of pixels, usually 224.")
    if not (sigma_low >= 0 and sigma_high >= 0 and sigma_low + sigma_high > 0):
        raise ParameterError(
            f"sigma_low is {sigma_low!r} and sigma_high {sigma_high!r}; give numbers above 0, as 5 and 30."
        )
    n, h, w = images.shape
    out = np.empty((n, size, size, 1 + len(contrasts)), np.float32)

    def work(part: slice) -> None:
        block = images[part]
        count = len(block)
        y, x, height, width = _boxes(count, h, w)
        rows = block.reshape(count * h, w)
        limits = [clip_limits(block, sigma_low, sigma_high)]
        limits += [zscale_limits(rows, y, x, height, width, contrast=c) for c in contrasts]
        wide = [column.astype(np.int64) for column in (y, x, height, width)]
        stretched = np.empty_like(block)
        for channel, (low, high) in enumerate(limits):
            _stretch(block, low, high, stretched)
            target = out[part, :, :, channel]
            resize_into(
                stretched.reshape(count * h, w), wide[0], wide[1], wide[2], wide[3], target, np.arange(count)
            )

    _over_blocks(work, images)
    return out


def min_max(images: ArrayLike) -> NDArray[np.float32]:
    """Bring each image to [0, 1] by its own minimum and maximum, blanks to the minimum: ssl-benchmark section 4.1.

    Parameters
    ----------
    images : array_like, shape (n, h, w) or (n, h, w, 1)

    Returns
    -------
    ndarray of float32, of the shape given
        An image without contrast, or all blank, becomes 0.
    """
    stack = _stack(images)
    out = np.empty_like(stack)

    def work(part: slice) -> None:
        low, high = _extremes(stack[part])
        _stretch(stack[part], low, high, out[part])

    _over_blocks(work, stack)
    return out.reshape(np.shape(images))


def log_scale(
    images: ArrayLike, floor: float = 1e-11, limits: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """Bring the logarithm of each image to [0, 1]: cosmodeep section 4, steps ii and iii.

    Parameters
    ----------
    images : array_like, shape (n, h, w) or (n, h, w, 1)
        Surface brightness; the paper's is in Jy/arcsec2.
    floor : float
        What is below becomes this, blanks too.
    limits : (float, float), optional
        The brightness that becomes 0 and 1. Default: the minimum and maximum of each image. The paper takes those
        of a whole map before it cuts tiles; give them to tiles of one map.

    Returns
    -------
    ndarray of float32, of the shape given
        An image without contrast becomes 0.
    """
    stack = _stack(images)
    if not 0 < floor < math.inf:
        raise ParameterError(f"floor is {floor!r}; give a number above 0 in the unit of the images.")
    if limits is not None and not 0 < limits[0] < limits[1] < math.inf:
        raise ParameterError(f"limits are {limits!r}; give two brightnesses above 0, the lower one first.")
    out = np.empty_like(stack)

    def work(part: slice) -> None:
        block = out[part]
        with np.errstate(invalid="ignore"):
            np.log10(np.where(stack[part] > floor, stack[part], np.float32(floor)), out=block)
        block[~np.isfinite(stack[part])] = np.log10(np.float32(floor))
        if limits is None:
            low, high = _extremes(block)
        else:
            low, high = (np.full(len(block), np.log10(value), np.float32) for value in limits)
        _stretch(block, low, high, block)

    _over_blocks(work, stack)
    return out.reshape(np.shape(images))


def channel_max_scale(images: ArrayLike) -> NDArray[np.float32]:
    """Divide all channels of a source by the largest pixel among them: compact-sources section 5.2.

    The ratios between channels survive, the flux density does not.

    Parameters
    ----------
    images : array_like, shape (n, h, w, channels)

    Returns
    -------
    ndarray of float32, of the same shape
        Blank pixels stay blank: a missing band is not one without flux. A source without any pixel above 0 has
        nothing to be scaled by, and becomes blank.
    """
    array = np.asarray(images, dtype=np.float32)
    if array.ndim != 4:
        raise ParameterError(f"the images have shape {array.shape}; give (n, h, w, channels).")
    largest = np.full(len(array), -np.inf, np.float32)
    finite = np.isfinite(array)
    np.max(array, axis=(1, 2, 3), where=finite, initial=-np.inf, out=largest)
    largest[~(largest > 0)] = np.nan
    return np.where(finite, array / largest[:, None, None, None], np.float32(np.nan))


def mask_sources(
    images: ArrayLike, masks: ArrayLike, dilation: int = 21, fill: float = 0.0
) -> NDArray[np.float32]:
    """Set what does not belong to the source to `fill`, after enlarging its mask: compact-sources section 5.2.

    Parameters
    ----------
    images : array_like, shape (n, h, w) or (n, h, w, channels)
    masks : array_like of bool, shape (n, h, w)
        True in the source, as found in the radio channel.
    dilation : int
        Diameter in pixels of the disc that masks are dilated by, odd; 1 leaves them as they are.
    fill : float

    Returns
    -------
    ndarray of float32, of the shape of `images`
        Blank pixels stay blank.
    """
    array = np.asarray(images, dtype=np.float32)
    grown = dilate(masks, dilation)
    if array.ndim not in (3, 4) or array.shape[:3] != grown.shape:
        raise ParameterError(
            f"the images have shape {array.shape} and the masks {grown.shape}; give a mask (h, w) for each image."
        )
    if array.ndim == 4:
        grown = grown[..., np.newaxis]
    return np.where(grown | ~np.isfinite(array), array, np.float32(fill))


def source_masks(
    images: ArrayLike, *, seed: float = 5.0, flood: float = 2.5, reach: float = math.inf
) -> NDArray[np.bool_]:
    """Return the pixels of the source in the middle of each image: compact-sources sections 4.1 and 5.2.

    Parameters
    ----------
    images : array_like, shape (n, h, w)
        One band, the radio one; wide enough to hold some background, such as 10 r_s.
    seed, flood : float
        An island's pixels lie above `flood` times the noise over the background, one of them above `seed`; both are
        found by clipping at 3 sigma. Of several islands the one nearest to the centre is taken.
    reach : float
        Pixels from the centre within which it must come, such as r_s.

    Returns
    -------
    ndarray of bool, shape (n, h, w)
        All False where there is no island.
    """
    stack = _stack(images)
    if not 0 < flood <= seed < math.inf:
        raise ParameterError(f"seed is {seed!r} and flood {flood!r}; give 0 < flood <= seed, as 5 and 2.5.")
    out = np.zeros(stack.shape, bool)
    middle = (np.array(stack.shape[1:]) - 1) / 2

    def work(part: slice) -> None:
        for image, mask in zip(stack[part], out[part], strict=True):
            values = np.sort(image[np.isfinite(image)])
            if not len(values):
                continue
            background, noise = clip_sorted(values, SIGMA, MAX_ROUNDS)
            if not noise > 0:
                continue
            labels, _ = find_islands(((image - background) / noise).astype(np.float32), seed, flood)
            y, x = np.nonzero(labels)
            if len(y):
                apart = (y - middle[0]) ** 2 + (x - middle[1]) ** 2
                nearest = np.argmin(apart)
                mask[:] = (labels == labels[y[nearest], x[nearest]]) & (apart[nearest] <= reach**2 + 1e-9)

    _over_blocks(work, stack)
    return out


def source_reach(shape: Sequence[int], size: float | None) -> float:
    """Return the radius in pixels of a source whose cutout is `size` radii wide; infinite where that is not known."""
    return math.inf if size is None else max(1.5, min(shape[:2]) / float(size))


def dilate(masks: ArrayLike, diameter: int = 21) -> NDArray[np.bool_]:
    """Enlarge masks (n, h, w) by a disc of an odd diameter: the pixels within diameter / 2 of its centre."""
    array = np.ascontiguousarray(masks)
    if array.ndim != 3 or array.dtype.kind not in "biu":
        raise ParameterError(
            f"the masks have shape {array.shape} and type {array.dtype}; give bool (n, h, w)."
        )
    if isinstance(diameter, bool) or diameter < 1 or diameter % 2 != 1:
        raise ParameterError(f"the dilation is {diameter!r}; give an odd number of pixels, usually 21.")
    array = array.astype(bool, copy=False)
    out = np.empty_like(array)
    reach = int(diameter) // 2
    steps = np.arange(-reach, reach + 1)
    half = np.floor(np.sqrt((diameter / 2) ** 2 - steps**2)).astype(np.int32)
    _over_blocks(lambda part: _dilate(array[part], half, out[part]), array)
    return out


def clip_limits(
    images: NDArray[np.float32], sigma_low: float = 5.0, sigma_high: float = 30.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the bounds of `astropy.stats.sigma_clip` for each image, at most its minimum and maximum.

    0 and 0 for an image without a valid pixel.
    """
    values = np.where(np.isfinite(images), images, np.float32(np.inf)).reshape(len(images), -1)
    values.sort(axis=1)
    low, high = np.zeros((2, len(images)), np.float32)
    _clip(values, sigma_low, sigma_high, low, high)
    return low, high


# ------------------------------------------------------------------------------------


def _stack(images: ArrayLike) -> NDArray[np.float32]:
    """Return images of one channel as contiguous float32 (n, h, w)."""
    array = np.asarray(images)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3 or array.dtype.kind not in "fiub" or 0 in array.shape[1:]:
        raise ParameterError(
            f"the images have shape {np.shape(images)} and type {array.dtype}; give numbers (n, h, w) of one channel."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _boxes(n: int, h: int, w: int) -> tuple[NDArray[np.int32], ...]:
    """Return y, x, height and width of n images that stand on each other."""
    return tuple(
        np.broadcast_to(np.asarray(column, np.int32), n).copy()
        for column in (np.arange(n, dtype=np.int32) * h, 0, h, w)
    )


def _over_blocks(work: Callable[[slice], Any], images: NDArray[Any]) -> None:
    """Call `work` for slices of images that fill a few MB, on all cores."""
    together = max(1, _BLOCK_BYTES // (4 * images[:1].size or 1))
    map_chunks(work, [slice(k, k + together) for k in range(0, len(images), together)])


@njit(nogil=True, cache=True)
def _clip(values, sigma_low, sigma_high, low, high):
    """Clip sorted values, blanks being +inf, and find the bounds of the last round."""
    for i in range(len(values)):
        line = values[i]
        last = np.searchsorted(line, np.float32(np.inf))
        if last == 0:
            continue
        least = line[0]
        most = line[last - 1]
        first = 0
        lower = np.float64(least)
        upper = np.float64(most)
        for _ in range(_ROUNDS):
            n = last - first
            centre = 0.5 * (np.float64(line[first + (n - 1) // 2]) + np.float64(line[first + n // 2]))
            mean = 0.0
            for k in range(first, last):
                mean += line[k] - centre
            mean /= n
            square = 0.0
            for k in range(first, last):
                square += (line[k] - centre - mean) ** 2
            sigma = math.sqrt(square / n)
            lower = centre - sigma_low * sigma
            upper = centre + sigma_high * sigma
            kept_first = first
            while kept_first < last and line[kept_first] < lower:
                kept_first += 1
            kept_last = last
            while kept_last > kept_first and line[kept_last - 1] > upper:
                kept_last -= 1
            if kept_first == first and kept_last == last:
                break
            first = kept_first
            last = kept_last
        low[i] = max(np.float64(least), lower)
        high[i] = min(np.float64(most), upper)


@njit(nogil=True, cache=True)
def _extremes(images):
    """Return the smallest and the largest valid pixel of each image, 0 and 0 where there is none."""
    low = np.zeros(len(images), np.float32)
    high = np.zeros(len(images), np.float32)
    for i in range(len(images)):
        least = np.float32(np.inf)
        most = np.float32(-np.inf)
        for row in range(images.shape[1]):
            for value in images[i, row]:
                if math.isfinite(value):
                    least = min(least, value)
                    most = max(most, value)
        if least <= most:
            low[i] = least
            high[i] = most
    return low, high


@njit(nogil=True, cache=True)
def _stretch(images, low, high, out):
    """Map each image's limits to 0 and 1, what lies beyond to the nearer of them, blanks to 0."""
    for i in range(len(images)):
        # In double precision: the limits of some images lie at the ends of what float32 holds.
        span = np.float64(high[i]) - np.float64(low[i])
        factor = 1.0 / span if span > 0 else 0.0
        floor = np.float64(low[i])
        for row in range(images.shape[1]):
            for k in range(images.shape[2]):
                value = np.float64(images[i, row, k])
                t = (value - floor) * factor
                # Not a number is not above 0.
                out[i, row, k] = min(t, 1.0) if t > 0 and math.isfinite(value) else 0.0


@njit(nogil=True, cache=True)
def _dilate(masks, half, out):
    """Set what is within ``half[dy]`` columns of the mask in the row dy away, for any dy."""
    reach = len(half) // 2
    n, h, w = masks.shape
    far = h + w + len(half)
    distance = np.empty((h, w), np.int32)
    for i in range(n):
        for row in range(h):
            steps = far
            for k in range(w):
                steps = 0 if masks[i, row, k] else steps + 1
                distance[row, k] = steps
            for k in range(w - 1, -1, -1):
                steps = 0 if masks[i, row, k] else steps + 1
                distance[row, k] = min(distance[row, k], steps)
        for row in range(h):
            line = out[i, row]
            line[:] = False
            for other in range(max(0, row - reach), min(h, row + reach + 1)):
                width = half[other - row + reach]
                for k in range(w):
                    line[k] |= distance[other, k] <= width

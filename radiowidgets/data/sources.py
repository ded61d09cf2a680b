"""What stands above the noise, and the noise itself: sigma-clipped background and rms of frames.

The clip is that of `astropy.stats.sigma_clipped_stats` (median as centre, standard deviation as width,
3 sigma, five rounds), but a frame's pixels are looked at once: they are counted in bins of a 16th of a first
guess of the noise, and the rounds of clipping run on the counts. What lies far outside keeps its exact sum
and sum of squares in bins of an eighth of an octave, so that a few very bright pixels cost no accuracy.
Frames that bins cannot describe (few pixels, few distinct values, much flux of one level far outside) are
sorted and clipped exactly.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numba import njit

from radiowidgets.data.frames import FrameSet, NoiseTable
from radiowidgets.errors import ParameterError
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from radiowidgets.data.maps import SkyMap

# Indices of some frames, pixels that hold them all, and their boxes: y, x, height, width.
Chunk: TypeAlias = tuple[
    "NDArray[Any]",
    "NDArray[np.float32]",
    "NDArray[np.int32]",
    "NDArray[np.int32]",
    "NDArray[np.int32]",
    "NDArray[np.int32]",
]

SIGMA = 3.0
MAX_ROUNDS = 5

_PER_SIGMA = 16  # fine bins in one (first guess of the) sigma
_BELOW, _ABOVE = 8, 24  # sigmas covered by fine bins; sources stand above
_FINE = (_BELOW + _ABOVE) * _PER_SIGMA
_PER_OCTAVE = 8  # coarse bins beyond
_COARSE = 128 * _PER_OCTAVE
_SAMPLES = 1024  # pixels of the first guess
_TOGETHER = 64  # frames of one task
_READ = 16 * 2**20  # bytes of a map that are read at once to be thinned
_IN_CACHE = 8  # overlapping frames of 256 pixels that fit into a processor's cache
_CROWDED = (
    0.005  # share of the pixels in one coarse bin from which on it matters where in the bin a limit falls
)
_EXACT_BELOW = 4096  # with fewer pixels than this sorting is quick, and bins are sparse


def measure_noise(
    frames: FrameSet,
    mesh: float = 1,
    progress: str | Progress | None = None,
    *,
    sigma: float = SIGMA,
    max_rounds: int = MAX_ROUNDS,
    client: Any = None,
) -> NoiseTable:
    """Measure the background and the noise of every frame by sigma clipping.

    Parameters
    ----------
    frames
        The frames.
    mesh
        Width of the region that is measured, in frame widths, centred on the frame and cut at the map's
        border. 1 measures the frame itself; an object that fills its frame then raises the background and the
        rms, which a wider mesh (3, say) avoids. Wider regions are thinned, so that a frame costs the same.
    progress
        Text of a progress bar, or a function that is told how many chunks are done, and of how many.
    sigma
        Pixels farther than this many standard deviations from the median are clipped.
    max_rounds
        Largest number of rounds of clipping.
    client
        A `dask.distributed.Client` to work on, instead of threads.

    Returns
    -------
    NoiseTable
        Median and standard deviation of what is left after clipping, and the frame's own blank fraction.
        NaN where a frame has no valid pixel at all.

    Notes
    -----
    Equal to `astropy.stats.sigma_clipped_stats(pixels)[1:]` to well below 1 % of the rms.
    """
    if not mesh >= 1:
        raise ParameterError(f"mesh is {mesh!r}; give a number of frame widths, 1 or more.")
    if not sigma > 0:
        raise ParameterError(f"sigma is {sigma!r}; give a number above 0, usually 3.")
    if max_rounds < 1:
        raise ParameterError(f"max_rounds is {max_rounds!r}; give 1 or more, usually 5.")
    noise = NoiseTable(*(np.full(len(frames), np.nan, np.float32) for _ in range(3)))
    clip = functools.partial(_clip_chunk, sigma=float(sigma), max_rounds=int(max_rounds))
    own = boxes_in_strips(frames)
    if mesh == 1 or not frames.maps:  # images without a map have nothing round them
        for indices, *columns in map_chunks(clip, own, client=client, progress=progress):
            for values, column in zip(noise, columns, strict=True):
                values[indices] = column
        return noise
    for indices, blank_fraction in map_chunks(_blank_chunk, own, client=client):
        noise.blank_fraction[indices] = blank_fraction
    wide = _wide_boxes(frames, float(mesh))
    for indices, background, rms, _ in map_chunks(clip, wide, client=client, progress=progress):
        noise.background[indices] = background
        noise.rms[indices] = rms
    return noise


def boxes_in_strips(frames: FrameSet) -> Iterator[Chunk]:
    """Yield all frames in one pass over their maps, some at a time, as kernels take them.

    A small map is a single strip, so strips are shared out further: every core shall have work.
    """
    for strip in frames.strips():
        y, x, width = (column[strip.indices] for column in (frames.y, frames.x, frames.width))
        # In columns a few frames wide, from below: what two rows of frames share is still in the cache.
        order = strip.indices[np.lexsort((x, y, x // (_IN_CACHE // 2 * max(1, int(np.median(width))))))]
        for start in range(0, len(order), _TOGETHER):
            chosen = order[start : start + _TOGETHER]
            y, x = frames.y[chosen] - np.int32(strip.y0), frames.x[chosen] - np.int32(strip.x0)
            height, width = frames.height[chosen], frames.width[chosen]
            low, high = int(y.min()), int((y + height).max())
            yield chosen, strip.pixels[low:high], y - np.int32(low), x, height, width


def small_pieces(chunk: Chunk) -> Iterator[Chunk]:
    """Share a chunk out in pieces that fit into the processor's cache, for work in several steps."""
    chosen, pixels, y, x, height, width = chunk
    for start in range(0, len(chosen), _IN_CACHE):
        part = slice(start, start + _IN_CACHE)
        yield chosen[part], pixels, y[part], x[part], height[part], width[part]


def clip_frames(
    strip: NDArray[np.float32],
    y: NDArray[np.int32],
    x: NDArray[np.int32],
    height: NDArray[np.int32],
    width: NDArray[np.int32],
    *,
    sigma: float = SIGMA,
    max_rounds: int = MAX_ROUNDS,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return background, rms and blank fraction of boxes of one array; see `clip_boxes`."""
    background, rms, valid = clip_boxes(strip, y, x, height, width, sigma=sigma, max_rounds=max_rounds)
    return background, rms, _blank_fraction(valid, height, width)


def _clip_chunk(chunk: Chunk, sigma: float, max_rounds: int) -> tuple[Any, ...]:
    return chunk[0], *clip_frames(*chunk[1:], sigma=sigma, max_rounds=max_rounds)


def _blank_chunk(chunk: Chunk) -> tuple[Any, ...]:
    indices, strip, y, x, height, width = chunk
    valid = np.empty(len(indices), np.int64)
    _count_valid(strip, y, x, height, width, valid)
    return indices, _blank_fraction(valid, height, width)


def _blank_fraction(valid: NDArray[Any], height: NDArray[Any], width: NDArray[Any]) -> NDArray[Any]:
    return (1.0 - valid / (height.astype(np.int64) * width)).astype(np.float32)


def _wide_boxes(frames: FrameSet, mesh: float) -> Iterator[Chunk]:
    """Yield regions `mesh` times as wide as their frames, on thinned maps.

    Rows are read once, in rising order: what two regions share is kept, thinned, between them.
    """
    for code in np.unique(frames.map_codes):
        sky = frames.maps[frames.map_names[code]]
        ny, nx = sky.shape
        members = np.flatnonzero(frames.map_codes == code)
        y, x, height, width = (
            column[members] for column in (frames.y, frames.x, frames.height, frames.width)
        )
        smallest = math.sqrt(float(np.min(height.astype(np.int64) * width)))
        # Pixels within a beam say the same again; but small frames need all they have.
        thin = max(1, min(int(mesh), int(mesh * smallest / 128)))
        low_y, high_y = _widen(y, height, mesh, ny, thin)
        low_x, high_x = _widen(x, width, mesh, nx, thin)
        held, first = np.empty((0, -(-nx // thin)), np.float32), 0
        order = np.lexsort((high_y, low_y))
        starts = np.flatnonzero(np.diff(low_y[order], prepend=-1))
        for group in np.split(order, starts[1:]):
            begin, end = int(low_y[group[0]]), int(high_y[group].max())
            held, first = held[max(0, begin - first) :], max(first, begin)
            if begin >= first + len(held):
                held, first = held[:0], begin
            last = first + len(held)
            if end > last:
                held = np.concatenate([held, *_thinned_rows(sky, last, end, thin)])
            boxes = low_y[group] - begin, low_x[group], (high_y - low_y)[group], (high_x - low_x)[group]
            top, left, tall, broad = (box.astype(np.int32) for box in boxes)
            yield members[group], held[: end - first], top, left, tall, broad


def _thinned_rows(sky: SkyMap, low: int, high: int, thin: int) -> Iterator[NDArray[np.float32]]:
    """Yield rows of a thinned map, some at a time: all columns of a wide map are much to hold at once."""
    ny, nx = sky.shape
    together = max(1, _READ // (4 * nx * thin))
    for top in range(low, high, together):
        end = min(top + together, high)
        yield sky.rows(top * thin, min(ny, end * thin))[::thin, ::thin].copy()


def _widen(start: NDArray[Any], length: NDArray[Any], mesh: float, limit: int, thin: int) -> tuple[Any, Any]:
    """Make intervals `mesh` times longer within [0, limit); return their ends on the thinned grid."""
    margin = (mesh - 1) / 2 * length
    low = np.maximum(0, np.floor(start - margin)).astype(np.int64)
    high = np.minimum(limit, np.ceil(start + length + margin)).astype(np.int64)
    return -(-low // thin), -(-high // thin)


def clip_boxes(
    strip: NDArray[np.float32],
    y: NDArray[np.int32],
    x: NDArray[np.int32],
    height: NDArray[np.int32],
    width: NDArray[np.int32],
    *,
    sigma: float = SIGMA,
    max_rounds: int = MAX_ROUNDS,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Sigma-clipped median and standard deviation of boxes of one array.

    Parameters
    ----------
    strip
        Pixels, float32, any of them not finite (blank).
    y, x, height, width
        The boxes, in pixels of `strip`, all inside it.
    sigma, max_rounds
        As in `measure_noise`.

    Returns
    -------
    background, rms, valid
        Median and standard deviation (NaN where nothing is valid), and the number of valid pixels.
    """
    n = len(y)
    background = np.full(n, np.nan, np.float32)
    rms = np.full(n, np.nan, np.float32)
    valid = np.zeros(n, np.int64)
    samples = np.empty((n, _SAMPLES), np.float32)
    counts = np.zeros(n, np.int64)
    _gather(strip, y, x, height, width, samples, counts)
    samples.sort(axis=1)
    exact = np.zeros(n, np.bool_)
    _clip_by_counts(
        strip, y, x, height, width, samples, counts, sigma, max_rounds, background, rms, valid, exact
    )
    for i in np.flatnonzero(exact):
        box = strip[y[i] : y[i] + height[i], x[i] : x[i] + width[i]]
        values = box[np.isfinite(box)]
        valid[i] = len(values)
        if len(values):
            values.sort()
            background[i], rms[i] = clip_sorted(values, sigma, max_rounds)
    return background, rms, valid


@njit(nogil=True, cache=True)
def _gather(strip, y, x, height, width, samples, counts):
    """Take up to `_SAMPLES` pixels of each box on a staggered lattice; blanks become +inf and sort last."""
    limit = samples.shape[1]
    for i in range(len(y)):
        step = max(1, math.ceil(math.sqrt(height[i] * width[i] / limit)))
        taken = 0
        finite = 0
        for row in range(0, height[i], step):
            # The lattice is shifted from row to row, or stripes could fall on all or on none of it.
            for column in range((row // step * 3) % step, width[i], step):
                if taken == limit:
                    break
                value = strip[y[i] + row, x[i] + column]
                if math.isfinite(value):
                    samples[i, taken] = value
                    finite += 1
                else:
                    samples[i, taken] = np.inf
                taken += 1
        for k in range(taken, limit):
            samples[i, k] = np.inf
        counts[i] = finite


@njit(nogil=True, cache=True)
def _clip_by_counts(  # noqa: PLR0913 - kernels take arrays one by one
    strip, y, x, height, width, samples, sample_counts, sigma, max_rounds, background, rms, valid, exact
):
    """Clip each box on the counts of its pixels; boxes that counts cannot describe are marked in `exact`."""
    counts = np.empty((4, _FINE + 2), np.uint32)
    beyond = np.empty((2, _COARSE, 3))
    size = _FINE + 2 * _COARSE
    bins = np.empty((size, 3))
    edges = np.empty(size + 1)
    total = np.empty((size + 1, 3))
    index = np.empty(max(1, width.max() if len(width) else 1), np.uint32)
    for i in range(len(y)):
        n = sample_counts[i]
        if n < 64:
            exact[i] = True
            continue
        centre = samples[i, n // 2]
        quartiles = np.float64(samples[i, (3 * n) // 4]) - np.float64(samples[i, n // 4])
        scale = quartiles / 1.349
        if not (1e-30 < scale < 1e30) or not abs(centre) < 1e6 * scale:
            exact[i] = True
            continue
        counts[:] = 0
        used = _count(
            strip, y[i], x[i], height[i], width[i], centre, np.float32(_PER_SIGMA / scale), scale, counts,
            beyond, index,
        )  # fmt: skip
        for k in range(1, _FINE + 1):
            counts[0, k] += counts[1, k] + counts[2, k] + counts[3, k]
        filled = 0
        for k in range(1 + (_BELOW - 2) * _PER_SIGMA, 1 + (_BELOW + 2) * _PER_SIGMA):
            if counts[0, k] > 0:
                filled += 1
        bins_n = _join(counts[0], beyond, used, bins, edges, total)
        found = int(total[bins_n, 0] - total[0, 0])
        crowded = 0.0
        for b in range(used):
            crowded = max(crowded, beyond[0, b, 0], beyond[1, b, 0])
        if found < _EXACT_BELOW or filled < 2 * _PER_SIGMA or crowded > _CROWDED * found:
            exact[i] = True
            continue
        valid[i] = found
        middle, deviation = _clip_counts(edges, bins, total, bins_n, sigma, max_rounds)
        background[i] = np.float32(centre + scale * middle)
        rms[i] = np.float32(scale * deviation)


@njit(nogil=True, cache=True)
def _count(strip, y0, x0, height, width, centre, per_unit, scale, counts, beyond, index):
    """Count the pixels of one box: bins 1.._FINE of `counts` are fine, `beyond` holds what lies outside.

    Returns the number of coarse bins used on either side; only those are valid.
    """
    low = np.float32(0.0)
    high = np.float32(_FINE + 1)
    offset = np.float32(_BELOW * _PER_SIGMA + 1)
    first, second, third, fourth = counts
    used = 0
    outside = np.int64(0)
    for row in range(y0, y0 + height):
        line = strip[row, x0 : x0 + width]
        # In two loops, because the first, without a branch, becomes vector instructions.
        for k in range(width):
            t = (line[k] - centre) * per_unit + offset
            t = t if t > low else low  # noqa: FURB136 - so that NaN becomes low
            t = t if t < high else high  # noqa: FURB136
            index[k] = np.uint32(np.int32(t))
        # Four tables in turn: neighbours share a bin, and a counter cannot be raised twice in a row at speed.
        end = width - width % 4
        for k in range(0, end, 4):
            first[index[k]] += np.uint32(1)
            second[index[k + 1]] += np.uint32(1)
            third[index[k + 2]] += np.uint32(1)
            fourth[index[k + 3]] += np.uint32(1)
        for k in range(end, width):
            first[index[k]] += np.uint32(1)
        seen = np.int64(0)
        for k in range(4):
            seen += np.int64(counts[k, 0]) + np.int64(counts[k, _FINE + 1])
        if seen > outside:
            outside = seen
            used = _count_beyond(line, centre, scale, index, beyond, used)
    return used


@njit(nogil=True, cache=True)
def _count_beyond(line, centre, scale, index, beyond, used):
    """Count those pixels of a row that the fine bins do not hold."""
    for k in range(len(line)):
        value = line[k]
        if 0 < index[k] <= _FINE or not math.isfinite(value):
            continue
        z = (np.float64(value) - np.float64(centre)) / scale
        side = 1 if z > 0 else 0
        # A value on the very border may belong to either side of it by rounding: it is put outside.
        u = max(z / _ABOVE if z > 0 else -z / _BELOW, 1.0)
        b = min(int(math.log2(u) * _PER_OCTAVE), _COARSE - 1)
        while used <= b:
            beyond[0, used, :] = 0.0
            beyond[1, used, :] = 0.0
            used += 1
        beyond[side, b, 0] += 1.0
        beyond[side, b, 1] += z
        beyond[side, b, 2] += z * z
    return used


@njit(nogil=True, cache=True)
def _join(fine, beyond, used, bins, edges, total):
    """Join fine and coarse bins in rising order, with running totals of count, sum and sum of squares."""
    width = 1.0 / _PER_SIGMA
    n = 0
    for b in range(used - 1, -1, -1):
        edges[n] = -_BELOW * 2.0 ** ((b + 1) / _PER_OCTAVE)
        for j in range(3):
            bins[n, j] = beyond[0, b, j]
        n += 1
    for k in range(_FINE):
        edges[n] = -_BELOW + k * width
        count = np.float64(fine[k + 1])
        middle = edges[n] + 0.5 * width
        bins[n, 0] = count
        bins[n, 1] = count * middle
        # Sheppard's correction: spreading values over a bin adds width^2 / 12 to their variance.
        bins[n, 2] = count * (middle * middle - width * width / 12.0)
        n += 1
    for b in range(used):
        edges[n] = _ABOVE * 2.0 ** (b / _PER_OCTAVE)
        for j in range(3):
            bins[n, j] = beyond[1, b, j]
        n += 1
    edges[n] = _ABOVE * 2.0 ** (used / _PER_OCTAVE)
    # From the middle outwards, or the square of one far outlier would drown all that comes after it.
    middle_bin = used + _BELOW * _PER_SIGMA
    for j in range(3):
        total[middle_bin, j] = 0.0
        for k in range(middle_bin, n):
            total[k + 1, j] = total[k, j] + bins[k, j]
        for k in range(middle_bin, 0, -1):
            total[k - 1, j] = total[k, j] - bins[k - 1, j]
    return n


@njit(nogil=True, cache=True)
def _clip_counts(edges, bins, total, n, sigma, max_rounds):
    """Clip on counts: median and standard deviation of what is left, in units of the first guess."""
    low = edges[0]
    high = edges[n]
    below = total[0].copy()
    above = total[n].copy()
    middle = 0.0
    deviation = 0.0
    for turn in range(max_rounds + 1):
        left = above[0] - below[0]
        if left <= 0.0:
            break
        mean = (above[1] - below[1]) / left
        deviation = math.sqrt(max((above[2] - below[2]) / left - mean * mean, 0.0))
        half = below[0] + 0.5 * left
        k = min(max(np.searchsorted(total[: n + 1, 0], half) - 1, 0), n - 1)
        share = (half - total[k, 0]) / bins[k, 0] if bins[k, 0] > 0 else 0.5
        middle = edges[k] + share * (edges[k + 1] - edges[k])
        if turn == max_rounds:
            break
        new_low = max(low, middle - sigma * deviation)
        new_high = min(high, middle + sigma * deviation)
        if new_low == low and new_high == high:
            break
        low = new_low
        high = new_high
        _total_at(low, edges, bins, total, n, below)
        _total_at(high, edges, bins, total, n, above)
        if left - (above[0] - below[0]) < 0.5:
            break
    return middle, deviation


@njit(nogil=True, cache=True)
def _total_at(value, edges, bins, total, n, out):
    """Count, sum and sum of squares of what lies below `value`."""
    k = min(max(np.searchsorted(edges[: n + 1], value) - 1, 0), n - 1)
    share = min(max((value - edges[k]) / (edges[k + 1] - edges[k]), 0.0), 1.0)
    for j in range(3):
        out[j] = total[k, j] + share * bins[k, j]


@njit(nogil=True, cache=True)
def clip_sorted(values: NDArray[Any], sigma: float, max_rounds: int) -> tuple[float, float]:
    """Clip sorted values exactly as astropy does; median and standard deviation of what is left."""
    first = 0
    last = len(values)
    middle = 0.0
    deviation = 0.0
    for turn in range(max_rounds + 1):
        n = last - first
        # Two passes in double precision, from the median: stable for any offset and range.
        middle = 0.5 * (np.float64(values[first + (n - 1) // 2]) + np.float64(values[first + n // 2]))
        mean = 0.0
        for k in range(first, last):
            mean += (np.float64(values[k]) - middle) / n
        square = 0.0
        for k in range(first, last):
            square += (np.float64(values[k]) - middle - mean) ** 2 / n
        deviation = math.sqrt(square)
        if turn == max_rounds:
            break
        low = middle - sigma * deviation
        high = middle + sigma * deviation
        new_first = first
        new_last = last
        while new_first < last and np.float64(values[new_first]) < low:
            new_first += 1
        while new_last > new_first and np.float64(values[new_last - 1]) > high:
            new_last -= 1
        if (new_first == first and new_last == last) or new_last == new_first:
            break
        first = new_first
        last = new_last
    return middle, deviation


@njit(nogil=True, cache=True)
def _count_valid(strip, y, x, height, width, valid):
    """Count the finite pixels of each box."""
    for i in range(len(y)):
        n = 0
        for row in range(y[i], y[i] + height[i]):
            line = strip[row, x[i] : x[i] + width[i]]
            for k in range(width[i]):
                # Finite minus itself is zero, anything else is NaN; a form that becomes vector instructions.
                n += 1 if line[k] - line[k] == 0 else 0
        valid[i] = n

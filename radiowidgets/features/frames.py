"""Frame features: named, interpretable numbers of each frame, measured without any training."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from radiowidgets.data.preprocess import shrink_into
from radiowidgets.data.sources import boxes_in_strips, measure_noise
from radiowidgets.features.structure import (
    AREA,
    FLOOD,
    FLUX,
    PEAK,
    XX,
    XY,
    YY,
    X,
    Y,
    count_peaks,
    entropy,
    island_asymmetry,
    label_islands,
    moments,
    orientation,
    shrink,
    starlet_energies,
    starlet_noise,
)
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from radiowidgets.data.frames import FrameSet, NoiseTable

NOMINAL_FWHM = 5.0  # pixels, where a map does not tell its beam
BEAM_FACTOR = math.pi / (4 * math.log(2))  # solid angle of a Gaussian beam over its FWHM squared
MESH = (
    3.0  # frame widths: the noise is that of the surroundings, so that an object filling its frame stands out
)
SCALES = 5
RESOLVED = 10.0  # beams; what is smaller is compact, and its shape is that of the beam
CLIP = np.float32(
    5.0
)  # rms; structure is measured on pixels clipped there, or it would be the brightest pixel's

TILE = 64  # pixels of the frame that is compressed
TILE_LOW, TILE_STEP = -8.0, 0.5  # rms; grey level 0, and from one grey level to the next

FEATURES: dict[str, str] = {
    "log_rms": "log10 of the frame's sigma-clipped noise, in the map's unit",
    "blank_fraction": "fraction of the frame's pixels without data, 0 to 1",
    "log_peak_snr": "log10 of the dynamic range: brightest pixel over the rms",
    "log_negative_snr": "log10 of the negative dynamic range: depth of the deepest hole over the rms",
    "background": "asinh of the frame's background above that of its surroundings, in rms",
    "log_noise_ratio": "log10 of the frame's noise over that of its surroundings",
    "skewness": "skewness of the pixels within 4 rms; above 0 for faint emission",
    "kurtosis": "excess kurtosis of the pixels within 4 rms; about 0 for Gaussian noise of one level",
    "orientation": "coherence of the gradients, 0 to 1; high where stripes or rays lie in one direction",
    "islands": "number of islands: 4-connected pixels above 2.5 rms with one above 5 rms",
    "peaks": "number of pixels above 5 rms that are the brightest within half a beam",
    "log_emission_beams": "log10 of 1 + area of all islands in tens of beams",
    "log_island_beams": "log10 of 1 + area of the largest island in tens of beams",
    "island_fill": "area of the largest island over that of the ellipse of its moments, if above 10 beams; "
    "1 for an ellipse, less for shells and arcs",
    "island_elongation": "log10 of the axis ratio of that ellipse, if above 10 beams",
    "island_asymmetry": "share of the largest island's flux that a half turn moves, if above 10 beams, 0 to 1",
    "extended_fraction": "share of the islands' flux in those twice as large as a point source would be, 0 to 1",
    "entropy": "Shannon entropy of the pixels in rms, in bits; 4.05 for Gaussian noise",
    "starlet_1": "log10 of 1 + energy of structure of about 0.7 beams, in that of noise; 0.3 for noise",
    "starlet_2": "the same of about 1.3 beams, less starlet_1; 0 for noise",
    "starlet_3": "the same of about 2.7 beams, less starlet_1; 0 for noise",
    "starlet_4": "the same of about 5 beams, less starlet_1; 0 for noise",
    "starlet_5": "the same of about 11 beams, less starlet_1; 0 for noise",
    "complexity": "bits per pixel that gzip needs for the smoothed frame of 64 x 64 grey levels",
}
"""What each column of `frame_features` means, and its unit."""

CONTEXT = ("log_rms", "blank_fraction")
"""Features that tell of the observation, not of the sky."""

(
    LOG_RMS,
    BLANK_FRACTION,
    LOG_PEAK_SNR,
    LOG_NEGATIVE_SNR,
    BACKGROUND,
    LOG_NOISE_RATIO,
    SKEWNESS,
    KURTOSIS,
    ORIENTATION,
    ISLANDS,
    PEAKS,
    LOG_EMISSION_BEAMS,
    LOG_ISLAND_BEAMS,
    ISLAND_FILL,
    ISLAND_ELONGATION,
    ISLAND_ASYMMETRY,
    EXTENDED_FRACTION,
    ENTROPY,
    STARLET,
) = range(19)
COMPLEXITY = STARLET + SCALES


def frame_features(
    frames: FrameSet, progress: str | Progress | None = None, *, client: Any = None, fill: bool = True
) -> pd.DataFrame:
    """Measure the features of every frame in one pass over its pixels.

    Parameters
    ----------
    frames
        The frames.
    progress
        Text of a progress bar, or a function that is told how many chunks are done, and of how many.
    client
        A `dask.distributed.Client` to work on, instead of threads.
    fill
        False leaves frames that tell nothing as NaN, for tables that are put together before `fill_features`.

    Returns
    -------
    pandas.DataFrame
        One row a frame, indexed by frame_id; the float32 columns of `FEATURES`, all finite.

    Notes
    -----
    Lengths are in beams and brightnesses in rms, so that frames of several maps compare. Background and rms
    are those of a region three times as wide as the frame, so that an object which fills its frame stands out;
    only `log_rms`, `skewness` and `kurtosis` speak of the frame's own noise. Where a map does not tell its beam,
    a FWHM of 5 pixels is assumed. Starlet and orientation take pixels clipped at 5 rms, or they would speak of
    the brightest source alone; the noise they are compared with is one that a Gaussian beam has correlated.
    Areas are counted in tens of beams, because what is smaller is compact.

    A frame that tells nothing (fewer than two beams or 64 valid pixels, or all pixels equal) gets the medians
    of the others, and its own `blank_fraction`.

    The complexity follows Segal et al. (2023), "Identifying anomalous radio sources in the Evolutionary Map of
    the Universe Pilot Survey using a complexity-based approach".
    """
    import pandas as pd

    values = np.zeros((len(frames), len(FEATURES)), np.float32)
    told = np.zeros(len(frames), np.bool_)
    own = frames.noise
    wide = measure_noise(frames, MESH, client=client) if frames.maps else own
    chunks = _chunks(frames, own, wide)
    for indices, block, block_told in map_chunks(_describe_chunk, chunks, client=client, progress=progress):
        values[indices] = block
        told[indices] = block_told
    values[~told] = np.nan
    values[:, BLANK_FRACTION] = own.blank_fraction
    table = pd.DataFrame(values, index=pd.Index(frames.frame_ids, name="frame_id"), columns=list(FEATURES))
    return fill_features(table) if fill else table


def fill_features(features: pd.DataFrame) -> pd.DataFrame:
    """Give frames that tell nothing the medians of the others (0 where none tells anything)."""
    return features.fillna(features.median()).fillna(0.0).astype(np.float32)


def comparable_features(features: pd.DataFrame) -> pd.DataFrame:
    """Return what a search for anomalies should see of the features.

    The columns `CONTEXT` are left out, and a frame that is partly blank is moved towards the median of all in
    proportion: what is measured on few pixels scatters more, and a border of the map is no discovery.
    """
    import pandas as pd

    sky = features.drop(columns=[name for name in CONTEXT if name in features.columns])
    if "blank_fraction" not in features.columns or not len(features):
        return sky
    values = sky.to_numpy()
    middle = np.median(values, axis=0)
    valid = 1 - features["blank_fraction"].to_numpy()[:, np.newaxis]
    return pd.DataFrame(middle + (values - middle) * valid, index=sky.index, columns=sky.columns)


def _chunks(frames: FrameSet, own: NoiseTable, wide: NoiseTable) -> Iterator[tuple[Any, ...]]:
    fwhm = np.full(len(frames.map_names), NOMINAL_FWHM)
    for code, name in enumerate(frames.map_names):
        area = frames.maps[name].beam_area_pixels if name in frames.maps else None
        if area is not None and math.isfinite(area) and area > 0:
            fwhm[code] = math.sqrt(area / BEAM_FACTOR)
    for chunk in boxes_in_strips(frames):
        i = chunk[0]
        noise = own.background[i], own.rms[i], wide.background[i], wide.rms[i]
        yield *chunk, np.column_stack(noise).astype(np.float64), fwhm[frames.map_codes[i]]


def _describe_chunk(chunk: tuple[Any, ...]) -> tuple[Any, ...]:
    indices, pixels, y, x, height, width, noise, fwhm = chunk
    # The starlet begins at a third of a beam or a little less, but small frames keep 16 pixels.
    factor = np.clip(fwhm // 3, 1, np.maximum(1, np.minimum(height, width) // 16)).astype(np.int32)
    expected = np.array(
        [starlet_noise(float(a), int(b), SCALES + 1) for a, b in zip(fwhm, factor, strict=True)]
    )
    out = np.zeros((len(indices), len(FEATURES)))
    told = np.zeros(len(indices), np.bool_)
    tiles = np.empty((len(indices), TILE, TILE), np.uint8)
    _describe(pixels, y, x, height, width, noise, fwhm, factor, expected, out, told, tiles)
    for i in np.flatnonzero(told):
        out[i, COMPLEXITY] = 8 * len(zlib.compress(tiles[i].tobytes(), 6)) / TILE**2
    return indices, out, told


@njit(nogil=True, cache=True)
def _describe(pixels, y, x, height, width, noise, fwhm, factor, expected, out, told, tiles):
    """Measure all features but the complexity, for which it leaves tiles of grey levels."""
    z = np.empty((1, 1), np.float32)
    valid = np.empty((1, 1), np.bool_)
    labels = np.empty((1, 1), np.int32)
    for i in range(len(y)):
        if z.shape[0] != height[i] or z.shape[1] != width[i]:
            z = np.empty((height[i], width[i]), np.float32)
            valid = np.empty((height[i], width[i]), np.bool_)
            labels = np.empty((height[i], width[i]), np.int32)
        row = out[i]
        beam = BEAM_FACTOR * fwhm[i] ** 2
        box = pixels[y[i] : y[i] + height[i], x[i] : x[i] + width[i]]
        background, rms, level, unit = _settle(box, noise[i], max(64.0, 2.0 * beam))
        if not unit > 0:
            continue
        told[i] = True
        n, low, high = _scale(box, level, unit, z, valid)
        row[LOG_RMS] = math.log10(rms)
        row[LOG_PEAK_SNR] = math.log10(max(high, 1.0))
        row[LOG_NEGATIVE_SNR] = math.log10(max(-low, 1.0))
        row[BACKGROUND] = math.asinh((background - level) / unit)
        row[LOG_NOISE_RATIO] = math.log10(rms / unit)
        row[SKEWNESS], row[KURTOSIS] = moments(z, valid, (background - level) / unit, rms / unit, 4.0)
        row[ENTROPY] = entropy(z, valid, n)
        row[PEAKS] = count_peaks(z, min(max(1, int(0.5 * fwhm[i] + 0.5)), 32))
        _describe_islands(z, labels, fwhm[i], beam, row)
        _make_tile(z, tiles[i])
        for j in range(z.shape[0]):
            for k in range(z.shape[1]):
                z[j, k] = min(max(z[j, k], -CLIP), CLIP)
        row[ORIENTATION] = orientation(z, valid, max(1, int(fwhm[i] / 3 + 0.5)))
        if factor[i] > 1:
            energies = starlet_energies(*shrink(z, valid, factor[i]), SCALES + 1)
        else:
            energies = starlet_energies(z, valid, SCALES + 1)
        _compare_scales(energies, expected[i], fwhm[i] / factor[i], row)


@njit(nogil=True, cache=True)
def _compare_scales(energies, expected, fwhm, row):
    """Fill in the starlet features from the energies of dyadic scales, on pixels a third to a sixth of a beam."""
    # Scales are powers of two of a pixel; interpolation makes them powers of two of a third of a beam.
    share = min(max(math.log2(fwhm / 3), 0.0), 1.0)
    for k in range(SCALES):
        fine = math.log10(max(energies[k] / expected[k], 1e-30))
        coarse = math.log10(max(energies[k + 1] / expected[k + 1], 1e-30))
        row[STARLET + k] = math.log10(1.0 + 10.0 ** (fine + share * (coarse - fine)))
        # Less the finest scale's: neither artefacts nor a wrong rms then raise all scales together.
        if k > 0:
            row[STARLET + k] -= row[STARLET]


@njit(nogil=True, cache=True)
def _settle(box, noise, least):
    """Return the frame's own background and rms, and those that its brightness is measured in.

    Where the surroundings have no noise the frame's own counts; where that is none, the scatter of all pixels.
    The last value is 0 where there is none, or fewer than `least` pixels are valid.
    """
    background, rms, level, unit = noise
    n = 0
    total = 0.0
    for row in box:
        for value in row:
            if math.isfinite(value):
                n += 1
                total += value
    if n < least:
        return 0.0, 0.0, 0.0, 0.0
    if not rms > 0:
        background = total / n
        square = 0.0
        for row in box:
            for value in row:
                if math.isfinite(value):
                    square += (value - background) ** 2
        rms = math.sqrt(square / n)
    if not (unit > 0 and math.isfinite(unit)):
        level, unit = background, rms
    if not (rms > 0 and math.isfinite(rms)):
        background, rms = level, unit
    # A rounded mean may leave a scatter of the last digit to pixels that are all the same.
    if not unit > 1e-7 * abs(background) or not 1e-300 < unit < 1e300:
        return 0.0, 0.0, 0.0, 0.0
    return background, rms, level, unit


@njit(nogil=True, cache=True)
def _scale(box, level, unit, z, valid):
    """Fill z and valid; return the number of valid pixels and the extremes of z."""
    level = np.float32(level)
    unit = np.float32(unit)
    limit = np.float32(1e15)  # so that squares and sums stay finite
    low = np.float32(0.0)
    high = np.float32(0.0)
    n = 0
    for y in range(box.shape[0]):
        for x in range(box.shape[1]):
            value = box[y, x]
            good = value - value == 0
            value = (value - level) / unit if good else np.float32(0.0)
            value = min(max(value, -limit), limit)
            z[y, x] = value
            valid[y, x] = good
            n += 1 if good else 0
            low = min(low, value)
            high = max(high, value)
    return n, np.float64(low), np.float64(high)


@njit(nogil=True, cache=True)
def _describe_islands(z, labels, fwhm, beam, row):
    """Fill in the features of islands."""
    row[ISLAND_FILL] = 1.0
    table = label_islands(z, labels)
    row[ISLANDS] = len(table)
    if len(table) == 0:
        return
    largest = 0
    area = 0.0
    flux = 0.0
    extended = 0.0
    for k in range(len(table)):
        area += table[k, AREA]
        flux += table[k, FLUX]
        if table[k, AREA] > table[largest, AREA]:
            largest = k
        # A point source stands above the threshold over a disc; some noise comes on top.
        point = 0.25 * math.pi * fwhm * fwhm * math.log2(table[k, PEAK] / FLOOD)
        if table[k, AREA] > 2.0 * point + beam:
            extended += table[k, FLUX]
    row[EXTENDED_FRACTION] = extended / flux
    row[LOG_EMISSION_BEAMS] = math.log10(1.0 + area / (RESOLVED * beam))
    island = table[largest]
    row[LOG_ISLAND_BEAMS] = math.log10(1.0 + island[AREA] / (RESOLVED * beam))
    if island[AREA] > RESOLVED * beam:
        middle = 0.5 * (island[XX] + island[YY])
        spread = math.sqrt(0.25 * (island[XX] - island[YY]) ** 2 + island[XY] ** 2)
        major = middle + spread
        minor = max(middle - spread, 1 / 12)
        row[ISLAND_FILL] = island[AREA] / (4 * math.pi * math.sqrt(major * minor))
        row[ISLAND_ELONGATION] = 0.5 * math.log10(major / minor)
        row[ISLAND_ASYMMETRY] = island_asymmetry(z, labels, largest + 1, island[X], island[Y])


@njit(nogil=True, cache=True)
def _make_tile(z, tile):
    """Shrink z to a tile, smooth it by (1, 2, 1) / 4 in x and in y, and cut it into grey levels."""
    box = np.zeros(1, np.int32)
    height = np.array([z.shape[0]], np.int32)
    width = np.array([z.shape[1]], np.int32)
    low = np.array([TILE_LOW], np.float32)
    high = np.array([TILE_LOW + 255 * TILE_STEP], np.float32)
    small = np.empty((1, TILE, TILE), np.float32)
    shrink_into(z, box, box, height, width, low, high, small)
    half = np.empty((TILE, TILE), np.float32)
    for y in range(TILE):
        above = small[0, max(y - 1, 0)]
        below = small[0, min(y + 1, TILE - 1)]
        for x in range(TILE):
            half[y, x] = np.float32(0.25) * (above[x] + below[x]) + np.float32(0.5) * small[0, y, x]
    for y in range(TILE):
        for x in range(TILE):
            sides = half[y, max(x - 1, 0)] + half[y, min(x + 1, TILE - 1)]
            value = np.float32(0.25) * sides + np.float32(0.5) * half[y, x]
            tile[y, x] = np.uint8(np.float32(255.0) * value + np.float32(0.5))

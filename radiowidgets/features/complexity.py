"""The coarse-grained complexity of a frame: what is left to be told of it once its noise is smoothed away."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.data.preprocess import shrink_boxes
from radiowidgets.data.sources import Chunk, boxes_in_strips, measure_noise, small_pieces
from radiowidgets.errors import ParameterError
from radiowidgets.features.frames import MESH
from radiowidgets.parallel import Progress, map_chunks

if TYPE_CHECKING:
    import pandas as pd

    from radiowidgets.data.frames import FrameSet

TILE = 64  # pixels of the tile that is compressed
LEVELS = 40  # grey levels above the lowest
STEP = 1.0  # rms from one grey level to the next
EFFORT = 6  # of gzip, from 1 to 9


def complexity(
    frames: FrameSet,
    *,
    tile: int = TILE,
    smooth: float = 0.0,
    levels: int = LEVELS,
    step: float = STEP,
    floor: float = 0.0,
    progress: str | Progress | None = None,
) -> pd.Series:
    """Measure how many bits a pixel gzip needs for each frame, made coarse first: the ranker of Segal et al.

    A frame I of background b and noise s becomes a tile of m x m whole numbers by area means R and a Gaussian G
    (smoothed and resized), and the length L of its compressed form is compared with that of an empty tile:

        g = round(min(max((G * R[I] - b - floor s) / (step s), 0), levels)),    C = 8 (L(g) - L(0)) / m^2

    This is the apparent complexity of Segal et al. (2019, PASP 131, 108007), a stand-in for the Kolmogorov complexity
    of the coarse-grained frame (Aaronson, Carroll and Ouellette 2014, arXiv:1405.6903), by which Segal et al. (2023,
    MNRAS 521, 1429) searched the EMU Pilot Survey in sliding windows of 256 pixels. A frame is measured without regard
    to any other, so that the order of two frames never depends on a third.

    Parameters
    ----------
    frames : FrameSet
        n frames.
    tile : int
        m: pixels of a side after resizing. The area means of a large frame smooth it already.
    smooth : float
        Standard deviation of the Gaussian in pixels of the tile; 0 for none.
    levels : int
        Grey levels above the lowest, up to 255.
    step : float
        From one grey level to the next, in rms. What is brighter than ``floor + levels * step`` is all one level.
    floor : float
        The lowest grey level, in rms above the background. Noise below it costs no bits.
    progress : str or callable, optional
        Text of a progress bar, or a function that is told how many chunks are done, and of how many.

    Returns
    -------
    Series
        ``complexity`` in bits a pixel, float32, indexed by frame_id: 0 for an empty frame, larger = more complex. Blank
        pixels count as empty.

    Raises
    ------
    ParameterError
        If a parameter is out of range.

    Notes
    -----
    Background and noise are those of a region three times as wide as the frame, as in `frame_features`, whose column
    ``complexity`` keeps finer grey levels and those below the background. gzip stands for any general compressor; its
    header costs as much in an empty tile and drops out.

    Examples
    --------
    >>> import radiowidgets as rw
    >>> frames = rw.cut_windows(rw.simulate("emu", size=256, seed=1), size=128)
    >>> complexity(frames).between(0, 8).all()
    np.True_
    """
    import pandas as pd

    _check(tile, smooth, levels, step, floor)
    noise = measure_noise(frames, MESH) if frames.maps else frames.noise
    low = np.nan_to_num(noise.background + floor * noise.rms).astype(np.float32)
    high = np.nan_to_num(noise.background + (floor + levels * step) * noise.rms).astype(np.float32)
    empty = _compressed(np.zeros((tile, tile), np.uint8))
    bits = np.zeros(len(frames), np.float32)

    def work(chunk: Chunk) -> None:
        for indices, pixels, y, x, height, width in small_pieces(chunk):
            share = shrink_boxes(pixels, y, x, height, width, low[indices], high[indices], tile)
            for index, grey in zip(indices, _greys(share, smooth, levels), strict=True):
                bits[index] = 8 * max(_compressed(grey) - empty, 0) / tile**2

    map_chunks(work, boxes_in_strips(frames), progress=progress)
    return pd.Series(bits, index=pd.Index(frames.frame_ids, name="frame_id"), name="complexity")


def _greys(share: np.ndarray, smooth: float, levels: int) -> np.ndarray:
    """Return (n, m, m) shares of the range as grey levels."""
    if smooth > 0:
        from scipy.ndimage import gaussian_filter

        share = gaussian_filter(share, (0, smooth, smooth), mode="nearest")
    return np.rint(share * levels).astype(np.uint8)


def _compressed(grey: np.ndarray) -> int:
    return len(zlib.compress(grey.tobytes(), EFFORT))


def _check(tile: Any, smooth: float, levels: Any, step: float, floor: float) -> None:
    for name, value, least, most in (("tile", tile, 4, 1024), ("levels", levels, 1, 255)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            raise ParameterError(f"{name} is {value!r}; give a whole number from {least} to {most}.")
    if not 0 <= smooth <= tile:
        raise ParameterError(f"smooth is {smooth!r}; give pixels of the tile, from 0 to {tile}.")
    if not (step > 0 and np.isfinite(step)):
        raise ParameterError(f"step is {step!r}; give a number of rms above 0.")
    if not np.isfinite(floor):
        raise ParameterError(f"floor is {floor!r}; give a number of rms.")

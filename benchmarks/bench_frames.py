"""Frames of a large map: cut, measure the noise of, and bring to 64 x 64 network input, beside astropy.

A map of 20,000 x 20,000 pixels (float32, big-endian, 1.6 GB; noise correlated by a beam, its rms varying; point
sources and extended ones; seeded) is written to a temporary folder. Windows of 256 pixels at step 128, about 24,000,
go through radiowidgets and, in the same run, frame by frame through straightforward astropy code (Cutout2D,
sigma_clipped_stats, ZScaleInterval). Where astropy would take more than three minutes, it runs on a random subset of
frames and its time is scaled; --full runs all of them. The file is in the page cache for both.

Usage: python benchmarks/bench_frames.py [--size 20000] [--full]
"""

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.stats import sigma_clipped_stats
from astropy.visualization import ZScaleInterval
from results import result
from scipy import ndimage

from radiowidgets.data.frames import FrameSet, cut_windows
from radiowidgets.data.maps import SkyMap
from radiowidgets.parallel import available_cores, map_chunks

FRAME, STEP, TILE = 256, 128, 64
FWHM = 5.0  # pixels
RMS = 20e-6  # Jy/beam
ROWS = 500  # written at a time
PATIENCE = 180.0  # seconds that astropy may take before a subset stands for all
SUBSET = 2000


def write_map(path: Path, size: int, seed: int = 1) -> None:
    """Write the mock map, some rows at a time."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = (
        True,
        -32,
        2,
        size,
        size,
    )
    for axis, name, value in ((1, "RA---SIN", 180.0), (2, "DEC--SIN", -45.0)):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = name, value, size / 2
        header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = (-2 if axis == 1 else 2) / 3600, "deg"
    header["BUNIT"], header["BMAJ"], header["BMIN"], header["BPA"] = "Jy/beam", *2 * [2 * FWHM / 3600], 0.0
    with path.open("wb") as file:
        file.write(header.tostring().encode("ascii"))
        starts = range(0, size, ROWS)
        for first in range(0, len(starts), 8):  # eight blocks at a time, or all of them would be held
            for block in map_chunks(
                lambda y0: mock_rows(y0, min(ROWS, size - y0), size, seed), starts[first : first + 8]
            ):
                file.write(block)
        file.write(bytes(-size * size * 4 % 2880))


def mock_rows(y0: int, n: int, size: int, seed: int) -> bytes:
    """Some rows of the mock map, as they stand in a FITS file."""
    rng = np.random.default_rng([seed, y0])
    width = FWHM / 2.3548
    image = ndimage.gaussian_filter(
        rng.standard_normal((n, size), np.float32), width, mode="wrap", truncate=3.0
    )
    image *= 2 * np.sqrt(np.pi) * width
    y, x = np.arange(y0, y0 + n)[:, None] / 9000, np.arange(size) / 7000
    image *= (1 + 0.5 * np.sin(2 * np.pi * x) * np.cos(2 * np.pi * y)).astype(np.float32)
    count = rng.poisson(10 * n * size / FRAME**2)  # ten a frame
    snr = np.minimum(3 * (1 - rng.random(count)) ** (-1 / 0.8), 3e4)
    sigma = np.where(rng.random(count) < 0.05, rng.uniform(2, 8, count), 1.0) * width
    for peak, spread, row, column in zip(
        snr, sigma, rng.uniform(0, n, count), rng.uniform(0, size, count), strict=True
    ):
        reach = int(4 * spread) + 1
        rows = np.arange(max(0, int(row) - reach), min(n, int(row) + reach + 1))
        columns = np.arange(max(0, int(column) - reach), min(size, int(column) + reach + 1))
        down, across = (
            np.exp(-0.5 * ((places - at) / spread) ** 2) for places, at in ((rows, row), (columns, column))
        )
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += np.outer(peak * down, across).astype(
            np.float32
        )
    return (image * np.float32(RMS)).astype(">f4").tobytes()


class Memory:
    """Watches the anonymous memory of this process (RssAnon: what the page cache cannot give back)."""

    def __enter__(self) -> "Memory":
        self.peak, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        status = Path("/proc/self/status")
        while status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self.peak = max(self.peak, int(line.split()[1]) * 1024)
            if self._stop.wait(0.02):
                return


def timed(function, *arguments):
    started = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - started, result


def read_bytes(path: Path) -> int:
    total = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 24):
            total += len(block)
    return total


def ours(path: Path) -> tuple[dict[str, float], FrameSet, np.ndarray]:
    """Cut, measure and bring to network input; seconds."""
    cut, frames = timed(lambda: cut_windows(SkyMap.open(path), FRAME, STEP))
    one_pass, tiles = timed(lambda: frames.network_input(TILE, measure=True))
    return {"cut": cut, "all": cut + one_pass}, frames, tiles


def steps(path: Path) -> dict[str, float]:
    """Measure and bring to network input in two passes; seconds of each."""
    frames = cut_windows(SkyMap.open(path), FRAME, STEP)
    return {
        "noise": timed(lambda: frames.noise)[0],
        "network input": timed(lambda: frames.network_input(TILE))[0],
    }


def peers(
    path: Path, frames: FrameSet, chosen: np.ndarray
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """The same with astropy, frame by frame; seconds of each step, background and rms, tiles."""
    seconds = dict.fromkeys(("cut", "noise", "network input"), 0.0)
    noise = np.empty((len(chosen), 2))
    tiles = np.empty((len(chosen), TILE, TILE), np.float32)
    zscale = ZScaleInterval()
    with fits.open(path, memmap=True) as hdus:
        data = hdus[0].data
        for k, i in enumerate(chosen):
            begun = time.perf_counter()
            centre = frames.x[i] + (FRAME - 1) / 2, frames.y[i] + (FRAME - 1) / 2
            pixels = Cutout2D(data, centre, FRAME, copy=True).data
            cut = time.perf_counter()
            noise[k] = sigma_clipped_stats(pixels, sigma=3)[1:]
            measured = time.perf_counter()
            low, high = zscale.get_limits(pixels)
            scaled = np.clip((pixels - low) / (high - low), 0, 1)
            tiles[k] = scaled.reshape(TILE, FRAME // TILE, TILE, FRAME // TILE).mean(axis=(1, 3))
            for name, value in zip(
                seconds, (cut - begun, measured - cut, time.perf_counter() - measured), strict=True
            ):
                seconds[name] += value
    return seconds | {"all": sum(seconds.values())}, noise, tiles


def on_one_core(path: Path) -> float | None:
    """Our time where only one core may be used; None where this system cannot be told."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return ours(path)[0]["all"]
    finally:
        os.sched_setaffinity(0, cores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=20_000, help="width and height of the map in pixels")
    parser.add_argument(
        "--full", action="store_true", help="run astropy on every frame, however long it takes"
    )
    options = parser.parse_args()
    if options.size < FRAME:
        parser.error(f"--size is {options.size}; give at least {FRAME}")
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        warm, path = Path(folder) / "warm.fits", Path(folder) / "large.fits"
        write_map(warm, 512)
        compiled, _ = timed(ours, warm)
        written, _ = timed(write_map, path, options.size)
        read, size = timed(read_bytes, path)
        with Memory() as memory:
            ours(path)  # the first pass also pays for memory that the system has not handed out yet
            seconds, frames, tiles = ours(path)
            seconds = seconds | steps(path)
        single = on_one_core(path)

        rng = np.random.default_rng(2)
        trial = np.sort(rng.choice(len(frames), min(200, len(frames)), replace=False))
        estimate = peers(path, frames, trial)[0]["all"] / len(trial) * len(frames)
        chosen = np.arange(len(frames))
        if estimate > PATIENCE and not options.full:
            chosen = np.sort(rng.choice(len(frames), min(SUBSET, len(frames)), replace=False))
        theirs, noise, their_tiles = peers(path, frames, chosen)
        scale = len(frames) / len(chosen)
        theirs = {name: value * scale for name, value in theirs.items()}

    ratio = np.abs(frames.noise.rms[chosen] / noise[:, 1] - 1)
    shift = np.abs(frames.noise.background[chosen] - noise[:, 0]) / noise[:, 1]
    found = {
        "map": f"{options.size} x {options.size}, {size / 1e9:.2f} GB",
        "frames": len(frames),
        "cores": available_cores(),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "seconds_one_core": None if single is None else round(single, 3),
        "seconds_astropy": {name: round(value, 1) for name, value in theirs.items()},
        "astropy_frames": len(chosen),
        "seconds_to_read_bytes": round(read, 3),
        "times_astropy": round(theirs["all"] / seconds["all"], 1),
        "times_astropy_one_core": None if single is None else round(theirs["all"] / single, 1),
        "peak_anonymous_GB": round(memory.peak / 1e9, 2),
        "rms_off_by": [float(f"{value:.1e}") for value in np.percentile(ratio, [50, 99])],
        "background_off_by_rms": [float(f"{value:.1e}") for value in np.percentile(shift, [50, 99])],
        "largest_tile_difference": float(f"{np.abs(tiles[chosen, :, :, 0] - their_tiles).max():.1e}"),
    }
    print(f"{found['map']}, written in {written:.0f} s; {available_cores()} cores")
    print(f"{len(frames)} frames of {FRAME} pixels at step {STEP}")
    print(f"first run in this process, on 9 frames (compiling or loading kernels): {compiled:.1f} s\n")
    which = "all frames" if scale == 1 else f"{len(chosen)} random frames, scaled"
    print(f"{'seconds':24}{'radiowidgets':>14}{'astropy':>12}{'ratio':>8}   (astropy: {which})")
    for name in ("cut", "noise", "network input", "all"):
        print(
            f"{name:24}{seconds[name]:14.3f}{theirs[name]:12.1f}{theirs[name] / max(seconds[name], 1e-6):8.0f}"
        )
    if single is not None:
        print(f"{'all, on one core':24}{single:14.3f}{theirs['all']:12.1f}{theirs['all'] / single:8.0f}")
    print(f"{'to merely read the bytes':24}{read:14.3f}")
    print(
        f"\npeak anonymous memory {memory.peak / 1e9:.2f} GB (the result alone is {tiles.nbytes / 1e9:.2f} GB)"
    )
    for name, values in (("rms, |ratio - 1|", ratio), ("background, |difference| / rms", shift)):
        print(f"{name:32} median {np.median(values):.5f}, 99th percentile {np.percentile(values, 99):.5f}")
    print(json.dumps({"benchmark": "frames", **found}))
    for name in ("cut", "noise", "network input", "all"):
        result(f"{name}, {len(frames)} frames", seconds[name], theirs[name], than="astropy")


if __name__ == "__main__":
    main()

"""How well a classifier on the frame features tells mock from real: an AUC of 0.5 where nothing tells, 1 where all do.

Each real map under RADIOWIDGETS_REALDATA meets mock maps of its size, pixel scale, beam, frequency and rms, made by a
preset whose settings are those of the telescope. Frames are 12 beams wide in both. The features are free of scale
(beams and rms), and the folds follow parts of the maps, so that no frame overlaps one that was learnt from. Two more
figures stand beside: mock against mock of other seeds, which is what the method gives where there is no difference,
and, where a survey has two maps, real against real, which is how far maps of one survey differ.

Usage: RADIOWIDGETS_REALDATA=... python benchmarks/bench_realism.py [--only scorpio] [--seeds 3] [--tells 4] [--png DIR]
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from results import result

import radiowidgets as rw
from radiowidgets.data.frames import FrameSet
from radiowidgets.data.simulate.presets import ARRAYS
from radiowidgets.ranking.separation import tell_apart

BEAMS = 12.0  # width of a frame
MOST = 1500  # frames of a map

_PIECE = {
    "edge_rise": 1.05,
    "blank": 0.0,
    "facet": 0.0,
}  # these maps are pieces from the midst of large mosaics
_SCORPIO = {
    **_PIECE,
    "array": ARRAYS["atca"],
    "pixel_scale": 1.5,
    "beam": (6.5, 6.5, 0.0),
    "frequency": 2.1e9,
    "rms": 50e-6,
    "artefact_snr": 100.0,
    "emission": 2.0,
    "rare": 1.0,
}
#: Unresolved sources show some 0.7 of their catalogued flux density in the SDC1 map: its rms of 0.32 uJy/beam is
#: 0.45 in units of its sources.
#: Real map, preset, and what differs from it: telescope, beam, pixel, frequency, and the rms of the emptiest frames.
PAIRS = {
    "sdc1": ("sdc1_sim/B1_1000h_0.3tr.fits", "sdc1-b1-1000h", {"rms": 0.45e-6}),
    "scorpio-s17": ("scorpio/ScorpioS17Field.fits", "smgps", {**_SCORPIO, "emission": 6.0}),
    "scorpio-snr": ("scorpio/ScorpioFaintSNRField.fits", "smgps", _SCORPIO),
    "lotss": (
        "lotss_dr1/P205+55-mosaic.fits",
        "emu",
        {
            **_PIECE,
            "array": ARRAYS["lofar"],
            "pixel_scale": 1.5,
            "beam": (6.0, 6.0, 0.0),
            "frequency": 144e6,
            "rms": 58e-6,
            "artefact_snr": 60.0,
            "stripes": 0.0,
            "rare": 1.0,
        },
    ),
    "magpis": (
        "magpis_g10.5/magpis_G10.5+0.0_20cm.fits",
        "smgps",
        {
            **_PIECE,
            "array": ARRAYS["vla-mosaic"],
            "pixel_scale": 2.0,
            "beam": (6.2, 5.4, 0.0),
            "frequency": 1.4e9,
            "rms": 240e-6,
            "emission": 2.0,
            "largest_scale": 0.0,  # short spacings come from a single dish
            "rare": 1.0,
        },
    ),
}


def frames_of(sky: rw.SkyMap) -> FrameSet:
    """Frames of `BEAMS` beams that overlap by half, or less where they would be too many."""
    fwhm = np.sqrt(sky.beam_area_pixels / 1.1331)
    size = round(BEAMS * fwhm)
    step = max(size // 2, int(np.sqrt(sky.pixels.size / MOST)))
    return rw.cut_windows(sky, size=size, step=step)


def mocks_of(sky: rw.SkyMap, preset: str, settings: dict, seeds: list[int]) -> list[rw.SkyMap]:
    """Mock maps of the size of a real one."""
    maps = []
    for seed in seeds:
        mock = rw.simulate(preset, size=max(sky.shape), seed=seed, **settings)
        maps.append(mock)
    return maps


def joined(maps: list[rw.SkyMap]) -> FrameSet:
    sets = [frames_of(sky) for sky in maps]
    return FrameSet(
        maps,
        np.repeat(np.arange(len(sets)), [len(part) for part in sets]),
        *(np.concatenate([getattr(part, name) for part in sets]) for name in ("x", "y", "width", "height")),
    )


def picture(path: Path, real: FrameSet, mock: FrameSet, seed: int = 0) -> None:
    """A contact sheet: real frames above, mock frames below, all in their own rms."""
    from matplotlib.image import imsave

    rng = np.random.default_rng(seed)
    rows = []
    for frames in (real, mock):
        chosen = rng.choice(len(frames), 24, replace=False)
        tiles = []
        for index in chosen:
            frame = frames[int(index)]
            z = np.arcsinh(np.clip((frame.pixels - frame.background) / frame.rms, -4, 60) / 2)
            tiles.append(np.pad(np.nan_to_num(z[::-1]), 1, constant_values=4.0))
        side = min(min(tile.shape) for tile in tiles)
        rows += [np.hstack([tile[:side, :side] for tile in tiles[k : k + 12]]) for k in (0, 12)]
    sheet = np.vstack([*rows[:2], np.full((4, rows[0].shape[1]), 4.0), *rows[2:]])
    imsave(path, np.kron(sheet, np.ones((2, 2))), cmap="inferno", vmin=-2, vmax=4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="pairs whose name begins so")
    parser.add_argument("--seeds", type=int, default=3, help="mock maps a real one")
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--tells", type=int, default=4, help="features to name")
    parser.add_argument("--no-controls", action="store_true")
    parser.add_argument("--png", type=Path, help="folder for contact sheets")
    options = parser.parse_args()
    folder = os.environ.get("RADIOWIDGETS_REALDATA")
    if not folder:
        parser.exit(1, "set RADIOWIDGETS_REALDATA to the folder of the real maps.\n")
    real_sets: dict[str, FrameSet] = {}
    print(f"{'pair':12} {'AUC':>5}  scatter  mock/mock  what tells (AUC of it alone, median real and mock)")
    for name, (path, preset, settings) in PAIRS.items():
        if options.only and not name.startswith(options.only):
            continue
        began = time.perf_counter()
        sky = rw.SkyMap.open(Path(folder) / path)
        real = frames_of(sky)
        real_sets[name] = real
        seeds = [options.first_seed + i for i in range(2 * options.seeds)]
        maps = mocks_of(sky, preset, settings, seeds[: options.seeds])
        mock = joined(maps)
        found = tell_apart(real, mock)
        floor = ""
        if not options.no_controls:
            others = joined(mocks_of(sky, preset, settings, seeds[options.seeds :]))
            floor = f"{tell_apart(mock, others).auc:.2f}"
        if options.png:
            options.png.mkdir(parents=True, exist_ok=True)
            picture(options.png / f"{name}.png", real, mock)
        tells = ", ".join(
            f"{row.Index} {row.auc:.2f} ({row.first:.2f}|{row.second:.2f})"
            for row in found.tells.head(options.tells).itertuples()
        )
        result(f"mock told from real, {name}", found.auc, unit="AUC")
        print(
            f"{name:12} {found.auc:5.2f}  +- {found.scatter:.2f}  {floor:>9}  {tells}  "
            f"[{len(real)} real, {len(mock)} mock, {time.perf_counter() - began:.0f} s]",
            flush=True,
        )
    if {"scorpio-s17", "scorpio-snr"} <= real_sets.keys() and not options.no_controls:
        found = tell_apart(real_sets["scorpio-s17"], real_sets["scorpio-snr"])
        print(f"real/real    {found.auc:5.2f}  +- {found.scatter:.2f}  the two maps of SCORPIO")


if __name__ == "__main__":
    main()

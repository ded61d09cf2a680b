"""Train the finder of the package, `radiowidgets.finding.pinpoint`: mock skies, network, thresholds, model card.

It goes on where it was stopped; --ship writes weights and card into the package. Nothing but this package goes in: no
real pixel, and no map of the data challenge. Thresholds are chosen on mock skies that trained nothing; how it does on
others, and on real data, benchmarks/bench_finders.py tells.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
import yaml

from radiowidgets.data.detection import measure_level
from radiowidgets.data.maps import SkyMap
from radiowidgets.data.simulate import simulate
from radiowidgets.finding import networks
from radiowidgets.finding.matching import match_sources, truth_table
from radiowidgets.finding.pinpoint import (
    NAME,
    SNRS,
    WEIGHTS,
    WIDTHS,
    PeakLoss,
    find_peaks,
    judged_peaks,
    peak_labels,
    peak_pixels,
    pinpoint_network,
)

SEED, SIZE = 1, 1024
MAPS, EPOCHS, BATCH, RATE, DECAY = 16, 6, 1024, 2e-3, 1e-4
TRAIN, VALIDATION, THRESHOLDS = 2000, 900, 3000  # where seeds of mock skies begin
#: rms of the deepest maps, least flux, and scale of both for the second band, Jy.
DEEPEST, SHALLOWEST, DEEP, FAINT, SECOND = 0.2e-6, 4e-6, 0.5e-6, 0.05e-6, 0.25
#: Mock skies on which thresholds are chosen: band and rms, about half of the presets', as clipped noise is.
CHECKS = {
    "sdc1-b1-1000h": ("b1", 0.3e-6),
    "sdc1-b1-100h": ("b1", 0.85e-6),
    "sdc1-b1-8h": ("b1", 3e-6),
    "sdc1-b2-1000h": ("b2", 0.08e-6),
}
RELIABILITIES, SPARE = (0.95, 0.9), 0.01
STEPS = np.append(np.round(np.arange(0.1, 0.99, 0.02), 2), (0.99, 0.995))


def mock(seed: int) -> SkyMap:
    """Return a mock sky of the data challenge, half of them as deep as 1000 h, the others at any depth."""
    rng = np.random.default_rng([seed, 77])
    band = "b1" if rng.random() < 0.7 else "b2"
    shallowest = SHALLOWEST if rng.random() < 0.5 else DEEP
    rms = np.exp(rng.uniform(np.log(DEEPEST), np.log(shallowest)))
    return challenge(band, float(rms) * (1.0 if band == "b1" else SECOND), seed)


def challenge(band: str, rms: float, seed: int) -> SkyMap:
    """Return a mock sky of a band of the data challenge, with sources down to far below its noise."""
    faint = FAINT * (1.0 if band == "b1" else SECOND)
    return simulate(f"sdc1-{band}-1000h", SIZE, seed, rms=rms, faintest=max(faint, 0.08 * rms) / rms)


def prepared(sky: SkyMap) -> tuple[np.ndarray, pd.DataFrame]:
    """Return a map in units of its noise, and its truth."""
    level, noise = measure_level(sky)
    return (np.asarray(sky.pixels) - level) / noise, truth_table(sky, rms=float(noise.mean()))


def label_map(shape: tuple[int, int], truth: pd.DataFrame) -> np.ndarray:
    """Return flux over mean rms in the pixel of each source above 1, 0 elsewhere; the brighter of two stays."""
    labels = np.zeros(shape, np.float32)
    bright = truth[truth["flux_over_rms"] > 1]
    row, column = (np.rint(bright[c]).astype(int).clip(0, s - 1) for c, s in zip("yx", shape, strict=True))
    np.maximum.at(labels, (row, column), bright["flux_over_rms"].to_numpy(np.float32))
    return labels


def samples(folder: Path, name: str, maps: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and labels of the peaks of mock skies, whose maps are kept in two files."""
    paths = [folder / f"{name}-{what}.npy" for what in ("maps", "labels")]
    if not paths[1].exists():
        images, truths = [], []
        for seed in range(first, first + maps):
            snr, truth = prepared(mock(seed))
            images.append(np.arcsinh(snr).astype(np.float16))
            truths.append(label_map(snr.shape, truth).clip(0, 6e4).astype(np.float16))
        for path, part in zip(paths, (images, truths), strict=True):
            np.save(path, np.stack(part))
    pixels, labels = [], []
    for image, truth in zip(*(np.load(path, mmap_mode="r") for path in paths), strict=True):
        snr = np.sinh(image.astype(np.float32))
        peaks = find_peaks(snr)
        pixels.append(peak_pixels(snr, *peaks).astype(np.float16))
        y, x = np.nonzero(truth)
        labels.append(peak_labels(snr, *peaks, x, y, truth[y, x]))
    return np.concatenate(pixels), np.concatenate(labels)


def train(folder: Path, maps: int, epochs: int, verbose: int = 2) -> keras.Model:
    """Train the network, or go on where it was stopped."""
    pixels, labels = samples(folder, f"train-{maps}", maps, TRAIN)
    others, other_labels = samples(folder, "validation", 8, VALIDATION)
    network = pinpoint_network(WIDTHS, seed=SEED)
    steps = len(pixels) // BATCH * epochs
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 20, steps, warmup_target=RATE, warmup_steps=steps // 20
    )
    network.compile(keras.optimizers.AdamW(rate, weight_decay=DECAY), PeakLoss())
    networks.fit(
        network,
        pixels,
        labels,
        (others[::4], other_labels[::4]),
        batch_size=BATCH,
        epochs=epochs,
        seed=SEED,
        about={"finder": NAME, "epochs": epochs, "rate": RATE},
        folder=folder / "run",
        verbose=verbose,
    )
    bare = pinpoint_network(WIDTHS)  # without what the optimizer keeps
    bare.set_weights(network.get_weights())
    return bare


def checked(network: keras.Model, seeds: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the thresholds for each of `SNRS`, and what they give on the mock skies on which they are chosen.

    A threshold for a reliability is the least from which on the sky has it, with 0.01 to spare; 'any' is for maps of
    which one does not know which sky they are like: the highest of all.
    """
    skies = {
        name: [_sky(network, *check, THRESHOLDS + k) for k in range(seeds)] for name, check in CHECKS.items()
    }
    thresholds: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    for snr in SNRS:
        own: dict[str, dict[str, float]] = {}
        for name, kind in skies.items():
            matched, found, there = sum(_curve(*sky, snr) for sky in kind).T
            reliability, completeness = matched / np.maximum(found, 1), matched / there
            f1 = 2 * matched / (found + there)
            chosen = {"f1": int(f1.argmax())}
            for wanted in RELIABILITIES:
                short = np.flatnonzero(reliability < wanted + SPARE)
                chosen[f"{wanted:g}"] = min(int(short[-1]) + 1 if len(short) else 0, len(STEPS) - 1)
            own[name] = {what: float(STEPS[k]) for what, k in chosen.items()}
            scores.setdefault(name, {})[f"{snr:g}"] = {
                what: [round(float(value[k]), 3) for value in (reliability, completeness, f1)]
                for what, k in chosen.items()
            }
        own["any"] = {what: max(each[what] for each in own.values()) for what in next(iter(own.values()))}
        thresholds[f"{snr:g}"] = own
    return thresholds, scores


def _sky(network: keras.Model, band: str, rms: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    snr, truth = prepared(challenge(band, rms, seed))
    return pd.DataFrame(judged_peaks(network, snr)), truth


def _curve(peaks: pd.DataFrame, truth: pd.DataFrame, snr: float) -> np.ndarray:
    """Return, for each of `STEPS`, how many were matched (3 pixels, one to one), found, and there."""
    there = truth[truth["flux_over_rms"] >= snr]
    rows = []
    for step in STEPS:
        kept = peaks[peaks[f"score_{snr:g}"] >= step]
        rows.append((len(match_sources(kept, there, factor=None)), len(kept), len(there)))
    return np.array(rows, float)


def ship(network: keras.Model, folder: Path, maps: int, epochs: int) -> None:
    """Choose thresholds; write weights and card into the package."""
    thresholds, scores = checked(network)
    network.save_weights(WEIGHTS / f"{NAME}.weights.h5", overwrite=True)
    state = json.loads((folder / "run" / "state.json").read_text(encoding="utf-8"))
    card = {
        "name": NAME,
        "what": "13 x 13 pixels round a peak, in units of the noise, to chances that it is a source, flux, and place",
        "widths": list(WIDTHS),
        "weights": int(network.count_params()),
        "data": {
            "what": f"mock skies alone: {maps} maps of {SIZE} pixels a side of sdc1-b1 and sdc1-b2 at any depth from "
            "1000 h to 8 h; no real pixel",
            "seeds": [TRAIN, TRAIN + maps],
        },
        "recipe": {
            "command": "tools/train_finder.py --ship",
            "what": "binary cross entropy of whether a peak is a source above 1, 2, 5 rms, squared errors of ln flux "
            "and place (finding.pinpoint.PeakLoss)",
            "epochs": epochs,
            "batch": BATCH,
            "optimizer": "adamw",
            "rate": RATE,
            "decay": DECAY,
            "hours": round(state["seconds"] / 3600, 2),
        },
        "thresholds": thresholds,
        "scores": {
            "mock": scores,
            "what": "reliability, completeness, F1 at each threshold, 3 pixels one to one",
        },
        "not_good_for": NOT_GOOD_FOR,
        "licence": "BSD-3-Clause",
    }
    (WEIGHTS / f"{NAME}.yaml").write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")
    print(yaml.safe_dump({"thresholds": thresholds, "scores": scores}, sort_keys=False, width=110))


NOT_GOOD_FOR = [
    "extended emission: it points at sources, and draws no masks",
    "maps of many resolved sources, such as of the Galactic plane",
    "beams far from round, and sidelobes: its mocks have none",
    "scores as probabilities in maps unlike its mocks: density and noise of another survey change them",
]


def main() -> None:
    """Train; command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where mock skies and checkpoints are kept")
    parser.add_argument("--maps", type=int, default=MAPS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--ship", action="store_true", help="write weights and card into the package")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    network = train(options.folder, options.maps, options.epochs)
    network.save_weights(options.folder / "network.weights.h5", overwrite=True)
    if options.ship:
        ship(network, options.folder, options.maps, options.epochs)


if __name__ == "__main__":
    main()

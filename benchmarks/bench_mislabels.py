"""How soon labels that were flipped on purpose are found, in the order of Relabel and in others.

A tenth of the labels is given another class at random; the classifiers that judge them (on the shipped encoder, out of
fold) have seen the wrong ones as well. Sets: mock objects of `models.mockframes` by their kind, and MiraBest (FR I,
FR II and hybrids, folds grouped by sky field), which the encoder never saw. Ways: ours, least odds of the label by
`judge_labels`; confident learning, least confidence and cleanlab (where installed) on the same probabilities; odds and
least confidence of the linear layer alone. The way was chosen on mock objects of other seeds. With --picture the first
twelve suspects are drawn.

    python benchmarks/bench_mislabels.py [--only mock|mirabest] [--seeds 10] [--picture OUT.png]
"""

import argparse
import os

from results import result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import numpy as np
import pandas as pd
from bench_encoder import mirabest

import radiowidgets as rw
from radiowidgets.data.frames import FrameSet
from radiowidgets.models import evaluate
from radiowidgets.models.mockframes import KINDS, mock_objects

FLIPPED = 0.1
OURS = "odds (ours)"


def flip(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which a tenth is another class, and which."""
    classes = np.unique(labels)
    wrong = rng.choice(len(labels), round(FLIPPED * len(labels)), replace=False)
    given = labels.copy()
    for index in wrong:
        given[index] = rng.choice(classes[classes != labels[index]])
    return given, wrong


def orders(given: np.ndarray, alone: np.ndarray, judged: np.ndarray) -> dict[str, np.ndarray]:
    """Return all frames in the order in which each way would show them."""
    _, codes = np.unique(given, return_inverse=True)

    def suspected(probabilities: np.ndarray, order: str = "odds") -> np.ndarray:
        table = evaluate.suspected_mislabels(given, probabilities, every=True, order=order)
        return table["index"].to_numpy()

    def least(probabilities: np.ndarray) -> np.ndarray:
        return np.argsort(probabilities[np.arange(len(given)), codes], kind="stable")

    found = {
        OURS: suspected(judged),
        "confident learning": suspected(judged, "confident learning"),
        "least confidence": least(judged),
        "odds, linear alone": suspected(alone),
        "least confidence, linear alone": least(alone),
    }
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return found
    issues = find_label_issues(codes, judged, return_indices_ranked_by="normalized_margin")
    quality = np.argsort(get_label_quality_scores(codes, judged, method="normalized_margin"), kind="stable")
    found["cleanlab"] = np.r_[issues, quality[~np.isin(quality, issues)]]
    return found


def shares(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, seeds: int) -> pd.DataFrame:
    """Return the share of the flips among the first suspects, as many as there are flips and fractions of that."""
    rows = []
    for seed in range(seeds):
        given, wrong = flip(labels, np.random.default_rng(seed))
        _, alone = evaluate.cross_validate(vectors, given, groups, seed=seed)
        judged = evaluate.judge_labels(vectors, given, groups, seed=seed)
        for way, order in orders(given, alone, judged).items():
            for part in (0.25, 0.5, 1.0, 2.0):
                first = round(part * len(wrong))
                rows.append((way, first, np.isin(order[:first], wrong).sum() / len(wrong)))
        rows += [("chance", round(part * len(wrong)), part * FLIPPED) for part in (0.25, 0.5, 1.0, 2.0)]
    table = pd.DataFrame(rows, columns=["way", "first", "found"])
    return table.groupby(["way", "first"])["found"].agg(["mean", "std"]).unstack("first").round(3)


def draw(frames: FrameSet, vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, place: Path) -> None:
    """Draw the first twelve suspects of MiraBest with both labels; flipped ones are marked."""
    import matplotlib.pyplot as plt

    given, wrong = flip(labels, np.random.default_rng(0))
    judged = evaluate.judge_labels(vectors, given, groups)
    first = evaluate.suspected_mislabels(given, judged, every=True)[:12]
    figure, axes = plt.subplots(3, 4, figsize=(10, 8.4), layout="constrained")
    for axis, row in zip(axes.flat, first.itertuples(), strict=True):
        pixels = np.nan_to_num(frames[row.index].pixels)
        axis.imshow(np.arcsinh(pixels / (pixels.std() + 1e-12)), cmap="inferno", origin="lower")
        was = f", flipped from {labels[row.index]}" if row.index in wrong else ""
        axis.set_title(f"{row.label} → {row.suggested}?{was}", fontsize=9)
        axis.set_axis_off()
    figure.savefig(place, dpi=100)


def tell(name: str, table: pd.DataFrame) -> None:
    """Print a table, and as a result the shares among as many suspects as there are flips."""
    print(table.to_string())
    found = table["mean"].iloc[:, 2]
    for way in found.index.drop(OURS):
        result(
            f"{name}: flips among the suspects", found[OURS], found[way], unit="share", more=True, than=way
        )


def on_mocks(count: int, seeds: int) -> None:
    """Print the table of mock objects, of other seeds than the way was chosen on."""
    mocks, kinds = mock_objects(count, seed=93)
    print(f"mock objects: {len(mocks)}, {len(KINDS)} kinds, {round(FLIPPED * len(mocks))} flipped")
    tell("mock objects", shares(rw.embed(mocks), kinds, None, seeds))


def on_mirabest(seeds: int, picture: Path | None) -> None:
    """Print the table of MiraBest, and draw its first twelve suspects."""
    frames, table = mirabest()
    labels, groups = table["fr"].to_numpy(str), table["group"].to_numpy()
    vectors = rw.embed(frames)
    print(
        f"\nMiraBest: {len(frames)}, {', '.join(np.unique(labels))}; {round(FLIPPED * len(frames))} flipped"
    )
    tell("MiraBest", shares(vectors, labels, groups, seeds))
    if picture:
        draw(frames, vectors, labels, groups, picture)


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--only", choices=("mock", "mirabest"))
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.only != "mirabest":
        on_mocks(options.objects, options.seeds)
    if options.only != "mock":
        on_mirabest(options.seeds, options.picture)


if __name__ == "__main__":
    main()

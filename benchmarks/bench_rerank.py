"""Time from one rating to a new order: ours, Astronomaly's retraining, and coniferest's.

Frames are drawn from a normal distribution; 64 columns of an embedding and 21 of features. Ours learns, orders the
candidates (the first 50,000 places and 5,000 at random), then all. Astronomaly's own code is run where it is installed;
our re-implementation of its first way of learning stands beside, marked so. The median of three.

    python benchmarks/bench_rerank.py [--frames 55773 1000000] [--ratings 100]
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable

import numpy as np
from results import result

from radiowidgets.errors import MissingExtraError
from radiowidgets.ranking.active import clipped_spread, learn
from radiowidgets.ranking.isolation import fit_forest, score_table
from radiowidgets.ranking.rankers import ActiveAnomaly, NeighbourScore, Protege

COLUMNS = (64, 21)
HEAD, DRAWN = 50_000, 5_000
CHUNK = 65_536


def median(what: Callable[[], object], times: int) -> float:
    """Return the median time in seconds; the first call, which compiles, is not counted."""
    what()
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        what()
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent))


def ours(spread: np.ndarray, base: np.ndarray, ids: np.ndarray, ratings: dict, times: int) -> float:
    """Print how long the candidates take, and how long all frames; return the latter."""
    order = np.argsort(-base)
    rng = np.random.default_rng(1)
    rest = order[HEAD:]
    drawn = rng.choice(rest, min(DRAWN, len(rest)), replace=False)
    chosen = np.concatenate([order[:HEAD], drawn])

    def candidates() -> np.ndarray:
        found = learn(spread, base, index, ratings).score(chosen)
        return chosen[np.argsort(-found, kind="stable")]

    def whole() -> object:
        learnt = learn(spread, base, index, ratings)
        score = [learnt.score(slice(k, k + CHUNK)) for k in range(0, len(spread), CHUNK)]
        return score_table(ids, np.concatenate(score))

    import pandas as pd

    index = pd.Index(ids)
    index.get_indexer(ids[:1])  # the index of the names is made once a run
    first, last = median(candidates, times), median(whole, times)
    print(f"  ours, {len(chosen)} candidates  {first:8.3f} s")
    print(f"  ours, whole order        {last:8.3f} s", flush=True)
    return last


def others(values: np.ndarray, labels: np.ndarray, base: np.ndarray, times: int, mine: float) -> None:
    """Print how long the rivals take to learn and to score all frames, beside our time."""
    rivals = {
        "neighbour score (our re-implementation of Astronomaly's)": NeighbourScore,
        "Gaussian process, expected improvement (likewise)": Protege,
        "coniferest AADForest": ActiveAnomaly,
    }
    for name, make in rivals.items():
        ranker = make()
        try:
            spent = median(lambda ranker=ranker: ranker.fit(values, labels).score(values), times)
        except MissingExtraError as error:
            print(f"  {name}: {error}")
            continue
        print(f"  {name}  {spent:8.3f} s", flush=True)
        result(f"a rating to a new order of {len(values)} frames", mine, spent, than=name)
    astronomaly(values, labels, base, times)


def astronomaly(values: np.ndarray, labels: np.ndarray, base: np.ndarray, times: int) -> None:
    """Print how long Astronomaly's own stages take, where it is installed."""
    import tempfile

    import pandas as pd

    try:
        from astronomaly.anomaly_detection import human_loop_learning as stages
    except ImportError:
        print("  Astronomaly: not installed")
        return
    names = [str(k) for k in range(len(values))]
    features = pd.DataFrame(values, index=names)
    score = 5 * (base - base.min()) / np.ptp(base)
    told = pd.DataFrame(
        {"score": score, "human_label": np.nan_to_num(labels, nan=-1).astype(int)}, index=names
    )
    with tempfile.TemporaryDirectory() as folder:
        stage = stages.NeighbourScore(output_dir=folder, force_rerun=True)
        spent = median(lambda: stage._execute_function(features.join(told)), times)
    print(f"  Astronomaly's NeighbourScore  {spent:8.3f} s", flush=True)


def main() -> None:
    """Print a block for each number of frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="*", default=[55_773, 1_000_000])
    parser.add_argument("--ratings", type=int, default=100)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="leave the others out")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for count in options.frames:
        rng = np.random.default_rng(0)
        values = rng.normal(size=(count, sum(COLUMNS))).astype(np.float32)
        spread = clipped_spread(values, blocks=COLUMNS)
        base = -fit_forest(values[:5000], 50, None, 0).score_samples(values)
        ids = np.array([f"map-{k:07d}" for k in range(count)])
        rated = rng.choice(count, options.ratings, replace=False)
        given = np.clip(np.round(1 + values[rated, 0] + values[rated, 1]), 0, 5)
        print(f"{count} frames, {options.ratings} ratings; load {os.getloadavg()[0]:.1f}")
        ratings = dict(zip(ids[rated].tolist(), given.tolist(), strict=True))
        mine = ours(spread, base, ids, ratings, options.times)
        if not options.ours:
            labels = np.full(count, np.nan)
            labels[rated] = given
            others(values, labels, base, options.times, mine)


if __name__ == "__main__":
    main()

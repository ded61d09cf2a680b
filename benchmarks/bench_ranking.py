"""Oracle campaigns on the MGCLS Protege set: how soon each ranker finds what a person called interesting.

Developed on half of the fields (``--half dev``), reported on the other (``--half test``); never tuned on the second.
Columns: what is found after looks at the same fractions of the objects as 20, 50, 100 and 200 of the whole published
set of 1,031, with the standard deviation over seeds. Real data: RADIOWIDGETS_REALDATA, else ../shared/data.

    python benchmarks/bench_ranking.py [--half dev|test|all] [--seeds 20] [--least 4]
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from bench_encoder import protege

import radiowidgets as rw
from radiowidgets.features.frames import comparable_features
from radiowidgets.ranking.campaign import compare
from radiowidgets.ranking.rankers import RANKERS, Size

PUBLISHED = 1031  # objects of the whole set
LOOKS = (20, 50, 100, 200)


def halves(ids: pd.Series) -> np.ndarray:
    """Return which objects belong to the half of the fields that is developed on."""
    field = ids.str.extract(r"img(\d+)_")[0].astype(int).to_numpy()
    known = np.unique(field)
    return np.isin(field, np.random.default_rng(7).permutation(known)[: len(known) // 2])


def ceiling(values: np.ndarray, scores: np.ndarray, at: list[int], least: float) -> list[int]:
    """Return what ten-fold supervised regression on all ratings finds: the mean of the ranks of trees and ridge."""
    from scipy.stats import rankdata
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import BayesianRidge
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = KFold(10, shuffle=True, random_state=0)
    models = [
        make_pipeline(StandardScaler(), BayesianRidge()),
        ExtraTreesRegressor(200, max_features=0.33, random_state=0),
    ]
    told = sum(rankdata(cross_val_predict(model, values, scores, cv=folds)) for model in models)
    found = np.cumsum(scores[np.argsort(-told, kind="stable")] >= least)
    return [int(found[look - 1]) for look in at]


def main() -> None:
    """Print a table for each kind of values."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=["dev", "test", "all"], default="test")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--least", type=float, default=4)
    parser.add_argument("--rankers", nargs="*", default=[name for name in RANKERS if name != "pineforest"])
    options = parser.parse_args()
    frames, table, published = protege()
    embedding = rw.embed(frames)
    features = comparable_features(rw.frame_features(frames)).to_numpy()
    scores = table["score"].to_numpy(float)
    size = np.log(table["obj_size_pixels"].to_numpy(float))[:, None]
    mine = {"dev": halves(table["objid"]), "test": ~halves(table["objid"]), "all": np.ones(len(table), bool)}[
        options.half
    ]
    scores, count = scores[mine], int(mine.sum())
    at = [max(1, round(look * count / PUBLISHED)) for look in LOOKS]
    batch = max(2, round(10 * count / PUBLISHED))
    wanted = int((scores >= options.least).sum())
    print(
        f"{options.half}: {count} objects, {wanted} rated {options.least:g} or more; looks {at}, batches of {batch}"
    )
    print("by chance:", [round(wanted * look / count, 1) for look in at])
    kinds = {
        "56 published features, size": np.c_[published, size],
        "embedding, frame features, size": np.c_[embedding, features, size],
        "frame features, size": np.c_[features, size],
    }
    for name, every in kinds.items():
        values = every[mine]
        print(f"\n{name} ({values.shape[1]} columns)")
        print(f"  {'supervised, ten folds':24s}", ceiling(values, scores, at, options.least))
        rankers = {ranker: RANKERS[ranker] for ranker in options.rankers} | {"size alone": Size}
        for ranker, make in rankers.items():
            begun = time.perf_counter()
            found = compare(
                values,
                scores,
                {ranker: lambda seed, make=make: make(seed=seed)},
                looks=at[-1],
                batch=batch,
                interesting=options.least,
                seeds=1 if ranker == "size alone" else options.seeds,
            )
            chosen = (
                found[found["look"].isin(at)].groupby("look")["found"].agg(["mean", lambda v: v.std(ddof=0)])
            )
            told = ", ".join(f"{mean:.1f} ± {spread:.1f}" for mean, spread in chosen.to_numpy())
            print(f"  {ranker:24s} {told}   ({time.perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()

"""Oracle campaigns: how soon each ranker finds what is wanted, on real objects that were judged by people.

MGCLS Protege: human scores of 1 to 5; wanted are those from 4 on, and from 3 and 5 on. Developed on half of the
fields (``--half dev``), reported on the other (``--half test``). MiraBest: rare are Hybrid, head-tail, wide-angle tail
and double-double sources; halves by a hash of the position. Never tuned on the second half.

Columns: what is found after looks at the same fractions of the objects as 20, 50, 100 and 200 of the whole published
set of 1,031, as mean and standard deviation over seeds; the difference to the rank average with the 95 % interval of a
bootstrap over objects, which is paired: the same objects for both. Then how well the expected finds are calibrated.
Real data: RADIOWIDGETS_REALDATA, else ../shared/data.

    python benchmarks/bench_ranking.py [--data mgcls mirabest] [--half dev|test | --whole] [--seeds 20]
"""

import argparse
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from results import result

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from astropy.io import fits
from bench_encoder import DATA, protege

import radiowidgets as rw
from radiowidgets.features.frames import comparable_features
from radiowidgets.parallel import available_cores
from radiowidgets.ranking.active import clipped_spread
from radiowidgets.ranking.campaign import ActiveSession, expected_finds, simulate, worth_stopping
from radiowidgets.ranking.rankers import RANKERS, Ranker, Size

PUBLISHED = 1031  # objects of the whole set
LOOKS = (20, 50, 100, 200)
AHEAD = 100
BASELINE = "rank average"
RESAMPLED = 1000
RARE = ("head-tail", "wide-angle-tail", "double-double")


class Trial(NamedTuple):
    """Objects with ratings, values of several kinds as blocks of columns, and the half that each belongs to."""

    ratings: np.ndarray
    kinds: dict[str, list[np.ndarray]]
    development: np.ndarray
    least: tuple[float, ...]


def mgcls() -> Trial:
    """Return the objects of MGCLS with their human scores."""
    frames, table, published = protege()
    size = np.log(table["obj_size_pixels"].to_numpy(float))[:, None]
    ours = [rw.embed(frames), comparable_features(rw.frame_features(frames)).to_numpy()]
    kinds = {
        "56 published features": [published],
        "56 published features, size": [published, size],
        "embedding, frame features": ours,
        "embedding, frame features, size": [*ours, size],
    }
    field = table["objid"].str.extract(r"img(\d+)_")[0].astype(int).to_numpy()
    known = np.unique(field)
    half = np.isin(field, np.random.default_rng(7).permutation(known)[: len(known) // 2])
    return Trial(table["score"].to_numpy(float), kinds, half, (4, 3, 5))


def mirabest() -> Trial:
    """Return all sources of MiraBest; an astronomer who wants the rare ones rates those 5 and others 1."""
    folder = DATA / "mirabest_full_derived"
    table = pd.read_csv(folder / "labels.csv")
    images = [np.squeeze(fits.getdata(next(folder.rglob(name)), 1)) for name in table["file"]]
    frames = rw.FrameSet.from_images([np.asarray(image, np.float32) for image in images])
    rare = (table["fr"] == "Hybrid") | table["morph"].isin(RARE)
    ours = [rw.embed(frames), comparable_features(rw.frame_features(frames)).to_numpy()]
    size = np.log(table["las_arcsec"].to_numpy(float))[:, None]
    kinds = {"embedding, frame features": ours, "embedding, frame features, size": [*ours, size]}
    place = table["ra"].round().astype(int).astype(str) + "_" + table["dec"].round().astype(int).astype(str)
    half = np.array([int(hashlib.md5(text.encode()).hexdigest(), 16) % 2 == 0 for text in place])
    return Trial(np.where(rare, 5.0, 1.0), kinds, half, (4,))


def campaign(values: np.ndarray, ratings: np.ndarray, make: Callable[..., Ranker], seed: int) -> np.ndarray:
    """Return all objects in the order of the looks, what was not looked at by its last score."""
    looks, batch = scaled(len(ratings), LOOKS[-1]), max(2, scaled(len(ratings), 10))
    session = ActiveSession(values, make(seed=seed))
    simulate(session, ratings, looks=looks, batch=batch)
    order = np.argsort(-session.scores, kind="stable")
    return np.array([*session.looked, *order[~np.isin(order, session.looked)]])


def scaled(count: int, looks: int) -> int:
    """Return looks at the same fraction of `count` objects."""
    return max(1, round(looks * count / PUBLISHED))


def supervised(values: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Return the order of ten-fold supervised regression on all ratings: the mean of the ranks of trees and ridge."""
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
    told = sum(rankdata(cross_val_predict(model, values, ratings, cv=folds)) for model in models)
    return np.argsort(-told, kind="stable")


def found(orders: np.ndarray, ratings: np.ndarray, at: np.ndarray, least: float) -> np.ndarray:
    """Return what each order (k, n) finds after some looks, (k, looks)."""
    return np.cumsum(ratings[orders] >= least, axis=1)[:, at - 1]


def differences(
    ours: np.ndarray, theirs: np.ndarray, ratings: np.ndarray, at: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 2.5 and 97.5 % quantiles (looks,) of what ours finds more, over objects drawn with replacement.

    An object that is drawn twice is looked at twice where it stands in an order, one that is not is passed over.
    """
    rng, n = np.random.default_rng(0), len(ratings)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLED)
    wanted = ratings >= least
    gained = np.zeros((RESAMPLED, len(at)))
    for orders, sign in ((ours, 1), (theirs, -1)):
        for order in orders:
            looks = np.cumsum(drawn[:, order], axis=1)
            finds = np.cumsum(drawn[:, order] * wanted[order], axis=1)
            for k, look in enumerate(at):
                # Of an object on the brink only so many copies as there are looks left.
                last = (looks >= look).argmax(axis=1)
                row = np.arange(RESAMPLED)
                over = np.where(wanted[order[last]], looks[row, last] - look, 0)
                gained[:, k] += sign * (finds[row, last] - over) / len(orders)
    low, high = np.quantile(gained, [0.025, 0.975], axis=0)
    return low, high


def calibration(
    values: np.ndarray, ratings: np.ndarray, seed: int, *, least: float
) -> list[tuple[float, ...]]:
    """Return for each batch: share looked at, expected finds with interval, finds, whether to stop, found."""
    n = len(ratings)
    spread, ahead, batch = clipped_spread(values), scaled(n, AHEAD), max(2, scaled(n, 10))
    session, told = ActiveSession(values, seed=seed), []
    while len(session.looked) < 0.7 * n:
        if session.looked:
            labels = {k: ratings[k] for k in session.looked}
            coming = np.array(session.suggest(ahead))
            told.append(
                (
                    len(session.looked),
                    expected_finds(spread, np.arange(n), labels, coming, interesting=least, seed=seed),
                )
            )
        simulate(session, ratings, looks=len(session.looked) + batch, batch=batch)
    finds = np.r_[0, np.cumsum(ratings[session.looked] >= least)]
    return [
        (looks / n, *one, finds[looks + ahead] - finds[looks], worth_stopping(one), finds[looks])
        for looks, one in told
        if looks + ahead < len(finds)
    ]


def calibrated(rows: pd.DataFrame) -> pd.DataFrame:
    """Return expected and actual finds by the share looked at, and how often the interval holds them."""
    edges = [0, 0.05, 0.1, 0.2, 0.35, 1]
    rows["inside"] = (rows["finds"] >= rows["low"]) & (rows["finds"] <= rows["high"])
    rows["error"] = (rows["expected"] - rows["finds"]).abs()
    group = rows.groupby(pd.cut(rows["looked"], edges), observed=True)
    table = group[["expected", "low", "high", "finds", "error", "inside", "stop"]].mean()
    return table.assign(times=group.size())


def report(
    name: str, trial: Trial, chosen: np.ndarray, options: argparse.Namespace, pool: ProcessPoolExecutor
) -> tuple[list[dict], list[pd.DataFrame]]:
    """Run and print the campaigns of a trial; return rows of the table, and of the calibration."""
    # Catalogues come in the order of somebody's ranking: it shall not decide between equal scores.
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(chosen))
    ratings = trial.ratings[chosen]
    count = len(ratings)
    at = np.array([scaled(count, look) for look in LOOKS])
    print(f"\n{name}: {count} objects; looks {at.tolist()}, batches of {max(2, scaled(count, 10))}")
    rows, told = [], []
    for kind, blocks in trial.kinds.items():
        if options.kinds and kind not in options.kinds:
            continue
        parts = [block[chosen] for block in blocks]
        values = np.hstack(parts)
        rankers: dict[str, Callable[..., Ranker]] = {known: RANKERS[known] for known in options.rankers}
        seeds = dict.fromkeys(rankers, options.seeds)
        if "size" in kind:
            rankers["size alone"], seeds["size alone"] = Size, 1
        jobs = {
            known: [pool.submit(campaign, values, ratings, make, seed) for seed in range(seeds[known])]
            for known, make in rankers.items()
        }
        orders = {known: np.array([job.result() for job in jobs[known]]) for known in rankers}
        orders["supervised, ten folds"] = supervised(values, ratings)[None]
        for least in trial.least:
            wanted = int((ratings >= least).sum())
            chance = (wanted * at / count).round(1).tolist()
            print(
                f"\n{kind} ({values.shape[1]} columns), rated {least:g} or more: {wanted}, by chance {chance}"
            )
            for known, mine in orders.items():
                counts = found(mine, ratings, at, least)
                line = ", ".join(
                    f"{m:5.1f} ± {d:.1f}" for m, d in zip(counts.mean(0), counts.std(0), strict=True)
                )
                row = {"data": name, "values": kind, "least": least, "wanted": wanted, "ranker": known}
                row |= {f"found_{look}": m for look, m in zip(LOOKS, counts.mean(0), strict=True)}
                row |= {f"spread_{look}": d for look, d in zip(LOOKS, counts.std(0), strict=True)}
                if known.startswith("default") and BASELINE in orders:
                    low, high = differences(mine, orders[BASELINE], ratings, at, least)
                    row |= {f"low_{look}": v for look, v in zip(LOOKS, low, strict=True)}
                    row |= {f"high_{look}": v for look, v in zip(LOOKS, high, strict=True)}
                    gain = ", ".join(f"{a:+.1f} to {b:+.1f}" for a, b in zip(low, high, strict=True))
                    line += f"   more than the {BASELINE}: {gain}"
                print(f"  {known:24s} {line}", flush=True)
                rows.append(row)
        if options.calibration and "size" in kind:
            jobs = [
                pool.submit(calibration, values, ratings, seed, least=trial.least[0])
                for seed in range(options.calibration)
            ]
            names = ["looked", "expected", "low", "high", "finds", "stop", "found"]
            part = pd.DataFrame([row for job in jobs for row in job.result()], columns=names)
            told.append(part.assign(data=name, values=kind, wanted=int((ratings >= trial.least[0]).sum())))
    return rows, told


def main() -> None:
    """Print a table for each kind of values, and the calibration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", choices=["mgcls", "mirabest"], default=["mgcls", "mirabest"])
    parser.add_argument("--half", choices=["dev", "test", "all"], default="test")
    parser.add_argument("--whole", dest="half", action="store_const", const="all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rankers", nargs="*", choices=list(RANKERS), default=list(RANKERS))
    parser.add_argument("--kinds", nargs="*", help="of values; default: all")
    parser.add_argument("--calibration", type=int, default=3, help="campaigns; 0 = leave it out")
    parser.add_argument("--out", help="CSV to write")
    options = parser.parse_args()
    table: list[dict] = []
    told: list[pd.DataFrame] = []
    with ProcessPoolExecutor(available_cores(), mp_context=get_context("spawn")) as pool:
        for name in options.data:
            trial = {"mgcls": mgcls, "mirabest": mirabest}[name]()
            mine = {"dev": trial.development, "test": ~trial.development}.get(
                options.half, np.ones_like(trial.development)
            )
            more, expected = report(f"{name}, {options.half}", trial, mine, options, pool)
            table, told = table + more, told + expected
    for row in (row for row in table if row["ranker"] == "default"):
        rivals = [each for each in table if all(each[key] == row[key] for key in ("data", "values", "least"))]
        rival = next((each for each in rivals if each["ranker"] == BASELINE), None)
        what = f"{row['data']}, {row['values']}, rated {row['least']:g} or more: found in 50 of {PUBLISHED} looks"
        peer = rival["found_50"] if rival else None
        result(what, row["found_50"], peer, unit="objects", more=True, than=BASELINE if rival else "")
    if options.out:
        pd.DataFrame(table).to_csv(options.out, index=False)
    for part in told:
        print(
            f"\nexpected finds in the next {AHEAD} of {PUBLISHED} looks: {part['data'][0]}, {part['values'][0]}"
        )
        print(calibrated(part).round(2).to_string())
        stopped = part[part["stop"]]
        if len(stopped):
            share = stopped["found"] / stopped["wanted"]
            print(
                f"when it says stop: {share.mean():.0%} found, {stopped['finds'].mean():.2f} in the next looks"
            )


if __name__ == "__main__":
    main()

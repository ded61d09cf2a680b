"""Learning from the astronomer: how ratings move the order."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError

FULL_WEIGHT = (
    80  # ratings after which the order follows the ratings alone; a tenth of the frames where that is less
)
HIGHEST = 5.0


def learn_from_ratings(
    values: np.ndarray,
    base: np.ndarray,
    ids: np.ndarray,
    labels: Mapping[str, float] | pd.Series,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, str]:
    """Move a first order towards what was rated high.

    The place in the first order is averaged with the place by the interest that extra trees and a ridge
    regression predict from the ratings; the second counts for n / 80 after n ratings, and alone from 80 on (of
    fewer than 800 frames, from a tenth of them on).

    Parameters
    ----------
    values : (n, d) array
        Features or embedding of the frames.
    base : (n,) array
        First scores, larger = more anomalous.
    ids : (n,) array of str
        frame_id of each row.
    labels : mapping of frame_id to interest (0-5)
        Frames that are not among `ids` are left aside.
    seed : int
        Seed of the trees.

    Returns
    -------
    score : (n,) array
        In [0, 1], larger = look first.
    note : str
        What was done, in words.
    """
    ratings, rows = rated_rows(ids, labels)
    if len(rows) == 0:
        return base, "no rated frame is among these"
    if len(np.unique(ratings)) < 2:
        return base, f"all {len(rows)} ratings are {ratings[0]:g}, so there is nothing to learn from yet"
    spread = clipped_spread(values)
    trees, ridge = fit_ratings(spread[rows], ratings, seed)
    predicted = 0.5 * _share_below(trees.predict(spread)) + 0.5 * _share_below(ridge.predict(spread))
    weight = weight_of_ratings(len(rows), len(values))
    score = (1 - weight) * _share_below(base) + weight * predicted
    return score, f"your {len(rows)} ratings count for {weight:.0%}, the first ranking for {1 - weight:.0%}"


def rated_rows(ids: np.ndarray, labels: Mapping[str, float] | pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratings of those frames that are among `ids`, and their rows."""
    try:
        ratings = pd.Series(dict(labels), dtype=float).dropna()
    except (TypeError, ValueError) as error:
        raise ParameterError("labels must give each frame_id a number from 0 to 5, or None.") from error
    if ((ratings < 0) | (ratings > HIGHEST)).any():
        worst = ratings[(ratings < 0) | (ratings > HIGHEST)]
        raise ParameterError(f"the rating of {worst.index[0]} is {worst.iloc[0]:g}; give 0 to {HIGHEST:g}.")
    rows = pd.Index(ids).get_indexer(ratings.index)
    return ratings[rows >= 0].to_numpy(), rows[rows >= 0]


def kept_ratings(labels: Mapping[str, float] | pd.Series | None) -> str:
    """Return ratings as JSON, a text that tables copy at no cost."""
    ratings = {} if labels is None else pd.Series(dict(labels), dtype=float).dropna().to_dict()
    return json.dumps({str(frame_id): rating for frame_id, rating in ratings.items()})


def clipped_spread(values: np.ndarray) -> np.ndarray:
    """Return values in robust widths from their medians, within 10."""
    spread = values - np.median(values, axis=0)
    return np.clip(spread / np.maximum(1.4826 * np.median(np.abs(spread), axis=0), 1e-9), -10, 10)


def fit_ratings(spread: np.ndarray, ratings: np.ndarray, seed: int) -> tuple[Any, Any]:
    """Return the extra trees and the ridge regression of the rated frames, the same for the same seed."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge

    target = ratings / HIGHEST
    trees = ExtraTreesRegressor(200, min_samples_leaf=1, max_features="sqrt", random_state=seed, n_jobs=-1)
    trees.fit(spread, target)
    trees.n_jobs = 1  # threads would add the trees up in any order, and the last bits would differ
    return trees, Ridge(alpha=float(spread.shape[1])).fit(spread, target)


def weight_of_ratings(ratings: int, frames: int) -> float:
    """Return how much so many ratings count beside the first order, 0 to 1."""
    return min(1.0, ratings / max(10.0, min(FULL_WEIGHT, 0.1 * frames)))


def _share_below(values: np.ndarray) -> np.ndarray:
    """Return the share of the others that lie below each value (ties at their middle), in [0, 1]."""
    from scipy.stats import rankdata

    return (rankdata(values) - 1) / max(len(values) - 1, 1)

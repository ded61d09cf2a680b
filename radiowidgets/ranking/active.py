"""Learning from the astronomer: how ratings move the order."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError
from radiowidgets.ranking.trees import Forest

FULL_WEIGHT = (
    80  # ratings after which the first order no longer counts; a tenth of the frames where that is less
)
HIGHEST = 5.0


def learn_from_ratings(
    spread: np.ndarray,
    base: np.ndarray,
    ids: np.ndarray | pd.Index,
    labels: Mapping[str, float] | pd.Series,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, str]:
    """Move a first order towards what was rated high.

    The place in the first order is averaged with the place by the interest that extra trees and a Bayesian ridge
    regression predict from the ratings. Early on both count alike, so that what is unusual in a way not seen yet
    is still looked at; from 80 ratings on (of fewer than 800 frames, from a tenth of them on) the prediction counts
    alone.

    Parameters
    ----------
    spread : (n, d) array
        Features or embedding of the frames, as `clipped_spread` makes them.
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
    weight = weight_of_ratings(len(rows), len(spread))
    score = mixed(base, spread, fit_ratings(spread[rows], ratings, seed), weight)
    return score, f"your {len(rows)} ratings count for {weight:.0%}, the first ranking for {1 - weight:.0%}"


def rated_rows(
    ids: np.ndarray | pd.Index, labels: Mapping[str, float] | pd.Series
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratings of those frames that are among `ids`, and their rows."""
    try:
        ratings = pd.Series(dict(labels), dtype=float).dropna()
    except (TypeError, ValueError) as error:
        raise ParameterError("labels must give each frame_id a number from 0 to 5, or None.") from error
    if ((ratings < 0) | (ratings > HIGHEST)).any():
        worst = ratings[(ratings < 0) | (ratings > HIGHEST)]
        raise ParameterError(f"the rating of {worst.index[0]} is {worst.iloc[0]:g}; give 0 to {HIGHEST:g}.")
    rows = (ids if isinstance(ids, pd.Index) else pd.Index(ids)).get_indexer(ratings.index)
    return ratings[rows >= 0].to_numpy(), rows[rows >= 0]


def kept_ratings(labels: Mapping[str, float] | pd.Series | None) -> str:
    """Return ratings as JSON, a text that tables copy at no cost."""
    ratings = {} if labels is None else pd.Series(dict(labels), dtype=float).dropna().to_dict()
    return json.dumps({str(frame_id): rating for frame_id, rating in ratings.items()})


def clipped_spread(values: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Return values in standard deviations from the means (of `like`), within 6, as float32.

    So that no outlier rules a column.
    """
    values = np.asarray(values, dtype=np.float32)
    known = values if like is None else np.asarray(like, dtype=np.float32)
    width = known.std(axis=0, dtype=np.float64)
    spread = values - known.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread /= np.where(width > 0, width, 1.0).astype(np.float32)
    return np.clip(spread, -6, 6, out=spread)


def fit_ratings(spread: np.ndarray, ratings: np.ndarray, seed: int) -> tuple[Forest, Any]:
    """Return the extra trees and the Bayesian ridge regression of the rated frames, the same for the same seed."""
    from sklearn.linear_model import BayesianRidge

    target = ratings / HIGHEST
    return Forest.grow(spread, target, seed=seed), BayesianRidge().fit(spread.astype(np.float64), target)


def mixed(base: np.ndarray, spread: np.ndarray, models: tuple[Forest, Any], weight: float) -> np.ndarray:
    """Return the mean, `weight` for the models of `fit_ratings`, of the places in a first order and in theirs."""
    predicted = sum(0.5 * share_below(model.predict(spread)) for model in models)
    return (1 - weight) * share_below(base) + weight * predicted


def weight_of_ratings(ratings: int, frames: int) -> float:
    """Return how much so many ratings count beside the first order: half at first, later all."""
    full = max(10.0, min(FULL_WEIGHT, 0.1 * frames))
    return float(np.interp(ratings, [0.2 * full, full], [0.5, 1.0]))


def share_below(values: np.ndarray) -> np.ndarray:
    """Return the share of the others that lie below each value (ties at their middle), in [0, 1]."""
    from scipy.stats import rankdata

    return (rankdata(values) - 1) / max(len(values) - 1, 1)

"""Learning from the astronomer: how ratings move the order."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError
from radiowidgets.ranking.process import Process
from radiowidgets.ranking.trees import Forest

FULL_WEIGHT = (
    80  # ratings after which the first order no longer counts; a tenth of the frames where that is less
)
EARLY = 0.3  # what the first ratings count beside the first order
HIGHEST = 5.0


REFERENCE = 5_000  # frames at most, among which places are taken


class Places:
    """Which share of some known values lies below a value, ties at their middle.

    Between two known values the share rises steadily, and beyond the last it creeps towards the end, so that no two
    different values share a place.

    Parameters
    ----------
    known : (m,) array
        At least one value.
    """

    def __init__(self, known: np.ndarray) -> None:
        self._known, counts = np.unique(np.asarray(known, dtype=np.float64), return_counts=True)
        self._place = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
        self._width = max(float(self._known.std()), 1e-12)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the place of each value, in (0, 1)."""
        values = np.asarray(values, dtype=np.float64)
        place = np.interp(values, self._known, self._place)
        above, below = values > self._known[-1], values < self._known[0]
        place[above] = 1 - (1 - self._place[-1]) / (1 + (values[above] - self._known[-1]) / self._width)
        place[below] = self._place[0] / (1 + (self._known[0] - values[below]) / self._width)
        return place


class Learnt:
    """What the ratings so far teach, made by `learn`: gives scores of all frames, or of some at once.

    Attributes
    ----------
    text : str
        What was done, in words.
    moved : bool
        False where there is nothing to learn from yet: the first order stands.
    weight : float
        Of the models beside the first order.
    models : sequence
        What predicts the interest.
    places : list of Places
        By the first order and by each model; only where `moved`.
    """

    def __init__(
        self,
        base: np.ndarray,
        spread: np.ndarray,
        text: str,
        weight: float = 0.0,
        models: Sequence[Any] = (),
        reference: np.ndarray | None = None,
    ) -> None:
        self.text, self.weight, self.models = text, weight, models
        self.moved = bool(models)
        self._base, self._spread = base, spread
        if self.moved:
            known = spread[reference]
            self.places = [Places(base[reference]), *(Places(model.predict(known)) for model in models)]

    def score(self, rows: Any = None) -> np.ndarray:
        """Return the scores of some rows (default: all), larger = look first.

        In [0, 1] where the first scores are. A row has the same score whichever rows are asked for with it.

        Parameters
        ----------
        rows : (k,) array of int, optional
        """
        if rows is None:
            return self.score_others(self._base, self._spread)
        return self.score_others(self._base[rows], self._spread[rows])

    def score_others(self, base: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return the scores of frames of which first scores (k,) and values (k, d) are given."""
        if not self.moved:
            return base
        first, *others = self.places
        told = [place(model.predict(spread)) for place, model in zip(others, self.models, strict=True)]
        return (1 - self.weight) * first(base) + self.weight * np.mean(told, axis=0)


def learn(
    spread: np.ndarray,
    base: np.ndarray,
    ids: np.ndarray | pd.Index,
    labels: Mapping[str, float] | pd.Series,
    *,
    seed: int = 0,
    reference: np.ndarray | None = None,
) -> Learnt:
    """Learn from ratings, in time that does not grow with the number of frames.

    The place in the first order is averaged with the place by the interest that extra trees and a Gaussian process
    (`radiowidgets.ranking.process`) predict from the ratings. Early on the first order counts for 70 %, so that what
    is unusual in a way not seen yet is still looked at; from 80 ratings on (of fewer than 800 frames, from a tenth of
    them on) the predictions count alone. Places are those among all frames, of more than 5,000 among that many drawn.

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
        Seed of the trees and of the frames that places are taken among.
    reference : (m,) array of int, optional
        Rows among which places are taken instead.

    Returns
    -------
    Learnt

    Raises
    ------
    ParameterError
        If a rating is none.

    Examples
    --------
    >>> spread = np.linspace(-2, 2, 9)[:, None]
    >>> learnt = learn(spread, np.abs(spread[:, 0]), list("abcdefghi"), {"a": 5, "e": 0, "i": 0})
    >>> int(learnt.score().argmax()), learnt.moved
    (0, True)
    """
    ratings, rows = rated_rows(ids, labels)
    base = np.asarray(base, dtype=np.float64)
    if len(rows) == 0:
        return Learnt(base, spread, "no rated frame is among these")
    if len(np.unique(ratings)) < 2:
        text = f"all {len(rows)} ratings are {ratings[0]:g}, so there is nothing to learn from yet"
        return Learnt(base, spread, text)
    weight = weight_of_ratings(len(rows), len(spread))
    text = f"your {len(rows)} ratings count for {weight:.0%}, the first ranking for {1 - weight:.0%}"
    reference = reference_rows(len(spread), seed) if reference is None else reference
    models = fit_ratings(spread[rows], ratings, seed, spread[reference].var(axis=0))
    return Learnt(base, spread, text, weight, models, reference)


def learn_from_ratings(
    spread: np.ndarray,
    base: np.ndarray,
    ids: np.ndarray | pd.Index,
    labels: Mapping[str, float] | pd.Series,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, str]:
    """Return the scores of all frames by `learn`, and what was done, in words."""
    learnt = learn(spread, base, ids, labels, seed=seed)
    return learnt.score(), learnt.text


def reference_rows(count: int, seed: int = 0) -> np.ndarray:
    """Return the rows among which places are taken: all, or `REFERENCE` drawn from them."""
    if count <= REFERENCE:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, REFERENCE, replace=False, shuffle=False))


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


def clipped_spread(
    values: np.ndarray, like: np.ndarray | None = None, blocks: Sequence[int] | None = None
) -> np.ndarray:
    """Return values in standard deviations from the means (of `like`), within 6, as float32.

    So that no outlier rules a column.

    Parameters
    ----------
    values : (n, d) array
    like : (m, d) array, optional
    blocks : sequence of int, optional
        Columns of each part that the values are made of, an embedding and frame features, say: each part then has
        the same variance in all, so that neither drowns the other.
    """
    values = np.asarray(values, dtype=np.float32)
    known = values if like is None else np.asarray(like, dtype=np.float32)
    width = known.std(axis=0, dtype=np.float64)
    spread = values - known.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread /= np.where(width > 0, width, 1.0).astype(np.float32)
    np.clip(spread, -6, 6, out=spread)
    if blocks is not None and len(blocks) > 1:
        spread *= block_factors(blocks, values.shape[1])
    return spread


def block_factors(blocks: Sequence[int], columns: int) -> np.ndarray:
    """Return what columns of the variance 1 are multiplied by, so that each block has the same variance in all."""
    counts = np.asarray(blocks)
    if counts.ndim != 1 or (counts < 1).any() or counts.sum() != columns:
        raise ParameterError(f"blocks are {list(blocks)}; give the columns of each part, {columns} together.")
    return np.repeat(np.sqrt(columns / (len(counts) * counts)), counts).astype(np.float32)


def fit_ratings(
    spread: np.ndarray, ratings: np.ndarray, seed: int, variance: np.ndarray | None = None
) -> tuple[Forest, Process]:
    """Return the extra trees and the Gaussian process of rated frames, the same for the same seed.

    Parameters
    ----------
    spread : (m, d) array
    ratings : (m,) array
        0-5, not all alike.
    seed : int
    variance : (d,) array, optional
        Of the columns, over all frames; default: 1.
    """
    target = ratings / HIGHEST
    return Forest.grow(spread, target, seed=seed), Process.fit(spread, target, variance, seed=seed)


def predict_interest(models: Sequence[Any], spread: np.ndarray) -> np.ndarray:
    """Return the interest (0-5) that models expect of rows (k, d), their mean."""
    return HIGHEST * np.mean([model.predict(spread) for model in models], axis=0)


def weight_of_ratings(ratings: int, frames: int) -> float:
    """Return how much so many ratings count beside the first order: a third at first, later all."""
    full = max(10.0, min(FULL_WEIGHT, 0.1 * frames))
    return float(np.interp(ratings, [0.2 * full, full], [EARLY, 1.0]))


def share_below(values: np.ndarray) -> np.ndarray:
    """Return the share of all values that lies below each of them (ties at their middle), in (0, 1)."""
    return Places(values)(values)

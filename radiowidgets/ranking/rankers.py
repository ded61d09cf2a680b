"""Rankers: rival ways of ordering frames, with one contract, so that a campaign can be run with each.

``fit(embedding, labels)`` takes what is known of n frames, an (n, d) array and their interest (0-5, NaN where nobody
rated), and ``score(embedding)`` returns n numbers, larger = look first. All are seeded. Rankers that learn from
ratings follow a first order until they have two different ratings: the Isolation Forest, ours its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from radiowidgets.errors import MissingExtraError, ParameterError, check_one_of
from radiowidgets.ranking.active import (
    HIGHEST,
    Places,
    clipped_spread,
    learn,
    share_below,
)
from radiowidgets.ranking.isolation import TREES, fit_forest
from radiowidgets.ranking.neighbours import far_off
from radiowidgets.ranking.trees import Forest

ALIKE = 0.5  # of the median distance to the nearest neighbours
INTERESTING = 3.0  # rating from which rankers that know only two classes call a frame interesting


class Ranker:
    """What all rankers share: seeds, checks, and the Isolation Forest before there is anything to learn from.

    Parameters
    ----------
    seed : int
        The same inputs and seed give the same scores.
    """

    learns = False

    waits = True  # follows the Isolation Forest as long as there is nothing to learn from

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self._first: Any = None

    def fit(self, embedding: np.ndarray, labels: np.ndarray | None = None) -> "Ranker":
        """Learn from all frames and the ratings of some.

        Parameters
        ----------
        embedding : (n, d) array
        labels : (n,) array of float, optional
            Interest 0-5; NaN = not rated.
        """
        embedding = np.asarray(embedding)
        labels = np.full(len(embedding), np.nan) if labels is None else np.asarray(labels, dtype=float)
        if embedding.ndim != 2 or labels.shape != (len(embedding),):
            raise ParameterError(
                f"embedding and labels have shapes {embedding.shape} and {labels.shape}; give (n, d) and (n,)."
            )
        rated = np.flatnonzero(np.isfinite(labels))
        self._cold = self.learns and self.waits and len(np.unique(labels[rated])) < 2
        if self._cold:
            self._forest(embedding)
        else:
            self._fit(embedding, labels, rated)
        return self

    def score(self, embedding: np.ndarray) -> np.ndarray:
        """Return (n,) numbers, larger = look first."""
        embedding = np.asarray(embedding)
        return -self._first[1].score_samples(embedding) if self._cold else self._score(embedding)

    def alike(self, frame: int, others: Sequence[int]) -> bool:  # noqa: ARG002
        """Tell whether a frame is so like one of these that it can wait for another batch."""
        return False

    def _forest(self, embedding: np.ndarray) -> Any:
        """Return the Isolation Forest of an embedding, grown once."""
        if self._first is None or self._first[0] is not embedding:
            self._first = (embedding, fit_forest(embedding, TREES, None, self.seed))
        return self._first[1]

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        raise NotImplementedError

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Isolation(Ranker):
    """Isolation Forest (Liu et al. 2008) of scikit-learn, as in Riggi et al. (2024), section 5.2."""

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:  # noqa: ARG002
        self._model = self._forest(embedding)

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        return -self._model.score_samples(embedding)


class FastIsolation(Isolation):
    """Isolation Forest of coniferest, several times faster; its order differs a little."""

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:  # noqa: ARG002
        forest = _coniferest("isoforest", "IsolationForest")
        self._model = forest(n_trees=TREES, n_subsamples=min(256, len(embedding)), random_seed=self.seed).fit(
            _doubles(embedding)
        )

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        return -self._model.score_samples(_doubles(embedding))


class LocalOutlier(Ranker):
    """Local outlier factor (Breunig et al. 2000) with 50 neighbours, as in Astronomaly."""

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:  # noqa: ARG002
        from sklearn.neighbors import LocalOutlierFactor

        count = max(1, min(50, len(embedding) - 1))
        self._fitted = embedding
        self._model = LocalOutlierFactor(n_neighbors=count, novelty=True).fit(embedding)

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        if embedding is self._fitted or np.array_equal(embedding, self._fitted):
            return -self._model.negative_outlier_factor_  # of frames that are not their own neighbours
        return -self._model.score_samples(embedding)


class Distance(Ranker):
    """Mean distance to the ten nearest neighbours, on standardised columns."""

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:  # noqa: ARG002
        self._of, self._spread = embedding, clipped_spread(embedding)

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        if embedding is self._of:
            return far_off(self._spread, seed=self.seed)
        return far_off(clipped_spread(embedding, self._of), self._spread, seed=self.seed)


class NeighbourScore(Ranker):
    """Astronomaly's first way of learning (Lochner & Bassett 2021, section 2.4): it only demotes.

    The first score S (0-5) is multiplied by tanh(exp(d / <d>) - 1 + artanh(0.1 + 0.85 U / 5)), where U is the
    interest that a random forest predicts and d the distance to the nearest rated frame.
    """

    learns = True

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        from scipy.spatial import cKDTree
        from sklearn.ensemble import RandomForestRegressor

        self._base = self._forest(embedding)
        self._near = cKDTree(embedding[rated])
        self._model = RandomForestRegressor(200, random_state=self.seed).fit(embedding[rated], labels[rated])

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        first = -self._base.score_samples(embedding)
        first = HIGHEST * (first - first.min()) / max(np.ptp(first), 1e-12)
        distance = self._near.query(embedding)[0]
        return neighbour_score(first, self._model.predict(embedding), distance)


def neighbour_score(
    first: np.ndarray, predicted: np.ndarray, distance: np.ndarray, alpha: float = 1.0
) -> np.ndarray:
    """Return Astronomaly's score from a first one (0-5), a predicted interest and the distance to what was rated."""
    trust = 0.1 + 0.85 * np.clip(predicted, 0.1, HIGHEST) / HIGHEST
    relative = distance / max(distance.mean(), 1e-300)
    return first * np.tanh(np.exp(alpha * relative) - 1 + np.arctanh(trust))


class Protege(Ranker):
    """Gaussian process with expected improvement, as in Astronomaly: Protege (Lochner & Rudnick 2024)."""

    learns = True
    tradeoff = 0.5

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern, WhiteKernel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of bounds that few ratings reach
            self._model = GaussianProcessRegressor(Matern() + WhiteKernel(), random_state=self.seed).fit(
                embedding[rated], labels[rated]
            )
        self._best = labels[rated].max()

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        from scipy.stats import norm

        mean, deviation = self._model.predict(embedding, return_std=True)
        gain = mean - self._best - self.tradeoff
        z = gain / np.maximum(deviation, 1e-12)
        return gain * norm.cdf(z) + deviation * norm.pdf(z)


class _Coniferest(Ranker):
    """Forests of coniferest, which learn from two classes."""

    learns = True
    module, forest = "", ""

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        values = _doubles(embedding)
        signs = np.where(labels[rated] >= INTERESTING, -1, 1)
        samples = min(256, len(values))
        model = _coniferest(self.module, self.forest)(
            n_trees=TREES, n_subsamples=samples, random_seed=self.seed
        )
        self._model = model.fit_known(values, values[rated], signs)

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        return -self._model.score_samples(_doubles(embedding))


class ActiveAnomaly(_Coniferest):
    """Active anomaly discovery (Das et al. 2017): weights of the leaves of an Isolation Forest, by coniferest."""

    module, forest = "aadforest", "AADForest"


class Pineforest(_Coniferest):
    """Pineforest of coniferest: keeps those trees that tell known anomalies from the rest."""

    module, forest = "pineforest", "PineForest"


class _Regression(Ranker):
    """Predicts the interest; subclasses say with what."""

    learns = True

    def _new(self) -> Any:
        raise NotImplementedError

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        from sklearn.preprocessing import StandardScaler

        self._scale = StandardScaler().fit(embedding)
        self._model = self._new().fit(self._scale.transform(embedding[rated]), labels[rated])

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        return self._model.predict(self._scale.transform(embedding))


class BayesianRidge(_Regression):
    """Bayesian ridge regression of the interest."""

    def _new(self) -> Any:
        from sklearn.linear_model import BayesianRidge as Model

        return Model()


class ExtraTrees(_Regression):
    """Extremely randomised trees that predict the interest."""

    def _new(self) -> Any:
        return _Trees(self.seed)


class _Trees:
    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, rows: np.ndarray, target: np.ndarray) -> Forest:
        share = 1 / np.sqrt(rows.shape[1])
        return Forest.grow(rows, target, trees=TREES, features=share, seed=self._seed)


class Boosting(_Regression):
    """LightGBM on the ratings (Ke et al. 2017), shallow as in Riggi et al. (2024), section 5.2."""

    def _new(self) -> Any:
        from radiowidgets.models.boosting import import_lightgbm

        return import_lightgbm().LGBMRegressor(
            n_estimators=100, max_depth=2, min_child_samples=3, random_state=self.seed, verbose=-1, n_jobs=1
        )


class Size(Ranker):
    """No ranker at all, but what any must beat: the order of one column, by default the last."""

    def __init__(self, column: int = -1, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._column = column

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        pass

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        return embedding[:, self._column]


class RankAverage(Ranker):
    """A plain average of ranks that moves, over 80 looks, from AAD and the Isolation Forest to trees and ridge."""

    learns = True
    full = 80

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        self._base = self._forest(embedding)
        self._early = ActiveAnomaly(seed=self.seed).fit(embedding, labels)
        self._late = [model(seed=self.seed).fit(embedding, labels) for model in (ExtraTrees, BayesianRidge)]
        self._weight = min(1.0, len(rated) / self.full)

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        early = share_below(self._early.score(embedding)) + share_below(-self._base.score_samples(embedding))
        late = sum(share_below(model.score(embedding)) for model in self._late)
        return (1 - self._weight) * early / 2 + self._weight * late / 2


class Blend(Ranker):
    """Ours: no choice to be made.

    It begins with the frames that are farthest from their ten nearest neighbours, and moves towards what is rated
    high, see `radiowidgets.ranking.active.learn`. Columns that are never negative are amounts, such as sizes, fluxes
    and counts, unlike the components of an embedding: both kinds count alike when it learns, however many components
    there are. A single amount beside components also says which way is unusual: the first order is then the mean of
    the places by distance and by that amount. Of frames that are much nearer to each other than frames usually are,
    one is suggested in a batch.
    """

    learns = True
    waits = False

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._of: Any = None

    def _fit(self, embedding: np.ndarray, labels: np.ndarray, rated: np.ndarray) -> None:
        if self._of is not embedding:
            self._begin(embedding)
        known = dict(zip(rated.tolist(), labels[rated].tolist(), strict=True))
        spread = self._spread * self._factors
        self._learnt = learn(spread, self._base, np.arange(len(embedding)), known, seed=self.seed)

    def _begin(self, embedding: np.ndarray) -> None:
        self._of, self._spread = embedding, clipped_spread(embedding)
        amounts = (embedding >= 0).all(axis=0) & (np.ptp(embedding, axis=0) > 0)
        kinds, count = (int(amounts.sum()), int((~amounts).sum())), len(amounts)
        self._factors = np.ones(count, np.float32)
        if all(kinds):
            self._factors = np.sqrt(count / 2 / np.where(amounts, *kinds)).astype(np.float32)
        self._amount = int(amounts.argmax()) if kinds[0] == 1 and kinds[1] else None
        self._far = far_off(self._spread, seed=self.seed)
        self._places = [Places(self._far)]
        if self._amount is not None:
            self._places.append(Places(embedding[:, self._amount]))
        self._base = self._begin_with(embedding, self._far)

    def _begin_with(self, embedding: np.ndarray, far: np.ndarray) -> np.ndarray:
        """Return the first order: places by the distance, and by the amount where there is one."""
        told = [far] if self._amount is None else [far, embedding[:, self._amount]]
        return np.mean([place(values) for place, values in zip(self._places, told, strict=True)], axis=0)

    def alike(self, frame: int, others: Sequence[int]) -> bool:
        """Tell whether a frame is so like one of these that it can wait for another batch."""
        if not len(others):
            return False
        apart = np.linalg.norm(self._spread[list(others)] - self._spread[frame], axis=1)
        return bool(apart.min() < ALIKE * np.median(self._far))

    def _score(self, embedding: np.ndarray) -> np.ndarray:
        if embedding is self._of:
            return self._learnt.score()
        spread = clipped_spread(embedding, self._of)
        base = self._begin_with(embedding, far_off(spread, self._spread, seed=self.seed))
        return self._learnt.score_others(base, spread * self._factors)


def _doubles(embedding: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(embedding, dtype=np.float64)


def _coniferest(module: str, name: str) -> Any:
    import importlib

    try:
        return getattr(importlib.import_module(f"coniferest.{module}"), name)
    except ImportError as error:
        raise _missing("coniferest") from error


def _missing(name: str) -> MissingExtraError:
    return MissingExtraError(
        f"{name} is not installed. Install it with pip install 'radiowidgets[boosting]'."
    )


RANKERS: Mapping[str, Callable[..., Ranker]] = {
    "default": Blend,
    "isolation forest": Isolation,
    "fast isolation forest": FastIsolation,
    "local outlier factor": LocalOutlier,
    "neighbour distance": Distance,
    "neighbour score": NeighbourScore,
    "protege": Protege,
    "aad": ActiveAnomaly,
    "pineforest": Pineforest,
    "bayesian ridge": BayesianRidge,
    "extra trees": ExtraTrees,
    "lightgbm": Boosting,
    "rank average": RankAverage,
}
"""Rankers by name."""


def make_ranker(name: str = "default", *, seed: int = 0) -> Ranker:
    """Return a ranker by its name in `RANKERS`.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    check_one_of("ranker", name, RANKERS)
    return RANKERS[name](seed=seed)

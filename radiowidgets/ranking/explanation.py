"""Why a frame stands where it does: what each feature adds to its score, and the same in words.

A tree says how a frame's value comes about: at each split the mean over the training frames that are left moves,
and the move belongs to the feature that is split on. The moves of all trees and the mean at their roots add up to
what the forest says, exactly (Palczewska et al. 2014, "Interpreting random forest classification models using a
feature contribution method"; for Isolation Forests the mean is that of the path length).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from radiowidgets.errors import ParameterError
from radiowidgets.features.frames import comparable_features
from radiowidgets.ranking.active import Learnt, clipped_spread, learn
from radiowidgets.ranking.isolation import FEATURED, FEW, TREES, fit_forest, has_sky, robust_distance
from radiowidgets.ranking.trees import Forest

SAMPLE = 50_000  # frames that a model of the score is fitted on, and that shares are counted among
SURROGATE_TREES = 60
AGREEMENT = 1e-6  # of refitted and written scores
CHECKED = 64  # frames on which they are compared
TOLD = 5  # sentences about features
EXTREME = 0.95
ODD = 0.75  # a value is high or low where this share of the frames lies on its other side
CANCELLED = 0.02  # share of the moves that their sum is, below which it says nothing of their signs
WORTH = 0.04  # share of what lifts a frame below which a feature is not told


class Plain(NamedTuple):
    """How a feature is spoken of: what it is, when high, when low, its value with a unit, and how to get that."""

    noun: str
    high: str
    low: str
    unit: str = ""
    value: str = "{}"
    convert: Callable[[float], float] = float

    def quantity(self, value: float) -> str:
        """Return a value, in `unit`, as text."""
        space = " " if self.unit not in {"", "%", "×"} else ""
        return f"{number(value)}{space}{self.unit}"


def _power(value: float) -> float:
    return 10.0 ** min(value, 300.0)


def _beams(value: float) -> float:
    return 10.0 * (_power(value) - 1.0)


def _percent(value: float) -> float:
    return 100.0 * value


def _structure(size: str) -> Plain:
    noun = f"structure on scales of about {size} beams"
    return Plain(
        noun,
        f"strong {noun}",
        f"weak {noun}",
        "×",
        "{} the power of the finest scale",
        _power,
    )


PLAIN = {
    "log_peak_snr": Plain("peak", "bright peak", "faint peak", "σ", convert=_power),
    "log_negative_snr": Plain(
        "deepest hole", "shallow holes only", "deep hole", "σ", convert=lambda value: -_power(value)
    ),
    "background": Plain(
        "background",
        "background above that of the surroundings",
        "background below that of the surroundings",
        "σ",
        convert=lambda value: math.sinh(min(max(value, -300.0), 300.0)),
    ),
    "log_noise_ratio": Plain(
        "noise",
        "noisier than the surroundings",
        "calmer than the surroundings",
        "×",
        "{} their rms",
        _power,
    ),
    "skewness": Plain(
        "skewness of the pixels within 4 σ",
        "faint emission skews the pixels within 4 σ",
        "faint holes skew the pixels within 4 σ",
        value="skewness {}",
    ),
    "kurtosis": Plain(
        "tails of the pixels within 4 σ",
        "heavy tails of the pixels within 4 σ (faint emission or uneven noise)",
        "light tails of the pixels within 4 σ",
        value="kurtosis {}",
    ),
    "orientation": Plain(
        "alignment of the structure",
        "structure along one direction (jet, filament, stripes or rays)",
        "structure in all directions alike",
        value="coherence {}",
    ),
    "islands": Plain("number of islands", "many islands", "few islands"),
    "peaks": Plain("number of peaks above 5 σ", "many peaks above 5 σ", "few peaks above 5 σ"),
    "log_emission_beams": Plain(
        "area of emission", "large area of emission", "small area of emission", "beams", convert=_beams
    ),
    "log_island_beams": Plain(
        "size of the largest island", "large island", "small islands only", "beams", convert=_beams
    ),
    "island_fill": Plain(
        "filling of the largest island",
        "island with wide faint surroundings",
        "hollow, bent or branched island",
        "%",
        "it fills {} of its ellipse",
        _percent,
    ),
    "island_elongation": Plain(
        "shape of the largest island", "elongated island", "round island", "", "axis ratio {}", _power
    ),
    "island_asymmetry": Plain(
        "symmetry of the largest island", "lopsided island", "symmetric island", "%", "asymmetry {}", _percent
    ),
    "extended_fraction": Plain(
        "share of extended emission",
        "emission mostly extended",
        "emission of point sources only",
        "%",
        "{} of the flux in extended islands",
        _percent,
    ),
    "entropy": Plain(
        "spread of the pixel values",
        "pixel values spread wide",
        "pixel values spread little",
        "bits",
        "entropy {}",
    ),
    "starlet_1": Plain(
        "structure on the finest scale, of about 0.7 beams",
        "strong structure on the finest scale, of about 0.7 beams",
        "weak structure on the finest scale, of about 0.7 beams",
        "×",
        "{} the power of noise",
        lambda value: _power(value) - 1.0,
    ),
    "starlet_2": _structure("1.3"),
    "starlet_3": _structure("2.7"),
    "starlet_4": _structure("5"),
    "starlet_5": _structure("11"),
    "complexity": Plain(
        "intricacy", "intricate, hard to compress", "plain, easy to compress", "bits a pixel"
    ),
}
"""The words of each of `radiowidgets.features.frames.FEATURES` that a ranking looks at."""

FAMILIES = (
    ("starlet_2", "starlet_3", "starlet_4", "starlet_5"),
    ("log_emission_beams", "log_island_beams"),
    ("islands", "peaks"),
    ("log_peak_snr", "entropy", "complexity"),
)
"""Features that say much the same, of which one is told."""

VAGUE = ("entropy", "complexity")
"""Features that say less to a person than others of their family."""

SHAPES = ("island_fill", "island_elongation", "island_asymmetry")
"""Features that frames without a resolved island do not have."""


class Explanation(NamedTuple):
    """Why a frame has its score.

    Attributes
    ----------
    contributions : DataFrame
        One row a feature, what moves the score most first: feature, value and typical (the frame's and the median
        frame's, in `unit`; NaN where it has none), below and above (shares of the frames with a smaller and with
        a larger value), contribution (to the score; below 0 it makes the frame less interesting).
    words : list of str
        Plain sentences, the most important first.
    baseline : float
        What the model expects of a frame of which it knows nothing.
    score : float
        baseline + the sum of the contributions: the score, or where `fidelity` is not None an estimate of it.
    fidelity : (float, float) or None
        R2 and rank correlation of the estimate, on frames that it was not fitted on; None where it is exact.
    """

    contributions: pd.DataFrame
    words: list[str]
    baseline: float
    score: float
    fidelity: tuple[float, float] | None


class Explainer:
    """Explain the scores of a ranking, frame by frame.

    The models behind the scores are fitted again from what ``scores.attrs`` keeps, with the same seed, and compared
    with the scores. Where they differ, or where the ranking looked at an embedding, a small forest that follows the
    scores by the features speaks instead, and says how well it does.

    Parameters
    ----------
    frames : FrameSet
    features : DataFrame
        Indexed by frame_id in the order of the frames.
    scores : DataFrame
        From `radiowidgets.rank` or ``Run.rerank``.
    embedding : (n, d) array, optional
        Where the ranking looked at one.
    base : DataFrame, optional
        The scores that ratings moved to `scores`; default: those of the forest.
    seed : int
        Where ``scores.attrs`` keeps none.
    """

    def __init__(
        self,
        frames: Any,
        features: pd.DataFrame,
        scores: pd.DataFrame,
        embedding: Any = None,
        base: pd.DataFrame | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if len(scores) != len(frames) or len(features) != len(frames):
            raise ParameterError(
                f"there are {len(frames)} frames, {len(features)} rows of features and {len(scores)} scores; "
                "give one of each a frame, in the same order."
            )
        self._sky = has_sky(frames)
        self._rows = np.flatnonzero(self._sky)
        self._place = np.cumsum(self._sky) - 1
        self._ids = pd.Index(np.asarray(frames.frame_ids)[self._sky])
        self._spread: np.ndarray | None = None
        comparable = comparable_features(features)
        self.names = [str(name) for name in comparable.columns]
        self._values = comparable.to_numpy(np.float64)[self._sky]
        self._raw = features[comparable.columns].to_numpy(np.float32)
        self._blank = np.asarray(frames.noise.blank_fraction)
        self._about = {"seed": seed, **scores.attrs}
        score = scores["score"].to_numpy(np.float64)[self._sky]
        sample = _evenly(len(self._rows), SAMPLE)
        self._columns = [np.sort(column[known]) for column, known in self._known(self._rows[sample])]
        method = str(self._about.get("method"))
        self._saw = ""  # what the ranking looked at besides the features, or instead of them
        if embedding is not None and ("embedding" in method or FEATURED not in method):
            self._saw = "an embedding and these features" if FEATURED in method else "an embedding"
        self._model: _Model | None = None
        if not len(score):
            return
        if not self._saw:
            first = None if base is None else base["score"].to_numpy(np.float64)[self._sky]
            with suppress(ValueError, TypeError):  # what a damaged file says of its ranking fits no model
                self._model = self._refit(score, first)
        if self._model is None:
            self._model = _Surrogate(self._values, score, int(self._about["seed"]))
        self._values = self._values.astype(np.float32)  # as trees take them

    def after(self, scores: pd.DataFrame, first: pd.DataFrame) -> Explainer | None:
        """Return what explains an order that labels made of the one explained here, without fitting that again.

        Parameters
        ----------
        scores : DataFrame
            From ``Run.rerank``.
        first : DataFrame
            The scores explained here.

        Returns
        -------
        Explainer or None
            None where it cannot be told from the models of the first order.
        """
        if not isinstance(self._model, _Robust | _Isolation):
            return None
        other = copy(self)
        other._about = {**self._about, **scores.attrs}
        base, score = (table["score"].to_numpy(np.float64)[self._sky] for table in (first, scores))
        with suppress(ValueError, TypeError):
            ratings = json.loads(other._about.get("ratings", "{}"))
            other._model = self._with_labels(self._model, base, score, ratings)
            return None if other._model is None else other
        return None

    def _refit(self, score: np.ndarray, first: np.ndarray | None) -> _Model | None:
        """Return the models behind the scores, or None where what comes out is not what is written."""
        about, seed = self._about, int(self._about["seed"])
        if len(score) < FEW:
            model: _Robust | _Isolation = _Robust(self._values)
        else:
            trees, samples = about.get("trees", TREES), about.get("max_samples")
            model = _Isolation(fit_forest(self._values, trees, samples, seed, self.names))
        ratings = json.loads(about.get("ratings", "{}"))
        if not ratings:
            return model if self._agrees(model, score) else None
        if first is None:
            first = self._scores_of(model)
        elif not self._agrees(model, first):
            return None
        return self._with_labels(model, first, score, ratings)

    def _with_labels(
        self, model: _Robust | _Isolation, first: np.ndarray, score: np.ndarray, ratings: Any
    ) -> _Model | None:
        if self._spread is None:
            self._spread = clipped_spread(self._values)
        learnt = learn(self._spread, first, self._ids, ratings, seed=int(self._about["seed"]))
        found = _Learnt(model, self._spread, first, learnt) if learnt.moved else model
        return found if self._agrees(found, score) else None

    def _scores_of(self, model: _Robust | _Isolation) -> np.ndarray:
        if isinstance(model, _Isolation):
            return model.scores(self._values)
        return np.array([model.explain(row, values).score for row, values in enumerate(self._values)])

    def _agrees(self, model: _Model, score: np.ndarray) -> bool:
        checked = _evenly(len(score), CHECKED)
        told = np.array([model.explain(row, self._values[row]).score for row in checked])
        return bool(np.abs(told - score[checked]).max() < AGREEMENT)

    def _known(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the values of each feature in some frames, and which of these have it."""
        table = self._raw[rows]
        known = resolved = np.ones(len(rows), bool)
        if "log_island_beams" in self.names:
            resolved = table[:, self.names.index("log_island_beams")] > math.log10(2)
        for k, name in enumerate(self.names):
            yield table[:, k], resolved if name in SHAPES else known

    def explain(self, index: int) -> Explanation:
        """Return why frame `index` has its score."""
        part = _Part(0.0, np.zeros(len(self.names)))
        if self._model is not None and self._sky[index]:
            row = int(self._place[index])
            part = self._model.explain(row, self._values[row])
        rows = [
            _compare(name, column[0], known[0], ordered)
            for name, (column, known), ordered in zip(
                self.names, self._known(np.array([index])), self._columns, strict=True
            )
        ]
        table = pd.DataFrame(rows, columns=["feature", "value", "typical", "unit", "below", "above"])
        table["contribution"] = part.contributions
        order = np.argsort(-np.abs(part.contributions), kind="stable")
        fidelity = self._model.fidelity if self._model is not None and self._sky[index] else None
        told = [(*row, float(moved)) for row, moved in zip(rows, part.contributions, strict=True)]
        words = self._words(index, part, told)
        return Explanation(
            table.iloc[order].reset_index(drop=True), words, part.baseline, part.score, fidelity
        )

    def _words(self, index: int, part: _Part, told: list[tuple[Any, ...]]) -> list[str]:
        if not self._sky[index]:
            return ["No sky to rank: the frame is blank, or as smooth as padding, and stands last."]
        words = []
        if part.score <= part.baseline:
            words.append(_nothing(part, told))
        else:
            words += [describe(*row[:3], *row[4:6]) + "." for row in _most(told)]
        if self._blank[index] > 0.01:
            words.append(f"{self._blank[index]:.0%} of the frame is blank, so that its features count less.")
        learnt = str(self._about.get("learnt", "no rating yet"))
        if learnt != "no rating yet":
            words.append(_capital(learnt) + ".")
        if isinstance(self._model, _Surrogate):
            words.append(self._model.caution(part.score, self._saw, int(self._place[index])))
        return words


def _nothing(part: _Part, told: list[tuple[Any, ...]]) -> str:
    """Return in words that a frame is ordinary, and in what most."""
    lowering = [
        row for row in sorted(told, key=lambda row: row[-1]) if row[-1] < 0 and not math.isnan(row[1])
    ][:3]
    names = [f"{_plain(row[0]).noun} ({_plain(row[0]).quantity(row[1])})" for row in lowering]
    what = f" Most ordinary: {', '.join(names)}." if names else ""
    return (
        f"Nothing unusual: its score is {part.score:.2f}, that of an average frame {part.baseline:.2f}.{what}"
    )


def _most(told: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the features worth telling, of each family one, the most important first."""
    best: dict[str, tuple[Any, ...]] = {}
    lift: dict[str, float] = {}
    family = {name: members[0] for members in FAMILIES for name in members}
    for row in sorted(told, key=_plainness):
        name, contribution = row[0], row[-1]
        if contribution <= 0:
            continue
        group = family.get(name, name)
        if name in SHAPES and not _oddness(row):
            # An ordinary shape lifts a frame because most have no island that is large enough to have one.
            group = family["log_island_beams"]
        best.setdefault(group, row)
        lift[group] = lift.get(group, 0.0) + contribution
    order = sorted(best, key=lambda group: -lift[group])[:TOLD]
    return [best[group] for group in order if lift[group] >= WORTH * sum(lift.values())]


def _plainness(row: tuple[Any, ...]) -> tuple[int, bool, float]:
    """Sort what is told before the rest of its family: extreme, not vague, of weight."""
    return -_oddness(row), row[0] in VAGUE, -row[-1]


def _oddness(row: tuple[Any, ...]) -> int:
    """Return 2 for an extreme value, 1 for a high or low one, 0 for an ordinary one."""
    share = max(row[4], row[5])
    return 2 if share >= EXTREME else int(share >= ODD)


def _compare(
    name: str, value: float, known: bool, ordered: np.ndarray
) -> tuple[str, float, float, str, float, float]:
    """Return a feature, its value, what is typical, the unit, and the shares of the frames below and above."""
    plain = _plain(name)
    n = len(ordered)
    if not known or not n:
        typical = plain.convert(float(ordered[n // 2])) if n else math.nan
        return name, math.nan, typical, plain.unit, math.nan, math.nan
    below = float(np.searchsorted(ordered, value, "left")) / n
    above = 1 - float(np.searchsorted(ordered, value, "right")) / n
    if plain.convert(1.0) < plain.convert(0.0):
        below, above = above, below
    typical = plain.convert(float(ordered[n // 2]))
    return name, plain.convert(float(value)), typical, plain.unit, below, above


def describe(feature: str, value: float, typical: float, below: float, above: float) -> str:
    """Return a feature of a frame in words: its value, high or low beside what is typical."""
    plain = _plain(feature)
    if math.isnan(value):
        return f"{_capital(plain.noun)}: none, as no island is larger than 10 beams"
    told = plain.value.format(plain.quantity(value))
    usual = plain.quantity(typical) if len(plain.unit) == 1 else number(typical)
    if below >= ODD:
        return f"{_capital(plain.high)}: {told}, typical {usual} ({_rank('highest', 'top', above)})"
    if above >= ODD:
        return f"{_capital(plain.low)}: {told}, typical {usual} ({_rank('lowest', 'lowest', below)})"
    return f"{_capital(plain.noun)}: {told}, ordinary by itself (typical {usual}) but not beside the rest"


def _rank(extreme: str, name: str, share: float) -> str:
    return f"{extreme} of all" if share <= 0 else f"{name} {max(100 * share, 0.01):.2g}%"


def number(value: float) -> str:
    """Return a number with two or three digits that mean something."""
    size = abs(value)
    if size >= 1e7:
        return f"{value:.2g}"
    if size >= 9.95:
        return f"{value:,.0f}"
    if size >= 0.995:
        return f"{value:.1f}".removesuffix(".0")
    return "0" if size < 5e-3 else f"{value:.2g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(name: str) -> Plain:
    return PLAIN.get(name) or Plain(name, f"high {name}", f"low {name}")


def _evenly(n: int, count: int) -> np.ndarray:
    """Return up to `count` row numbers, evenly spread."""
    return np.arange(n) if n <= count else np.linspace(0, n - 1, count).astype(np.int64)


# --------------------------------------------------------------------------------
# trees


@njit(nogil=True, cache=True)
def _path_lengths(left, right, count):
    """Return the mean path length of the training frames of each node, from the root."""
    depth = np.zeros(len(left))
    length = np.zeros(len(left))
    for node in range(len(left)):  # parents come before their children
        if left[node] >= 0:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
    for node in range(len(left) - 1, -1, -1):
        if left[node] < 0:
            length[node] = depth[node] + _left_over(count[node])
        else:
            a, b = left[node], right[node]
            length[node] = (count[a] * length[a] + count[b] * length[b]) / (count[a] + count[b])
    return length


@njit(nogil=True, cache=True)
def _left_over(n):
    """Return the path length that n frames would add which a leaf no longer splits (Liu et al. 2008, equation 1)."""
    if n <= 1:
        return 0.0
    if n == 2:
        return 1.0
    return 2.0 * (math.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n


# --------------------------------------------------------------------------------
# models


class _Part(NamedTuple):
    """What features add to a score."""

    baseline: float
    contributions: np.ndarray

    @property
    def score(self) -> float:
        return float(self.baseline + self.contributions.sum())


class _Model:
    """Tells what each of the values of row `row` adds to its score."""

    fidelity: tuple[float, float] | None = None

    def explain(self, row: int, values: np.ndarray) -> _Part:
        raise NotImplementedError


class _Robust(_Model):
    """The robust distance that orders very few frames."""

    def __init__(self, values: np.ndarray) -> None:
        self._shares = robust_distance(values)[1]

    def explain(self, row: int, values: np.ndarray) -> _Part:  # noqa: ARG002
        return _Part(0.0, self._shares[row])


class _Isolation(_Model):
    """An Isolation Forest: path lengths add up, and the score is an exponential of their mean."""

    def __init__(self, forest: Any) -> None:
        trees = [estimator.tree_ for estimator in forest.estimators_]
        lengths = [_path_lengths(t.children_left, t.children_right, t.n_node_samples) for t in trees]
        self._paths = Forest.of(trees, lengths)
        self._rate = -math.log(2) / max(_left_over(int(forest.max_samples_)), 1e-12)

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Return the scores of rows of values."""
        return np.exp(self._rate * (self._paths.baseline + self._paths.attribute(values).sum(axis=1)))

    def explain(self, row: int, values: np.ndarray) -> _Part:  # noqa: ARG002
        start = self._rate * self._paths.baseline
        moves = self._rate * self._paths.attribute(values[np.newaxis])[0]
        # The difference of two exponentials is that of their logarithms times the logarithmic mean.
        total = moves.sum()
        mean = math.exp(start) * (math.expm1(total) / total if total else 1.0)
        return _Part(math.exp(start), mean * moves)


class _Learnt(_Model):
    """The order that ratings moved: places among the frames, of the first score and of two predictions.

    A place does not add up over features; the line from the place of the baseline to that of the frame does.
    """

    def __init__(
        self, base: _Isolation | _Robust, spread: np.ndarray, first: np.ndarray, learnt: Learnt
    ) -> None:
        self._base, self._spread, self._first = base, spread, first
        self._weights = [1 - learnt.weight, *(learnt.weight / len(learnt.models) for _ in learnt.models)]
        self._places, self._models = learnt.places, learnt.models

    def explain(self, row: int, values: np.ndarray) -> _Part:
        spread = self._spread[row : row + 1]
        parts = [
            self._base.explain(row, values),
            *(_Part(model.baseline, model.attribute(spread)[0]) for model in self._models),
        ]
        told = [self._first[row], *(model.predict(spread)[0] for model in self._models)]
        baseline, contributions = 0.0, np.zeros(len(values))
        for weight, part, place, value in zip(self._weights, parts, self._places, told, strict=True):
            low, high = place(np.array([part.baseline, value]))
            moves = part.contributions
            if abs(moves.sum()) < CANCELLED * np.abs(moves).sum():
                moves = np.abs(
                    moves
                )  # those that all but cancel would be blown up: they share what is left by size
            total = moves.sum()
            baseline += weight * (low if total else high)
            if total:
                contributions += weight * (high - low) / total * moves
        return _Part(baseline, contributions)


class _Surrogate(_Model):
    """A forest that predicts the scores from the features, where what made them does not look at features."""

    def __init__(self, values: np.ndarray, score: np.ndarray, seed: int) -> None:
        from scipy.stats import spearmanr
        from sklearn.ensemble import ExtraTreesRegressor

        sample = _evenly(len(score), SAMPLE)
        forest = ExtraTreesRegressor(
            SURROGATE_TREES,
            min_samples_leaf=max(1, min(5, len(sample) // 50)),
            max_features=0.5,
            bootstrap=True,
            oob_score=True,
            random_state=seed,
            n_jobs=-1,
        )
        if len(sample) < FEW:
            forest.set_params(bootstrap=False, oob_score=False)
        forest.fit(values[sample], score[sample])
        nodes = [estimator.tree_ for estimator in forest.estimators_]
        self._paths = Forest.of(nodes, [node.value[:, 0, 0] for node in nodes])
        self._score = score
        self.fidelity = (float("nan"), float("nan"))
        if len(sample) >= FEW and np.ptp(score[sample]) > 0:
            order = float(spearmanr(forest.oob_prediction_, score[sample]).statistic)
            self.fidelity = (float(forest.oob_score_), order)

    def explain(self, row: int, values: np.ndarray) -> _Part:  # noqa: ARG002
        return _Part(self._paths.baseline, self._paths.attribute(values[np.newaxis])[0])

    def caution(self, told: float, saw: str, row: int) -> str:
        """Return in words how well the features tell the score."""
        assert self.fidelity is not None
        what = saw or "something else than these features"
        r2, order = self.fidelity
        if not math.isfinite(order):
            return f"The ranking looked at {what}; how well the features follow it cannot be told from so few frames."
        care = " Take it with care." if order < 0.6 else ""
        return (
            f"The ranking looked at {what}; the named features follow it with R² {r2:.2f} "
            f"(rank correlation {order:.2f}) and give this frame {told:.2f} instead of {self._score[row]:.2f}.{care}"
        )

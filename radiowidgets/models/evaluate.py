"""How good an embedding is: linear and k-NN evaluation, label fractions, cross-validation, suspected mislabels.

Arrays go in, tables come out. Keras is needed by `fine_tune` alone.

Every spread here is the standard deviation over folds (n - 1 in the denominator), as in ssl-benchmark Tables 1 and 2.
The errors of peculiar-frames Figure 5 are standard errors of the mean, sqrt(5) times smaller for its five test sets.
Folds share their training data, so neither says how well the accuracy itself is known: `binomial_interval` does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError, check_one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import keras
    from numpy.typing import ArrayLike, NDArray

FOLDS = 3
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1)
FEW = 0.1  # strength where labels are too few to choose it by
NEAREST = 10


def make_folds(
    labels: ArrayLike, groups: ArrayLike | None = None, *, count: int = FOLDS, seed: int = 0
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return (training, test) indices of stratified folds; frames of one group stay together.

    Parameters
    ----------
    labels : (n,)
        Classes.
    groups : (n,), optional
        Such as the object or the field of each frame. Default: every frame for itself.

    Raises
    ------
    ParameterError
        If a class has fewer frames than there are folds, there are too few groups, or labels are missing.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = np.asarray(labels)
    _check_lengths(len(labels), groups=groups)
    _check_known(labels)
    if count < 2:
        raise ParameterError(f"count is {count!r}; give two folds or more.")
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2 or counts.min() < count:
        rarest = f"; the rarest, {names[np.argmin(counts)]}, has {counts.min()} frames" if len(names) else ""
        raise ParameterError(
            f"{count} folds need two classes or more of at least {count} frames each, and there are "
            f"{len(names)}{rarest}. Give fewer folds, or leave that class out."
        )
    if groups is None:
        splits: Iterator[Any] = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    else:
        given = np.asarray(groups)
        if (held := pd.Series(given).nunique(dropna=False)) < count:
            raise ParameterError(f"{count} folds need as many groups, and there are {held}.")
        kind = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        splits = kind.split(labels, labels, given)
    return [(np.asarray(train), np.asarray(test)) for train, test in splits]


def split_sources(
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    test: ArrayLike | None = None,
    shares: tuple[float, float, float] = (0.55, 0.15, 0.30),
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return training, validation and test indices as compact-sources section 5 draws them, class by class.

    Parameters
    ----------
    labels : (n,)
        Classes.
    groups : (n,), optional
        Such as the object or the field of each source: a group stays together, and where a part of it is in a given
        test set the rest is left out. Shares are then kept as well as the groups allow.
    test : (n,) bool, optional
        A test set of its own, such as all sources of one survey; the rest is shared out.
    shares
        Of training, validation and test.
    seed
        Another one draws another split.

    Raises
    ------
    ParameterError
        If there is too little to share out.
    """
    labels = np.asarray(labels)
    _check_lengths(len(labels), groups=groups, test=test)
    each = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool) if test is None else np.asarray(test, bool)
    free = ~np.isin(each, each[held])
    place = np.full(len(labels), -1)  # of each group
    wanted = np.array(shares if test is None else (*shares[:2], 0.0))
    wanted = wanted / wanted.sum()
    order, first = np.unique(each[free], return_index=True)
    kinds = labels[free][first]
    count = np.bincount(each[free], minlength=len(labels))
    for kind in np.unique(kinds):
        own = rng.permutation(order[kinds == kind])
        own = own[
            np.argsort(-count[own], kind="stable")
        ]  # large groups first, so that small ones even it out
        filled = np.zeros(3)
        for group in own:
            place[group] = np.argmax(wanted * (filled.sum() + count[group]) - filled)
            filled[place[group]] += count[group]
    part = np.where(free, place[each], -1)
    part[held] = 2
    found = tuple(np.flatnonzero(part == k) for k in range(3))
    if not all(len(rows) for rows in found):
        raise ParameterError(
            f"{len(labels)} sources in {len(np.unique(each))} groups leave {' / '.join(str(len(f)) for f in found)} "
            "to train, validate and test; give more, or smaller groups."
        )
    return found[0], found[1], found[2]


def _check_lengths(n: int, **given: ArrayLike | None) -> None:
    for name, values in given.items():
        if values is not None and len(np.asarray(values)) != n:
            raise ParameterError(f"{n} labels and {len(np.asarray(values))} {name}; give one each.")


def over_splits(
    answer: Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int], pd.DataFrame],
    labels: ArrayLike,
    classes: Sequence[str],
    groups: ArrayLike | None = None,
    *,
    test: ArrayLike | None = None,
    count: int = 5,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test a classifier on several splits.

    Parameters
    ----------
    answer : callable
        Of the places to train on, to validate with and to test, and a seed; it returns what a model that it trains
        says of the last: columns label and probability.
    labels : (n,)
    classes
        Sources of others are left out.
    groups, test
        See `split_sources`.
    count, seed
        Splits, and the seed of the first.

    Returns
    -------
    f1 : DataFrame
        One row a split: F1 of each class and, weighted, of ALL, in per cent.
    predictions : DataFrame
        One row a tested source and split: split, row (its place), label, predicted, probability.
    """
    labels = np.asarray(labels)
    if count < 1:
        raise ParameterError(f"count is {count!r}; give one split or more.")
    _check_lengths(len(labels), groups=groups, test=test)
    used = np.flatnonzero(np.isin(labels, list(classes)))
    alike = None if groups is None else np.asarray(groups)[used]
    held = None if test is None else np.asarray(test, bool)[used]
    scores, predictions = [], []
    for k in range(count):
        parts = split_sources(labels[used], alike, test=held, seed=seed + k)
        train, valid, tested = (used[part] for part in parts)
        found = answer(train, valid, tested, seed + k)
        scores.append(f1_scores(labels[tested], found["label"], classes))
        columns = {"split": k, "row": tested, "label": labels[tested]}
        columns |= {"predicted": found["label"].to_numpy(), "probability": found["probability"].to_numpy()}
        predictions.append(pd.DataFrame(columns))
    return pd.DataFrame(scores).rename_axis("split"), pd.concat(predictions, ignore_index=True)


def f1_scores(labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> pd.Series:
    """Return the F1 score of each class, and as ALL their mean weighted by how many there are, in per cent.

    Parameters
    ----------
    labels, predicted : (n,)
    classes
        In the order wanted; one that nobody has, and that nobody was taken for, is NaN.
    """
    from sklearn.metrics import f1_score

    labels, predicted = np.asarray(labels), np.asarray(predicted)
    each = f1_score(labels, predicted, labels=list(classes), average=None, zero_division=np.nan)
    weight = np.array([np.sum(labels == name) for name in classes])
    total = np.nansum(each * weight) / weight.sum()
    return pd.Series([*each, total], [*classes, "ALL"]) * 100


def linear_probe(strength: float | None = None, *, seed: int = 0) -> Any:
    """Return a logistic regression of standardised columns.

    The linear layer of ssl-benchmark section 4.1 is trained by SGD for 100 epochs, that of peculiar-frames section 3.2
    for 30; this one takes up to 100 steps of L-BFGS, which need no rate and no schedule.

    Parameters
    ----------
    strength
        Inverse of the L2 penalty. Default: the best of `STRENGTHS` by three-fold cross-validation inside the training
        data, never by the test data.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=strength or 1.0, tol=1e-3, max_iter=100))
    if strength is not None:
        return pipe
    inner = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return GridSearchCV(pipe, {"logisticregression__C": STRENGTHS}, cv=inner)


def nearest_neighbours(count: int = NEAREST) -> Any:
    """Return a k-NN vote by cosine, each neighbour weighed by its closeness; columns are standardised before."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    knn = KNeighborsClassifier(count, weights="distance", metric="cosine")
    return make_pipeline(StandardScaler(), knn)


def cross_validate(
    embedding: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    method: str | Callable[[], Any] = "linear",
    count: int = FOLDS,
    repeats: int = 1,
    seed: int = 0,
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Cross-validate a classifier on a frozen embedding.

    Parameters
    ----------
    embedding : (n, d)
        Frames or their embedding.
    labels, groups
        See `make_folds`.
    method : 'linear', 'knn' or a callable
        Which makes an estimator with `fit` and `predict_proba`.
    count, repeats
        Folds, and how often they are drawn anew.

    Returns
    -------
    table : DataFrame
        One row a fold: repeat, fold, frames, accuracy and F1 (the mean over classes).
    probabilities : (n, classes)
        Of each frame when it was in the test fold, the mean over repeats; classes are sorted.
    """
    from sklearn.metrics import f1_score

    embedding, labels = np.asarray(embedding), np.asarray(labels)
    _check_rows(embedding, labels)
    if isinstance(method, str):
        check_one_of("method", method, _METHODS)
    if repeats < 1:
        raise ParameterError(f"repeats is {repeats!r}; give a whole number from 1.")
    classes = np.unique(labels)
    out = np.zeros((len(labels), len(classes)))
    rows = []
    for repeat in range(repeats):
        for fold, (train, test) in enumerate(_whole_folds(labels, groups, count, seed + repeat)):
            estimator = _fit(_estimator(method, labels[train]), embedding[train], labels[train])
            found = estimator.predict_proba(embedding[test])
            out[np.ix_(test, np.searchsorted(classes, estimator.classes_))] += found
            guess = estimator.classes_[np.argmax(found, axis=1)]
            rows.append(
                {
                    "repeat": repeat,
                    "fold": fold,
                    "frames": len(test),
                    "accuracy": float(np.mean(guess == labels[test])),
                    "f1": float(f1_score(labels[test], guess, average="macro")),
                }
            )
    return pd.DataFrame(rows), out / repeats


def summarise(table: pd.DataFrame, value: str = "accuracy") -> dict[str, float]:
    """Return the mean and the standard deviation over folds, and a binomial interval of the accuracy.

    Parameters
    ----------
    table
        From `cross_validate`. The interval takes each frame once, however often folds were repeated.
    """
    first = table[table["repeat"] == 0]
    frames = int(first["frames"].sum())
    hits = round(float((table["accuracy"] * table["frames"]).sum()) * frames / float(table["frames"].sum()))
    low, high = binomial_interval(hits, frames)
    deviation = float(table[value].std(ddof=1)) if len(table) > 1 else float("nan")
    return {"mean": float(table[value].mean()), "sd": deviation, "low": low, "high": high, "frames": frames}


def compare(
    embeddings: Mapping[str, ArrayLike],
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    methods: Sequence[str] = ("linear", "knn"),
    seed: int = 0,
) -> pd.DataFrame:
    """Cross-validate several embeddings of the same frames, on the same folds.

    Parameters
    ----------
    embeddings
        By name, (n, d) each.
    labels, groups, methods, seed
        See `cross_validate`.

    Returns
    -------
    DataFrame
        One row an embedding and method: what `summarise` says of its accuracy.
    """
    rows = {
        (name, method): summarise(cross_validate(rows, labels, groups, method=method, seed=seed)[0])
        for name, rows in embeddings.items()
        for method in methods
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["embedding", "method"])


def binomial_interval(
    hits: int, trials: int, *, level: float = 0.95, kind: str = "wilson"
) -> tuple[float, float]:
    """Return an interval for a share of which `hits` of `trials` were seen.

    Parameters
    ----------
    level
        Probability that it shall hold.
    kind
        'wilson' (Wilson 1927) or 'jeffreys' (the Bayesian one of the prior Beta(1/2, 1/2)); see Brown, Cai & DasGupta
        (2001), Statistical Science 16, 101.
    """
    from scipy import stats

    check_one_of("kind", kind, ("wilson", "jeffreys"))
    if not 0 <= hits <= trials or trials < 1:
        raise ParameterError(f"{hits} hits of {trials} trials: give at least one trial, and no more hits.")
    if not 0 < level < 1:
        raise ParameterError(f"level is {level!r}; give a number between 0 and 1.")
    if kind == "wilson":
        found = stats.binomtest(hits, trials).proportion_ci(level, "wilson")
        return float(found.low), float(found.high)
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, hits + 0.5, trials - hits + 0.5) if hits else 0.0
    high = stats.beta.ppf(1 - tail, hits + 0.5, trials - hits + 0.5) if hits < trials else 1.0
    return float(low), float(high)


def label_fractions(
    embedding: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    fractions: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
    method: str | Callable[[], Any] = "linear",
    repeats: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the accuracy against the share of training labels: peculiar-frames Figure 7.

    Test folds are whole; training folds are thinned within each class, to two frames a class at least. The penalty is
    fixed ('linear' takes a strength of `FEW`), for a few labels cannot choose it.

    Returns
    -------
    DataFrame
        fraction, frames (mean number to train on), mean and sd of the accuracy over folds and repeats.
    """
    embedding, labels = np.asarray(embedding), np.asarray(labels)
    _check_rows(embedding, labels)
    if isinstance(method, str):
        check_one_of("method", method, _METHODS)
    if repeats < 1:
        raise ParameterError(f"repeats is {repeats!r}; give a whole number from 1.")
    rng = np.random.default_rng(seed)
    rows = []
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise ParameterError(f"a fraction is {fraction!r}; give numbers above 0, up to 1.")
        found, sizes = [], []
        for repeat in range(repeats if fraction < 1 else 1):
            for train, test in _whole_folds(labels, groups, FOLDS, seed + repeat):
                some = _thin(train, labels, fraction, rng)
                estimator = linear_probe(FEW) if method == "linear" else _estimator(method, labels[some])
                estimator = _fit(estimator, embedding[some], labels[some])
                found.append(np.mean(estimator.predict(embedding[test]) == labels[test]))
                sizes.append(len(some))
        rows.append(
            {
                "fraction": fraction,
                "frames": float(np.mean(sizes)),
                "mean": float(np.mean(found)),
                "sd": float(np.std(found, ddof=1)),
            }
        )
    return pd.DataFrame(rows)


def confusion(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Return how many frames of each class (rows) were taken for each class (columns).

    Parameters
    ----------
    labels : (n,)
    probabilities : (n, classes)
        Of `cross_validate`.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    classes = np.unique(labels)
    guess = classes[np.argmax(probabilities, axis=1)]
    table = pd.crosstab(pd.Categorical(labels, classes), pd.Categorical(guess, classes), dropna=False)
    return table.rename_axis(index="label", columns="taken for")


def judge_labels(
    embedding: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    repeats: int = 3,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return how likely each label is for each frame, judged by the others: what finds labels that may be wrong.

    The mean of a linear layer and of nearest neighbours, out of fold, folds drawn anew `repeats` times. Where a tenth
    of the labels of mock objects was flipped, that finds more of them than either (`benchmarks/bench_mislabels.py`).

    Parameters
    ----------
    embedding, labels, groups
        See `cross_validate`.

    Returns
    -------
    (n, classes) array
        Classes are sorted.
    """
    found = [
        cross_validate(embedding, labels, groups, method=method, repeats=repeats, seed=seed)[1]
        for method in ("linear", "knn")
    ]
    return np.asarray(np.mean(found, axis=0))


def suspected_mislabels(
    labels: ArrayLike, probabilities: ArrayLike, *, every: bool = False, order: str = "odds"
) -> pd.DataFrame:
    """Return frames whose label is probably wrong, the surest first.

    As many as confident learning suspects: Northcutt, Jiang & Chuang (2021), JAIR 70, 1373: a frame is suspected if the
    out-of-fold probability of some other class reaches that class's threshold, the mean probability of it among frames
    that carry it, and that of its own label is below its own. peculiar-frames Figure A.1 shows such frames of RGZ.

    Parameters
    ----------
    labels : (n,)
    probabilities : (n, classes)
        Out of fold, of `judge_labels` or `cross_validate`.
    every : bool
        Whether all other frames follow.
    order : {'odds', 'confident learning'}
        The least probability of the label over that of the likeliest other class first, which of a dozen ways found
        most flipped labels of mock objects; or those that confident learning suspects, by the difference of the two
        (cleanlab's normalised margin).

    Returns
    -------
    DataFrame
        index (position of the frame), label, suggested, probability (of the label), suggested_probability.
    """
    check_one_of("order", order, ("odds", "confident learning"))
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    _check_rows(probabilities, labels)
    classes, given = np.unique(labels, return_inverse=True)
    rows = np.arange(len(labels))
    own = probabilities[rows, given]
    limit = np.array([own[given == k].mean() for k in range(len(classes))])
    others = probabilities.copy()
    others[rows, given] = -np.inf
    rival = np.where(others >= limit, others, -np.inf)
    sure = rival.max(axis=1, initial=-np.inf)
    suspected = (sure > own) & (own < limit[given])
    best = np.argmax(others, axis=1)
    if order == "odds":
        sure = probabilities[rows, best]
        wrong = np.argsort((own + 1e-9) / (sure + 1e-9), kind="stable")
    else:
        best = np.where(suspected, np.argmax(rival, axis=1), best)
        sure = probabilities[rows, best]
        wrong = np.lexsort((own - sure, ~suspected))
    wrong = wrong[: len(rows) if every else int(suspected.sum())]
    return pd.DataFrame(
        {
            "index": wrong,
            "label": classes[given[wrong]],
            "suggested": classes[best[wrong]],
            "probability": own[wrong],
            "suggested_probability": sure[wrong],
        }
    )


def fine_tune(
    encoder: keras.Model,
    frames: ArrayLike,
    labels: ArrayLike,
    *,
    epochs: int = 100,
    batch_size: int = 256,
    rate: float = 5e-4,
    augmentation: keras.layers.Layer | None = None,
    seed: int = 0,
    verbose: int = 0,
) -> FineTuned:
    """Train a copy of an encoder with a linear layer on top: ssl-benchmark section 4.1.

    AdamW, a linear warm-up over the first tenth and a cosine to nought; flips and crops of 0.95 to 1 of the side.

    Parameters
    ----------
    encoder
        From frames to (n, d); it stays as it is.
    frames, labels
        To train on, (n, h, w, channels) or (n, looks, h, w, channels) as the encoder takes them; uint8 stands for 0
        to 1 in 255 steps.
    epochs, batch_size, rate
        The paper's; batches are no larger than a fourth of the frames.
    augmentation
        Default: the paper's.

    Returns
    -------
    FineTuned
        With `predict_proba(frames)` and `classes_`.
    """
    import keras

    from radiowidgets.models.augment import RandomCropResize, RandomFlip
    from radiowidgets.models.optimizers import make_optimizer, warmup_cosine
    from radiowidgets.models.training import Batches

    frames, labels = np.asarray(frames), np.asarray(labels)
    _check_rows(frames, labels)
    classes, given = np.unique(labels, return_inverse=True)
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    if augmentation is None:
        flips, crops = RandomFlip(0.5, seed, both=True), RandomCropResize(0.95, 1.0, seed=seed + 1)
        augmentation = keras.Sequential([flips, crops])
    head = keras.layers.Dense(
        len(classes), kernel_initializer=keras.initializers.GlorotUniform(seed=seed), dtype="float32"
    )
    inputs = keras.Input(frames.shape[1:], dtype="float32")
    flat = keras.ops.reshape(inputs, (-1, *frames.shape[-3:]))
    views = keras.ops.reshape(augmentation(flat), (-1, *frames.shape[1:]))
    model = keras.Model(inputs, head(copy(views)))
    data = Batches(frames, min(batch_size, max(len(frames) // 4, 1)), seed, given)
    steps = len(data) * epochs
    model.compile(
        optimizer=make_optimizer("adamw", warmup_cosine(rate, steps, steps // 10), decay=0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(data, epochs=epochs, shuffle=False, verbose=verbose)
    return FineTuned(model, classes)


class FineTuned:
    """A fine-tuned network as an estimator: `predict_proba`, `predict`, `classes_`."""

    def __init__(self, model: keras.Model, classes: NDArray[Any]) -> None:
        self.model, self.classes_ = model, classes

    def predict_proba(self, frames: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class, (n, classes)."""
        frames = np.asarray(frames)
        out = np.empty((len(frames), len(self.classes_)))
        for first in range(0, len(frames), 256):
            part = frames[first : first + 256]
            scale = np.float32(1 / 255) if part.dtype == np.uint8 else np.float32(1)
            logits = np.asarray(self.model(part.astype(np.float32) * scale, training=False))
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            out[first : first + 256] = shares / shares.sum(axis=1, keepdims=True)
        return out

    def predict(self, frames: ArrayLike) -> NDArray[Any]:
        """Return the likeliest class of each frame."""
        return self.classes_[np.argmax(self.predict_proba(frames), axis=1)]


class FineTuning:
    """What `cross_validate` takes as a method to fine-tune an encoder in each fold.

    Parameters
    ----------
    encoder, options
        See `fine_tune`.
    """

    def __init__(self, encoder: keras.Model, **options: Any) -> None:
        self.encoder, self.options = encoder, options

    def __call__(self) -> FineTuning:
        """Return an estimator yet to be fitted."""
        return self

    def fit(self, frames: ArrayLike, labels: ArrayLike) -> FineTuned:
        """Return the fine-tuned network."""
        return fine_tune(self.encoder, frames, labels, **self.options)


_METHODS = ("linear", "knn")


def _thin(
    train: NDArray[np.int64], labels: NDArray[Any], fraction: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return a share of the indices within each class, two at least."""
    kept = []
    for name in np.unique(labels[train]):
        own = train[labels[train] == name]
        kept.append(rng.permutation(own)[: max(2, round(fraction * len(own)))])
    return np.sort(np.concatenate(kept))


def _whole_folds(
    labels: NDArray[Any], groups: ArrayLike | None, count: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return folds each of which is trained with all classes."""
    folds = make_folds(labels, groups, count=count, seed=seed)
    for train, test in folds:
        for name in set(labels[test].tolist()) - set(labels[train].tolist()):
            raise ParameterError(
                f"a fold would be trained without class {name}, whose {int(np.sum(labels == name))} frames are in too "
                "few groups; give more of them, or leave that class out."
            )
    return folds


def _estimator(method: str | Callable[[], Any], labels: NDArray[Any]) -> Any:
    """Return what shall be fitted to rows with these labels, however few they are."""
    if method == "knn":
        return nearest_neighbours(min(NEAREST, len(labels)))
    if method == "linear":
        return linear_probe(None if np.unique(labels, return_counts=True)[1].max() >= FOLDS else FEW)
    return method()  # type: ignore[operator]


def _fit(estimator: Any, rows: NDArray[Any], labels: NDArray[Any]) -> Any:
    """Return the fitted estimator; that its steps were too few to settle is no news."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(rows, labels)


def _check_rows(first: NDArray[Any], labels: NDArray[Any]) -> None:
    if len(first) != len(labels):
        raise ParameterError(f"{len(first)} rows and {len(labels)} labels; give one label a row.")
    _check_known(labels)
    if first.ndim == 2 and first.dtype.kind == "f" and not np.isfinite(first).all():
        bad = int((~np.isfinite(first)).any(axis=1).sum())
        raise ParameterError(f"{bad} of {len(first)} rows hold numbers that are not finite; leave them out.")


def _check_known(labels: NDArray[Any]) -> None:
    if unknown := int(pd.isna(labels).sum()):
        raise ParameterError(f"{unknown} of {len(labels)} labels are missing; leave those frames out.")

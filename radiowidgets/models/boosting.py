"""Gradient-boosted trees that tell compact sources apart by their features: compact-sources section 5.1.

Missing bands are left to the trees, which learn on which side of a decision what is missing belongs. LightGBM is an
extra: ``pip install radiowidgets[boosting]``.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiowidgets.errors import DataError, MissingExtraError, ParameterError
from radiowidgets.models.cards import (
    EXTRAGALACTIC,
    GALACTIC,
    KINDS,
    Calibration,
    Card,
    Novelty,
    plain_labels,
    prediction_table,
    read_card,
    write_card,
)
from radiowidgets.models.evaluate import f1_scores, make_folds, over_splits

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

#: What the paper found best, Table 7, for two groups and for seven classes.
PAPER_BINARY = {"max_depth": 1, "num_leaves": 2, "min_data_in_leaf": 20}
PAPER_SEVEN = {"max_depth": 5, "num_leaves": 32, "min_data_in_leaf": 20}
#: What `scan_parameters` tries: section 5.1.1, a depth of 1 beside those of 2 to 12; leaves up to 2^depth.
GRID = {
    "max_depth": (1, 2, 3, 5, 8, 12),
    "num_leaves": (2, 4, 8, 32, 128),
    "min_data_in_leaf": (5, 20, 50, 100),
}
ROUNDS, PATIENCE, RATE = 1000, 30, 0.1


class Boosting:
    """A trained classifier of compact sources; made by `train_boosting` or `load_boosting`.

    Attributes
    ----------
    card : Card
    booster : lightgbm.Booster
    """

    def __init__(self, booster: Any, card: Card) -> None:
        self.booster, self.card = booster, card
        self._calibration = Calibration.from_dict(card.calibration)
        self._novelty = None if card.novelty is None else Novelty.from_dict(card.novelty)

    def scores(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return (n, classes) scores of the trees, before calibration; each row adds up to 1."""
        return _scores(self.booster, _values(features, self.card.inputs), len(self.card.classes))

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Tell what sources are.

        Parameters
        ----------
        features : DataFrame
            Of `compact_features`; columns that the model does not know are not looked at.

        Returns
        -------
        DataFrame
            With the index of `features`: label and its probability, p_<CLASS> of each class (calibrated on validation
            data, if asked for), distance from the training data, and unlike: farther away than all but a share (1 %)
            of held-out sources.

        Raises
        ------
        ParameterError
            If a feature is missing as a column.
        """
        values = _values(features, self.card.inputs)
        scores = _scores(self.booster, values, len(self.card.classes))
        distance = None if self._novelty is None else self._novelty(values)
        limit = np.inf if self._novelty is None else self._novelty.limit
        return prediction_table(self.card, features.index, self._calibration(scores), distance, limit)

    def contributions(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return (n, classes, features + 1): what each feature adds to each class's score, in its logarithm.

        TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2, 56) as LightGBM computes it; the last column is
        what the model expects of any source. Of two classes there is one column of scores, that of the second.
        """
        values = _values(features, self.card.inputs)
        if not len(values):
            raise ParameterError("there is no source; give one or more.")
        found = np.asarray(self.booster.predict(values, pred_contrib=True))
        return found.reshape(len(values), -1, len(self.card.inputs) + 1)

    def importances(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return how much each feature counts, the most important first: Figures B3 to B6.

        Parameters
        ----------
        features : DataFrame
            Sources to look at for `shap`.

        Returns
        -------
        DataFrame
            Indexed by feature: gain, the share of what all decisions gain; decisions, their share; shap, the mean
            absolute contribution over sources and classes.
        """
        gain = np.asarray(self.booster.feature_importance("gain"), np.float64)
        split = np.asarray(self.booster.feature_importance("split"), np.float64)
        shap = np.abs(self.contributions(features)[..., :-1]).mean(axis=(0, 1))
        table = pd.DataFrame(
            {"gain": gain / max(gain.sum(), 1e-300), "decisions": split / max(split.sum(), 1), "shap": shap},
            index=list(self.card.inputs),
        )
        return table.sort_values("gain", ascending=False)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model: LightGBM's own text and the card, in a folder.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        folder = Path(folder).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = self.booster.model_to_string(num_iteration=self.booster.best_iteration or None)
            (folder / KINDS["boosting"]).write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(
                f"{folder} cannot be written ({error.strerror}); choose another folder."
            ) from error
        return write_card(folder, self.card)


def load_boosting(folder: str | os.PathLike[str]) -> Boosting:
    """Open a model that `Boosting.save` wrote.

    Raises
    ------
    DataError
        If the folder holds none, or another kind of model.
    """
    lightgbm = import_lightgbm()
    card = read_card(folder)
    if card.kind != "boosting":
        raise DataError(f"{folder} holds a {card.kind}, not boosted trees.")
    text = (Path(folder).expanduser() / KINDS["boosting"]).read_text(encoding="utf-8")
    try:
        booster = lightgbm.Booster(model_str=_checked_trees(text, len(card.classes)))
    except (lightgbm.basic.LightGBMError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder} cannot be read by LightGBM: {error!s:.100}") from error
    model = Boosting(booster, card)
    if booster.num_feature() != len(card.inputs):
        raise DataError(
            f"{folder}: the trees take {booster.num_feature()} features, the card {len(card.inputs)}."
        )
    return model


def _checked_trees(text: str, classes: int) -> str:
    """Return the text of trees that LightGBM can read and follow safely; ValueError or KeyError for others.

    It believes what it reads: a wrong size of a tree ends the process, a branch that leads back never ends, one that
    leads nowhere reads beyond its memory. The sizes are left out of what is returned, so that it looks for itself.
    """
    body, end, _ = text.partition("\nend of trees\n")
    head, *trees = re.split(r"(?m)^Tree=\d+$", body)
    told = dict(line.partition("=")[::2] for line in head.splitlines())
    if not end or len(told["tree_sizes"].split()) != len(trees):
        raise ValueError("its trees are not complete")
    if {told["num_class"], told["num_tree_per_iteration"]} - {"1", str(classes)}:
        raise ValueError(f"it has {told['num_class'][:20]} classes")
    features = int(told["max_feature_idx"]) + 1
    for number, tree in enumerate(trees):
        values = dict(line.partition("=")[::2] for line in tree.splitlines())
        leaves = int(values["num_leaves"])
        if (values["num_cat"], values["is_linear"]) != ("0", "0"):
            raise ValueError(f"tree {number} is of categories or of lines")
        split, left, right = (
            [int(value) for value in values[name].split()]
            for name in ("split_feature", "left_child", "right_child")
        )
        branches = [*enumerate(left), *enumerate(right)]
        if (
            not len(split) == len(left) == len(right) == leaves - 1
            or not all(0 <= feature < features for feature in split)
            or not all(node < child < leaves - 1 or -leaves <= child < 0 for node, child in branches)
        ):
            raise ValueError(f"tree {number} leads nowhere")
    return text.replace(f"\ntree_sizes={told['tree_sizes']}\n", "\n", 1)


def train_boosting(
    features: pd.DataFrame,
    labels: ArrayLike,
    train: ArrayLike | None = None,
    valid: ArrayLike | None = None,
    *,
    classes: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    calibration: str = "sigmoid",
    groups: ArrayLike | None = None,
    name: str = "",
    data: Mapping[str, Any] | None = None,
    threads: int = 0,
    seed: int = 0,
) -> Boosting:
    """Train boosted trees, as many as validation data ask for.

    Parameters
    ----------
    features : DataFrame
        The columns to learn from, and no others: ``table[feature_names(bands)]``.
    labels : (n,) array of str
        Class of each row; rows without a class ('', None, 'UNKNOWN') are left out.
    train, valid : array of int, optional
        Rows to learn from, and rows on which the trees are counted and the probabilities calibrated. Default: four
        fifths and a fifth, classes alike in both.
    classes : sequence of str, optional
        In the order wanted; default: sorted. Rows of others are left out.
    parameters : mapping, optional
        Of LightGBM; default: `PAPER_SEVEN`, or `PAPER_BINARY` for two classes.
    calibration : {'sigmoid', 'isotonic', 'none'}
        See `cards.Calibration`.
    groups : (n,), optional
        Such as the object of each row: with default rows, a group stays together.
    name : str
        For the card.
    data : mapping, optional
        What the data are, for the card: numbers and text. The sides of the cutouts, width and shown in r_s, are taken
        over from `features.attrs`, so that `classify` cuts alike.
    threads : int
        0: as LightGBM likes it.
    seed : int

    Returns
    -------
    Boosting

    Raises
    ------
    ParameterError
        If there is too little to learn from, or a column is no number.
    MissingExtraError
        If LightGBM is not installed.
    """
    lightgbm = import_lightgbm()
    labels = plain_labels(labels, len(features))
    names = _classes(labels, classes)
    inputs = [str(column) for column in features.columns]
    if not inputs or len(set(inputs)) < len(inputs):
        raise ParameterError(
            f"the columns are {', '.join(inputs)[:80]!r}; give one or more, of different names."
        )
    values = _values(features, inputs)
    train, valid = _rows(labels, names, train, valid, groups, seed)
    number = {name: k for k, name in enumerate(names)}
    truth = np.array([number.get(label, -1) for label in labels])
    chosen = dict(parameters or (PAPER_BINARY if len(names) == 2 else PAPER_SEVEN))
    settings = _settings(len(names), threads, seed) | chosen
    rounds = int(settings.pop("num_iterations", ROUNDS))
    sets = [
        lightgbm.Dataset(values[rows], truth[rows], free_raw_data=True, params={"verbose": -1})
        for rows in (train, valid)
    ]
    try:
        booster = lightgbm.train(
            settings,
            sets[0],
            num_boost_round=rounds,
            valid_sets=[sets[1]],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
    except lightgbm.basic.LightGBMError as error:
        raise ParameterError(f"LightGBM cannot be trained with {chosen!r:.120}: {error!s:.120}") from error
    scores = _scores(booster, values[valid], len(names))
    found = np.array(names, object)[np.argmax(scores, axis=1)]
    card = Card(
        "boosting",
        name or ("binary" if len(names) == 2 else f"{len(names)}-class"),
        tuple(names),
        tuple(inputs),
        data={
            **{key: features.attrs[key] for key in ("width", "shown") if key in features.attrs},
            **(data or {}),
            "train": len(train),
            "validation": len(valid),
            "counts": _counts(labels[train]),
        },
        recipe={
            "method": "LightGBM",
            "version": lightgbm.__version__,
            "parameters": chosen,
            "learning_rate": settings["learning_rate"],
            "trees": int(booster.best_iteration),
            "seed": seed,
        },
        metrics={"validation_f1": f1_scores(labels[valid], found, names).round(2).to_dict()},
        calibration=Calibration.fit(scores, truth[valid], calibration).to_dict(),
        novelty=Novelty.fit(values[train], truth[train], values[valid]).to_dict(),
    )
    return Boosting(booster, card)


def scan_parameters(
    features: pd.DataFrame,
    labels: ArrayLike,
    train: ArrayLike,
    valid: ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    threads: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Try every combination of a grid; unlike the paper's scan, this one looks at validation data alone.

    Returns
    -------
    DataFrame
        One row a combination: its parameters, trees (at the early stop) and f1, weighted over the classes of the
        validation rows, in per cent; the best first, and of those alike the one of fewest leaves.
    """
    grid = GRID if grid is None else grid
    rows = []
    for combination in itertools.product(*grid.values()):
        parameters = dict(zip(grid, combination, strict=True))
        if parameters.get("num_leaves", 2) > 2 ** parameters.get("max_depth", 12):
            continue
        model = train_boosting(
            features, labels, train, valid, classes=classes, parameters=parameters, calibration="none",
            threads=threads, seed=seed,
        )  # fmt: skip
        trees, f1 = model.card.recipe["trees"], model.card.metrics["validation_f1"]["ALL"]
        rows.append({**parameters, "trees": trees, "f1": f1})
    if not rows:
        raise ParameterError(
            f"no combination of the grid is one: {dict(grid)!r:.120}; there are up to 2^max_depth leaves."
        )
    table = pd.DataFrame(rows)
    order = ["f1", *[key for key in ("num_leaves", "max_depth") if key in grid]]
    return table.sort_values(order, ascending=[False] + [True] * (len(order) - 1), ignore_index=True)


def repeat_splits(
    features: pd.DataFrame,
    labels: ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    test: ArrayLike | None = None,
    count: int = 5,
    parameters: Mapping[str, Any] | None = None,
    threads: int = 0,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test on several splits of 55/15/30, or 70/30 with a test set of its own, such as one survey.

    Parameters
    ----------
    features, labels, classes, parameters
        See `train_boosting`.
    groups, test
        See `evaluate.split_sources`.
    count : int
        Of splits.

    Returns
    -------
    f1 : DataFrame
        One row a split: F1 of each class and, weighted, of ALL, in per cent.
    predictions : DataFrame
        One row a tested source and split: split, row (position in `features`), label, predicted, probability.
    """
    labels = plain_labels(labels, len(features))
    names = _classes(labels, classes)

    def answer(train: NDArray[Any], valid: NDArray[Any], tested: NDArray[Any], seed: int) -> pd.DataFrame:
        options: dict[str, Any] = {"classes": names, "parameters": parameters, "threads": threads}
        options["calibration"] = "none"  # as the paper: the class of the largest score
        return train_boosting(features, labels, train, valid, seed=seed, **options).predict(
            features.iloc[tested]
        )

    return over_splits(answer, labels, names, groups, test=test, count=count, seed=seed)


def two_groups(labels: ArrayLike) -> NDArray[Any]:
    """Return GAL for Galactic classes, EGAL for extragalactic ones, '' for others."""
    group = dict.fromkeys(GALACTIC, "GAL") | dict.fromkeys(EXTRAGALACTIC, "EGAL")
    return np.array([group.get(str(label), "") for label in np.asarray(labels)], object)


def confusion_shares(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return which percentage of each class (rows) was taken for each class (columns), over all splits: Figure 5."""
    order = list(classes)
    counts = pd.crosstab(predictions["label"], predictions["predicted"])
    counts = counts.reindex(index=order, columns=order, fill_value=0)
    shares = 100 * counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    return shares.rename_axis(index="label", columns="taken for")


def f1_in_bins(
    predictions: pd.DataFrame,
    values: ArrayLike,
    edges: Sequence[float],
    classes: Sequence[str],
    *,
    least: int = 10,
) -> pd.DataFrame:
    """Return the F1 of each class against another quantity, such as the SNR: Figure 6.

    Parameters
    ----------
    predictions : DataFrame
        Of `repeat_splits`.
    values : (n,)
        Of each row of the features.
    edges : sequence of float
        Of the bins.
    least : int
        Classes of fewer sources in a bin are NaN.

    Returns
    -------
    DataFrame
        One row a bin: low, high, share (of the sources, in per cent), F1 of each class and ALL.
    """
    values = np.asarray(values, np.float64)
    if len(predictions) and predictions["row"].max() >= len(values):
        raise ParameterError(
            f"{len(values)} values, and row {predictions['row'].max()} was predicted; give one for each row."
        )
    own = values[predictions["row"].to_numpy()]
    rows = []
    for low, high in itertools.pairwise(edges):
        part = predictions[(own >= low) & (own < high)]
        row = {"low": low, "high": high, "share": 100 * len(part) / max(len(predictions), 1)}
        if len(part) >= least:
            f1 = f1_scores(part["label"], part["predicted"], classes)
            counts = part["label"].value_counts()
            row |= {name: f1[name] for name in classes if counts.get(name, 0) >= least} | {"ALL": f1["ALL"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=["low", "high", "share", *classes, "ALL"])


# ------------------------------------------------------------------------------------


def import_lightgbm() -> Any:
    """Return LightGBM; MissingExtraError where it is not installed, or where the system has no OpenMP for it."""
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("LightGBM is not installed: pip install 'radiowidgets[boosting]'") from error
    except OSError as error:
        raise MissingExtraError(
            f"LightGBM does not start: {error}. Install OpenMP: apt install libgomp1 (Debian, Ubuntu), "
            "brew install libomp (macOS)."
        ) from error
    return lightgbm


def _settings(classes: int, threads: int, seed: int) -> dict[str, Any]:
    kind = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    return kind | {
        "learning_rate": RATE,
        "num_threads": threads,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbose": -1,
    }


def _scores(booster: Any, values: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    if not len(values):
        return np.empty((0, classes))
    found = np.asarray(booster.predict(values), np.float64)
    return found if found.ndim == 2 else np.column_stack([1 - found, found])


def _values(features: pd.DataFrame, inputs: Sequence[str]) -> NDArray[np.float64]:
    missing = [name for name in inputs if name not in features.columns]
    if missing:
        raise ParameterError(
            f"the features have no column {', '.join(missing[:6])}; the model takes {len(inputs)}: make them with "
            "compact_features from the same bands (a band that is not there may be a column of NaN)."
        )
    try:
        values = features[list(inputs)].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"a feature is no number ({error!s:.80}); leave its column out.") from error
    return np.where(np.isfinite(values), values, np.nan)


def _classes(labels: NDArray[Any], classes: Sequence[str] | None) -> list[str]:
    names = sorted(set(labels.tolist()) - {""}) if classes is None else [str(name) for name in classes]
    if len(names) < 2:
        raise ParameterError(
            f"there is {'only ' + names[0] if names else 'no label'}; give two classes or more."
        )
    return names


def _rows(
    labels: NDArray[Any],
    names: Sequence[str],
    train: ArrayLike | None,
    valid: ArrayLike | None,
    groups: ArrayLike | None,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if (train is None) != (valid is None):
        raise ParameterError("give rows to train on and rows to validate on, or neither.")
    known = np.isin(labels, names)
    if train is None:
        used = np.flatnonzero(known)
        alike = None if groups is None else np.asarray(groups)[used]
        parts = make_folds(labels[used], alike, count=5, seed=seed)[0]
        return used[parts[0]], used[parts[1]]
    first, second = (_places(rows, len(labels)) for rows in (train, valid))
    first, second = first[known[first]], second[known[second]]
    if len(np.intersect1d(first, second)) or not len(second):
        raise ParameterError(
            f"{len(first)} rows train, {len(second)} validate; no row may do both, some must do each."
        )
    lacking = sorted(set(names) - set(labels[first].tolist()))
    if lacking:
        raise ParameterError(f"no row to train on is {', '.join(lacking)}; leave the class out.")
    return first, second


def _places(rows: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Return rows as places, also those of a mask."""
    found = np.asarray(rows)
    found = np.flatnonzero(found) if found.dtype == bool and len(found) == n else found.astype(np.int64)
    if len(found) and not 0 <= found.min() <= found.max() < n:
        raise ParameterError(f"rows go from {found.min()} to {found.max()}, and there are {n}.")
    return found


def _counts(labels: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))

"""A trained classifier as a folder: its card in JSON beside its weights, and nothing that could run.

The card tells what kind of model it is, what goes in and what comes out, how it was trained and how well it did, and
holds two small things that any kind may have: how its scores become probabilities, and what its training data looked
like, so that a source unlike them all is told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiowidgets.errors import DataError, ParameterError, check_one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

FORMAT = 1
CARD = "card.json"
#: What models there are, and the file that holds their weights.
KINDS = {"boosting": "model.txt", "network": "network.weights.h5"}
LARGEST = 16 * 2**20  # bytes of a card
MOST_NAMES = 1000  # of classes, and of inputs

#: The classes of compact-sources, in the order of its tables.
GALACTIC = ("PN", "HII", "PULSAR", "YSO", "STAR")
EXTRAGALACTIC = ("RG", "QSO")

_METHODS = ("none", "sigmoid", "isotonic")
_TINY = 1e-7


@dataclass(frozen=True)
class Card:
    """What there is to know of a trained classifier.

    Attributes
    ----------
    kind : {'boosting', 'network'}
    name : str
        Such as 'seven-class' or 'custom_v1'.
    classes : tuple of str
        In the order of the model's outputs.
    inputs : tuple of str
        Features (boosting) or bands (network), in the order in which the model takes them.
    data, recipe, metrics : dict
        What it was trained on, how, and how well it did on which test data; numbers and text only.
    calibration : dict or None
        Of `Calibration.to_dict`.
    novelty : dict or None
        Of `Novelty.to_dict`.
    sha256 : str
        Of the file of weights; filled in by `write_card`.
    """

    kind: str
    name: str
    classes: tuple[str, ...]
    inputs: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    novelty: dict[str, Any] | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        check_one_of("kind", self.kind, KINDS)
        for what in ("classes", "inputs"):
            names = tuple(str(name) for name in getattr(self, what))
            if not names or len(set(names)) < len(names) or len(names) > MOST_NAMES:
                raise ParameterError(f"{what} are {names!r:.80}; give 1 to {MOST_NAMES} different names.")
            object.__setattr__(self, what, names)
        if not all(isinstance(part, dict) for part in (self.data, self.recipe, self.metrics)):
            raise ParameterError("data, recipe and metrics must be tables of numbers and text.")

    def number(self, name: str, least: float, most: float) -> Any:
        """Return a number of the recipe of a card that was read: what is built from it must fit into memory.

        Raises
        ------
        DataError
            If it is missing, no number, or not from `least` to `most`; where `least` is whole, it must be too.
        """
        value = self.recipe.get(name)
        kinds = int if isinstance(least, int) else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise DataError(
                f"the card of {str(self.name)[:40]!r} tells {name} {value!r:.40}, which is not from {least} to {most}; "
                "get the model again from where it was made."
            )
        return value


def write_card(folder: str | os.PathLike[str], card: Card) -> Path:
    """Write the card beside the weights, which are there already: last, so that a card stands for a whole model.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If the weights are not there or the folder cannot be written.
    ParameterError
        If the card holds what JSON does not.
    """
    folder = Path(folder)
    written = dataclasses.replace(card, sha256=_digest(folder / KINDS[card.kind]))
    try:
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(written)}, indent=1, default=_plain)
        draft = folder / f".{CARD}.{os.getpid()}"
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(folder / CARD)
    except TypeError as error:
        raise ParameterError(f"the card cannot be written as JSON: {error}.") from error
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from error
    return folder


def save_network(model: keras.Model, folder: str | os.PathLike[str], card: Card) -> Path:
    """Write weights and card into a folder; both hold numbers and text alone.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    place = Path(folder).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
        model.save_weights(place / KINDS["network"], overwrite=True)
    except OSError as error:
        raise DataError(f"{place} cannot be written ({error}); choose another folder.") from error
    return write_card(place, card)


def load_network_weights(folder: str | os.PathLike[str], make: Callable[[], keras.Model]) -> keras.Model:
    """Return the network that `make` builds, with the weights that `save_network` wrote.

    Raises
    ------
    DataError
        If the recipe makes none, or the weights are damaged or of another.
    """
    try:
        model = make()
        model.load_weights(Path(folder).expanduser() / KINDS["network"])
    except (KeyError, ValueError, TypeError, OverflowError, OSError, ParameterError) as error:
        raise DataError(f"the network in {folder} cannot be read ({error!s:.100}); save it anew.") from error
    return model


def read_card(folder: str | os.PathLike[str]) -> Card:
    """Read the card of a model, and check that the weights beside it are those that it speaks of.

    Raises
    ------
    DataError
        If there is none, it is damaged or of a later version, or the weights are others.
    """
    folder = Path(folder).expanduser()
    path = folder / CARD
    if not path.is_file():
        raise DataError(
            f"{folder} holds no trained model ({CARD} is missing); give the folder it was saved to."
        )
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} has {path.stat().st_size} bytes; a card has {LARGEST} at most.")
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format")
        if version != FORMAT:
            raise DataError(f"{path} has format {version!r}; this version reads {FORMAT}.")
        card = Card(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no card of a model ({error!s:.160}); save the model anew.") from error
    weights = folder / KINDS[card.kind]
    if _digest(weights) != card.sha256:
        raise DataError(f"{weights} is not what its card speaks of; copy the whole folder again.")
    return card


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); a model is a folder of both files."
        ) from error


def _plain(value: Any) -> Any:
    """Turn what numpy counts with into what JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is neither a number nor text")


# ------------------------------------------------------------------------------------
# probabilities


@dataclass(frozen=True)
class Calibration:
    """How scores that add up to 1 become probabilities that do: each class by itself, then divided by their sum.

    Attributes
    ----------
    method : {'none', 'sigmoid', 'isotonic'}
        'sigmoid' fits 1 / (1 + exp(-(slope * logit + offset))) (Platt 1999), 'isotonic' a rising line of steps
        (Zadrozny and Elkan 2002), which needs more data.
    curves : tuple of (x, y)
        For 'sigmoid' ((slope,), (offset,)); for 'isotonic' the corners of the line.
    """

    method: str
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()

    @classmethod
    def fit(cls, scores: ArrayLike, truth: ArrayLike, method: str = "sigmoid") -> Calibration:
        """Fit to data that the model was not trained on.

        Parameters
        ----------
        scores : (n, k)
        truth : (n,) int
            The class of each row, 0 to k - 1.
        method : {'none', 'sigmoid', 'isotonic'}
        """
        check_one_of("method", method, _METHODS)
        scores, truth = np.asarray(scores, np.float64), np.asarray(truth)
        if method == "none":
            return cls("none")
        fit = _fit_sigmoid if method == "sigmoid" else _fit_isotonic
        return cls(method, tuple(fit(scores[:, k], truth == k) for k in range(scores.shape[1])))

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Return (n, k) probabilities of (n, k) scores."""
        values = np.array(scores, np.float64)
        if self.method == "none":
            return values
        for k, (x, y) in enumerate(self.curves):
            if self.method == "sigmoid":
                values[:, k] = 1 / (1 + np.exp(-(x[0] * _logit(values[:, k]) + y[0])))
            else:
                values[:, k] = np.interp(values[:, k], x, y)
        values = np.maximum(values, _TINY)
        return values / values.sum(axis=1, keepdims=True)

    def to_dict(self) -> dict[str, Any]:
        """Return numbers and text, for a card."""
        return {"method": self.method, "curves": [[list(x), list(y)] for x, y in self.curves]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> Calibration:
        """Read what `to_dict` wrote; None does nothing to the scores."""
        if content is None:
            return cls("none")
        try:
            check_one_of("method", content["method"], _METHODS)
            curves = tuple((_numbers(x), _numbers(y)) for x, y in content["curves"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the card's calibration is damaged ({error!s:.80}); save the model anew."
            ) from error
        if any(len(x) != len(y) or not x for x, y in curves):
            raise DataError("the card's calibration is damaged (a curve of no length); save the model anew.")
        return cls(content["method"], curves)


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(scores, _TINY, 1 - _TINY)
    return np.log(inside / (1 - inside))


def _fit_sigmoid(
    scores: NDArray[np.float64], own: NDArray[np.bool_]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.linear_model import LogisticRegression

    if own.all() or not own.any():
        return (1.0,), (0.0,)
    fitted = LogisticRegression(C=1e3).fit(_logit(scores)[:, None], own)
    return (float(fitted.coef_[0, 0]),), (float(fitted.intercept_[0]),)


def _fit_isotonic(
    scores: NDArray[np.float64], own: NDArray[np.bool_]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, own)
    return _numbers(fitted.X_thresholds_), _numbers(fitted.y_thresholds_)


def _numbers(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in numbers):
        raise ValueError("a number is not finite")
    return numbers


# ------------------------------------------------------------------------------------
# unlike the training data


@dataclass(frozen=True)
class Novelty:
    """How far a source lies from everything that a model was trained on.

    Each class is a Gaussian in the inputs (Lee et al. 2018, NeurIPS, section 2.1, with a covariance each); the
    distance is the smallest of Mahalanobis, of those inputs that are not missing, over what is expected of so many of
    them. `limit` is the distance that a share of held-out sources exceed.

    Attributes
    ----------
    means : (k, d) array
    covariances : (k, d, d) array
    limit : float
    share : float
        Of sources like those it was trained on, that are flagged.
    """

    means: NDArray[np.float64]
    covariances: NDArray[np.float64]
    limit: float
    share: float = 0.01

    @classmethod
    def fit(cls, inputs: ArrayLike, truth: ArrayLike, held_out: ArrayLike, *, share: float = 0.01) -> Novelty:
        """Describe the training data.

        Parameters
        ----------
        inputs : (n, d)
            What the model was trained on: features, or the last layer of a network; NaN where missing.
        truth : (n,)
            The class of each row.
        held_out : (m, d)
            Sources of the same kind that it was not trained on, for the limit.
        share : float
            Of those, how many shall be flagged.
        """
        if not 0 < share < 1:
            raise ParameterError(f"share is {share!r}; give a number between 0 and 1, such as 0.01.")
        inputs, truth = np.asarray(inputs, np.float64), np.asarray(truth)
        middle = np.nan_to_num(_nanmean(inputs))
        spread = np.sqrt(np.nan_to_num(_nanmean((inputs - middle) ** 2)))
        floor = np.diag(np.maximum(0.05 * spread, 1e-6) ** 2)
        means, covariances = [], []
        for name in np.unique(truth):
            own = inputs[truth == name]
            mean = np.where(np.isfinite(_nanmean(own)), _nanmean(own), middle)
            means.append(mean)
            covariances.append(_covariance(own - mean, spread) + floor)
        novelty = cls(np.array(means), np.array(covariances), 1.0, share)
        distance = novelty(held_out)
        distance = distance[np.isfinite(distance)]
        return dataclasses.replace(
            novelty, limit=float(np.quantile(distance, 1 - share)) if len(distance) else 0.0
        )

    def __call__(self, inputs: ArrayLike) -> NDArray[np.float64]:
        """Return (n,) distances of (n, d) inputs: about 1 where all is usual, infinite where all are missing."""
        inputs = np.asarray(inputs, np.float64)
        distance = np.full(len(inputs), np.inf)
        known = np.isfinite(inputs)
        patterns, which = np.unique(known, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            if not pattern.any():
                continue
            rows = np.flatnonzero(which == number)
            part = inputs[np.ix_(rows, np.flatnonzero(pattern))]
            nearest = np.full(len(rows), np.inf)
            for mean, covariance in zip(self.means, self.covariances, strict=True):
                step = part - mean[pattern]
                solved = np.linalg.solve(covariance[np.ix_(pattern, pattern)], step.T).T
                nearest = np.minimum(nearest, np.einsum("ij,ij->i", step, solved))
            distance[rows] = np.sqrt(np.maximum(nearest, 0) / pattern.sum())
        return distance

    def unlike(self, inputs: ArrayLike) -> NDArray[np.bool_]:
        """Tell which are farther away than the limit."""
        return self(inputs) > self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return numbers, for a card."""
        return {
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
            "limit": self.limit,
            "share": self.share,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Novelty:
        """Read what `to_dict` wrote."""
        try:
            means = np.array(content["means"], np.float64)
            covariances = np.array(content["covariances"], np.float64)
            k, d = means.shape
            if (
                covariances.shape != (k, d, d)
                or not np.isfinite(covariances).all()
                or not np.isfinite(means).all()
            ):
                raise ValueError("shapes or values do not fit")
            return cls(means, covariances, float(content["limit"]), float(content["share"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the card's novelty is damaged ({error!s:.80}); save the model anew.") from error


def _nanmean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _covariance(steps: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of what is known of each pair, drawn to the diagonal for few rows, and made positive."""
    known = np.isfinite(steps)
    filled = np.where(known, steps, 0.0)
    count = known.T.astype(np.float64) @ known
    covariance = (filled.T @ filled) / np.maximum(count, 1)
    own = np.where(np.diag(count) > 1, np.diag(covariance), spread**2)
    weight = count / (count + len(spread))
    covariance = np.where(count > 1, covariance, 0.0) * weight
    np.fill_diagonal(covariance, own)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def plain_labels(labels: ArrayLike, n: int) -> NDArray[Any]:
    """Return n labels as text, '' where there is none: None, NaN, 'UNKNOWN'."""
    import pandas as pd

    given = np.array(["" if pd.isna(label) else str(label) for label in np.asarray(labels, object)], object)
    if len(given) != n:
        raise ParameterError(f"{n} rows and {len(given)} labels; give one label a row.")
    given[given == "UNKNOWN"] = ""
    return given


def prediction_table(
    card: Card,
    index: Any,
    probabilities: NDArray[np.float64],
    distance: NDArray[np.float64] | None = None,
    limit: float = math.inf,
) -> pd.DataFrame:
    """Lay predictions out as every classifier of the package does.

    Returns
    -------
    pandas.DataFrame
        label; probability (of that label); p_<CLASS> for each class; distance from the training data and whether it is
        unlike them.
    """
    import pandas as pd

    best = np.argmax(probabilities, axis=1)
    table = pd.DataFrame(index=index)
    table["label"] = np.array(card.classes, object)[best]
    table["probability"] = probabilities[np.arange(len(best)), best]
    for k, name in enumerate(card.classes):
        table[f"p_{name}"] = probabilities[:, k]
    table["distance"] = np.nan if distance is None else distance
    table["unlike"] = False if distance is None else distance > limit
    return table

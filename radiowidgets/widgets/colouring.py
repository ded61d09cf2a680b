"""How points are coloured: by a number on a scale, or by a category, each as one byte a point."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.data.query import Words

MOST_CATEGORIES = 12
STEPS = 253  # of a scale: codes 2 to 255; 1 is what has no value
WIDE = 50.0  # from this ratio of the ends on, a scale is logarithmic by itself
ENDS = (1.0, 99.0)  # percentiles at which a scale ends
_LARGEST = 1e37  # beyond, float32 holds logarithms alone
_LONGEST = 60  # letters of a text that is shown

# Of categories that bring no colour: first those of Okabe & Ito, told apart by all who see colours.
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b2a800",
    "#7f5fd1", "#8c564b", "#17a2a2", "#e15a97", "#6b8e23",
)  # fmt: skip


@dataclass
class Colouring:
    """How to colour.

    Attributes
    ----------
    values : (n,) float32 or int8 array, or None
        The numbers, in log10 where the scale is; or the codes of categories, -1 for none.
    legend : dict
        What the front end shows.
    """

    values: np.ndarray | None
    legend: dict[str, Any]

    @classmethod
    def none(cls) -> "Colouring":
        """Only how densely the points lie."""
        return cls(None, {"kind": "density"})

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return values as bytes: 1 where nothing is known, else from 2."""
        if self.legend["kind"] == "category":
            return np.where(values >= 0, np.nan_to_num(values) + 2, 1).astype(np.uint8)
        low, high = self.legend["limits"]
        share = np.clip((values - low) / (high - low), 0, 1)
        return np.where(np.isnan(share), 1, np.nan_to_num(share) * STEPS + 2).astype(np.uint8)

    def words(self, row: int) -> str:
        """Return the value of one row in words."""
        if self.values is None:
            return ""
        value = float(self.values[row])
        if self.legend["kind"] == "category":
            return "" if value < 0 else str(self.legend["names"][int(value)])
        if not np.isfinite(value):
            return ""
        return f"{10**value if self.legend['log'] else value:.4g}"

    def of_category(self, code: int) -> np.ndarray:
        """Return which rows have a category, as bool (n,); -1 are those that have none."""
        if self.values is None or self.legend["kind"] != "category":
            return np.zeros(0 if self.values is None else len(self.values), bool)
        return self.values == code


def colour_by(
    name: str,
    column: Any,
    count: int,
    *,
    log: bool | None = None,
    unit: str = "",
    colours: Mapping[str, str] | None = None,
    words: Mapping[str, str] | None = None,
) -> Colouring:
    """Return how to colour `count` points by a column.

    Parameters
    ----------
    name : str
    column : array, Series or Words
        Numbers get a scale, texts categories; of several texts a point shows the one that the fewest have.
    count : int
    log : bool, optional
        Whether the scale is logarithmic; by default where all numbers are positive and span far.
    unit : str
        What the numbers mean.
    colours, words : mapping of text to str, optional
        Colours and spellings of some categories.
    """
    if isinstance(column, Words):
        rows = np.arange(count) if column.rows is None else column.rows
        return _categories(name, column.texts, column.codes, rows, count, colours or {}, words or {})
    values = np.asarray(column)
    if values.dtype.kind == "b":
        return _categories(name, ["no", "yes"], values.astype(int), np.arange(count), count, {}, {})
    if values.dtype.kind not in "fiu":
        codes, texts = pd.factorize(values)
        known = np.flatnonzero(codes >= 0)
        return _categories(name, [str(text) for text in texts], codes[known], known, count, {}, {})
    return _scale(name, values, log, unit)


def _scale(name: str, values: np.ndarray, log: bool | None, unit: str) -> Colouring:
    sample = values[:: max(1, len(values) // 500_000)]
    seen = sample[np.isfinite(sample)]
    positive = seen[seen > 0]
    possible = len(positive) > 0.9 * len(seen) and len(seen) > 0
    if log is None:
        ends = np.percentile(positive, ENDS) if possible else (1.0, 1.0)
        wide = ends[1] / ends[0] >= WIDE or ends[1] > _LARGEST
        log = bool(possible and len(positive) == len(seen) and wide)
    log = log and possible
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values, dtype=np.float64)
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
        seen = np.log10(positive)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    low, high = (float(edge) for edge in np.percentile(seen, ENDS)) if len(seen) else (0.0, 1.0)
    if not high > low:
        low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    if not high > low:
        apart = max(0.5, 1e-3 * abs(low))
        low, high = low - apart, high + apart
    legend = {"kind": "scale", "name": name, "limits": [low, high], "log": log, "unit": unit}
    return Colouring(values, {**legend, "can_log": possible})


def _categories(
    name: str,
    texts: list[str],
    codes: np.ndarray,
    rows: np.ndarray,
    count: int,
    colours: Mapping[str, str],
    words: Mapping[str, str],
) -> Colouring:
    """Return categories, the most frequent first; those beyond the last colour are 'other'."""
    many = np.bincount(codes, minlength=len(texts))
    order = np.argsort(-many, kind="stable")
    order = order[many[order] > 0]
    place = np.full(len(texts), MOST_CATEGORIES - 1, np.int8)
    shown = len(order) if len(order) <= MOST_CATEGORIES else MOST_CATEGORIES - 1
    place[order[:shown]] = np.arange(shown)
    names = [shortened(words.get(texts[k], texts[k])) for k in order[:shown]]
    spare = iter(PALETTE)
    painted = [colours.get(texts[k]) or next(spare) for k in order[:shown]]
    if shown < len(order):
        names.append(f"{len(order) - shown} others")
        painted.append("#9a9a9a")
    values = np.full(count, -1, np.int8)
    wanted = np.argsort(place[codes], kind="stable")  # what the fewest have is written last, and stays
    values[rows[wanted]] = place[codes[wanted]]
    held = np.bincount(values[values >= 0], minlength=len(names)).tolist()
    legend = {"kind": "category", "name": name, "names": names, "colours": painted, "counts": held}
    return Colouring(values, {**legend, "none": int((values < 0).sum())})


def shortened(value: Any) -> str:
    """Return a value as a text that has room in a legend."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

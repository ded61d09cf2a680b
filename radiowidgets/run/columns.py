"""What may be asked of the frames of a run: columns of numbers and of texts, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from radiowidgets.data.query import Words
from radiowidgets.errors import FrameError

if TYPE_CHECKING:
    from radiowidgets.run import Run

# What a query may ask for, beside the features.
COLUMNS = {
    "rank": "place in the order, from 1",
    "score": "larger is more anomalous",
    "interest": "rating 0-5, the mean of all who rated",
    "my_interest": "your own rating, 0-5",
    "others_interest": "mean rating of the others, 0-5",
    "raters": "how many rated the frame",
    "ra": "ICRS right ascension of the centre, degrees",
    "dec": "ICRS declination of the centre, degrees",
    "x": "first column in the map, from 0, pixels",
    "y": "first row in the map, from 0, pixels",
    "width": "pixels",
    "height": "pixels",
    "rms": "local noise, in the unit of the map",
    "peak_snr": "brightest pixel over the local noise",
    "selection": "number of the last selection that holds it, 0 for none; see Run.select",
    "frame_id": "text: the id of the frame",
    "name": "text: the IAU name of its brightest place",
    "map": "text: the name of its map",
    "tag": "text: its tags, of all annotators",
    "my_tag": "text: the tags that you gave",
    "annotator": "text: who said anything of it",
    "note": "text: its notes, of all annotators",
}
SAID = ("interest", "my_interest", "others_interest", "raters", "tag", "my_tag", "annotator", "note")
TEXTS = {name for name, meaning in COLUMNS.items() if meaning.startswith("text: ")}


class Columns:
    """Columns of the frames of a run; those that labels make are kept until another event comes.

    Attributes
    ----------
    selection : (n,) int32 array
        Number of the last selection that holds each frame, 0 for none.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._said: tuple[tuple[int, frozenset[int]], dict[str, np.ndarray | Words]] | None = None
        self.selection = np.zeros(len(run.frames), np.int32)

    def readers(
        self, scores: pd.DataFrame | None = None, unsaid: frozenset[int] = frozenset()
    ) -> dict[str, Callable[[], np.ndarray | Words]]:
        """Return what reads each column; rank and score are those of `scores`, by default of ``run.order``.

        Of the frames `unsaid` the columns do not tell what this annotator said.
        """
        frames = self._run.frames
        each = np.arange(len(self._run))
        readers: dict[str, Callable[[], np.ndarray | Words]] = {
            "rms": lambda: frames.noise.rms,
            "frame_id": lambda: Words(frames.frame_ids, each),
            "name": lambda: Words(self._run.names, each),
            "selection": lambda: self.selection,
            "map": lambda: Words(frames.map_names, frames.map_codes),
        }
        for name in ("rank", "score"):
            readers[name] = partial(self._place, name, scores)
        for name in ("x", "y", "width", "height", "ra", "dec"):
            readers[name] = partial(getattr, frames, name)
        for name in SAID:
            readers[name] = partial(self._what_is_said, name, unsaid)
        if "log_peak_snr" in self._run.features:
            readers["peak_snr"] = lambda: 10.0 ** self._feature("log_peak_snr")
        for name in self._run.features.columns:  # a feature goes before a column of the same name
            readers[name] = partial(self._feature, name)
        return readers

    def _place(self, name: str, scores: pd.DataFrame | None) -> np.ndarray:
        return (self._run.order if scores is None else scores)[name].to_numpy()

    def _feature(self, name: str) -> np.ndarray:
        """Return a feature as floats; NaN where it is no number."""
        column: pd.Series = self._run.features[name]
        if column.dtype.kind == "f":
            return column.to_numpy()
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)

    def _what_is_said(self, name: str, unsaid: frozenset[int]) -> np.ndarray | Words:
        """Return a column that the labels make; all are kept until another event comes."""
        key = (len(self._run.labels), unsaid)
        if self._said is None or self._said[0] != key:
            self._said = (key, self._gather_labels(unsaid))
        return self._said[1][name]

    def _gather_labels(self, unsaid: frozenset[int]) -> dict[str, np.ndarray | Words]:
        mine, sums, raters = (
            np.full(len(self._run), np.nan),
            np.zeros(len(self._run)),
            np.zeros(len(self._run)),
        )
        texts: dict[str, list[tuple[int, str]]] = {"tag": [], "my_tag": [], "annotator": [], "note": []}
        for annotator in self._run.labels.annotators:
            own = annotator == self._run.labels.annotator
            for frame_id, state in self._run.labels.state(annotator).items():
                try:
                    row = self._run.frames.index_of(frame_id)
                except FrameError:  # of other frames than these
                    continue
                if own and row in unsaid:
                    continue
                if state.interest is not None:
                    sums[row] += state.interest
                    raters[row] += 1
                    if own:
                        mine[row] = state.interest
                for name in ("tag", "my_tag") if own else ("tag",):
                    texts[name] += [(row, tag) for tag in state.tags]
                if not state.empty:
                    texts["annotator"].append((row, annotator))
                if state.note:
                    texts["note"].append((row, state.note))
        rated = np.isfinite(mine)
        with np.errstate(invalid="ignore"):  # 0 / 0 where nobody rated
            return {
                "interest": sums / raters,
                "my_interest": mine,
                "others_interest": (sums - np.where(rated, mine, 0)) / (raters - rated),
                "raters": raters,
                **{name: Words.gather(pairs) for name, pairs in texts.items()},
            }

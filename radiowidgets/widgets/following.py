"""How the order follows the labels while somebody labels: in the background, the newest request first."""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import RadioWidgetsError
from radiowidgets.ranking.campaign import worth_of
from radiowidgets.run import Run
from radiowidgets.run.reranking import Reranking, order_of
from radiowidgets.widgets.answers import rows_of

PAUSE = (
    0.6  # seconds without a new label after which many frames are ordered to the last one: it takes all cores
)
REST = 2.0  # seconds without a new label after which an order is written
BURST = 0.1  # seconds between requests below which ...
LULL = 0.02  # ... it is waited so long for a newer one, so that many labels at once are saved without delay
STEPS = 65535  # of a score on its way to the browser


class Said:
    """What the annotator of a run has said of its frames, kept by reading only the events that are new.

    Attributes
    ----------
    rated : set of int
        Frames with a rating.
    looked : (n,) array of bool
        Frames of which anything was said.
    worths : dict
        See `Run.worths`.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._events: Sequence[Any] = ()
        self._begin()

    def _begin(self) -> None:
        self._read = 0
        self.rated: set[int] = set()
        self.looked = np.zeros(len(self._run), bool)
        self.worths: dict[str, float] = {}

    def update(self) -> "Said":
        """Take in what the log has got since."""
        labels = self._run.labels
        if self._events is not labels.arrived:  # another list: what was read may not hold
            self._events = labels.arrived
            self._begin()
        new = self._events[self._read :]
        self._read += len(new)
        mine = {name for event in new if event.annotator == labels.annotator for name in event.frame_ids}
        states = labels.state() if len(mine) > 1000 else None
        for frame_id, row in zip(mine, rows_of(self._run, mine), strict=True):
            if row >= 0:
                self._settle(
                    frame_id, row, labels.state_of(frame_id) if states is None else states.get(frame_id)
                )
        return self

    def _settle(self, frame_id: str, row: int, state: Any) -> None:
        self.looked[row] = state is not None and not state.empty
        if state is not None and state.interest is not None:
            self.rated.add(row)
        else:
            self.rated.discard(row)
        worth = None if state is None else worth_of(state.interest, state.tags)
        if worth is None:
            self.worths.pop(frame_id, None)
        else:
            self.worths[frame_id] = worth


def in_steps(table: pd.DataFrame, places: int) -> tuple[dict[str, float], list[bytes]]:
    """Return the first places of an order for the browser: uint32, and their scores in uint16 from low to high."""
    order = order_of(table)[:places]
    score = table["score"].to_numpy(np.float64)[order]
    low, high = float(score.min(initial=0.0)), float(score.max(initial=1.0))
    steps = np.round((score - low) * (STEPS / (high - low)))
    return {"low": low, "high": high}, [order.astype(np.uint32).tobytes(), steps.astype(np.uint16).tobytes()]


class Follower:
    """Makes new orders of a run in a thread of its own.

    Of requests that come while it is at work only the newest counts; what comes first is delivered as soon as it is
    there, the whole order once no newer label stops it.

    Parameters
    ----------
    run : Run
    deliver : callable
        Is given what the browser gets, a message and its buffers; in the thread.
    keep : callable
        Is given an order that has stood for a while, to write it; in a thread.

    Attributes
    ----------
    table : DataFrame
        The present order.
    pause, rest : float
        Seconds without a new label after which many frames are ordered to the last one, and the order is written.
    """

    pause, rest = PAUSE, REST

    def __init__(
        self,
        run: Run,
        deliver: Callable[[dict[str, Any], list[bytes]], None],
        keep: Callable[[pd.DataFrame], None],
    ) -> None:
        self._run, self._deliver, self._keep = run, deliver, keep
        self.table = run.order
        self._executor = ThreadPoolExecutor(1, "follow")
        self._newest = 0
        self._asked = 0.0
        self._timer: threading.Timer | None = None
        self._labels = self._learnt_before()

    def _learnt_before(self) -> dict[str, float]:
        try:
            known = json.loads(self.table.attrs.get("ratings", "{}"))
        except (TypeError, ValueError):
            known = {}
        return known if isinstance(known, dict) else {}

    def follow(self, said: Said, tell: bool = False) -> None:
        """Ask for the order that follows what was said; where nothing of it is new, only (`tell`) for what moved up."""
        if said.worths != self._labels:
            self._ask(said, self._make_live)
        elif tell and self._labels:
            self._ask(said, self._make_words)

    def rerank(self, said: Said) -> None:
        """Ask for the whole order; no newer request takes its place."""
        self._ask(said, self._make_whole)

    def warm(self) -> None:
        """Do beforehand what the first re-ranking would wait for."""
        self._executor.submit(self._prepare)

    def _ask(self, said: Said, make: Callable[[int, Reranking, np.ndarray], None]) -> None:
        self._newest += 1
        before, self._asked = self._asked, time.monotonic()
        wait = LULL if self._asked - before < BURST else 0.0
        self._labels = dict(said.worths)
        if self._timer is not None:
            self._timer.cancel()
        self._executor.submit(self._work, self._newest, self._labels, said.looked.copy(), make, wait)

    def _work(
        self,
        serial: int,
        labels: dict[str, float],
        looked: np.ndarray,
        make: Callable[[int, Reranking, np.ndarray], None],
        wait: float,
    ) -> None:
        if serial == self._newest:
            time.sleep(wait)
        if serial < self._newest and make != self._make_whole:
            return
        try:
            make(serial, Reranking(self._run, labels), looked)
        except RadioWidgetsError as error:
            self._deliver({"kind": "error", "text": str(error)}, [])
        except Exception as error:
            text = f"re-ranking failed: {type(error).__name__}: {error}"
            self._deliver({"kind": "error", "text": text}, [])
            logging.getLogger(__name__).exception("re-ranking failed")

    def _make_words(self, _serial: int, made: Reranking, looked: np.ndarray) -> None:
        self._tell(made, looked, 0, made.text, live=True)

    def _make_live(self, serial: int, made: Reranking, looked: np.ndarray) -> None:
        if not made.learnt.moved and np.array_equal(self.table["rank"], self._run.scores["rank"]):
            self._make_words(serial, made, looked)
            return
        for step, near in enumerate(made.steps):
            if step and self._newest > serial:
                return
            self.table, places = made.head(self.table, near)
            self._tell(made, looked, places, made.text, live=True)
        until = time.monotonic() + (self.pause if len(made.steps) > 1 else 0.0)
        while time.monotonic() < until and self._newest == serial:
            time.sleep(0.02)
        table = made.whole(lambda: self._newest > serial)
        if table is None:
            return
        self.table = table
        self._tell(made, looked, len(table), made.text, live=True)
        if not self.rest:
            self._keep(table)
            return
        self._timer = threading.Timer(self.rest, self._keep, [table])
        self._timer.daemon = True
        self._timer.start()

    def _make_whole(self, _serial: int, made: Reranking, looked: np.ndarray) -> None:
        began = time.perf_counter()
        table = made.whole()
        assert table is not None  # nothing stops it
        self.table = table
        text = f"re-ranked in {time.perf_counter() - began:.1f} s: {made.text}"
        self._tell(made, looked, len(table), text, live=False)
        self._keep(table)

    def _tell(self, made: Reranking, looked: np.ndarray, places: int, text: str, *, live: bool) -> None:
        about, buffers = in_steps(self.table, places)
        risen = made.risen(self.table, looked)
        content = {"kind": "order", "live": live, "text": text, "coming": made.coming, "labels": made.count}
        self._deliver(
            {**content, **about, "risen": risen.frames.tolist(), "words": risen.words},
            buffers,
        )

    def _prepare(self) -> None:
        ids = self._run.frames.frame_ids
        if len(ids) > 1:
            made = Reranking(self._run, {str(ids[0]): 0.0, str(ids[-1]): 5.0})
            made.learnt.score(np.arange(2) % len(ids))

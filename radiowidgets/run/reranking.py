"""Re-ranking a run by what was said of its frames: what comes first at once, the whole order after it."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.ranking.active import kept_ratings, learn, rated_rows
from radiowidgets.ranking.isolation import BOTH, score_table

if TYPE_CHECKING:
    from radiowidgets.data.frames import FrameSet
    from radiowidgets.run import Run

NEAR = 5_000  # first places of the present order, which are ordered anew before all others
HEAD = 50_000  # places that come next
DRAWN = 5_000  # frames from further down that are tried with those; with the nearest in proportion
CHUNK = 65_536  # frames scored in one go: after each, newer labels may stop the rest
COMING = 100  # looks ahead of which is told what moved up; a tenth of the frames where that is less
HIGH = 2.5  # interest above which frames are rated high
MOST_LIKE = 2_000  # labelled frames, the last ones, that others are compared with


class Risen(NamedTuple):
    """What labels brought into the looks ahead.

    Attributes
    ----------
    frames : (m,) array of int
        Those of the next looks that the first order would not have among its next ones, the first first.
    words : str
        Which labelled frames most of them are like.
    """

    frames: np.ndarray
    words: str


class Reranking:
    """One re-ranking: what is learnt from labels, and the orders that come of it.

    Learning takes milliseconds. `head` then orders the first 5,000 places with 500 frames drawn from further down, or
    50,000 with 5,000, and `whole` all frames.

    Parameters
    ----------
    run : Run
    labels : mapping of frame_id to interest (0-5)
        See `Run.worths`.

    Attributes
    ----------
    text : str
        What was done, in words.
    count : int
        Labels that count.
    """

    def __init__(self, run: "Run", labels: Mapping[str, float] | pd.Series) -> None:
        self._run = run
        self._labels = labels
        self._seen, self._spread, ids = run._learnable
        self._seed = int(run.about.get("ranking", {}).get("seed", 0))
        base = run.scores["score"].to_numpy(np.float64)[self._seen]
        self._labelled = rated_rows(ids, labels)
        with _one_thread():
            self.learnt = learn(self._spread, base, ids, labels, seed=self._seed)
        self.text, self.count = self.learnt.text, len(labels)

    @property
    def steps(self) -> list[int]:
        """How many first places to order, step by step, before all; few frames are ordered at once."""
        return [places for places in (NEAR, HEAD) if 1.2 * places <= len(self._spread)]

    @property
    def coming(self) -> int:
        """Of how many looks ahead it is told what moved up."""
        return min(COMING, max(1, len(self._seen) // 10))

    def head(self, scores: pd.DataFrame, places: int | None = None) -> tuple[pd.DataFrame, int]:
        """Return the present order with its candidates ordered anew, and how many those are: they come first.

        Parameters
        ----------
        scores : DataFrame
            The present order.
        places : int
            Of which so many places are candidates, and frames drawn from further down; default: 50,000.
        """
        places = HEAD if places is None else places
        order = order_of(scores)
        skies = int(np.count_nonzero(self._seen))  # what has no sky stands last
        first = order[: min(places, skies)]
        rng = np.random.default_rng([self._seed, len(self._labels)])
        drawn = rng.choice(skies - len(first), min(DRAWN * places // HEAD, skies - len(first)), replace=False)
        chosen = np.concatenate([first, order[len(first) + np.sort(drawn)]])
        place = np.cumsum(self._seen) - 1
        found = self.learnt.score(place[chosen])
        score = scores["score"].to_numpy(np.float64, copy=True)
        score[chosen] = found
        others = np.ones(len(order), bool)
        others[chosen] = False
        order = np.concatenate([chosen[np.argsort(-found, kind="stable")], order[others[order]]])
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(1, len(order) + 1)
        table = pd.DataFrame({"score": score, "rank": ranks}, index=self._run.scores.index)
        return self._told(table), len(chosen)

    def whole(self, stopped: Callable[[], bool] = lambda: False) -> pd.DataFrame | None:
        """Return scores and ranks of all frames; those without sky stay last. None where `stopped` says so."""
        score = self._run.scores["score"].to_numpy(np.float64, copy=True)
        if self.learnt.moved:
            found = np.empty(len(self._spread))
            for start in range(0, len(found), CHUNK):
                if stopped():
                    return None
                end = min(start + CHUNK, len(found))
                found[start:end] = self.learnt.score(slice(start, end))
            score[self._seen] = found
        return None if stopped() else self._told(score_table(np.asarray(self._run.frames.frame_ids), score))

    def _told(self, table: pd.DataFrame) -> pd.DataFrame:
        about: dict[Any, Any] = dict(self._run.scores.attrs)
        method = f"{about.get('method', 'first ranking')}; {self.text}"
        if self.learnt.moved and self._run.embedding is not None:
            method += BOTH
        table.attrs |= about | {"method": method, "learnt": self.text, "seed": self._seed}
        table.attrs["ratings"] = kept_ratings(self._labels)
        return table

    def risen(self, scores: pd.DataFrame, looked: np.ndarray) -> Risen:
        """Return what moved into the next looks by what was said, and what it is like.

        Parameters
        ----------
        scores : DataFrame
            From `head` or `whole`.
        looked : (n,) array of bool
            Frames that were looked at.
        """
        coming = first_of(order_of(scores), looked, self.coming)
        frames = coming[~np.isin(coming, first_of(self._run._first_order, looked, self.coming))]
        return Risen(frames, self._likeness(frames[self._seen[frames]]))

    def _likeness(self, frames: np.ndarray) -> str:
        """Say which labelled frames most of these are nearest to."""
        from scipy.spatial.distance import cdist

        worth, rows = (values[-MOST_LIKE:] for values in self._labelled)
        if not len(frames) or not len(rows):
            return ""
        place = np.cumsum(self._seen) - 1
        nearest = worth[cdist(self._spread[place[frames]], self._spread[rows]).argmin(axis=1)]
        high = nearest > HIGH
        if 2 * high.sum() >= len(high):
            return f"like those you rated {_span(nearest[high])}"
        return f"unlike those you rated {_span(worth[worth <= HIGH])}"


class Shown:
    """Frames that are shown already, to leave out others whose brightest place they hold.

    Parameters
    ----------
    frames : FrameSet
    rows : (k,) array of int
        Those that are shown.
    """

    def __init__(self, frames: "FrameSet", rows: np.ndarray) -> None:
        self._frames, self._rows = frames, rows

    def new(self, rows: np.ndarray, focus: np.ndarray) -> list[int]:
        """Return those of the frames `rows` that show something new, each shown from then on.

        Parameters
        ----------
        rows : (k,) array of int
        focus : (k, 2) array
            Where each is brightest; one with NaN is always new.
        """
        if not self._frames.maps:  # images without a map do not overlap
            return rows.tolist()
        known = self._holds(self._rows, rows, focus).any(axis=1)
        among = self._holds(rows, rows, focus)
        leads: list[int] = []
        for place in np.flatnonzero(~known):
            if not among[place, leads].any():
                leads.append(int(place))
        self._rows = np.concatenate([self._rows, rows[leads]])
        return rows[leads].tolist()

    def _holds(self, shown: np.ndarray, rows: np.ndarray, focus: np.ndarray) -> np.ndarray:
        """Return whether the focus of each of `rows` lies in each of `shown`, bool (rows, shown)."""
        frames = self._frames
        inside = frames.map_codes[rows][:, None] == frames.map_codes[shown]
        for place, low, size in zip(
            focus.T, (frames.x, frames.y), (frames.width, frames.height), strict=True
        ):
            inside &= (place[:, None] >= low[shown]) & (place[:, None] < low[shown] + size[shown])
        return inside


def _one_thread() -> Any:
    """Let each thread do its own linear algebra: on matrices so small, threads of BLAS wait for each other."""
    return _pools().limit(limits=1, user_api="blas")


@cache
def _pools() -> Any:
    import scipy.linalg  # noqa: F401  (its BLAS is to be found)
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def order_of(scores: pd.DataFrame) -> np.ndarray:
    """Return the frames (n,) of a table in the order of their ranks."""
    order = np.empty(len(scores), np.int64)
    order[scores["rank"].to_numpy() - 1] = np.arange(len(scores))
    return order


def first_of(order: np.ndarray, looked: np.ndarray, count: int) -> np.ndarray:
    """Return so many frames of an order, the first that were not looked at."""
    found: list[np.ndarray] = []
    for start in range(0, len(order), 4096):
        part = order[start : start + 4096]
        found.append(part[~looked[part]][:count])
        count -= len(found[-1])
        if not count:
            break
    return np.concatenate(found)


def _span(ratings: np.ndarray) -> str:
    low, high = ratings.min(), ratings.max()
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"

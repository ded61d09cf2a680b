"""Learning with an astronomer: which frames to look at next, and campaigns in which an oracle plays the astronomer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError
from radiowidgets.labels.progress import Estimate, forecast
from radiowidgets.ranking.active import (
    HIGHEST,
    fit_ratings,
    predict_interest,
    rated_rows,
    reference_rows,
)
from radiowidgets.ranking.rankers import Ranker, make_ranker

# What a tag says of a frame that carries it and no rating.
WORTH_OF_TAGS = {"ARTEFACT": 0.0, "BACKGROUND": 0.0, "MOSAICKING": 0.0, "PECULIAR": 4.0}


def worth_of(rating: float | None, tags: Iterable[str]) -> float | None:
    """Return what labels say of a frame: its rating, else the most that its tags are worth; None where neither does."""
    if rating is not None:
        return float(rating)
    return max((WORTH_OF_TAGS[tag] for tag in tags if tag in WORTH_OF_TAGS), default=None)


WAITING = 100  # frames put off in one batch at most, and compared with


class ActiveSession:
    """Frames that an astronomer rates batch by batch, the next ones chosen by what was rated.

    Nothing here waits: whoever shows frames calls `suggest`, and `tell` when there are ratings.

    Parameters
    ----------
    embedding : (n, d) array
        What the ranker sees of each frame.
    ranker : str or Ranker
        A name of `radiowidgets.ranking.rankers.RANKERS`, or one's own.
    groups : (n,) array of int, optional
        Frames of one number show the same thing (``run.stacks()``): one of them is suggested, and a rating of one
        counts for all.
    seed : int
        Seed of a ranker that is given by its name.

    Raises
    ------
    ParameterError
        If a shape does not fit, or values are not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> embedding = np.r_[rng.normal(size=(200, 3)), rng.normal(6, 1, size=(5, 3))]
    >>> session = ActiveSession(embedding)
    >>> first = session.suggest(10)
    >>> session.tell(first, [5 if k >= 200 else 0 for k in first])
    >>> len(session.suggest(10)), len(session.looked)
    (10, 10)
    """

    def __init__(
        self,
        embedding: np.ndarray,
        ranker: str | Ranker = "default",
        *,
        groups: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        self._embedding = np.asarray(embedding)
        if self._embedding.ndim != 2 or not np.isfinite(self._embedding).all():
            raise ParameterError(
                f"The embedding has shape {self._embedding.shape}; give finite numbers, (n, d)."
            )
        count = len(self._embedding)
        self._groups = np.arange(count) if groups is None else np.asarray(groups)
        if self._groups.shape != (count,):
            raise ParameterError(f"groups have shape {self._groups.shape}; {count} frames need ({count},).")
        self._ranker = make_ranker(ranker, seed=seed) if isinstance(ranker, str) else ranker
        self.labels = np.full(count, np.nan)  # interest, NaN = not rated
        self._implied = np.full(count, np.nan)  # by tags alone
        self.looked: list[int] = []  # in the order of the looks
        self._scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._embedding)

    @property
    def scores(self) -> np.ndarray:
        """(n,) numbers, larger = look first, by the ratings so far."""
        if self._scores is None:
            labels = np.where(np.isfinite(self.labels), self.labels, self._implied)
            self._scores = self._ranker.fit(self._embedding, labels).score(self._embedding)
        return self._scores

    def suggest(self, count: int = 10) -> list[int]:
        """Return up to `count` frames to look at next, one of each group; fewer when all were looked at.

        Frames that the ranker calls alike wait for another batch, unless there are no others.
        """
        if count < 0:
            raise ParameterError(f"count is {count}; give a number of frames from 0.")
        seen = np.zeros(len(self), dtype=bool)
        seen[self.looked] = True
        done = set(self._groups[seen].tolist())
        chosen: list[int] = []
        waiting: list[int] = []
        for frame in np.argsort(-self.scores, kind="stable").tolist():
            if len(chosen) == count:
                break
            group = self._groups[frame].item()
            if seen[frame] or group in done:
                continue
            done.add(group)
            like = len(waiting) < WAITING and self._ranker.alike(frame, chosen[-WAITING:])
            (waiting if like else chosen).append(frame)
        return chosen + waiting[: count - len(chosen)]

    def tell(
        self,
        frames: Sequence[int],
        ratings: Iterable[float | None],
        tags: Iterable[Iterable[str]] | None = None,
    ) -> None:
        """Take in ratings (0-5, None = looked at, not rated) and tags of frames.

        A tag speaks where there is no rating: an ARTEFACT is worth 0, PECULIAR 4 (see `WORTH_OF_TAGS`).
        """
        given = [np.nan if rating is None else float(rating) for rating in ratings]
        named = [()] * len(given) if tags is None else [tuple(some) for some in tags]
        if len(given) != len(frames) or len(named) != len(frames):
            raise ParameterError(
                f"{len(frames)} frames have {len(given)} ratings and {len(named)} sets of tags."
            )
        for frame, rating, some in zip(frames, given, named, strict=True):
            if not 0 <= frame < len(self):
                raise ParameterError(f"There is no frame {frame}; there are {len(self)}.")
            if not np.isnan(rating) and not 0 <= rating <= HIGHEST:
                raise ParameterError(f"The rating of frame {frame} is {rating:g}; give 0 to {HIGHEST:g}.")
            implied = worth_of(None, some)
            self.labels[frame] = rating
            self._implied[frame] = np.nan if implied is None else implied
            if frame not in self.looked:
                self.looked.append(int(frame))
        self._scores = None


class Campaign(NamedTuple):
    """What an oracle's campaign found.

    Attributes
    ----------
    looked : (looks,) array of int
        Frames in the order of the looks.
    found : (looks,) array of int
        Interesting frames among the first 1, 2, ... looks.
    """

    looked: np.ndarray
    found: np.ndarray


def simulate(
    session: ActiveSession,
    oracle: Callable[[int], float] | Sequence[float] | np.ndarray,
    *,
    looks: int,
    batch: int = 10,
    interesting: float = 4.0,
) -> Campaign:
    """Run a campaign: an oracle rates what the session suggests, batch by batch.

    Parameters
    ----------
    session : ActiveSession
        One that nothing was told yet, or that goes on.
    oracle : callable, sequence or array
        The rating of a frame.
    looks : int
        Frames looked at in all.
    batch : int
        Frames rated before the next are chosen.
    interesting : float
        Rating from which a frame counts as found.
    """
    ask = oracle if callable(oracle) else oracle.__getitem__
    while len(session.looked) < looks:
        frames = session.suggest(min(batch, looks - len(session.looked)))
        if not frames:
            break
        session.tell(frames, [float(ask(frame)) for frame in frames])
    looked = np.array(session.looked[:looks], dtype=np.int64)
    return Campaign(looked, np.cumsum(session.labels[looked] >= interesting))


def compare(
    embedding: np.ndarray,
    ratings: np.ndarray,
    rankers: Iterable[str] | Mapping[str, Callable[[int], Ranker]],
    *,
    looks: int,
    batch: int = 10,
    interesting: float = 4.0,
    seeds: int = 20,
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """Run campaigns with several rankers and seeds.

    Returns
    -------
    DataFrame
        One row a ranker, seed and look: ranker, seed, look, found.
    """
    named: dict[str, Callable[[int], Ranker]]
    if isinstance(rankers, Mapping):
        named = dict(rankers)
    else:
        named = {name: lambda seed, name=name: make_ranker(name, seed=seed) for name in rankers}  # type: ignore[misc]
    parts = []
    for name, make in named.items():
        for seed in range(seeds):
            session = ActiveSession(embedding, make(seed), groups=groups)
            found = simulate(session, ratings, looks=looks, batch=batch, interesting=interesting).found
            parts.append(
                pd.DataFrame(
                    {"ranker": name, "seed": seed, "look": np.arange(1, len(found) + 1), "found": found}
                )
            )
    return pd.concat(parts, ignore_index=True)


FOLDS = 10  # of the ratings, each predicted by the models of the others
WORTH = 1.0  # finds in the looks ahead below which it is time to think of stopping


def expected_finds(
    spread: np.ndarray,
    ids: np.ndarray | pd.Index,
    labels: Mapping[str, float] | pd.Series,
    ahead: np.ndarray,
    *,
    interesting: float = 4.0,
    seed: int = 0,
) -> Estimate | None:
    """Return how many interesting frames the looks ahead will find, by what the ratings so far teach.

    Each rating is predicted by models of the others (ten folds), the frames ahead by a model of all. How the chance
    to be interesting rises with the prediction is learnt from the ratings, as
    `radiowidgets.labels.progress.forecast` does it from ranks, with the same priors: so that few ratings give a wide
    interval. It costs as much as eleven times learning, whatever the number of frames.

    Parameters
    ----------
    spread : (n, d) array
        As `radiowidgets.ranking.active.learn` takes it.
    ids : (n,) array of str
        frame_id of each row.
    labels : mapping of frame_id to interest (0-5)
        Ratings so far.
    ahead : (k,) array of int
        Rows of the frames that come next, in any order: the first 100 of the order that were not looked at.
    interesting : float
        Rating from which a frame is a find.
    seed : int

    Returns
    -------
    Estimate or None
        Mean and 95 % interval; None where nothing was rated yet.

    Examples
    --------
    >>> spread = np.random.default_rng(0).normal(size=(500, 3))
    >>> labels = {row: 5.0 if spread[row, 0] > 1 else 1.0 for row in range(100)}
    >>> likely = np.flatnonzero(spread[:, 0] > 1.5)
    >>> finds = expected_finds(spread, np.arange(500), labels, likely)
    >>> finds.value > 0.8 * len(likely)
    True
    """
    ratings, rows = rated_rows(ids, labels)
    if not len(rows):
        return None
    told, coming = np.zeros(len(rows)), np.zeros(len(ahead))
    if len(np.unique(ratings)) > 1:
        variance = spread[reference_rows(len(spread), seed)].var(axis=0)
        told = _predicted_by_others(spread[rows], ratings, seed, variance)
        coming = predict_interest(fit_ratings(spread[rows], ratings, seed, variance), spread[ahead])
        unit = max(float(told.std()), 1e-6)
        told, coming = told / unit, coming / unit
    return forecast(-told, ratings >= interesting, np.ones(len(rows)), -coming)


def worth_stopping(finds: Estimate, least: float = WORTH) -> bool:
    """Tell whether the looks ahead are expected to find so little that a session may end."""
    return finds.value < least


def _predicted_by_others(
    known: np.ndarray, ratings: np.ndarray, seed: int, variance: np.ndarray
) -> np.ndarray:
    told = np.empty(len(ratings))
    fold = np.random.default_rng(seed).permutation(len(ratings)) % FOLDS
    for part in np.unique(fold):
        mine = fold == part
        rest = ratings[~mine]
        if len(np.unique(rest)) > 1:
            told[mine] = predict_interest(fit_ratings(known[~mine], rest, seed, variance), known[mine])
        else:
            told[mine] = rest[0]
    return told

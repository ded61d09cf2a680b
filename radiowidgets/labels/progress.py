"""How a review goes: its pace, its yield, what lies ahead, what the ranking misses, how steady the reviewer is.

All is worked out from the events of a log, so that a session that is resumed, or a colleague, finds the same
numbers. Frames carry in `shown` what the annotator saw: ``rank``, and ``look``: "rank" (the next of the order),
"random" (drawn blindly from all that was not looked at), "repeat" (rated before, shown again blindly) or "order" (found
by another order, a filter or a query).
"""

import bisect
import math
from array import array
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from radiowidgets.errors import ParameterError
from radiowidgets.labels.agreement import kappa_of_counts
from radiowidgets.labels.events import INTERESTS, Event, FrameRef
from radiowidgets.labels.fold import State
from radiowidgets.labels.log import LabelLog

PAUSE = 120.0  # seconds; who says nothing for longer was not at it
RECENT = 600.0  # seconds at it
AHEAD = 100  # looks
LEVEL = 0.95
LOOKS = ("rank", "random", "repeat")

_BINS_PER_FOLD = 6  # of rank, in each factor of e
_DRAWS = 400
_NEWTON_STEPS = 50


class Estimate(NamedTuple):
    """A number with the interval that holds it with 95 % probability."""

    value: float
    low: float
    high: float


class Progress(NamedTuple):
    """How far one annotator is with the frames of a run.

    Attributes
    ----------
    annotator : str
    threshold : int
        Interest from which a frame is interesting.
    frames : int
        Frames that there are to look at.
    looks, rated, interesting : int
        Frames of which the annotator has said anything, given a rating, given one of at least `threshold`.
    goal : int or None
        Frames to be rated.
    minutes_left : float or None
        Until then, at the recent pace.
    labels_per_minute, overall_per_minute : float or None
        Actions that stand in a minute, over the last ten minutes and over all; pauses beyond two minutes are left out.
    minutes : float
        Time at it, without pauses.
    yield_so_far : Estimate or None
        Interesting of the rated (Jeffreys interval).
    ahead : int
    expected : Estimate or None
        Frames that the next `ahead` looks will find interesting, see `forecast`.
    random_looks, random_interesting : int
        Looks at random frames, without those that the ranking has come to since.
    missed : Estimate or None
        Interesting frames among all that were not looked at: share of the random looks times their number.
    repeats : int
        Frames rated again blindly.
    agree, agree_within_one : float or None
        Share of them rated the same, and at most one off.
    kappa : float or None
        Cohen's kappa with quadratic weights; 1 for full agreement, 0 for chance. None where all ratings are one.
    """

    annotator: str
    threshold: int
    frames: int
    looks: int
    rated: int
    interesting: int
    goal: int | None
    minutes_left: float | None
    labels_per_minute: float | None
    overall_per_minute: float | None
    minutes: float
    yield_so_far: Estimate | None
    ahead: int
    expected: Estimate | None
    random_looks: int
    random_interesting: int
    missed: Estimate | None
    repeats: int
    agree: float | None
    agree_within_one: float | None
    kappa: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types; an estimate is {value, low, high}."""
        return {
            name: value._asdict() if isinstance(value, Estimate) else value
            for name, value in self._asdict().items()
        }

    @property
    def words(self) -> list[str]:
        """The same in plain sentences; what is not known yet is left out."""
        aim = f"{self.goal} (the goal)" if self.goal else f"{self.frames} frames"
        lines = [f"{self.rated} of {aim} rated, {self.interesting} of them at least {self.threshold}."]
        if self.labels_per_minute is not None:
            left = "" if self.minutes_left is None else f"; {self.minutes_left:.0f} minutes to the goal"
            lines.append(f"{self.labels_per_minute:.0f} labels a minute{left}.")
        if self.yield_so_far is not None:
            lines.append(f"Yield so far: {_percent(self.yield_so_far)}.")
        if self.expected is not None and self.ahead:
            lines.append(f"The next {self.ahead} looks should find {_range(self.expected)}.")
        if self.missed is not None:
            lines.append(
                f"{self.random_interesting} of {self.random_looks} random looks were interesting: "
                f"about {_range(self.missed)} more may be among the {self.frames - self.looks} not looked at."
            )
        if self.repeats:
            kappa = "" if self.kappa is None else f", kappa {self.kappa:.2f}"
            lines.append(
                f"{self.repeats} blind repeats: {self.agree:.0%} the same, "
                f"{self.agree_within_one:.0%} within one{kappa}."
            )
        return lines


class Tally:
    """Counts the events of one annotator as they come, so that `progress` costs little after each of them.

    Parameters
    ----------
    log : LabelLog
    annotator : str, optional
        Default: the log's own.
    """

    def __init__(self, log: LabelLog, annotator: str | None = None):
        self.log = log
        self.annotator = log.annotator if annotator is None else annotator
        self._begin()

    def _begin(self) -> None:
        self._arrived = self.log.arrived
        self._read = 0
        self._undone = False  # whether any event ever was
        self._events: dict[str, Event] = {}
        # One place a frame.
        self._places: dict[str, int] = {}
        self._ids: list[str] = []
        self._ratings: list[tuple[Event, ...]] = []
        self._shown: dict[tuple[str, int], Any] = {}  # in actions on many frames
        self._said, self._interest, self._look = array("b"), array("b"), array("b")
        self._rank, self._bin = array("d"), array("h")
        self._pairs: dict[int, list[tuple[int, int]]] = {}
        self.agreement = np.zeros((len(INTERESTS), len(INTERESTS)), np.int64)  # before, again
        # One place an event of this annotator, in the order of the log.
        self._line: list[Event] = []
        self._end = (0, "")
        self._when: dict[str, int] = {}
        self._clock: list[float] = []  # seconds at it until then
        self._labels, self._rates = array("b"), array("b")
        self._last = math.nan

    def update(self) -> None:
        """Take in what the log has got since."""
        if self.log.arrived is not self._arrived:
            self._begin()
        new = self._arrived[self._read :]
        self._read += len(new)
        touched: dict[int, None] = {}
        late = False
        for event in new:
            if event.annotator != self.annotator:
                continue
            self._undone = self._undone or event.undoes is not None
            self._events[event.event_id] = event
            order = event.order
            late = late or order < self._end
            self._end = max(self._end, order)
            self._line.append(event)
            if not late:
                self._tick(event)
            action = event if event.undoes is None else self._action_of(event)
            if action is None or not action.changes:
                continue
            for frame in action.frames:
                touched[self._place(frame, action, fresh=action is event)] = None
            if action is not event and not late:
                self._mark(self._when[action.event_id])
        if late:
            self._retime()
        many = len(touched) > 1000
        states = self.log.state(self.annotator) if many else {}
        for place in touched:
            frame_id = self._ids[place]
            state = states.get(frame_id) if many else self.log.state_of(frame_id, self.annotator)
            self._settle(place, state)

    def _action_of(self, event: Event) -> Event | None:
        """Return the action that an undo takes back or brings back."""
        found: Event | None = event
        while found is not None and found.undoes is not None:
            found = self._events.get(found.undoes)
        return found

    def _stands(self, event: Event) -> bool:
        return not self._undone or self.log.counts(event)

    def _place(self, frame: FrameRef, event: Event, fresh: bool) -> int:
        """Return the place of a frame, with the rating noted that a fresh event gives it."""
        place = self._places.get(frame.frame_id)
        if place is None:
            place = self._places[frame.frame_id] = len(self._ids)
            self._ids.append(frame.frame_id)
            self._ratings.append(())
            self._said.append(0)
            self._interest.append(-1)
            self._look.append(0)
            self._rank.append(math.nan)
            self._bin.append(-1)
        if fresh and "interest" in event.set:
            ratings = (*self._ratings[place], event)
            if len(ratings) > 1 and event.order < ratings[-2].order:
                ratings = tuple(sorted(ratings, key=lambda rating: rating.order))
            self._ratings[place] = ratings
            if len(event.frames) > 1:
                self._shown[event.event_id, place] = frame.shown
        return place

    def _settle(self, place: int, state: State | None) -> None:
        """Work out anew what stands of one frame: how it was looked at first, its rating, its repeats."""
        self._said[place] = state is not None and state.updated > 0
        self._interest[place] = -1 if state is None or state.interest is None else state.interest
        first: Any = None
        pairs: list[tuple[int, int]] = []
        before: int | None = None
        repeat: Event | None = None
        for event in self._ratings[place]:
            if not self._stands(event):
                continue
            one = len(event.frames) == 1
            shown = event.frames[0].shown if one else self._shown.get((event.event_id, place))
            interest = event.set["interest"]
            if first is None and interest is not None:
                first = shown if isinstance(shown, dict) else {}
            if before is not None and isinstance(shown, dict) and shown.get("look") == "repeat":
                if repeat is not None and pairs and _corrects(event, repeat):
                    before = pairs.pop()[0]
                if interest is not None:
                    pairs.append((before, interest))
                repeat = event
            else:
                repeat = None
            before = interest
        first = first or {}
        rank = first.get("rank")
        known = isinstance(rank, int | float) and 1 <= rank < math.inf
        self._rank[place] = rank if known else math.nan
        self._bin[place] = int(math.log(rank) * _BINS_PER_FOLD) if known else -1
        self._look[place] = first.get("look") == "random"
        if pairs or place in self._pairs:
            for old in self._pairs.pop(place, ()):
                self.agreement[old] -= 1
            for pair in pairs:
                self.agreement[pair] += 1
            self._pairs[place] = pairs

    # -- time
    # -----------------------------------------------------------------------------------------------------

    def _tick(self, event: Event) -> None:
        now = _seconds(event)
        gap = now - self._last
        at_it = 0 <= gap <= PAUSE
        if not math.isnan(now):
            self._last = now
        self._when[event.event_id] = len(self._clock)
        self._clock.append((self._clock[-1] if self._clock else 0.0) + (gap if at_it else 0.0))
        # -1: how long it took is not known, as it came first or after a pause.
        self._labels.append(0 if at_it else -1)
        self._rates.append(0 if at_it else -1)
        if at_it and event.undoes is None:
            self._mark(len(self._clock) - 1)

    def _mark(self, k: int) -> None:
        if self._labels[k] >= 0:
            event = self._line[k]
            self._labels[k] = event.changes and self._stands(event)
            self._rates[k] = self._labels[k] and event.set.get("interest") is not None

    def _retime(self) -> None:
        self._line.sort(key=lambda event: event.order)
        self._clock, self._labels, self._rates = [], array("b"), array("b")
        self._last = math.nan
        for event in self._line:
            self._tick(event)

    def _pace(self, counted: array, seconds: float = math.inf) -> float | None:
        """Return how many of `counted` there were in a minute, over the last `seconds` at it."""
        if not self._clock:
            return None
        begin = max(0.0, self._clock[-1] - seconds)
        spent = self._clock[-1] - begin
        if spent < 1:
            return None
        k = bisect.bisect_right(self._clock, begin)
        return float((np.frombuffer(counted, np.int8)[k:] > 0).sum() * 60 / spent)

    # -- asking
    # ---------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """The frames that the annotator ever said anything of, in the order of arrival; it only grows."""
        return self._ids

    @property
    def looked(self) -> np.ndarray:
        """For each of `ids` whether anything that was said of it stands."""
        return np.array(self._said, bool)

    def repeatable(self, rest: int) -> np.ndarray:
        """Return the places in `ids` of the frames to be shown again blindly: rated, not repeated, not too recent.

        Parameters
        ----------
        rest : int
            So many of the last rated frames are left out, as they are still in mind.
        """
        rated = np.flatnonzero(np.array(self._interest) >= 0)
        last = {frame_id for event in self._line[-rest:] for frame_id in event.frame_ids} if rest else set()
        done = {place for place, pairs in self._pairs.items() if pairs}
        return np.array([k for k in rated if k not in done and self._ids[k] not in last], np.int64)

    def progress(
        self,
        frames: int,
        *,
        goal: int | None = None,
        threshold: int = 4,
        unseen: int | None = None,
        next_ranks: Any = None,
        among: np.ndarray | None = None,
    ) -> Progress:
        """Return how far the annotator is.

        Parameters
        ----------
        frames : int
            Frames that there are to look at.
        goal : int, optional
            Frames to be rated.
        threshold : int
            Interest from which a frame is interesting, 1 to 5.
        unseen : int, optional
            How many were not looked at; default: the others.
        next_ranks : array_like, optional
            Ranks of the looks ahead; default: those after the number of looks so far.
        among : bool array, optional
            For each of `ids` whether it counts, where the log may speak of other frames too.

        Raises
        ------
        ParameterError
            If `threshold` or `goal` is out of range.
        """
        if isinstance(threshold, bool) or threshold not in INTERESTS[1:]:
            raise ParameterError(f"threshold is {threshold!r}; give an interest from 1 to {INTERESTS[-1]}.")
        if goal is not None and (isinstance(goal, bool) or not isinstance(goal, int) or goal < 1):
            raise ParameterError(f"goal is {goal!r}; give a number of frames to be rated, from 1.")
        self.update()
        said, interest, look = self.looked, np.array(self._interest), np.array(self._look)
        rank, rank_bin = np.array(self._rank), np.array(self._bin, np.int64)
        if among is not None:
            said, interest = said & among, np.where(among, interest, -1)
        is_rated, is_found = interest >= 0, interest >= threshold
        looks, rated, found = int(said.sum()), int(is_rated.sum()), int(is_found.sum())
        unseen = max(0, frames - looks) if unseen is None else unseen

        # The ranking has come to the first frames of the order since: a random look there tells nothing of the rest.
        reached = int((is_rated & (look == 0)).sum())
        blind = is_rated & (look == 1) & ~(rank <= reached)
        drawn, lucky = int(blind.sum()), int((blind & is_found).sum())
        share = share_interval(lucky, drawn)

        ranked = is_rated & (rank_bin >= 0)
        size = int(rank_bin.max(initial=0)) + 1
        tried = np.bincount(rank_bin[ranked], minlength=size)
        hits = np.bincount(rank_bin[ranked & is_found], minlength=size)
        if next_ranks is None:
            next_ranks = np.arange(looks + 1, looks + 1 + min(AHEAD, unseen))
        logs = np.log(np.maximum(np.asarray(next_ranks, np.float64), 1))
        middles = (np.arange(size) + 0.5) / _BINS_PER_FOLD

        pace = self._pace(self._rates, RECENT)
        left = None
        if goal is not None:
            left = 0.0 if rated >= goal else (goal - rated) / pace if pace else None
        return Progress(
            self.annotator,
            int(threshold),
            frames,
            looks,
            rated,
            found,
            goal,
            left,
            self._pace(self._labels, RECENT),
            self._pace(self._labels),
            self._clock[-1] / 60 if self._clock else 0.0,
            share_interval(found, rated),
            len(logs),
            forecast(middles, hits, tried, logs),
            drawn,
            lucky,
            None if share is None else Estimate(*(unseen * value for value in share)),
            *consistency(self.agreement),
        )


def mix_looks(
    order: np.ndarray,
    draws: np.ndarray,
    again: np.ndarray,
    *,
    random: float = 0.1,
    repeats: float = 0.05,
    seed: int = 0,
    done: int = 0,
    count: int = 200,
) -> np.ndarray:
    """Return the looks to come: the order, with random frames and blind repeats strewn in.

    Which looks are what is settled by `seed` and their number from the first look on, so that a session that is
    resumed goes on as it would have.

    Parameters
    ----------
    order : (n,) array of int
        Frames not looked at, in rank order.
    draws : (m,) array of int
        The same or fewer of them, in a random order.
    again : (k,) array of int
        Frames to be repeated, in a random order.
    random, repeats : float
        Share of looks of either kind.
    seed : int
    done : int
        Looks before these.
    count : int
        Looks wanted; fewer where the frames come to an end.

    Returns
    -------
    structured array of (frame uint32, look uint8)
        `look` is a position in `LOOKS`.

    Raises
    ------
    ParameterError
        If a share is out of range.
    """
    for name, share in (("random", random), ("repeats", repeats)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ParameterError(f"{name} is {share!r}; give a share from 0 to 1.")
    if random + repeats > 1:
        raise ParameterError(f"random + repeats is {random + repeats:g}; together they may be 1 at most.")
    lots = np.random.default_rng(seed).random(done + count)[done:]
    kinds = np.where(lots < random, 1, np.where(lots >= 1 - repeats, 2, 0))
    sources = [iter(frames) for frames in (order, draws, again)]
    taken: set[int] = set()
    looks: list[tuple[int, int]] = []
    for kind in kinds.tolist():
        for source in dict.fromkeys((kind, 0, 1)):  # what has come to its end is replaced by the order
            frame = next((int(frame) for frame in sources[source] if int(frame) not in taken), None)
            if frame is not None:
                taken.add(frame)
                looks.append((frame, source))
                break
    return np.array(looks, dtype=[("frame", np.uint32), ("look", np.uint8)])


def share_interval(found: int, tried: int) -> Estimate | None:
    """Return found / tried with its Jeffreys interval (Brown, Cai & DasGupta 2001, section 4.3); None for 0 of 0.

    Examples
    --------
    >>> share_interval(0, 20)
    Estimate(value=0.0, low=0.0, high=0.1166...)
    """
    from scipy.special import betaincinv

    if tried == 0:
        return None
    a, b = found + 0.5, tried - found + 0.5
    low = 0.0 if found == 0 else float(betaincinv(a, b, (1 - LEVEL) / 2))
    high = 1.0 if found == tried else float(betaincinv(a, b, (1 + LEVEL) / 2))
    return Estimate(found / tried, low, high)


def consistency(agreement: np.ndarray) -> tuple[int, float | None, float | None, float | None]:
    """Return number, exact agreement, agreement within one and kappa of a table of (before, again).

    Kappa is Cohen's (1968) with quadratic weights.
    """
    n = int(agreement.sum())
    if n == 0:
        return 0, None, None, None
    levels = np.arange(len(agreement))
    apart = np.abs(levels[:, None] - levels)
    kappa = kappa_of_counts(agreement, "quadratic")
    exact, near = (float(agreement[apart <= most].sum() / n) for most in (0, 1))
    return n, exact, near, kappa if np.isfinite(kappa) else None


def forecast(
    log_rank: np.ndarray, found: np.ndarray, tried: np.ndarray, ahead: np.ndarray
) -> Estimate | None:
    """Return how many interesting frames the looks ahead will find.

    The model: a look at rank r is interesting with probability p, logit p = a + b (ln r - c), where c is the mean
    ln r of the looks so far and b <= 0, as a ranking is no worse at its top than below. Priors: Jeffreys' for p at c,
    a half-normal of scale 1 for -b; so that one look already gives an answer, and a wide one. The posterior is
    sampled around its mode by 400 fixed draws with importance weights. The finds ahead are given as the mean and the
    95 % interval of the beta-binomial with the mean and the variance of the prediction. Ranks are those at the time
    of each look: what a re-ranking makes better or worse is known after some looks at its order.

    Parameters
    ----------
    log_rank, found, tried : (m,) arrays
        Groups of looks: their ln rank, how many were interesting, how many there were.
    ahead : (k,) array
        ln rank of the looks ahead.

    Returns
    -------
    Estimate or None
        None where nothing was looked at yet.
    """
    used = tried > 0
    if not used.any():
        return None
    if not len(ahead):
        return Estimate(0.0, 0.0, 0.0)
    n, k = tried[used].astype(float), found[used].astype(float)
    centre = float((n * log_rank[used]).sum() / n.sum())
    x, ahead = log_rank[used] - centre, ahead - centre
    # Jeffreys' prior is half a find and half a miss at x = 0.
    x, n, k = np.append(x, 0.0), np.append(n, 1.0), np.append(k, 0.5)
    mode, curvature = _mode(x, n, k)
    spread = np.linalg.cholesky(np.linalg.inv(curvature))
    rng = np.random.default_rng(0)
    normal, scale = rng.normal(size=(2, _DRAWS)), np.sqrt(5 / rng.chisquare(5, _DRAWS))
    step = normal * scale  # Student's t with 5 degrees: wider than the posterior
    a, b = mode[:, None] + spread @ step
    eta = a[:, None] + b[:, None] * x
    height = (k * eta - n * np.logaddexp(0, eta)).sum(axis=1) - b**2 / 2
    log_weight = np.where(b <= 0, height + 3.5 * np.log1p((step**2).sum(axis=0) / 5), -np.inf)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    p = _logistic(a[:, None] + b[:, None] * ahead)
    finds = p.sum(axis=1)
    mean = float(weight @ finds)
    variance = float(weight @ ((p * (1 - p)).sum(axis=1) + (finds - mean) ** 2))
    return Estimate(mean, *_counts_between(mean, variance, len(ahead)))


def _mode(x: np.ndarray, n: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mode of the posterior of (a, b) and minus its second derivative there."""
    share = k.sum() / n.sum()
    place = np.array([math.log(share / (1 - share)), 0.0])

    def height(at: np.ndarray) -> float:
        eta = at[0] + at[1] * x
        return float((k * eta - n * np.logaddexp(0, eta)).sum() - at[1] ** 2 / 2)

    curvature = np.eye(2)
    for _ in range(_NEWTON_STEPS):
        p = _logistic(place[0] + place[1] * x)
        w = n * p * (1 - p)
        slope = np.array([(k - n * p).sum(), ((k - n * p) * x).sum() - place[1]])
        curvature = np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum() + 1]])
        move = np.linalg.solve(curvature, slope)
        if place[1] + move[1] > 0:  # along the border b = 0
            move = np.array([(slope[0] + place[1] * curvature[0, 1]) / curvature[0, 0], -place[1]])
        while height(place + move) < height(place) - 1e-9:
            move /= 2
            if np.abs(move).max() < 1e-9:
                break
        place = place + move
        if np.abs(move).max() < 1e-6:
            break
    return place, curvature


def _counts_between(mean: float, variance: float, most: int) -> tuple[float, float]:
    """Return the 95 % interval of the beta-binomial (0 to `most`) of that mean and variance."""
    from scipy.special import betaln, gammaln

    share = min(max(mean / most, 1e-9), 1 - 1e-9)
    excess = variance / (most * share * (1 - share)) - 1
    tie = min(max(excess / max(most - 1, 1), 1e-6), 0.999)
    a, b = share * (1 / tie - 1), (1 - share) * (1 / tie - 1)
    counts = np.arange(most + 1)
    choose = gammaln(most + 1) - gammaln(counts + 1) - gammaln(most - counts + 1)
    below = np.cumsum(np.exp(choose + betaln(counts + a, most - counts + b) - betaln(a, b)))
    low, high = np.searchsorted(below, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(min(high, most))


def _logistic(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -500, 500)))


def _corrects(event: Event, earlier: Event) -> bool:
    """Whether a rating puts right the one just given, in the same look."""
    return event.session == earlier.session and abs(_seconds(event) - _seconds(earlier)) <= PAUSE


def _seconds(event: Event) -> float:
    try:
        return datetime.fromisoformat(event.time).timestamp()
    except (ValueError, OverflowError, OSError):
        return math.nan


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _range(estimate: Estimate) -> str:
    digits = 1 if estimate.value < 10 else 0
    return f"{estimate.value:.{digits}f} ({estimate.low:.0f} to {estimate.high:.0f})"

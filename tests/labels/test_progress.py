"""Progress: every number from the events alone, right where it can be counted by hand, honest where it is a guess."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from radiowidgets.errors import ParameterError
from radiowidgets.labels.events import Event, FrameRef
from radiowidgets.labels.log import LabelLog
from radiowidgets.labels.progress import Tally, consistency, forecast, mix_looks, share_interval

START = datetime(2026, 1, 1, tzinfo=UTC)


def rating(number, frame, interest, *, at=None, rank=None, look="rank", who="ana", session="s", **more):
    shown = {"rank": number if rank is None else rank, "look": look}
    when = "" if at is None else (START + timedelta(seconds=at)).isoformat()
    frames = tuple(FrameRef(name, shown=shown) for name in ([frame] if isinstance(frame, str) else frame))
    what = {"set": {"interest": interest}} | more
    return Event(f"e{number}", number, who, session, frames, time=when, **what)


def undo(number, target, *, at=None):
    when = "" if at is None else (START + timedelta(seconds=at)).isoformat()
    return Event(f"e{number}", number, "ana", "s", target.frames, undoes=target.event_id, time=when)


@pytest.fixture
def log(tmp_path):
    return LabelLog(tmp_path / "labels", annotator="ana")


def add(log, *events):
    for event in events:
        log._fold.add(event)


def test_an_empty_log_has_no_numbers_and_no_faults(log):
    progress = Tally(log).progress(100, goal=10)
    assert (progress.looks, progress.rated, progress.interesting, progress.minutes) == (0, 0, 0, 0)
    for name in ("minutes_left", "labels_per_minute", "yield_so_far", "expected", "missed", "agree", "kappa"):
        assert getattr(progress, name) is None
    assert progress.ahead == 100 and progress.words == ["0 of 10 (the goal) rated, 0 of them at least 4."]
    assert Tally(log).progress(0).ahead == 0


def test_looks_ratings_and_finds_are_counted_once_a_frame(log):
    first = rating(1, "a", 5)
    add(
        log,
        first,
        rating(2, "a", 4),
        rating(3, "b", 1),
        rating(4, "c", None, add=("X",)),
        rating(5, "d", 5, who="bob"),
    )
    tally = Tally(log)
    progress = tally.progress(10, threshold=4)
    assert (progress.looks, progress.rated, progress.interesting) == (3, 2, 1)
    assert tally.progress(10, threshold=5).interesting == 0
    assert tally.progress(10, among=np.array([False, True, True])).rated == 1
    assert Tally(log, "bob").progress(10).interesting == 1
    add(log, undo(6, log.events()[1]))
    assert tally.progress(10, threshold=5).interesting == 1
    for wrong in (0, 6, True, "4"):
        with pytest.raises(ParameterError, match="threshold"):
            tally.progress(10, threshold=wrong)
    with pytest.raises(ParameterError, match="goal"):
        tally.progress(10, goal=0)


def test_pace_leaves_pauses_out(log):
    # Sixty labels, one in two seconds; an hour of lunch; ten labels, one in ten seconds; the clock goes back a day.
    add(log, *(rating(k, f"a{k}", 1, at=2 * k) for k in range(1, 61)))
    tally = Tally(log)
    assert tally.progress(999).labels_per_minute == pytest.approx(30)
    add(log, *(rating(60 + k, f"b{k}", 1, at=3600 + 10 * k) for k in range(1, 11)))
    progress = tally.progress(999, goal=100)
    assert progress.minutes == pytest.approx((59 * 2 + 9 * 10) / 60)
    assert progress.overall_per_minute == pytest.approx((59 + 9) / progress.minutes)
    assert progress.minutes_left == pytest.approx(30 / progress.overall_per_minute)
    add(log, rating(71, "c", 1, at=-86400), rating(72, "d", 1, at=-86399), rating(73, "e", 1))
    assert tally.progress(999).minutes == pytest.approx(progress.minutes + 1 / 60)


def test_recent_pace_is_that_of_the_last_ten_minutes_at_it(log):
    add(log, *(rating(k, f"a{k}", 1, at=k) for k in range(1, 1001)))
    add(log, *(rating(1000 + k, f"b{k}", 1, at=1000 + 10 * k) for k in range(1, 61)))
    progress = Tally(log).progress(9999)
    assert progress.labels_per_minute == pytest.approx(6, rel=0.02)
    assert progress.overall_per_minute == pytest.approx(1059 / (1599 / 60))


def test_an_undone_label_costs_time_and_counts_for_nothing(log):
    events = [rating(k, f"a{k}", 1, at=k) for k in range(1, 11)]
    add(log, *events, undo(11, events[-1], at=11))
    progress = Tally(log).progress(99)
    assert progress.labels_per_minute == pytest.approx(8 / (10 / 60))


def test_random_looks_estimate_what_was_not_looked_at(log):
    add(log, *(rating(k, f"a{k}", 5, rank=k) for k in range(1, 11)))
    add(log, *(rating(20 + k, f"r{k}", 5 if k < 3 else 0, rank=500 + k, look="random") for k in range(20)))
    add(log, rating(90, "early", 5, rank=5, look="random"))  # the ranking would have shown it by now
    progress = Tally(log).progress(1031)
    assert (progress.random_looks, progress.random_interesting) == (20, 3)
    low, high = stats.beta.ppf([0.025, 0.975], 3.5, 17.5)
    np.testing.assert_allclose(progress.missed, [150, 1000 * low, 1000 * high])


def test_the_interval_of_what_is_missed_holds_the_truth_mostly(tmp_path):
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(60):
        share = rng.uniform(0.01, 0.2)
        truth = rng.random(1000) < share
        log = LabelLog(tmp_path / str(trial), annotator="ana")
        drawn = rng.permutation(1000)[:80]
        add(
            log,
            *(
                rating(k + 1, f"f{f}", 5 * int(truth[f]), rank=9999, look="random")
                for k, f in enumerate(drawn)
            ),
        )
        missed = Tally(log).progress(1000).missed
        held += missed.low <= truth.sum() - truth[drawn].sum() <= missed.high
    assert held >= 53


@pytest.mark.parametrize(("found", "tried"), [(0, 1), (1, 1), (0, 50), (7, 50), (50, 50)])
def test_shares_have_jeffreys_intervals(found, tried):
    value, low, high = share_interval(found, tried)
    assert value == found / tried and 0 <= low <= value <= high <= 1
    expected = stats.beta.ppf([0.025, 0.975], found + 0.5, tried - found + 0.5)
    if found:
        assert low == pytest.approx(expected[0])
    if found < tried:
        assert high == pytest.approx(expected[1])
    assert share_interval(0, 0) is None


def test_repeats_are_compared_with_what_stood_before(log):
    originals = [5, 3, 0, 2]
    add(log, *(rating(k + 1, f"a{k}", interest, at=k) for k, interest in enumerate(originals)))
    add(log, rating(10, "a1", 4, at=10))  # set right at once: 4 stood
    for k, again in enumerate([5, 2, 1, 2]):
        add(log, rating(20 + k, f"a{k}", again, at=1000 + k, look="repeat"))
    add(log, rating(30, "new", 3, at=1100, look="repeat"))  # nothing stood before
    tally = Tally(log)
    progress = tally.progress(100)
    assert (progress.repeats, progress.agree, progress.agree_within_one) == (4, 0.5, 0.75)
    pairs = np.array([(5, 5), (4, 2), (0, 1), (2, 2)])
    apart = (pairs[:, 0] - pairs[:, 1]) ** 2
    by_chance = (pairs[:, 0][:, None] - pairs[:, 1]) ** 2
    assert progress.kappa == pytest.approx(1 - apart.mean() / by_chance.mean())
    assert log.state_of("a1").interest == 2  # the last one counts, as ever
    add(log, rating(40, "a1", 3, at=1030, look="repeat"))  # a slip of the finger in the same look
    assert tally.progress(100).repeats == 4 and tally.agreement[4, 3] == 1 and tally.agreement[4, 2] == 0
    add(log, rating(41, "a1", 3, at=9000, look="repeat"))  # another look
    assert tally.progress(100).repeats == 5 and tally.agreement[3, 3] == 1
    add(log, undo(42, log.events()[-1]))
    assert tally.progress(100).repeats == 4


def test_kappa_is_that_of_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(3)
    before = rng.integers(0, 6, 200)
    again = np.clip(before + rng.integers(-2, 3, 200), 0, 5)
    table = np.zeros((6, 6), int)
    np.add.at(table, (before, again), 1)
    assert consistency(table)[3] == pytest.approx(cohen_kappa_score(before, again, weights="quadratic"))
    assert consistency(np.diag([0, 9, 0, 0, 0, 0])) == (9, 1.0, 1.0, None)


def test_the_forecast_is_sane_with_none_one_and_few_looks():
    one = np.array([0.1])
    ahead = np.log(np.arange(2, 102))
    assert forecast(one, np.array([0]), np.array([0]), ahead) is None
    miss, hit = (forecast(one, np.array([k]), np.array([1]), ahead) for k in (0, 1))
    assert 0 <= miss.low <= miss.value < hit.value <= hit.high <= 100
    assert hit.high - hit.low > 60 and miss.high > 20  # one look tells little
    ten = np.log(np.arange(1, 11))
    all_ten = forecast(ten, np.ones(10, int), np.ones(10, int), np.log(np.arange(11, 111)))
    none = forecast(ten, np.zeros(10, int), np.ones(10, int), np.log(np.arange(11, 111)))
    assert all_ten.value > 50 and none.value < 5
    assert forecast(ten, np.ones(10, int), np.ones(10, int), np.zeros(0)) == (0, 0, 0)


def test_the_forecast_meets_what_comes():
    """Of many made-up reviews, whose yield falls with rank, nineteen in twenty intervals hold the finds ahead."""
    rng = np.random.default_rng(11)
    held, error = 0, []
    for _ in range(150):
        a, b = rng.normal(0, 1), -abs(rng.normal(0, 0.7))
        looks = int(rng.integers(20, 600))
        log_rank = np.log(np.arange(1, looks + 101))
        found = rng.random(looks + 100) < 1 / (1 + np.exp(-(a + b * (log_rank - 4))))
        expected = forecast(
            log_rank[:looks], found[:looks].astype(int), np.ones(looks, int), log_rank[looks:]
        )
        truth = found[looks:].sum()
        held += expected.low <= truth <= expected.high
        error.append(expected.value - truth)
    assert held / 150 >= 0.9 and abs(np.mean(error)) < 2


def test_a_flat_or_rising_yield_is_taken_as_flat():
    log_rank = np.log(np.arange(1, 1001))
    found = (np.arange(1000) >= 500).astype(int)  # only the lower half is interesting
    expected = forecast(log_rank, found, np.ones(1000, int), np.log(np.arange(1001, 1101)))
    assert expected.value == pytest.approx(50, abs=3)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["rate", "rate", "undo", "tag"]),
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from(["rank", "random", "repeat"]),
        st.integers(0, 30),
        st.integers(-5, 300),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(ACTIONS, st.randoms(use_true_random=False))
def test_events_in_any_order_and_any_parts_give_the_same_numbers(actions, random):
    import tempfile

    events, now = [], 0
    for number, (kind, frame, interest, look, target, gap) in enumerate(actions, start=1):
        now += gap
        if kind == "undo" and events:
            events.append(undo(number, events[target % len(events)], at=now))
        elif kind == "tag":
            events.append(Event(f"e{number}", number, "ana", "s", (FrameRef(f"f{frame}"),), add=("X",)))
        else:
            events.append(rating(number, f"f{frame}", interest, at=now, look=look))
    with tempfile.TemporaryDirectory() as folder:
        log, mixed = (LabelLog(f"{folder}/{name}", annotator="ana") for name in ("a", "b"))
        add(log, *events)
        whole = Tally(log)
        tally = Tally(mixed)
        random.shuffle(events)
        for event in events:
            add(mixed, event)
            tally.progress(50)
        once, parts = whole.progress(50, goal=4), tally.progress(50, goal=4)
        np.testing.assert_array_equal(whole.agreement, tally.agreement)
        assert whole.agreement.min() >= 0
        assert once == parts == Tally(mixed).progress(50, goal=4)
        assert once.rated == sum(state.interest is not None for state in log.state().values())
        assert once.looks == len(log.state())


def test_looks_are_mixed_as_asked():
    order, draws, again = np.arange(1000), np.arange(500, 1000)[::-1], np.arange(2000, 2100)
    looks = mix_looks(order, draws, again, random=0.3, repeats=0.2, seed=1, count=400)
    shares = np.bincount(looks["look"], minlength=3) / 400
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.08)
    assert len(set(looks["frame"].tolist())) == 400
    np.testing.assert_array_equal(looks["frame"][looks["look"] == 0], np.arange((looks["look"] == 0).sum()))
    later = mix_looks(order, draws, again, random=0.3, repeats=0.2, seed=1, done=100, count=300)
    np.testing.assert_array_equal(later["look"], looks["look"][100:])  # resumed, it goes on alike
    assert len(mix_looks(np.arange(3), np.arange(3), np.zeros(0), repeats=0.5, count=50)) == 3
    assert len(mix_looks(np.zeros(0), np.zeros(0), np.zeros(0), count=5)) == 0


def test_many_events_are_counted_quickly_and_one_more_at_once(log):
    rng = np.random.default_rng(0)
    for k, interest in enumerate(rng.integers(0, 6, 20_000)):
        add(log, rating(k + 1, f"f{k}", int(interest), at=k, look="random" if k % 10 == 0 else "rank"))
    tally = Tally(log)
    start = time.process_time()
    assert tally.progress(200_000).rated == 20_000
    first = time.process_time() - start  # about 0.08 s on an idle machine
    keys = []
    for k in range(9):
        add(log, rating(200_000 + k, f"f{k}", 3, at=200_000 + 3 * k, look="repeat"))
        start = time.process_time()
        progress = tally.progress(200_000)
        keys.append(time.process_time() - start)
    assert progress.repeats == 9 and np.median(keys) < first / 8  # about 1 ms

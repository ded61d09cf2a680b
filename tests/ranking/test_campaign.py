"""Rankers by one contract, sessions with an astronomer, campaigns with an oracle."""

import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.labels.progress import Estimate
from radiowidgets.ranking.active import clipped_spread
from radiowidgets.ranking.campaign import (
    ActiveSession,
    compare,
    expected_finds,
    simulate,
    worth_stopping,
)
from radiowidgets.ranking.rankers import RANKERS, NeighbourScore, Ranker, make_ranker, neighbour_score


def cloud(n=240, odd=8, kind=12, seed=0):
    """Ordinary points, a few far ones, and a small cluster of which the far ones are no part: the wanted kind."""
    rng = np.random.default_rng(seed)
    ordinary = rng.normal(size=(n - odd - kind, 6))
    far = rng.normal(size=(odd, 6)) * 6
    wanted = rng.normal(size=(kind, 6)) * 0.5 + [3, 3, 0, 0, 0, 0]
    interest = np.r_[np.zeros(len(ordinary)), np.ones(odd), np.full(kind, 5.0)]
    return np.r_[ordinary, far, wanted], interest


@pytest.mark.parametrize("name", RANKERS)
class TestEveryRanker:
    def test_gives_a_finite_score_a_row_the_same_for_the_same_seed(self, name):
        embedding, interest = cloud()
        labels = np.full(len(interest), np.nan)
        labels[::9] = interest[::9]
        labels[-1] = 5
        first, again = (make_ranker(name, seed=3).fit(embedding, labels).score(embedding) for _ in range(2))
        assert first.shape == (len(embedding),) and np.isfinite(first).all()
        np.testing.assert_allclose(first, again, rtol=1e-6, atol=1e-9)

    def test_looks_at_what_is_far_off_before_anything_is_rated(self, name):
        embedding, _ = cloud(kind=0, odd=6)
        score = make_ranker(name).fit(embedding).score(embedding)
        assert set(np.argsort(-score)[:3].tolist()) <= set(range(len(embedding) - 6, len(embedding)))

    def test_one_rating_is_nothing_to_learn_from(self, name):
        embedding, _ = cloud()
        labels = np.full(len(embedding), np.nan)
        labels[5] = 5
        make_ranker(name).fit(embedding, labels).score(embedding)

    def test_says_what_shape_is_wrong(self, name):
        with pytest.raises(ParameterError, match=r"\(5, 2\) and \(4,\)"):
            make_ranker(name).fit(np.zeros((5, 2)), np.zeros(4))


@pytest.mark.parametrize("name", [name for name in RANKERS if make_ranker(name).learns])
def test_what_learns_puts_the_liked_kind_before_the_disliked_one(name):
    embedding, interest = cloud()
    labels = np.full(len(interest), np.nan)
    rated = np.r_[0:20, len(interest) - 20 : len(interest) - 14, len(interest) - 12 : len(interest) - 6]
    labels[rated] = interest[rated]
    score = make_ranker(name).fit(embedding, labels).score(embedding)
    left = np.setdiff1d(np.arange(len(interest)), rated)
    liked, rest = score[left][interest[left] == 5], score[left][interest[left] == 0]
    assert np.median(liked) > np.quantile(rest, 0.75)  # what only demotes lifts nothing


def test_a_ranker_scores_rows_that_it_did_not_see():
    embedding, interest = cloud()
    labels = np.where(np.arange(len(interest)) % 5 == 0, interest, np.nan)
    labels[-3:] = 5
    model = make_ranker("default").fit(embedding, labels)
    part = model.score(embedding[-40:])
    assert np.median(part[-12:]) > np.median(part[:20])


def test_the_neighbour_score_is_that_of_the_paper():
    # S tanh(exp(d/<d>) - 1 + artanh(0.1 + 0.85 U/5)) worked out by hand
    score = neighbour_score(np.array([2.0, 4.0]), np.array([5.0, 9.0]), np.array([0.0, 2.0]))
    assert score == pytest.approx([2 * 0.95, 4 * np.tanh(np.exp(2.0) - 1 + np.arctanh(0.95))])
    assert neighbour_score(np.ones(3), np.zeros(3), np.zeros(3)) == pytest.approx(
        np.full(3, 0.1 + 0.85 * 0.1 / 5)
    )


@pytest.mark.astronomaly
def test_the_neighbour_score_is_that_of_an_installed_astronomaly(tmp_path):
    learning = pytest.importorskip("astronomaly.anomaly_detection.human_loop_learning")
    rng = np.random.default_rng(0)
    first, predicted, distance = rng.uniform(0, 5, 50), rng.uniform(-1, 7, 50), rng.uniform(0, 3, 50)
    stage = learning.NeighbourScore(output_dir=str(tmp_path), force_rerun=True)
    theirs = stage.anom_func(distance, predicted.copy(), first)
    np.testing.assert_allclose(neighbour_score(first, predicted, distance), theirs)


def test_the_neighbour_score_only_demotes():
    embedding, interest = cloud()
    labels = np.full(len(interest), np.nan)
    labels[:30] = 0
    labels[-3:] = 5
    model = NeighbourScore().fit(embedding, labels)
    first = -model._base.score_samples(embedding)
    first = 5 * (first - first.min()) / np.ptp(first)
    assert (model.score(embedding) <= first + 1e-12).all()


class Given(Ranker):
    """Scores as they are, whatever is rated."""

    def _fit(self, embedding, labels, rated):  # noqa: ARG002
        self.labels = labels

    def _score(self, embedding):
        return embedding[:, 0]


def test_a_session_never_shows_a_frame_or_what_it_overlaps_twice():
    embedding = np.arange(10.0)[:, None]
    session = ActiveSession(embedding, Given(), groups=np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]))
    assert session.suggest(2) == [9, 7]
    session.tell([9, 7], [0, None])
    assert session.suggest(10) == [5, 3, 1]
    assert session.looked == [9, 7] and np.isnan(session.labels[7])
    session.tell([5, 3, 1], [1, 2, 3])
    assert session.suggest(5) == []


def test_tags_speak_where_there_is_no_rating():
    ranker = Given()
    session = ActiveSession(np.arange(4.0)[:, None], ranker)
    session.tell([0, 1, 2, 3], [None, 3, None, None], [["ARTEFACT"], ["ARTEFACT"], ["COMPACT"], ["PECULIAR"]])
    _ = session.scores
    np.testing.assert_array_equal(ranker.labels, [0, 3, np.nan, 4])


@pytest.mark.parametrize(
    ("frames", "ratings", "message"),
    [([0], [6], "give 0 to 5"), ([9], [1], "no frame 9"), ([0, 1], [1], "2 frames have 1 ratings")],
)
def test_a_session_says_what_was_told_wrong(frames, ratings, message):
    session = ActiveSession(np.zeros((4, 2)) + np.arange(4)[:, None])
    with pytest.raises(ParameterError, match=message):
        session.tell(frames, ratings)


def test_a_session_needs_finite_numbers_and_a_known_ranker():
    with pytest.raises(ParameterError, match="finite"):
        ActiveSession(np.array([[np.nan, 1.0]]))
    with pytest.raises(ParameterError, match="'oracle'; choose one of 'default'"):
        ActiveSession(np.zeros((4, 2)), "oracle")


def test_a_campaign_finds_the_kind_that_is_wanted_long_before_chance():
    embedding, interest = cloud(n=600, odd=12, kind=20)
    campaign = simulate(ActiveSession(embedding), interest, looks=80)
    assert len(set(campaign.looked.tolist())) == 80 and (np.diff(campaign.found) >= 0).all()
    assert campaign.found[-1] >= 18  # chance finds 2.7


def test_campaigns_of_several_rankers_side_by_side():
    embedding, interest = cloud()
    table = compare(embedding, interest, ["default", "isolation forest"], looks=40, seeds=2)
    assert len(table) == 2 * 2 * 40
    last = table[table["look"] == 40].groupby("ranker")["found"].mean()
    assert last["default"] > last["isolation forest"]


def test_the_finds_ahead_are_those_that_the_ratings_let_expect():
    embedding, interest = cloud(n=900, odd=12, kind=60)
    spread, ids = clipped_spread(embedding), np.arange(900)
    rng = np.random.default_rng(1)
    rated = np.r_[rng.choice(840, 60, replace=False), 840 + rng.choice(60, 15, replace=False)]
    labels = {int(k): float(interest[k]) for k in rated}
    left = np.setdiff1d(ids, rated)
    rich = np.r_[left[left >= 840], left[:15]]
    poor = left[left < 840][:60]
    for ahead in (rich, poor):
        finds = expected_finds(spread, ids, labels, ahead)
        assert finds.low <= (interest[ahead] >= 4).sum() <= finds.high
    assert expected_finds(spread, ids, labels, rich).value > 30 and finds.value < 6
    assert expected_finds(spread, ids, labels, poor) == finds  # the same for the same ratings
    assert expected_finds(spread, ids, labels, rich[:0]) == Estimate(0, 0, 0)


def test_few_ratings_give_a_wide_interval_and_none_gives_no_estimate():
    embedding, _ = cloud()
    spread, ids = clipped_spread(embedding), np.arange(len(embedding))
    assert expected_finds(spread, ids, {}, ids[:100]) is None
    finds = expected_finds(spread, ids, {0: 1, 1: 1}, ids[:100])
    assert finds.low == 0 and finds.high > 40
    many = expected_finds(spread, ids, dict.fromkeys(range(100), 1), ids[100:200])
    assert many.high < 6 and worth_stopping(many) and not worth_stopping(finds)


def test_a_batch_of_the_default_holds_no_two_frames_that_are_nearly_the_same():
    embedding, _ = cloud()
    embedding = np.r_[embedding, embedding[:1] * 0 + 9, embedding[:1] * 0 + 9.01]
    twins = {len(embedding) - 2, len(embedding) - 1}
    session = ActiveSession(embedding)
    first = session.suggest(10)
    assert len(first) == 10 and len(twins & set(first)) == 1
    assert twins <= set(session.suggest(len(embedding)))  # there are no others left
    session.tell(first, [0] * 10)
    assert not twins <= set(session.looked)
    assert len(twins & set(ActiveSession(embedding, "isolation forest").suggest(10))) == 2


def test_a_single_amount_beside_components_says_which_way_is_unusual_and_is_not_drowned():
    rng = np.random.default_rng(4)
    size = np.exp(rng.normal(size=400))
    embedding = np.c_[rng.normal(size=(400, 60)), size]
    first = ActiveSession(embedding).suggest(10)
    assert np.median(size[first]) > np.quantile(size, 0.9)
    model = make_ranker("default").fit(embedding)
    assert np.corrcoef(model.score(embedding[:50].copy()), model.score(embedding)[:50])[0, 1] > 0.8
    session, looked = ActiveSession(embedding), rng.choice(400, 40, replace=False)
    session.tell(looked.tolist(), 5.0 * (size[looked] > np.quantile(size, 0.7)))
    assert np.corrcoef(session.scores, np.argsort(np.argsort(size)))[0, 1] > 0.7

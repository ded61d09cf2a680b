"""What ratings teach: scores of some rows are those of all, places never tie, and little is taken for something."""

import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.ranking.active import REFERENCE, Places, clipped_spread, learn, learn_from_ratings


def frames(n=600, columns=8, seed=0):
    """Values, first scores, names and ratings: what stands out in the first column is liked."""
    rng = np.random.default_rng(seed)
    spread = clipped_spread(rng.normal(size=(n, columns)))
    ids = np.array([f"f{k}" for k in range(n)])
    rated = rng.choice(n, 40, replace=False)
    ratings = {ids[k]: float(np.clip(np.round(2 + 2 * spread[k, 0]), 0, 5)) for k in rated}
    return spread, np.linalg.norm(spread, axis=1) / 20, ids, ratings


@pytest.mark.parametrize("n", [600, REFERENCE + 1500])
def test_a_row_has_one_score_whichever_rows_are_asked_for(n):
    spread, base, ids, ratings = frames(n)
    learnt = learn(spread, base, ids, ratings, seed=1)
    every = learnt.score()
    assert learnt.moved and "40 ratings" in learnt.text
    assert every.shape == (n,) and every.min() >= 0 and every.max() <= 1
    for rows in ([7], np.arange(5, n, 11), np.array([n - 1, 0, 3])):
        np.testing.assert_array_equal(learnt.score(rows), every[rows])
    again, text = learn_from_ratings(spread, base, ids, ratings, seed=1)
    np.testing.assert_array_equal(again, every)
    assert text == learnt.text


def test_places_among_some_frames_are_nearly_those_among_all():
    spread, base, ids, ratings = frames(REFERENCE + 1500)
    drawn = learn(spread, base, ids, ratings).score()
    exact = learn(spread, base, ids, ratings, reference=np.arange(len(ids))).score()
    assert np.abs(drawn - exact).max() < 0.03
    assert len(np.intersect1d(np.argsort(-drawn)[:100], np.argsort(-exact)[:100])) > 90


def test_what_is_liked_comes_first():
    spread, base, ids, ratings = frames()
    score = learn(spread, base, ids, ratings).score()
    assert np.corrcoef(score, spread[:, 0])[0, 1] > 0.5 > np.corrcoef(base, spread[:, 0])[0, 1]


def test_places_are_the_shares_below_and_no_two_values_share_one():
    place = Places(np.array([3.0, 1.0, 1.0, 2.0]))
    np.testing.assert_allclose(place(np.array([1.0, 2.0, 3.0])), [0.25, 0.625, 0.875])
    beyond = place(np.array([-100.0, 0.0, 0.9, 1.0, 1.5, 3.0, 3.1, 10.0, 1e6]))
    assert (np.diff(beyond) > 0).all() and beyond[0] > 0 and beyond[-1] < 1
    np.testing.assert_array_equal(Places(np.ones(4))(np.ones(2)), [0.5, 0.5])


@pytest.mark.parametrize(
    ("ratings", "text"),
    [({}, "no rated frame"), ({"x": 3}, "no rated frame"), ({"f1": 0, "f2": 0}, "are 0, so")],
)
def test_where_nothing_is_learnt_the_first_order_stands(ratings, text):
    spread, base, ids, _ = frames()
    learnt = learn(spread, base, ids, ratings)
    assert not learnt.moved and text in learnt.text
    np.testing.assert_array_equal(learnt.score(), base)
    np.testing.assert_array_equal(learnt.score([3, 1]), base[[3, 1]])


def test_a_rating_that_is_none_is_refused():
    spread, base, ids, _ = frames()
    with pytest.raises(ParameterError, match="rating of f3 is 7"):
        learn(spread, base, ids, {"f3": 7})

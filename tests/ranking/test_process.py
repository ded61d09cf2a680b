"""The Gaussian process of few ratings: right columns, right shapes, shares that add up, the same for each row."""

import numpy as np
import pytest

from radiowidgets.ranking.active import block_factors, clipped_spread
from radiowidgets.ranking.process import CENTRES, Process, relevance


def values(n=900, columns=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n, columns)).astype(np.float32)


def test_a_line_is_learnt_from_few_and_columns_that_say_nothing_do_not_drown_it():
    rows = values()
    truth = rows[:, 3] - 0.5 * rows[:, 7]
    predicted = Process.fit(rows[:60], truth[:60]).predict(rows[60:])
    assert np.corrcoef(predicted, truth[60:])[0, 1] > 0.9
    told = relevance(rows[:60].astype(float), truth[:60])
    assert told.argmax() == 3 and told.sum() == pytest.approx(1)


def test_what_no_line_can_follow_is_learnt_too():
    rows = values(columns=2)
    truth = np.exp(-2 * (rows**2).sum(axis=1))
    predicted = Process.fit(rows[:150], truth[:150]).predict(rows[150:])
    assert np.corrcoef(predicted, truth[150:])[0, 1] > 0.95


@pytest.mark.parametrize("ratings", [2, 30, CENTRES + 100])
def test_a_row_has_one_prediction_and_its_shares_add_up(ratings):
    rows = values()
    process = Process.fit(rows[:ratings], np.round(rows[:ratings, 0] * 2))
    every = process.predict(rows)
    for some in ([4], np.arange(1, 900, 7), slice(891, 900)):
        np.testing.assert_array_equal(process.predict(rows[some]), every[some])
    shares = process.attribute(rows[:40])
    np.testing.assert_allclose(shares.sum(axis=1) + process.baseline, every[:40], atol=2e-4)
    assert ratings == 2 or np.abs(shares).sum(axis=0).argmax() == 0


def test_columns_without_variance_and_huge_ones_are_borne():
    rows = values(columns=5)
    rows[:, 1], rows[:, 2] = 0, rows[:, 2] * 1e3
    process = Process.fit(rows[:50], rows[:50, 0], rows.var(axis=0))
    assert np.isfinite(process.predict(rows)).all()


def test_blocks_have_the_same_variance_in_all():
    rows = values(columns=12) * 7 + 3
    spread = clipped_spread(rows, blocks=(9, 2, 1))
    total = [float(part.var(axis=0).sum()) for part in np.split(spread, [9, 11], axis=1)]
    np.testing.assert_allclose(total, 4, rtol=0.01)
    np.testing.assert_array_equal(block_factors([12], 12), np.ones(12))
    with pytest.raises(ValueError, match="12 together"):
        clipped_spread(rows, blocks=(9, 2))

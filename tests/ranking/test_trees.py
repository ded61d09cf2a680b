"""Forests as flat arrays: grown here, or brought from scikit-learn."""

import numpy as np
import pytest

from radiowidgets.ranking.trees import Forest


def example(n, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 12)).astype(np.float32)
    target = np.clip(np.round(2 + rows[:, 0] + rows[:, 1] * rows[:, 2]), 0, 5)
    return rows, target


def walk(forest, row):
    """Mean leaf and moves of one row, in plain Python."""
    moves, total = np.zeros(len(row)), 0.0
    for root in forest.roots:
        node = root
        while forest._left[node] >= 0:
            column = forest._feature[node]
            child = forest._left[node] + int(row[column] > forest._threshold[node])
            moves[column] += forest._value[child] - forest._value[node]
            node = child
        total += forest._value[node]
    return total / len(forest.roots), moves / len(forest.roots)


def test_a_forest_knows_what_it_was_grown_on_and_foretells_as_well_as_the_librarys():
    from sklearn.ensemble import ExtraTreesRegressor

    rows, target = example(150)
    new, truth = example(3000, seed=1)
    forest = Forest.grow(rows, target, seed=3)
    np.testing.assert_allclose(forest.predict(rows), target)
    library = ExtraTreesRegressor(100, max_features=0.33, random_state=0).fit(rows, target)
    ours, theirs = (np.corrcoef(told, truth)[0, 1] for told in (forest.predict(new), library.predict(new)))
    assert ours > 0.6 and abs(ours - theirs) < 0.04


def test_the_same_seed_gives_the_same_forest_and_another_one_another():
    rows, target = example(60)
    new = example(500, seed=1)[0]
    first, again, other = (Forest.grow(rows, target, seed=seed).predict(new) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_predictions_and_moves_are_those_of_a_plain_walk():
    rows, target = example(40)
    new = example(700, seed=2)[0]  # more than go down together
    forest = Forest.grow(rows, target, trees=7, seed=1)
    told, moves = forest.predict(new), forest.attribute(new)
    np.testing.assert_allclose(forest.baseline + moves.sum(axis=1), told)
    for k in (0, 300, 699):
        leaf, steps = walk(forest, new[k])
        assert leaf == pytest.approx(told[k])
        np.testing.assert_allclose(moves[k], steps, atol=1e-12)


def test_forests_of_scikit_learn_keep_their_predictions():
    from sklearn.ensemble import ExtraTreesRegressor

    rows, target = example(200)
    library = ExtraTreesRegressor(20, random_state=0).fit(rows, target)
    trees = [estimator.tree_ for estimator in library.estimators_]
    forest = Forest.of(trees, [tree.value[:, 0, 0] for tree in trees])
    new = example(300, seed=1)[0]
    np.testing.assert_allclose(forest.predict(new), library.predict(new))
    np.testing.assert_allclose(forest.baseline + forest.attribute(new).sum(axis=1), library.predict(new))
    assert np.abs(forest.attribute(new)).mean(axis=0).argmax() in (0, 1, 2)


@pytest.mark.parametrize("n", [1, 2])
def test_few_rows_and_columns_that_tell_nothing(n):
    rows = np.zeros((n, 3), np.float32)
    forest = Forest.grow(rows, np.arange(n), seed=0)
    np.testing.assert_allclose(forest.predict(rows), np.full(n, np.arange(n).mean()))

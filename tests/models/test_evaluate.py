import functools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.models import evaluate


@pytest.fixture(scope="module")
def clouds():
    """Three overlapping clouds of 60 points in 8 dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["bent", "double", "point"], 60)
    centres = rng.normal(size=(3, 8)) * 1.2
    return centres.repeat(60, 0) + rng.normal(size=(180, 8)), labels


def test_folds_are_stratified_and_keep_groups_together(clouds):
    _, labels = clouds
    groups = np.tile(np.arange(60), 3)
    seen = np.zeros(180, int)
    for train, test in evaluate.make_folds(labels, groups, seed=1):
        assert not set(groups[train]) & set(groups[test])
        assert np.unique(labels[test], return_counts=True)[1].min() >= 15
        seen[test] += 1
    assert (seen == 1).all()
    with pytest.raises(ParameterError, match="the rarest, b, has 2 frames"):
        evaluate.make_folds(["a"] * 5 + ["b"] * 2)


@pytest.mark.parametrize("method", ["linear", "knn"])
def test_cross_validation(clouds, method):
    table, probabilities = evaluate.cross_validate(*clouds, method=method)
    assert list(table["frames"]) == [60, 60, 60]
    assert table["accuracy"].min() > 0.85
    assert np.allclose(probabilities.sum(1), 1)
    found = evaluate.summarise(table)
    guess = np.unique(clouds[1])[probabilities.argmax(1)]
    assert found["mean"] == pytest.approx(np.mean(guess == clouds[1]))
    assert found["sd"] == pytest.approx(np.std(table["accuracy"], ddof=1))
    assert found["low"] < found["mean"] < found["high"] and found["frames"] == 180
    rng = np.random.default_rng(3)
    chance, _ = evaluate.cross_validate(rng.normal(size=(180, 8)), clouds[1], method=method)
    assert 0.2 < chance["accuracy"].mean() < 0.47


def test_repeats_draw_new_folds(clouds):
    table, probabilities = evaluate.cross_validate(*clouds, method="knn", repeats=2)
    assert list(table["repeat"]) == [0, 0, 0, 1, 1, 1]
    assert np.allclose(probabilities.sum(1), 1)
    assert evaluate.summarise(table)["frames"] == 180


def test_binomial_intervals():
    # Brown, Cai & DasGupta (2001); Wilson's formula written out.
    z, n, p = 1.959964, 10, 0.8
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert evaluate.binomial_interval(8, 10) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert evaluate.binomial_interval(0, 10, kind="jeffreys") == pytest.approx((0, 0.217), abs=1e-3)
    rng = np.random.default_rng(0)
    for kind in ("wilson", "jeffreys"):
        inside = [low <= 0.9 <= high for low, high in (
            evaluate.binomial_interval(k, 200, kind=kind) for k in rng.binomial(200, 0.9, 400)
        )]  # fmt: skip
        assert 0.92 < np.mean(inside) < 0.98
    with pytest.raises(ParameterError, match="11 hits of 10 trials"):
        evaluate.binomial_interval(11, 10)


def test_more_labels_help(clouds):
    rows, labels = clouds
    noise = np.random.default_rng(1).normal(size=(180, 40))
    table = evaluate.label_fractions(np.hstack([rows, noise]), labels, fractions=(0.02, 0.2, 1.0), repeats=2)
    assert list(table["frames"]) == [6, 24, 120]
    assert table["mean"].is_monotonic_increasing and (table["sd"] >= 0).all()
    knn = evaluate.label_fractions(rows, labels, fractions=(0.02,), method="knn", repeats=1)
    assert knn["mean"][0] > 0.4
    with pytest.raises(ParameterError, match="a fraction is 0"):
        evaluate.label_fractions(rows, labels, fractions=(0,))


def test_wrong_labels_are_found_and_counted(clouds):
    rows, labels = clouds
    given = labels.copy()
    wrong = [3, 70, 130]
    given[wrong] = ["double", "point", "bent"]
    probabilities = evaluate.judge_labels(rows, given)
    assert np.allclose(probabilities.sum(axis=1), 1)
    found = evaluate.suspected_mislabels(given, probabilities)
    assert len(found) >= 3
    row = found.set_index("index").loc[3]
    assert row["label"] == "double" and row["suggested"] == "bent"
    assert row["probability"] < row["suggested_probability"]
    every = evaluate.suspected_mislabels(given, probabilities, every=True)
    assert sorted(every["index"]) == list(range(180)) and set(wrong) <= set(every["index"][:6])
    pd.testing.assert_frame_equal(every[: len(found)], found)
    assert (every["label"] != every["suggested"]).all()
    odds = every["probability"] / every["suggested_probability"]
    assert odds.is_monotonic_increasing
    named = evaluate.suspected_mislabels(given, probabilities, order="confident learning")
    assert (
        len(named) == len(found)
        and (np.diff(named["suggested_probability"] - named["probability"]) <= 0).all()
    )
    with pytest.raises(ParameterError, match="order is 'luck'"):
        evaluate.suspected_mislabels(given, probabilities, order="luck")
    table = evaluate.confusion(given, probabilities)
    assert table.to_numpy().sum() == 180 and table.loc["bent", "bent"] > 50
    assert list(table.index) == list(table.columns) == ["bent", "double", "point"]


def test_fine_tuning_learns_what_a_fresh_network_does_not_know():
    from radiowidgets.models.encoders import small, two_looks

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60, (32, 2, 32, 32, 1)).astype(np.uint8)
    labels = np.tile(["bright", "dim"], 16)
    frames[::2, :, 12:20, 12:20] += 150
    encoder = two_looks(small(1, widths=(4, 8)), 32)
    before = encoder.get_weights()
    make = functools.partial(evaluate.FineTuning, epochs=8, batch_size=8, rate=1e-2)
    table, probabilities = evaluate.cross_validate(frames, labels, method=make(encoder), count=2)
    assert np.allclose(probabilities.sum(1), 1)
    assert table["accuracy"].mean() > 0.9
    assert all(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights(), strict=True))


def test_what_does_not_fit_is_named(clouds):
    with pytest.raises(ParameterError, match="180 rows and 3 labels"):
        evaluate.cross_validate(clouds[0], ["a", "b", "c"])
    with pytest.raises(ParameterError, match="method is 'svm'"):
        evaluate.cross_validate(*clouds, method="svm")


@pytest.mark.parametrize("method", ["linear", "knn"])
def test_few_frames_are_enough(method):
    rows = np.repeat([[0.0, 1.0], [1.0, 0.0]], 3, axis=0) + np.arange(12).reshape(6, 2) / 100
    assert evaluate.cross_validate(rows, list("aaabbb"), method=method)[0]["accuracy"].mean() == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": np.arange(60) % 2}, "3 folds need as many groups, and there are 2"),
        ({"groups": np.arange(5)}, "60 labels and 5 groups"),
        ({"groups": np.minimum(np.arange(60), 40)}, "trained without class c, whose 20 frames"),
        ({"labels": np.array([None, "a", "b"] * 20)}, "20 of 60 labels are missing"),
        ({"embedding": np.where(np.arange(60)[:, None] < 2, np.nan, 1.0)}, "2 of 60 rows"),
        ({"count": 1}, "two folds or more"),
        ({"repeats": 0}, "repeats is 0"),
    ],
)
def test_folds_that_would_say_nothing_are_told(change, words):
    plain = {"embedding": np.ones((60, 2)), "labels": np.repeat(["a", "b", "c"], 20)}
    with pytest.raises(ParameterError, match=words):
        evaluate.cross_validate(**plain | change)


def test_it_works_without_keras():
    code = "import sys, radiowidgets.models.evaluate; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_embeddings_are_compared_on_the_same_folds(clouds):
    rows, labels = clouds
    chance = np.random.default_rng(3).normal(size=(180, 8))
    table = evaluate.compare({"clouds": rows, "chance": chance}, labels, seed=4)
    assert list(table.index) == [(a, b) for a in ("clouds", "chance") for b in ("linear", "knn")]
    alone = evaluate.summarise(evaluate.cross_validate(rows, labels, method="knn", seed=4)[0])
    assert table.loc[("clouds", "knn")].to_dict() == pytest.approx(alone)
    assert table.loc["chance", "mean"].max() < 0.5 < table.loc["clouds", "mean"].min()


def test_a_split_keeps_shares_classes_and_groups():
    rng = np.random.default_rng(3)
    labels = rng.choice(["PN", "HII", "RG"], 1000, p=[0.1, 0.3, 0.6])
    parts = evaluate.split_sources(labels, seed=1)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    for name in np.unique(labels):
        shares = np.array([np.sum(labels[rows] == name) for rows in parts]) / np.sum(labels == name)
        assert shares == pytest.approx([0.55, 0.15, 0.30], abs=0.02)
    again, other = evaluate.split_sources(labels, seed=1), evaluate.split_sources(labels, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[2], other[2])
    groups = np.repeat(np.arange(300), rng.multinomial(1000, np.full(300, 1 / 300)))
    grouped = evaluate.split_sources(labels, groups, seed=1)
    held = [set(groups[rows]) for rows in grouped]
    assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
    assert [len(rows) for rows in grouped] == pytest.approx([550, 150, 300], abs=30)
    survey = groups % 7 == 0
    survey[np.flatnonzero(survey)[0]] = False  # one source of a group that is else in the test survey
    train, validation, test = evaluate.split_sources(labels, groups, test=survey)
    assert np.array_equal(test, np.flatnonzero(survey))
    assert not set(groups[test]) & set(groups[np.concatenate([train, validation])])
    assert len(train) / len(validation) == pytest.approx(55 / 15, rel=0.2)
    with pytest.raises(ParameterError, match="3 sources in 1 groups leave"):
        evaluate.split_sources(["a", "a", "b"], [1, 1, 1])


def test_f1_scores_are_per_cent_by_class_and_weighted():
    truth = np.array(["a", "a", "a", "b"])
    found = evaluate.f1_scores(truth, np.array(["a", "a", "b", "b"]), ("a", "b", "c"))
    assert list(found.index) == ["a", "b", "c", "ALL"]
    assert found["a"] == pytest.approx(80) and found["b"] == pytest.approx(200 / 3)
    assert np.isnan(found["c"]) and found["ALL"] == pytest.approx((3 * 80 + 200 / 3) / 4)

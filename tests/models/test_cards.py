import json

import numpy as np
import pytest

from radiowidgets.errors import DataError, ParameterError
from radiowidgets.models.cards import (
    CARD,
    Calibration,
    Card,
    Novelty,
    prediction_table,
    read_card,
    write_card,
)


def saved(folder, **more):
    (folder / "model.txt").write_text("trees")
    return write_card(folder, Card("boosting", "two", ("GAL", "EGAL"), ("a", "b"), **more))


def test_a_card_comes_back_as_it_was(tmp_path):
    saved(tmp_path, metrics={"f1": np.float32(0.5), "n": np.int64(3)}, recipe={"trees": [1, 2]})
    card = read_card(tmp_path)
    assert card.classes == ("GAL", "EGAL") and card.inputs == ("a", "b")
    assert card.metrics == {"f1": 0.5, "n": 3} and card.recipe == {"trees": [1, 2]}
    assert len(card.sha256) == 64


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / CARD).unlink(), "holds no trained model"),
        (lambda f: (f / "model.txt").write_text("other"), "is not what its card speaks of"),
        (lambda f: (f / "model.txt").unlink(), "cannot be read"),
        (lambda f: (f / CARD).write_text("{"), "is no card"),
        (lambda f: (f / CARD).write_text("[]"), "is no card"),
        (lambda f: (f / CARD).write_text('{"format": 9}'), "has format 9"),
        (lambda f: (f / CARD).write_text('{"format": 1, "kind": "pickle"}'), "is no card"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(tmp_path, damage, says):
    saved(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=says):
        read_card(tmp_path)


def test_a_card_takes_numbers_and_text_only(tmp_path):
    with pytest.raises(ParameterError, match="neither a number nor text"):
        saved(tmp_path, recipe={"how": object()})
    with pytest.raises(ParameterError, match="one or more different names"):
        Card("network", "x", ("A", "A"), ("radio",))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_scores_say_how_often_they_are_right(method):
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.02, 0.98, 6000)
    truth = (rng.random(6000) > chance).astype(int)
    logit = 2.5 * np.log(chance / (1 - chance)) + 1.0  # too sure, and leaning to one side
    first = 1 / (1 + np.exp(-logit))
    scores = np.column_stack([first, 1 - first])
    fitted = Calibration.fit(scores[:3000], truth[:3000], method)
    fitted = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    probabilities = fitted(scores[3000:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    error = probabilities[:, 0] - chance[3000:]
    assert np.abs(error).mean() < 0.035
    assert np.abs(scores[3000:, 0] - chance[3000:]).mean() > 0.1


def test_novelty_flags_what_is_far_from_every_class_and_nothing_it_does_not_know():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 3000)
    inputs = rng.normal(size=(3000, 4)) + 6 * truth[:, None] * [1, 1, 0, 0]
    inputs[rng.random(inputs.shape) < 0.2] = np.nan
    novelty = Novelty.fit(inputs[:2000], truth[:2000], inputs[2000:], share=0.02)
    novelty = Novelty.from_dict(json.loads(json.dumps(novelty.to_dict())))
    assert novelty.unlike(inputs).mean() == pytest.approx(0.02, abs=0.01)
    far = np.array([[3.0, 3.0, 8.0, 0.0], [0.0, 6.0, np.nan, 0.0], [np.nan] * 4])
    assert novelty.unlike(far).tolist() == [True, True, False]


def test_novelty_bears_a_class_of_few_and_a_column_of_nothing():
    inputs = np.array([[0.0, np.nan], [1.0, np.nan], [2.0, np.nan], [50.0, np.nan]])
    novelty = Novelty.fit(inputs, [0, 0, 0, 1], inputs)
    assert np.isfinite(novelty(inputs)).all()


def test_damaged_numbers_are_refused():
    with pytest.raises(DataError, match="calibration is damaged"):
        Calibration.from_dict({"method": "isotonic", "curves": [[[0, 1], [float("nan"), 1]]]})
    with pytest.raises(DataError, match="novelty is damaged"):
        Novelty.from_dict({"means": [[0.0]], "covariances": [[0.0]], "limit": 1, "share": 0.1})


def test_predictions_are_laid_out_alike():
    card = Card("network", "x", ("A", "B"), ("radio",))
    table = prediction_table(
        card, ["s1", "s2"], np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([1.0, 9.0]), 2.0
    )
    assert table["label"].tolist() == ["A", "B"] and table["unlike"].tolist() == [False, True]
    assert list(table) == ["label", "probability", "p_A", "p_B", "distance", "unlike"]

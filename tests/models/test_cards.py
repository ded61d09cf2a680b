import json
import tracemalloc

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
    with pytest.raises(ParameterError, match="1 to 1000 different names"):
        Card("network", "x", ("A", "A"), ("radio",))


GOOD = {
    "cnn": {"network": "custom_v1", "size": 64},
    "convosource": {"block": 50, "threshold": 0.5},
    "cosmodeep": {"tile": 40, "threshold": 0.5, "limits": [0.0, 1.0]},
    "web-pixels": {"tile": 40, "threshold": 0.5, "f_th": 0.75, "n_pixels": 40},
    "maskrcnn": {"encoder": "small", "widths": [8], "size": 64, "width": 8, "proposals": 8},
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("cnn", "size", 10**9),
        ("cnn", "size", "64"),
        ("cnn", "size", 1e400),
        ("cnn", "network", "999999999C999-16"),
        ("cnn", "network", "16C3-999999999"),
        ("cnn", "network", "-".join(["1C1"] * 100_000)),
        ("convosource", "block", -1),
        ("convosource", "block", True),
        ("convosource", "threshold", float("nan")),
        ("cosmodeep", "tile", 4_000_000),
        ("cosmodeep", "tile", None),
        ("cosmodeep", "limits", [1, 0]),
        ("cosmodeep", "limits", 7),
        ("web-pixels", "tile", 0),
        ("web-pixels", "f_th", 0),
        ("web-pixels", "n_pixels", "many"),
        ("maskrcnn", "size", 2**40),
        ("maskrcnn", "width", 10**7),
        ("maskrcnn", "widths", [10**7]),
        ("maskrcnn", "widths", [8] * 1000),
    ],
)
def test_numbers_of_a_card_that_no_network_has_are_refused_before_one_is_made(tmp_path, kind, name, value):
    pytest.importorskip("keras")
    from radiowidgets.finding.convosource import load_convosource
    from radiowidgets.finding.cosmodeep import load_cosmodeep, load_web_pixels
    from radiowidgets.finding.maskrcnn import load_instances
    from radiowidgets.models.cnn import load_network

    load = {
        "cnn": load_network,
        "convosource": load_convosource,
        "cosmodeep": load_cosmodeep,
        "web-pixels": load_web_pixels,
        "maskrcnn": load_instances,
    }[kind]
    (tmp_path / "network.weights.h5").write_bytes(b"not looked at")
    recipe = {"finder": kind, **GOOD[kind], name: value}
    write_card(tmp_path, Card("network", kind, ("a", "b"), ("c",), recipe=recipe))
    tracemalloc.start()
    with pytest.raises(DataError, match=f"{name}|unpack") as caught:
        load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        ("recipe", [1], "tables of numbers and text"),
        ("classes", [str(k) for k in range(100_000)], "1 to 1000 different names"),
        ("inputs", 7, "is no card"),
    ],
)
def test_a_card_of_another_shape_is_refused(tmp_path, what, value, says):
    saved(tmp_path)
    content = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps({**content, what: value}))
    with pytest.raises(DataError, match=says):
        read_card(tmp_path)


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


def test_novelty_flags_what_is_far_from_every_class_and_what_nothing_is_known_of():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 3000)
    inputs = rng.normal(size=(3000, 4)) + 6 * truth[:, None] * [1, 1, 0, 0]
    inputs[rng.random(inputs.shape) < 0.2] = np.nan
    novelty = Novelty.fit(inputs[:2000], truth[:2000], inputs[2000:], share=0.02)
    novelty = Novelty.from_dict(json.loads(json.dumps(novelty.to_dict())))
    assert novelty.unlike(inputs).mean() == pytest.approx(0.02, abs=0.01)
    far = np.array([[3.0, 3.0, 8.0, 0.0], [0.0, 6.0, np.nan, 0.0], [np.nan] * 4])
    assert novelty.unlike(far).tolist() == [True, True, True] and np.isinf(novelty(far)[2])


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

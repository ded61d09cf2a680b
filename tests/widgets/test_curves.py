import keras
import numpy as np
import pytest

import radiowidgets as rw


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
DATA = (ROWS, ROWS.sum(axis=1, keepdims=True))


def fit(model, curves, **options):
    held = (DATA[0][:10], DATA[1][:10])
    given = {"epochs": 3, "batch_size": 10, "verbose": 0, "validation_data": held} | options
    return model.fit(*DATA, callbacks=[curves.callback], **given)


def test_lines_follow_a_training_and_begin_anew(model):
    curves = rw.LiveCurves()
    assert curves.now == {"running": False, "said": ""}
    seen = []
    curves.observe(lambda change: seen.append(len(change["new"].get("loss", []))), "lines")
    history = fit(model, curves).history
    assert curves.lines == {name: pytest.approx(values) for name, values in history.items()}
    assert set(curves.lines) == {"loss", "mae", "val_loss", "val_mae"}
    assert seen == [1, 2, 3], "one message an epoch"
    assert not curves.now["running"] and curves.now["said"].startswith("ended after 3 epochs")
    fit(model, curves, epochs=5, initial_epoch=3)
    assert len(curves.lines["loss"]) == 2 and curves.now["first"] == 3 and curves.now["epochs"] == 5
    assert curves.now["said"].startswith("ended after 5 epochs")


def test_stop_ends_within_an_epoch_that_then_does_not_count(model):
    curves = rw.LiveCurves()

    class Press(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):  # noqa: ARG002
            if batch == 2 and len(curves.lines.get("loss", [])) == 1:
                curves._receive(curves, {"kind": "stop"}, [])

    held = (DATA[0][:10], DATA[1][:10])
    both = [Press(), curves.callback]
    model.fit(*DATA, epochs=9, batch_size=10, verbose=0, validation_data=held, callbacks=both)
    assert len(curves.lines["loss"]) == 1
    assert curves.now["said"].startswith("stopped after 1 epochs") and curves.now["batch"] <= 3
    fit(model, curves)
    assert len(curves.lines["loss"]) == 3, "the next training is not stopped"


def test_batches_are_told_now_and_then(model, monkeypatch):
    curves = rw.LiveCurves()
    told = []
    curves.observe(lambda change: told.append(change["new"]["batch"]), "now")
    monkeypatch.setattr("radiowidgets.widgets.curves.OFTEN", 1e9)
    fit(model, curves, epochs=1)
    assert max(told) <= 1
    monkeypatch.setattr("radiowidgets.widgets.curves.OFTEN", -1)
    fit(model, curves, epochs=1)
    assert max(told) == 4 and curves.now["batches"] == 4

"""A training is watched while its cell runs, and ended by a button."""

import re

from browser.lab import RUN_TIMEOUT, cell, choose, open_notebook, screenshot, wait_until_idle
from playwright.sync_api import expect

SETUP = """
import time
import keras
import numpy as np
import radiowidgets as rw
rows = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.003), "mse", metrics=["mae"])
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.03))
curves = rw.LiveCurves()
curves
"""
TRAIN = """
truth = rows.sum(axis=1, keepdims=True)
both = [curves.callback, slow]
history = model.fit(rows, truth, epochs=2000, batch_size=16, verbose=0, validation_split=0.25, callbacks=both)
print("epochs:", len(curves.lines["loss"]))
"""


def test_curves_grow_and_stop_ends_the_training(page, jupyter):
    open_notebook(page, jupyter.write("curves.ipynb", [SETUP, TRAIN]))
    choose(page, "Run", "Run All Cells")
    widget = cell(page, 0).locator(".rw-curves")
    stop = widget.get_by_role("button", name="Stop")
    expect(stop).to_be_visible(timeout=RUN_TIMEOUT * 1000)
    line = widget.locator("path.rw-curve-held").first
    expect(line).to_have_attribute("d", re.compile("(L.*){8}"), timeout=RUN_TIMEOUT * 1000)
    expect(widget).to_contain_text(re.compile(r"epoch \d+ of at most 2000"))
    screenshot(page, "curves-running")
    stop.click()
    expect(widget).to_contain_text(re.compile(r"stopped after \d+ epochs"), timeout=RUN_TIMEOUT * 1000)
    expect(stop).to_be_hidden()
    expect(cell(page, 1)).to_contain_text(re.compile(r"epochs: \d+"), timeout=RUN_TIMEOUT * 1000)
    wait_until_idle(page)
    widget.locator("svg.rw-plot").first.hover()
    expect(widget.locator(".rw-panel-head").first).to_contain_text("validation")
    screenshot(page, "curves")
    assert page.traffic.errors == []

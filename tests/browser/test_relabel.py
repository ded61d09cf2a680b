"""Labels that may be wrong, put right from the keyboard."""

import re

from browser.lab import open_notebook, restart_kernel, run_all, screenshot
from playwright.sync_api import Locator, Page, expect

from radiowidgets.labels.log import LabelLog

MAKE = """
import numpy as np, radiowidgets as rw
rng = np.random.default_rng(3)
y, x = np.mgrid[:64, :64]
def picture(kind):
    turn = rng.uniform(0, np.pi)
    near = np.hypot(x - 32, y - 32)
    if kind == "ring":
        shape = np.exp(-0.5 * ((near - 14) / 3) ** 2)
    else:
        shape = sum(np.exp(-0.5 * np.hypot(x - 32 - s * 13 * np.cos(turn), y - 32 - s * 13 * np.sin(turn)) ** 2 / 9) for s in (-1, 1))
    return (20 * shape + rng.normal(size=(64, 64))).astype("float32")
kinds = np.tile(["double", "ring"], 30)
labels = kinds.copy()
labels[[4, 11, 30]] = ["ring", "double", "ring"]
frames = rw.FrameSet.from_images([picture(kind) for kind in kinds])
run = rw.Run.create("runs/relabelled", frames, annotator="ada")
sure = rng.uniform(0.7, 0.95, 60)  # what a classifier says that is mostly right
sure[[4, 11, 30]] = 0.99, 0.98, 0.97
probabilities = np.where((kinds == "double")[:, None], np.c_[sure, 1 - sure], np.c_[1 - sure, sure])
relabel = rw.Relabel.suspects(run, labels, probabilities)
relabel
"""  # noqa: E501 - a cell as people write it


DIVIDED = """
import numpy as np, radiowidgets as rw
frames = rw.FrameSet.from_images([np.random.default_rng(k).normal(size=(48, 48)) for k in range(12)])
run = rw.Run.create("runs/divided", frames, annotator="ada")
ids = [str(name) for name in run.frames.frame_ids]
for who, interest, tag in (("ana", 5, "RING"), ("bob", 1, "FILAMENT")):
    with rw.LabelLog(run.path / "labels", who) as log:
        log.record(ids[2], interest=interest, add=[tag, "EXTENDED"])
        log.record(ids[5], interest=3, add=["ARTEFACT"] * (who == "bob"))
rw.Relabel.disputes(run)
"""


def relabel(page: Page) -> Locator:
    root = page.locator(".rw-relabel[data-ready=true]")
    expect(root).to_have_count(1, timeout=60_000)
    expect(root.locator(".rw-question[data-painted]:not([data-painted=''])")).to_have_count(1)
    return root


def test_suspected_labels_are_answered_by_a_key_and_a_restart_loses_nothing(page, jupyter):
    open_notebook(page, jupyter.write("relabel.ipynb", [MAKE]))
    run_all(page)
    root = relabel(page)
    expect(root.locator(".rw-progress")).to_have_text("0 of 3")
    root.locator(".rw-question").click()
    expect(root.locator(".rw-relabel-side[data-answer=accept] .rw-relabel-name")).to_have_text(
        re.compile("double|ring")
    )
    expect(root.locator("canvas[data-frame]")).to_have_count(9)
    screenshot(page, "relabel")
    page.keyboard.press("a")
    page.keyboard.press("s")
    expect(root.locator(".rw-progress")).to_have_text("2 of 3 · 1 changed · 1 open")
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")
    page.keyboard.press("u")
    expect(root.locator(".rw-progress")).to_have_text("1 of 3 · 1 changed")
    page.keyboard.press("k")
    page.keyboard.press(" ")
    page.keyboard.press("a")
    expect(root.locator(".rw-relabel-done")).to_have_text("All 3 questions have an answer.")
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")
    page.keyboard.press("?")
    expect(root.locator(".rw-help")).to_contain_text("it is what stands on the right")
    page.keyboard.press("Escape")
    log = LabelLog(jupyter.root / "runs" / "relabelled" / "labels", annotator="ada")
    assert sum(log.counts(event) and not event.undoes for event in log.events()) == 3
    restart_kernel(page)
    run_all(page)
    expect(relabel(page).locator(".rw-progress")).to_have_text("3 of 3 · 2 changed · 1 kept")
    assert page.traffic.errors == []


def test_what_people_see_differently_is_decided_by_a_key(page, jupyter):
    open_notebook(page, jupyter.write("divided.ipynb", [DIVIDED]))
    run_all(page)
    root = relabel(page)
    root.locator(".rw-question").click()
    names = [
        root.locator(f".rw-relabel-side[data-answer={answer}] .rw-relabel-name")
        for answer in ("keep", "accept")
    ]
    for keys, low, high in (
        ("a", "rating 1", "rating 5"),
        ("k", "FILAMENT", "RING"),
        ("s", "not ARTEFACT", "ARTEFACT"),
    ):
        expect(names[0]).to_have_text(low)
        expect(names[1]).to_have_text(high)
        if keys == "k":
            screenshot(page, "relabel-divided")
        page.keyboard.press(keys)
    expect(root.locator(".rw-progress")).to_have_text("3 of 3 · 1 open")
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")
    page.keyboard.press("?")
    card = root.locator(".rw-help-card")
    expect(card).to_contain_text("two that people gave it")
    assert card.evaluate("(node) => getComputedStyle(node).backgroundColor") != "rgba(0, 0, 0, 0)"
    screenshot(page, "relabel-help")
    page.keyboard.press("Escape")
    ada = LabelLog(jupyter.root / "runs" / "divided" / "labels", annotator="ada").state()
    assert [(state.interest, sorted(state.tags)) for state in ada.values()] == [
        (5, ["EXTENDED", "FILAMENT"]),
        (None, ["UNSURE"]),
    ]
    assert page.traffic.errors == []

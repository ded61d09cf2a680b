"""Outlines of objects put right with the keyboard and the pointer."""

import re
from uuid import uuid4

from browser.lab import open_notebook, restart_kernel, run_all, screenshot
from playwright.sync_api import Locator, Page, expect

from radiowidgets.finding.instances import CLASSES, mask_of
from radiowidgets.labels.log import LabelLog

MAKE = """
import numpy as np, radiowidgets as rw
rng = np.random.default_rng(3)
y, x = np.mgrid[:64, :64]
def picture(k):
    bright = 20 * np.exp(-0.5 * ((x - 20) ** 2 + (y - 40) ** 2) / 9) + 15 * (abs(x - 44) < 4) * (abs(y - 16) < 9)
    return (bright + rng.normal(size=(64, 64))).astype("float32")
frames = rw.FrameSet.from_images([picture(k) for k in range(12)])
run = rw.Run.create("RUN", frames, annotator="ada")
found = {0: [{"class": "COMPACT", "rings": [[[14, 34], [26, 34], [26, 46], [14, 46]]]}]}
rw.Outline(run, [0, 1, 2], start=found)
"""


def outline(page: Page) -> Locator:
    root = page.locator(".rw-outline[data-ready=true]")
    expect(root).to_have_count(1, timeout=60_000)
    expect(root.locator(".rw-outline-picture[data-painted]:not([data-painted=''])")).to_have_count(1)
    return root


def made() -> tuple[str, str]:
    """Return a new run's name and the cell that makes it; a test that is tried again begins with another."""
    name = f"outlined-{uuid4().hex[:8]}"
    return name, MAKE.replace("RUN", f"runs/{name}")


def resting_box(element: Locator) -> dict[str, float]:
    """Return where an element is once the page no longer moves it."""
    element.scroll_into_view_if_needed()
    before = None
    while (box := element.bounding_box()) != before:
        before = box
        element.page.wait_for_timeout(100)
    return box


def draw_round(page: Page, root: Locator, corners: list[tuple[float, float]]) -> None:
    """Drag along corners given in pixels of the frame."""
    box = resting_box(root.locator(".rw-outline-pen"))
    step = box["width"] / 64
    for k, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + (x + 0.5) * step, box["y"] + box["height"] - (y + 0.5) * step, steps=6)
        if k == 0:
            page.mouse.down()
    page.mouse.up()


def test_outlines_are_corrected_drawn_and_saved_and_a_restart_loses_nothing(page, jupyter):
    name, cell = made()
    open_notebook(page, jupyter.write("outline.ipynb", [cell]))
    run_all(page)
    root = outline(page)
    facts = root.locator(".rw-relabel-facts")
    expect(root).to_have_attribute("data-objects", "1")
    expect(facts).to_contain_text("as it was found")
    root.locator(".rw-heading").click()
    root.focus()
    # From the keyboard: the object becomes EXTENDED, its first corner moves by 5 pixels.
    page.keyboard.press("3")
    page.keyboard.press(".")
    page.keyboard.press("Shift+ArrowLeft")
    expect(root.locator(".rw-outline-object[aria-selected=true]")).to_contain_text("EXTENDED")
    expect(root.locator(".rw-saved")).to_have_text("changed, not saved yet")
    # With the pointer: what was missed is drawn round.
    draw_round(page, root, [(39, 6), (49, 6), (49, 26), (39, 26), (39, 8)])
    expect(root).to_have_attribute("data-objects", "2")
    screenshot(page, "outline")
    page.keyboard.press("s")
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")
    expect(root.locator(".rw-progress")).to_have_text("frame 1 of 3 · 1 saved")
    # The next frame: a new object in the middle, removed again, an undo of the saving.
    page.keyboard.press("]")
    expect(root.locator(".rw-progress")).to_have_text("frame 2 of 3 · 1 saved")
    page.keyboard.press("a")
    expect(root).to_have_attribute("data-objects", "1")
    page.keyboard.press("Delete")
    expect(root).to_have_attribute("data-objects", "0")
    page.keyboard.press("s")
    expect(root.locator(".rw-progress")).to_have_text("frame 2 of 3 · 2 saved")
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")
    page.keyboard.press("u")
    expect(root.locator(".rw-progress")).to_have_text("frame 2 of 3 · 1 saved")
    page.keyboard.press("?")
    expect(root.locator(".rw-help-card")).to_contain_text("another island of this object")
    page.keyboard.press("Escape")

    log = LabelLog(jupyter.root / "runs" / name / "labels", annotator="ada")
    (frame_id,) = log.outlines()
    first, second = log.outlines()[frame_id]
    assert first["class"] == "EXTENDED" and first["rings"][0][0] == [9, 34]
    assert second["class"] in CLASSES and 150 < mask_of(second["rings"], (64, 64)).sum() < 230
    restart_kernel(page)
    run_all(page)
    root = outline(page)
    expect(root.locator(".rw-progress")).to_have_text("frame 2 of 3 · 1 saved")
    page.keyboard.press("Escape")
    root.locator("button[aria-label='The frame before']").click()
    expect(root).to_have_attribute("data-objects", "2")
    expect(root.locator(".rw-relabel-facts")).to_have_text(re.compile("2 objects · saved"))
    assert page.traffic.errors == []


def test_changes_are_taken_back_before_savings_and_small_objects_are_seen_close_up(page, jupyter):
    open_notebook(page, jupyter.write("close.ipynb", [made()[1]]))
    run_all(page)
    root = outline(page)
    root.locator(".rw-heading").click()
    root.focus()
    page.keyboard.press("s")
    expect(root.locator(".rw-progress")).to_have_text("frame 1 of 3 · 1 saved")
    page.keyboard.press("Delete")
    expect(root).to_have_attribute("data-objects", "0")
    page.keyboard.press("u")
    expect(root).to_have_attribute("data-objects", "1")
    expect(root).to_have_attribute("data-dirty", "false")
    page.keyboard.press("z")
    expect(root).to_have_attribute("data-close", "true")
    draw_round(page, root, [(2, 2), (35, 2), (35, 35), (2, 35)])  # an object a quarter as wide
    expect(root).to_have_attribute("data-objects", "2")
    area = root.locator(".rw-outline-object[aria-selected=true] .rw-quiet")
    expect(area).to_have_text(re.compile("^(6|7)[0-9] px"))
    page.keyboard.press("z")
    page.keyboard.press("Escape")  # as it was saved; that too is taken back
    expect(root).to_have_attribute("data-objects", "1")
    page.keyboard.press("Control+z")
    expect(root).to_have_attribute("data-objects", "2")
    page.keyboard.press("u")
    expect(root).to_have_attribute("data-objects", "1")
    expect(root.locator(".rw-progress")).to_have_text("frame 1 of 3 · 1 saved")
    page.keyboard.press("u")
    expect(root.locator(".rw-progress")).to_have_text("frame 1 of 3 · 0 saved")
    assert page.traffic.errors == []

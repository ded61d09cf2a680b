"""The companions as a person uses them, behind a hub's prefix and in Voila, with one selection."""

import re

from browser.lab import cell, open_notebook, run_all, run_cell, screenshot
from playwright.sync_api import Page, expect

MAKE = """
import numpy as np, radiowidgets as rw
rw.extension()
sky = rw.simulate("emu", size=640, seed=2)
run = rw.Run.create("runs/companions", rw.cut_windows(sky, size=64, step=32), annotator="ada")
ids = np.asarray(run.frames.frame_ids)[run.order["rank"].argsort()]
run.labels.record([str(name) for name in ids[:12]], add=["PECULIAR"])
run.labels.record([str(name) for name in ids[8:60:2]], add=["EXTENDED"])
run.labels.record([str(name) for name in ids[60:120]], add=["COMPACT"])
None
"""
SHOW = [
    "threshold = rw.ThresholdExplorer(run)\nthreshold",
    "features = rw.FeatureExplorer(run)\nfeatures",
    "plane = rw.MapExplorer(run)\nplane",
    "review = rw.Review(run)\nreview",
    "end = rw.link(threshold, features, plane, review)",
]
TELL = """
there = len(review.selected) == 1 and review.selected[0] in plane.selected
print('selected', *(len(one.selected) for one in (threshold, features, plane)), there, threshold.threshold)
"""


def told(page: Page) -> list[str]:
    return run_cell(page, len(SHOW) + 1).inner_text().split("selected")[-1].split()


def until(page: Page, act, done) -> list[str]:
    """Act until it shows, for a plot that is still being laid out misses what is done to it."""
    for _ in range(20):
        act()
        page.wait_for_timeout(500)
        words = told(page)
        if done(words):
            return words
    raise AssertionError(words)


def test_one_selection_moves_through_the_companions_and_review(page, jupyter):
    open_notebook(page, jupyter.write("companions.ipynb", [MAKE, *SHOW, TELL]))
    run_all(page)
    for index in (1, 2, 3):
        plot = cell(page, index)
        plot.scroll_into_view_if_needed()
        expect(plot.locator("canvas").first).to_be_visible(timeout=30_000)
    before = float(told(page)[-1])

    curves = cell(page, 1).locator("canvas").nth(1)
    cell(page, 1).scroll_into_view_if_needed()

    def drag() -> None:
        curves.scroll_into_view_if_needed()
        box = curves.bounding_box()
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
        page.mouse.up()

    until(page, drag, lambda words: float(words[-1]) != before)
    cell(page, 1).get_by_role("button", name="Select these").click()
    words = until(page, lambda: None, lambda words: words[0] == words[1] == words[2] != "0")
    expect(cell(page, 4).locator(".rw-count")).to_have_text(f"{words[0]} frames", timeout=30_000)
    screenshot(page, "companions-threshold")

    canvas = cell(page, 3).locator("canvas").first

    def click() -> None:
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])

    until(page, click, lambda words: words[0] == words[1] == words[2] == "4")  # a place lies in four frames
    expect(cell(page, 4).locator(".rw-count")).to_have_text("4 frames", timeout=30_000)
    words = until(page, lambda: None, lambda words: words[3] == "True")
    assert words[:3] == ["4"] * 3  # that the gallery has its cursor on one of them selects nothing else
    cell(page, 3).locator("summary").click()
    expect(cell(page, 3).get_by_text("Click in the map to select")).to_be_visible()
    cell(page, 3).scroll_into_view_if_needed()
    screenshot(page, "companions-map")
    cell(page, 2).scroll_into_view_if_needed()
    screenshot(page, "companions-features")
    assert page.traffic.errors == []


def test_the_companions_and_review_paint_in_voila(page, jupyter):
    jupyter.write("dashboard.ipynb", [MAKE.replace("runs/companions", "runs/dashboard"), *SHOW])
    page.goto("voila/render/dashboard.ipynb", timeout=120_000)
    expect(page.locator(".rw-review[data-ready=true]")).to_have_count(1, timeout=120_000)
    expect(page.locator(".rw-tile:not([hidden])").first).to_be_visible()
    expect(page.locator(".bk-Canvas canvas, canvas.bk-layer, [class*=bk] canvas").first).to_be_visible(
        timeout=60_000
    )
    page.get_by_role("button", name="Select these").click()
    expect(page.get_by_text("frames selected").first).to_be_visible(timeout=30_000)
    page.screenshot(path=screenshot(page, "voila"), full_page=True)
    # Voila's own page asks for icons and formulas from outside, and does without them here.
    page.traffic.outside[:] = [
        url for url in page.traffic.outside if not re.search("fontawesome|mathjax", url)
    ]

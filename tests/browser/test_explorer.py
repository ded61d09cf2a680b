"""The explorer as a person uses it: look, select by a line, label the selection, review it."""

import re

from browser.lab import open_notebook, run_cell, save_and_reload, screenshot
from playwright.sync_api import Locator, Page, expect

MAKE = """
import numpy as np, radiowidgets as rw
sky = rw.simulate("emu", size=512, seed=2)
run = rw.Run.create("runs/explored", rw.cut_windows(sky, size=64, step=16), annotator="ada")
explorer = rw.LatentExplorer(run, plane="pca", colour="score")
explorer
"""
TELL = "print(len(explorer.selected), int(run.find('tag == \"PECULIAR\"').sum()))"


def explorer(page: Page) -> Locator:
    root = page.locator(".rw-explorer[data-ready=true]")
    expect(root).to_have_count(1, timeout=30_000)
    return root


def drag(page: Page, line: list[tuple[float, float]]) -> None:
    page.mouse.move(*line[0])
    page.mouse.down()
    for place in line[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def test_a_lasso_is_labelled_and_reviewed_and_a_reload_brings_the_view_back(page, jupyter):
    open_notebook(page, jupyter.write("explorer.ipynb", [MAKE, TELL]))
    run_cell(page, 0)
    root = explorer(page)
    root.scroll_into_view_if_needed()
    box = root.locator(".rw-plane").bounding_box()
    left, top, right, bottom = (
        box["x"] + 2,
        box["y"] + 2,
        box["x"] + box["width"] - 2,
        box["y"] + box["height"] - 2,
    )
    page.mouse.click(left + 20, bottom - 20)
    page.keyboard.down("Shift")
    drag(page, [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 9)])
    page.keyboard.up("Shift")
    expect(root).to_have_attribute("data-selected", "841")
    page.keyboard.press("p")
    root.get_by_role("button", name="Yes, 841").click()
    expect(root).to_have_attribute("data-saved", "1")
    assert "841 841" in run_cell(page, 1).inner_text()

    root.locator(".rw-plane").focus()
    page.keyboard.press("u")
    expect(root).to_have_attribute("data-saved", "2")
    root.locator(".rw-query").fill("rank <= 30")
    root.locator(".rw-query").press("Enter")
    expect(root).to_have_attribute("data-selected", "30")
    assert "30 0" in run_cell(page, 1).inner_text()

    root.get_by_role("button", name="Review these").click()
    gallery = page.locator(".rw-review[data-ready=true]:not(.rw-explorer)")
    expect(gallery.locator(".rw-count")).to_have_text("30 frames", timeout=30_000)
    expect(gallery.locator(".rw-tile.rw-waiting:not([hidden])")).to_have_count(0)
    gallery.locator(".rw-tile[data-place='2']").click()
    screenshot(page, "explorer-review")

    root.scroll_into_view_if_needed()
    root.get_by_label("Colour by").select_option("rms")
    root.locator(".rw-plane").focus()
    page.keyboard.press("Space")
    root.get_by_role("button", name="Go there").click()
    for _ in range(6):
        page.keyboard.press("+")
    expect(root.locator(".rw-progress")).to_have_text(re.compile(r"^([1-9]|[1-9]\d|1[0-4]\d) of 841"))
    expect(root).to_have_attribute("data-thumbs", re.compile("[1-9]"))
    screenshot(page, "explorer-zoomed")
    save_and_reload(page)
    expect(explorer(page).get_by_label("Colour by")).to_have_value("rms")
    assert page.traffic.errors == []

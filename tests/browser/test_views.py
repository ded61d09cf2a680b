"""The views of a frame are seen, and follow their sliders."""

from browser.lab import cell, open_notebook, run_all, screenshot
from playwright.sync_api import expect

SETUP = """
import radiowidgets as rw
from radiowidgets.models.mockframes import mock_objects
rw.extension()
frames, _ = mock_objects(6, ("fr2", "wide-angle-tail"), seed=1)
"""
CURVE = 'rw.show_curve([4.5, 3.3, 2.8], "loss", "epoch")'


def test_views_follow_a_slider(page, jupyter):
    open_notebook(
        page, jupyter.write("views.ipynb", [SETUP, "views = rw.ViewsExplorer(frames)\nviews", CURVE])
    )
    run_all(page)
    picture = cell(page, 1).locator("img")
    expect(picture).to_be_visible()
    before = picture.get_attribute("src")
    cell(page, 1).locator(".noUi-handle").last.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(picture).not_to_have_attribute("src", before)
    cell(page, 1).scroll_into_view_if_needed()
    screenshot(page, "views")
    last = cell(page, 2).locator("canvas").first
    last.scroll_into_view_if_needed()
    expect(last).to_be_visible()
    screenshot(page, "loss")
    assert page.traffic.errors == []

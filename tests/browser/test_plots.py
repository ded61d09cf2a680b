"""Plots paint without a network, and zooming asks the kernel for finer pixels."""

from pathlib import Path

import pytest
from browser.lab import CellError, cell, open_notebook, run_all, run_cell, screenshot
from playwright.sync_api import expect

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
MAP = """
sky = rw.simulate("emu", size=2600, seed=2)
view = rw.show_map(sky, rw.cut_windows(sky, size=256), sky.truth.sources.nlargest(50, "flux"))
view
"""
WIDTH = (
    "print('columns in view', round(view.plot.handles['x_range'].end - view.plot.handles['x_range'].start))"
)


def test_a_map_paints_offline_and_zooms(page, jupyter):
    open_notebook(
        page, jupyter.write("plots.ipynb", ["import radiowidgets as rw\nrw.extension()", MAP, WIDTH])
    )
    run_all(page)
    canvas = cell(page, 1).locator("canvas").first
    expect(canvas).to_be_visible(timeout=30_000)
    expect(cell(page, 2)).to_contain_text("columns in view 2600")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(20):  # how far one turn of the wheel zooms depends on how busy the machine is
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.wheel(0, -240)
        page.wait_for_timeout(500)
        text = run_cell(page, 2).inner_text()
        if int(text.split("columns in view")[-1].split()[0]) < 1300:
            break
    else:
        raise AssertionError(f"the wheel did not zoom: {text}")
    screenshot(page, "map")
    assert page.traffic.errors == []


def test_the_lesson_on_datasets_paints_offline(page, jupyter):
    open_notebook(page, jupyter.copy(NOTEBOOKS / "01_dataset_construction.ipynb"))
    run_all(page)
    expect(page.locator(".rw-review[data-ready=true]")).to_have_count(1)
    channels = page.locator(".jp-CodeCell").filter(has_text="rw.show_channels(seven")
    channels.scroll_into_view_if_needed()
    expect(channels.locator("canvas").first).to_be_visible(timeout=30_000)
    screenshot(page, "dataset-construction")
    assert page.traffic.errors == []


def test_without_the_front_end_one_line_says_what_to_do(page, jupyter):
    open_notebook(page, jupyter.write("bare.ipynb", ["import radiowidgets as rw", MAP]))
    run_cell(page, 0)
    with pytest.raises(CellError, match=r"call rw\.extension\(\) in a cell before this one"):
        run_cell(page, 1)

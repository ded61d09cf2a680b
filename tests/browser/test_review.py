"""Review as a person uses it: keys, saving, reload, restart, a killed kernel."""

import os
import re
import signal
from pathlib import Path

import pytest
from browser.lab import (
    accept,
    open_notebook,
    restart_kernel,
    run_all,
    run_cell,
    save_and_reload,
    screenshot,
    wait_until_idle,
)
from playwright.sync_api import Locator, Page, expect

from radiowidgets.labels.log import LabelLog

QUICKSTART = Path(__file__).resolve().parents[2] / "notebooks" / "00_quickstart.ipynb"
SMALL = """
import numpy as np, radiowidgets as rw
pixels = np.random.default_rng(1).normal(size=(480, 480)).astype("float32")
frames = rw.cut_windows(rw.SkyMap.from_array(pixels, name="noise"), size=64, step=32)
run = rw.Run.create("runs/{name}", frames, annotator="ada")
review = rw.Review(run)
review
"""


CONTRASTS = """root => {
  const numbers = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (text) => {
    const [r, g, b] = numbers(text).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = (element) => /^(transparent|rgba\\(0, 0, 0, 0\\))$/.test(getComputedStyle(element).backgroundColor);
  return [".rw-heading", ".rw-progress", ".rw-value", ".rw-fact", ".rw-tag", ".rw-button"].map((which) => {
    const element = root.querySelector(which);
    let behind = element;
    while (clear(behind)) behind = behind.parentElement;
    const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
    return [which, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  });
}"""


def review(page: Page) -> Locator:
    root = page.locator(".rw-review[data-ready=true]")
    expect(root).to_have_count(1, timeout=30_000)
    expect(root.locator(".rw-tile:not([hidden])").first).to_be_visible()
    return root


def wait_saved(root: Locator) -> None:
    expect(root).to_have_attribute("data-waiting", "0")
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")


def ratings(root: Locator) -> list[str]:
    return root.locator(".rw-tile:not([hidden])").evaluate_all(
        """tiles => tiles.sort((a, b) => a.dataset.place - b.dataset.place)
        .map(tile => tile.querySelector('.rw-badge').textContent)"""
    )


def start(page: Page, jupyter, name: str, *more: str) -> Locator:
    open_notebook(page, jupyter.write(f"{name}.ipynb", [SMALL.format(name=name), *more]))
    run_cell(page, 0)
    return review(page)


def test_quickstart_from_map_to_labels_through_reload_and_restart(page, jupyter):
    open_notebook(page, jupyter.copy(QUICKSTART))
    run_all(page)
    root = review(page)
    root.scroll_into_view_if_needed()
    root.locator(".rw-tile[data-place='0']").click()
    given = "5431025404"
    for key in given:
        page.keyboard.press(key)
    wait_saved(root)
    assert ratings(root)[:10] == list(given)
    page.keyboard.press("u")
    expect(root.locator(".rw-progress")).to_contain_text("9 rated")
    assert ratings(root)[:10] == [*given[:9], ""]
    page.keyboard.press("i")  # a change of the view that must come back too
    root.locator("select[aria-label=Colours]").select_option("viridis")
    page.wait_for_timeout(500)
    screenshot(page, "quickstart")

    def everything_is_back() -> None:
        found = review(page)
        expect(found.locator(".rw-progress")).to_contain_text("9 rated")
        assert ratings(found)[:10] == [*given[:9], ""]
        expect(found.locator("select[aria-label=Colours]")).to_have_value("viridis")
        expect(found.locator(".rw-cursor")).to_have_attribute("data-place", "9")  # where the undo led

    save_and_reload(page)
    everything_is_back()
    restart_kernel(page)
    run_all(page)
    everything_is_back()

    labels = LabelLog(jupyter.root / "runs" / "mock-emu-7-128" / "labels", annotator="reader")
    state = [
        label
        for who in labels.annotators
        for label in labels.state(who).values()
        if label.interest is not None
    ]
    assert sorted(label.interest for label in state) == sorted(map(int, given[:9]))
    assert (jupyter.root / "runs" / "mock-emu-7-128" / "top20.reg").read_text().count("polygon") == 20
    # The Bokeh view of the map speaks once more to the kernel that was restarted; Review must not.
    assert set(page.traffic.errors) <= {"Cannot send"}


def test_a_kernel_killed_in_the_middle_loses_nothing_that_was_shown_as_saved(page, jupyter):
    root = start(page, jupyter, "killed")
    root.locator(".rw-tile[data-place='0']").click()
    for number in range(200):
        if number == 100:  # some are on disk, and some under way when the kernel goes
            expect(root).to_have_attribute("data-saved", re.compile(r"^([5-9]\d|100)$"), timeout=30_000)
        if number == 120:
            os.kill(jupyter.kernel_pids()[-1], signal.SIGKILL)
        page.keyboard.press(str(number % 6))
    saved = int(root.get_attribute("data-saved"))
    assert 0 < saved < 200
    expect(root).to_have_class(re.compile("rw-stale"), timeout=15_000)
    expect(root.locator(".rw-alarm")).to_contain_text("Not saved: rating")
    screenshot(page, "killed-kernel")
    held = int(root.get_attribute("data-waiting"))
    log = LabelLog(jupyter.root / "runs" / "killed" / "labels", annotator="checker")
    events = log.events()
    shown = int(root.get_attribute("data-saved"))
    assert len(events) >= shown >= saved
    assert [event.set["interest"] for event in events] == [number % 6 for number in range(len(events))]

    # Running the cell again offers what was not saved.
    accept(page)
    wait_until_idle(page)
    run_cell(page, 0)
    root = review(page)
    expect(root.locator(".rw-alarm")).to_contain_text("Not saved before: rating")
    root.locator(".rw-alarm button", has_text="Save now").click()
    wait_saved(root)
    assert held > 0
    log.refresh()
    assert len(log.events()) == len(events) + held


def test_keys_act_on_the_selection_and_only_inside_the_widget(page, jupyter):
    root = start(page, jupyter, "keys", "run.labels.table()")
    cells_before = page.locator(".jp-Cell").count()
    root.locator(".rw-tile[data-place='2']").click()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(root.locator(".rw-tile[aria-selected=true]:not([hidden])")).to_have_count(3)
    page.keyboard.press("a")  # ARTEFACT here; 'insert a cell above' in the notebook
    page.keyboard.press("0")
    page.keyboard.press("0")  # twice offers a restart of the kernel in the notebook
    wait_saved(root)
    assert ratings(root)[:6] == ["", "", "0", "0", "0", ""]
    expect(root.locator(".rw-tile .rw-mark[title=ARTEFACT]")).to_have_count(3)
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    assert page.locator(".jp-Cell").count() == cells_before

    page.keyboard.press("n")
    page.keyboard.type("ring? <img src=x onerror=document.title='bad'> b5")
    page.keyboard.press("Escape")
    wait_saved(root)
    expect(root.locator(".rw-tile.rw-noted:not([hidden])")).to_have_count(1)
    assert page.title() != "bad"
    assert ratings(root)[:6] == ["", "", "0", "0", "0", ""]  # typing is not rating

    page.keyboard.press("Enter")
    large = root.locator(".rw-large")
    expect(large).to_be_visible()
    large.locator("canvas").hover()
    expect(large.locator(".rw-large-readout")).to_contain_text("pixel")
    page.keyboard.press("Escape")
    expect(large).to_be_hidden()
    page.keyboard.press("?")
    expect(root.locator(".rw-help")).to_be_visible()
    page.keyboard.press("?")

    # Outside, our keys do nothing.
    expect(run_cell(page, 1)).to_contain_text("ring?")
    events = len(LabelLog(jupyter.root / "runs" / "keys" / "labels", annotator="checker").events())
    page.keyboard.press("Escape")
    page.keyboard.press("4")  # in the notebook: a heading of level 4
    page.wait_for_timeout(300)
    assert len(LabelLog(jupyter.root / "runs" / "keys" / "labels", annotator="checker").events()) == events
    assert page.traffic.errors == []


def test_re_ranking_follows_the_ratings_and_survives_a_restart(page, jupyter):
    root = start(page, jupyter, "reranked")
    root.locator(".rw-tile[data-place='0']").click()
    for key in "00000555":
        page.keyboard.press(key)
    wait_saved(root)
    before = root.locator(".rw-tile[data-place='0']").get_attribute("data-frame")
    page.keyboard.press("r")
    expect(root.locator(".rw-saved")).to_contain_text("8 ratings", timeout=30_000)
    frames = "tiles => tiles.sort((a, b) => a.dataset.place - b.dataset.place).slice(0, 8).map(t => t.dataset.frame)"
    after = root.locator(".rw-tile:not([hidden])").evaluate_all(frames)
    assert after[0] != before
    restart_kernel(page)
    run_cell(page, 0)
    root = review(page)
    root.locator(".rw-scroller").press("Home")
    expect(root.locator(".rw-tile[data-place='0']")).to_have_attribute("data-frame", after[0])
    assert root.locator(".rw-tile:not([hidden])").evaluate_all(frames) == after
    assert page.traffic.errors == []


def test_a_full_disk_is_told_at_once_and_nothing_is_shown_as_saved(page, jupyter):
    fill = """
import os
real = os.write
def full(*arguments):
    raise OSError(28, 'No space left on device')
os.write = full
"""
    root = start(page, jupyter, "full", fill, "os.write = real")
    root.locator(".rw-tile[data-place='0']").click()
    page.keyboard.press("3")
    wait_saved(root)
    run_cell(page, 1)
    root.locator(".rw-tile[data-place='1']").click()
    page.keyboard.press("5")
    expect(root.locator(".rw-alarm")).to_contain_text("No space left on device")
    assert ratings(root)[:2] == ["3", ""]
    expect(root.locator(".rw-saved")).to_contain_text("1 action not saved")
    run_cell(page, 2)
    root.locator(".rw-alarm button", has_text="Try again").click()
    expect(root.locator(".rw-alarm")).to_be_hidden()
    wait_saved(root)
    assert ratings(root)[:2] == ["3", "5"]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_reads_in_light_and_dark_and_in_a_narrow_cell(page, jupyter, theme):
    root = start(page, jupyter, f"theme-{theme.split()[1].lower()}")
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    page.wait_for_timeout(800)
    contrasts = root.evaluate(CONTRASTS)
    assert all(ratio >= 4.5 for _, ratio in contrasts), contrasts
    screenshot(page, f"review-{theme.split()[1].lower()}")
    stage = root.locator(".rw-scroller").bounding_box()
    tile = root.locator(".rw-tile[data-place='0']").bounding_box()
    shown = root.locator(".rw-tile:not([hidden])").count()
    assert shown >= (stage["width"] // (tile["width"] + 6)) * (stage["height"] // (tile["height"] + 6))
    page.set_viewport_size({"width": 560, "height": 900})
    page.wait_for_timeout(600)
    screenshot(page, f"review-narrow-{theme.split()[1].lower()}")
    box = root.locator(".rw-stage").bounding_box()
    assert box["width"] > 200 and box["height"] > 150

"""Review as a person uses it: keys, saving, reload, restart, a killed kernel."""

import json
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
  const parts = [".rw-heading", ".rw-progress", ".rw-value", ".rw-fact", ".rw-tag", ".rw-button", ".rw-field",
    ".rw-query", ".rw-chip", ".rw-count", ".rw-session", ".rw-session-facts span", ".rw-why summary"];
  return parts.map((which) => {
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
    expect(root).to_have_attribute("data-waiting", "0", timeout=30_000)
    expect(root.locator(".rw-saved")).to_have_attribute("data-state", "saved")


def painted(root: Locator) -> None:
    """Wait until what the last key or choice asked for has been painted."""
    root.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def ratings(root: Locator) -> list[str]:
    painted(root)
    return root.locator(".rw-tile:not([hidden])").evaluate_all(
        """tiles => tiles.sort((a, b) => a.dataset.place - b.dataset.place)
        .map(tile => tile.querySelector('.rw-badge').textContent)"""
    )


def start(page: Page, jupyter, name: str, *more: str, follow: bool = True) -> Locator:
    source = SMALL.format(name=name)
    if not follow:
        source = source.replace("rw.Review(run)", "rw.Review(run, follow=False)")
    open_notebook(page, jupyter.write(f"{name}.ipynb", [source, *more]))
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
    large.locator(".rw-large-canvas").hover()
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
    root = start(page, jupyter, "reranked", follow=False)
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


def test_the_order_ahead_follows_the_ratings_and_nobody_loses_their_place(page, jupyter):
    tell = "from radiowidgets.run.reranking import order_of\nprint(order_of(review.follower.table).tolist())"
    root = start(page, jupyter, "live", tell)
    root.locator(".rw-tile[data-place='0']").click()
    seen = shown(root)
    for key in "0505050505":
        page.keyboard.press(key)
    wait_saved(root)
    expect(root).to_have_attribute("data-learnt", "10", timeout=30_000)
    expect(root.locator(".rw-moved-words")).to_contain_text("moved up: ")
    assert shown(root) == seen and ratings(root)[:11] == [*"0505050505", ""]
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-place", "10")
    order = json.loads(run_cell(page, 1).locator(".jp-OutputArea-output").inner_text())
    root.locator(".rw-scroller").focus()
    page.keyboard.press("PageDown")
    ahead = [frame for frame in map(str, order) if frame not in seen]
    new = [frame for frame in shown(root) if frame not in seen]
    assert len(new) > 8 and new == ahead[: len(new)]
    screenshot(page, "review-live")

    page.keyboard.press("u")  # the last one; there, with what was seen round it
    expect(root).to_have_attribute("data-learnt", "9", timeout=30_000)
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-place", "9")
    root.locator(".rw-scroller").press("Home")
    assert shown(root) == seen
    page.keyboard.press("t")
    expect(root.locator(".rw-chip")).to_have_text(re.compile("moved up"))
    assert all(root.locator(".rw-tile:not([hidden]) .rw-moved").all_inner_texts())
    page.keyboard.press("t")
    assert shown(root) == seen
    root.get_by_label("Follow").uncheck()
    page.keyboard.press("5")
    wait_saved(root)
    expect(root.locator(".rw-progress")).to_contain_text("9 rated")
    expect(root).to_have_attribute("data-learnt", "9", timeout=30_000)
    root.get_by_label("Follow").check()
    expect(root).to_have_attribute("data-learnt", "9", timeout=30_000)

    page.keyboard.press("Enter")  # one frame fills the view: the next one is the best of the new order
    expect(root.locator(".rw-large")).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)
    place = root.locator(".rw-cursor:not([hidden])").get_attribute("data-frame")
    save_and_reload(page)
    root = review(page)
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-frame", place)
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
    root.locator(".rw-tile[data-place='0']").click()
    page.keyboard.press("4")
    root.get_by_role("search").get_by_label("Show").select_option("rated")
    expect(root.locator(".rw-session-facts span").first).to_be_visible()
    contrasts = root.evaluate(CONTRASTS)
    assert all(ratio >= 4.5 for _, ratio in contrasts), contrasts
    root.locator(".rw-chip").click()
    page.wait_for_timeout(800)
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


def shown(root: Locator) -> list[str]:
    """Frames in sight, in the order in which they stand."""
    painted(root)
    return root.locator(".rw-tile:not([hidden])").evaluate_all(
        "tiles => tiles.sort((a, b) => a.dataset.place - b.dataset.place).map(tile => tile.dataset.frame)"
    )


def test_filters_by_rating_and_tag_keep_what_was_just_rated(page, jupyter):
    root = start(page, jupyter, "filters")
    root.locator(".rw-tile[data-place='0']").click()
    for key in "540":
        page.keyboard.press(key)
    page.keyboard.press("a")  # the fourth: ARTEFACT, not rated
    wait_saved(root)
    first = shown(root)

    root.get_by_role("search").get_by_label("Show").select_option("unrated")
    assert shown(root)[0] == first[3]
    page.keyboard.press("Home")
    page.keyboard.press("2")  # it stays where it is until asked for
    wait_saved(root)
    assert shown(root)[0] == first[3]
    expect(root.locator(".rw-state")).to_contain_text("Refresh (1 no longer belong)")
    root.locator(".rw-state button", has_text="Refresh").click()
    assert shown(root)[0] == first[4]
    page.keyboard.press("u")  # what is undone comes back
    expect(root.locator(".rw-tile[data-place='0']")).to_have_attribute("data-frame", first[3])
    page.keyboard.press("2")
    wait_saved(root)
    root.locator(".rw-chip", has_text="not rated yet").click()
    expect(root.locator(".rw-state")).to_be_hidden()

    root.locator("summary", has_text="Filters").click()
    root.locator(".rw-pop .rw-tag", has_text="ARTEFACT").click()
    assert shown(root) == [first[3]]
    expect(root.locator(".rw-count")).to_have_text("1 frame")
    root.locator(".rw-pop .rw-tag", has_text="ARTEFACT").click()
    assert first[3] not in shown(root)
    root.locator(".rw-pop button", has_text="Show all").click()
    assert shown(root) == first

    assert page.traffic.errors == []


def test_queries_orders_and_jumps(page, jupyter):
    root = start(page, jupyter, "queries", follow=False)
    root.locator(".rw-tile[data-place='0']").click()
    for key in "5402":
        page.keyboard.press(key)
    wait_saved(root)
    first = shown(root)
    page.keyboard.press("/")
    page.keyboard.type("rank <")
    page.keyboard.press("Enter")
    expect(root.locator(".rw-wrong")).to_contain_text("cannot be read at letter")
    assert shown(root) == first
    page.keyboard.press("Control+a")
    page.keyboard.type("5 < rank <= 8 and tag is None")
    page.keyboard.press("Enter")
    expect(root.locator(".rw-count")).to_have_text("3 frames")
    assert shown(root) == first[5:8] and root.locator(".rw-wrong").is_hidden()
    page.keyboard.press("End")  # the keys are the gallery's again
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-place", "2")
    root.locator(".rw-chip", has_text="rank").click()
    expect(root.locator(".rw-tile[data-place='0']")).to_have_attribute("data-frame", first[0])

    root.get_by_role("search").get_by_label("Order").select_option("column:rank")
    expect(root.locator(".rw-tile[data-place='0'] .rw-rank")).to_have_text("196")
    root.locator(".rw-filters .rw-icon").click()
    expect(root.locator(".rw-tile[data-place='0'] .rw-rank")).to_have_text("1")
    root.get_by_role("search").get_by_label("Order").select_option("rank")

    page.keyboard.press("#")
    page.keyboard.type("150")
    page.keyboard.press("Enter")
    expect(root.locator(".rw-cursor:not([hidden]) .rw-rank")).to_have_text("150")
    expect(root.locator(".rw-spoken")).to_have_text("rank 150, not rated")
    page.keyboard.press("Home")
    page.keyboard.press(" ")  # the next one without a rating
    expect(root.locator(".rw-cursor:not([hidden]) .rw-rank")).to_have_text("5")

    page.keyboard.press("/")
    page.keyboard.type("my_interest >= 2")
    page.keyboard.press("Enter")
    expect(root.locator(".rw-count")).to_have_text("3 frames")
    page.keyboard.press("Home")
    page.keyboard.press("0")  # what was found is old now, and says so
    again = root.locator(".rw-state button", has_text="Refresh (1 no longer belong)")
    again.click(timeout=30_000)
    expect(root.locator(".rw-count")).to_have_text("2 frames")
    assert page.traffic.errors == []


def test_stacks_are_folded_and_unfolded_and_counted(page, jupyter):
    source = SMALL.format(name="stacks").replace("frames =", "pixels[40::80, 40::80] += 60\nframes =")
    open_notebook(page, jupyter.write("stacks.ipynb", [source]))
    run_cell(page, 0)
    root = review(page)
    first = shown(root)
    root.locator("summary", has_text="Filters").click()
    root.get_by_label("Fold overlapping").check()
    expect(root.locator(".rw-count")).to_contain_text("196 frames in", timeout=60_000)
    page.keyboard.press("Escape")
    folded = shown(root)
    assert folded[0] == first[0] and folded != first
    stack = root.locator(".rw-stacked:not([hidden])").first
    place, hidden = stack.get_attribute("data-place"), int(stack.locator(".rw-stack").inner_text()[1:])
    stack.click(position={"x": 20, "y": 50})
    page.keyboard.press("x")
    expect(root.locator(".rw-unfolded:not([hidden])")).to_have_count(hidden + 1)
    page.keyboard.press("x")
    expect(root.locator(".rw-unfolded:not([hidden])")).to_have_count(0)
    assert root.locator(".rw-cursor:not([hidden])").get_attribute("data-place") == place
    screenshot(page, "review-stacks")
    expect(root.locator(".rw-facts")).to_contain_text(f"keys act on all {hidden + 1} frames")
    page.keyboard.press("4")  # the whole stack in one action, of which one frame was seen
    expect(root.locator(".rw-progress")).to_contain_text(f"{hidden + 1} rated")
    (event,) = LabelLog(jupyter.root / "runs" / "stacks" / "labels", annotator="checker").events()
    looks = [frame.shown.get("look") for frame in event.frames]
    assert len(looks) == hidden + 1 and looks.count("rank") == 1 and looks.count(None) == hidden
    page.keyboard.press("u")
    expect(root.locator(".rw-progress")).to_contain_text("0 rated")
    root.locator(".rw-chip", has_text="folded").click()
    assert shown(root) == first


def test_many_frames_at_once_are_confirmed_and_any_action_is_undone_and_redone(page, jupyter):
    root = start(page, jupyter, "history")
    root.locator(".rw-tile[data-place='1']").click()
    page.keyboard.press("5")
    page.keyboard.press("*")
    page.keyboard.press("a")
    expect(root.locator(".rw-alarm")).to_have_text(re.compile("Tag 196 frames ARTEFACT"))
    page.keyboard.press("0")  # nothing else is done meanwhile
    page.keyboard.press("Escape")
    expect(root.locator(".rw-alarm")).to_be_hidden()
    assert root.locator(".rw-mark").count() == 0
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    wait_saved(root)
    expect(root.locator(".rw-tile[data-place='0'] .rw-mark")).to_have_count(1)

    page.keyboard.press("h")
    events = root.locator(".rw-event")
    expect(events).to_have_count(2)
    expect(events.nth(0)).to_contain_text("+ARTEFACT · 196 frames")
    events.nth(1).get_by_role("button", name="Undo").click()  # the older one
    expect(root.locator(".rw-progress")).to_contain_text("0 rated")
    expect(events).to_have_count(3)
    expect(events.nth(2)).to_have_class(re.compile("rw-undone"))
    expect(root.locator(".rw-tile[data-place='0'] .rw-mark")).to_have_count(1)
    events.nth(2).get_by_role("button", name="Redo").click()
    expect(root.locator(".rw-progress")).to_contain_text("1 rated")
    events.last.locator(".rw-plain").click()
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-place", "1")
    screenshot(page, "review-history")
    assert page.traffic.errors == []


def test_why_here_and_more_like_this(page, jupyter):
    root = start(page, jupyter, "why")
    root.locator(".rw-tile[data-place='3']").click()
    frame = root.locator(".rw-tile[data-place='3']").get_attribute("data-frame")
    page.keyboard.press("w")
    expect(root.locator(".rw-barline").first).to_be_visible(timeout=60_000)
    expect(root.locator(".rw-like").first).to_be_visible()
    screenshot(page, "review-why")
    page.keyboard.press("s")
    expect(root.locator(".rw-chip")).to_contain_text("like rank 4")
    expect(root.locator(".rw-tile[data-place='0']")).to_have_attribute("data-frame", frame)
    root.locator(".rw-chip").click()
    expect(root.locator(".rw-tile[data-place='3']")).to_have_attribute("data-frame", frame)
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-place", "3")
    assert page.traffic.errors == []


def test_a_session_with_random_looks_and_blind_repeats_and_an_export(page, jupyter):
    root = start(page, jupyter, "session")
    root.locator(".rw-tile[data-place='0']").click()
    for number in range(45):
        page.keyboard.press("a")
        page.keyboard.press(str(number % 6))
    wait_saved(root)
    expect(root.locator(".rw-session")).to_contain_text("45 of 200")
    expect(root.locator(".rw-session")).to_contain_text("yield 47 %")
    root.locator("summary", has_text="Session").click()
    for label, value in (("Blind repeats", "40"), ("Random frames", "20")):
        root.get_by_label(label).fill(value)
        root.get_by_label(label).press("Tab")
    root.get_by_label("Hide score and rank").check()
    root.get_by_role("button", name="Show what to look at next").click()
    expect(root.locator(".rw-chip")).to_contain_text("session")
    assert not any(root.locator(".rw-tile:not([hidden]) .rw-rank").all_inner_texts())
    expect(root.locator(".rw-facts")).not_to_contain_text("Score")
    assert not any(ratings(root))  # repeats look as if they were new
    expect(root.locator(".rw-spoken")).not_to_contain_text("rank")
    page.keyboard.press("h")
    root.locator(".rw-history .rw-button", has_text="Earlier").click()
    expect(root.locator(".rw-event")).to_have_count(80)
    assert root.locator(".rw-event .rw-plain").count() < 70  # those on repeats lead nowhere
    page.keyboard.press("h")
    page.keyboard.press("Home")
    for _ in range(20):
        page.keyboard.press("a")  # puts the tag on, also where the first look had it: nothing tells a repeat
        page.keyboard.press("3")
    wait_saved(root)
    page.keyboard.press("Home")
    assert ratings(root)[:20] == ["3"] * 20
    expect(root.locator(".rw-session")).to_contain_text("own agreement")
    expect(root.locator(".rw-session")).to_contain_text("still hidden")
    events = LabelLog(jupyter.root / "runs" / "session" / "labels", annotator="checker").events()
    assert {event.frames[0].shown.get("look") for event in events} == {"rank", "random", "repeat"}
    assert not any(event.remove for event in events)
    screenshot(page, "review-session")
    seen = shown(root)
    page.keyboard.press("End")
    page.keyboard.press("3")  # at its end the list goes on by itself
    expect(root.locator(".rw-cursor:not([hidden])")).to_have_attribute("data-place", "0")
    assert shown(root) != seen and not any(ratings(root))

    root.locator("summary", has_text="Export").click()
    root.get_by_label("Which frames").select_option("rated")
    root.get_by_role("button", name="Write").click()
    place = root.get_by_label("Path")
    expect(place).to_have_value(re.compile(r"exports.session-rated-3-.*\.csv"))
    page.keyboard.press("Escape")
    expect(root.locator(".rw-export-done")).to_be_hidden()
    assert (jupyter.root / place.input_value()).exists()
    assert page.traffic.errors == []


def test_a_note_begun_at_once_is_on_the_frame_where_the_keys_led(page, jupyter):
    root = start(page, jupyter, "noted")
    root.locator(".rw-tile[data-place='3']").click()
    root.locator(".rw-scroller").evaluate(  # faster than the page is painted
        """scroller => ["4", "ArrowRight", "n"].forEach((key) =>
        scroller.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })))"""
    )
    page.keyboard.type("odd ring")
    page.keyboard.press("Enter")
    wait_saved(root)
    events = LabelLog(jupyter.root / "runs" / "noted" / "labels", annotator="checker").events()
    assert [event.note for event in events] == [None, "odd ring"]
    expect(root.locator(".rw-noted:not([hidden])")).to_have_attribute("data-place", "5")


def test_two_views_of_one_widget_show_the_same(page, jupyter):
    start(page, jupyter, "twice", "review")
    run_cell(page, 1)
    root, second = page.locator(".rw-review").nth(0), page.locator(".rw-review").nth(1)
    expect(second.locator(".rw-tile:not([hidden])").first).to_be_visible()
    root.get_by_label("Noise", exact=True).select_option("map")
    expect(second.get_by_label("Noise", exact=True)).to_have_value("map")
    root.locator(".rw-tile[data-place='2']").click()
    page.keyboard.press("4")
    expect(second.locator(".rw-tile[data-place='2'] .rw-badge")).to_have_text("4")
    second.locator("summary", has_text="Session").click()
    second.get_by_label("Hide score and rank").check()
    expect(root.locator(".rw-tile[data-place='2'] .rw-rank")).to_have_text("")
    expect(root.locator(".rw-spoken")).to_have_text("frame, not rated")
    assert page.traffic.errors == []


def test_keys_are_those_that_were_chosen(page, jupyter):
    name = "chosen"
    source = SMALL.format(name=name).replace(
        "rw.Review(run)", "rw.Review(run, keys={'undo': 'z', 'note': None})"
    )
    open_notebook(page, jupyter.write(f"{name}.ipynb", [source]))
    run_cell(page, 0)
    root = review(page)
    root.locator(".rw-tile[data-place='0']").click()
    page.keyboard.press("4")
    page.keyboard.press("u")
    wait_saved(root)
    assert ratings(root)[0] == "4"
    page.keyboard.press("z")
    expect(root.locator(".rw-progress")).to_contain_text("0 rated")
    page.keyboard.press("?")
    sheet = root.locator(".rw-help")
    expect(sheet.locator("tr", has_text="undo your last action").locator("kbd")).to_have_text("z")
    expect(sheet.locator("tr", has_text="write a note")).to_have_count(0)
    expect(sheet).to_contain_text("zoom in")
    screenshot(page, "review-keys")


def test_what_a_colleague_says_in_another_kernel_arrives_by_itself(page, jupyter):
    root = start(page, jupyter, "news")
    root.locator(".rw-tile[data-place='0']").click()
    page.keyboard.press("4")
    wait_saved(root)
    folder = jupyter.root / "runs" / "news" / "labels"
    frame_id = LabelLog(folder, "bob").events()[0].frames[0].frame_id
    with LabelLog(folder, annotator="bob") as bob:
        bob.record([frame_id], interest=1)
    expect(root.locator(".rw-saved")).to_have_text("bob labelled 1 frame", timeout=30_000)
    with LabelLog(folder, annotator="ada") as again:  # the same person elsewhere
        again.record([frame_id], interest=5)
    expect(root.locator(".rw-tile[data-place='0'] .rw-badge")).to_have_text("5", timeout=30_000)
    assert page.traffic.errors == []

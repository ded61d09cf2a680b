"""Text of headers, catalogues and people is text: it never becomes an element and never runs."""

import re

from browser.lab import open_notebook, run_cell
from playwright.sync_api import Locator, Page, expect

IMAGE = "<img src=x onerror=window.__xss=1>"
SCRIPT = '"><script>window.__xss=2</script>'
LINK = "javascript:window.__xss=3"
MAKE = f"""
import warnings; warnings.simplefilter("ignore")
import numpy as np, pandas as pd, astropy.units as u, radiowidgets as rw
from astropy.io import fits
from radiowidgets.data.frames import FrameSet
from radiowidgets.labels.log import LabelLog
from radiowidgets.labels.schema import Schema, Tag
rw.extension()
IMAGE, SCRIPT, LINK = {IMAGE!r}, {SCRIPT!r}, {LINK!r}
header = fits.Header()
header["OBJECT"], header["TELESCOP"], header["OBSERVER"], header["BUNIT"] = IMAGE, SCRIPT, LINK, IMAGE
for axis, kind, value in ((1, "RA---SIN", 200.0), (2, "DEC--SIN", -30.0)):
    header[f"CTYPE{{axis}}"], header[f"CRVAL{{axis}}"], header[f"CRPIX{{axis}}"] = kind, value, 64.5
    header[f"CDELT{{axis}}"] = -2 / 3600 if axis == 1 else 2 / 3600
pixels = np.random.default_rng(1).normal(size=(128, 128)).astype("f4")
fits.writeto(IMAGE + ".fits", pixels, header, overwrite=True)
sky = rw.SkyMap.open(IMAGE + ".fits", name=IMAGE)
assert "img" in sky.header["OBJECT"] and sky.unit is None
sky.unit = u.def_unit(IMAGE)
x, y = np.meshgrid(np.arange(0, 97, 16), np.arange(0, 97, 16))
ids = [f"{{text}} {{k}}" for k, text in enumerate([IMAGE, SCRIPT, LINK] * 20)][: x.size]
frames = FrameSet(sky, 0, x.ravel(), y.ravel(), 32, 32, ids=ids)
tags = [Tag(IMAGE, "a", "#ff0000", SCRIPT), Tag(SCRIPT, "c", "#00ff00", IMAGE), Tag(LINK, "e", "#0000ff", LINK)]
run = rw.Run.create(f"runs/{{IMAGE}}", frames, schema=Schema(tags), annotator=IMAGE, parameters={{IMAGE: SCRIPT}})
for annotator in (SCRIPT, LINK):
    with LabelLog(run.path / "labels", annotator) as log:
        log.record(ids, interest=3, add=[IMAGE, annotator, "not in the schema <b>"], note=IMAGE)
run.labels.refresh()
if hasattr(run, "attach"):
    objects = {{"name": [IMAGE, SCRIPT, LINK], "ra": 200 + np.arange(3) / 200, "dec": -30.0}}
    run.attach("known", pd.DataFrame(objects))
"""
SHOW = "review = rw.Review(run)\nreview"
FAIL = """
review._receive(None, {"kind": IMAGE})
review._receive(None, {"kind": "act", "id": "x", "frames": [0], "add": [IMAGE + ";"]})
"""
TABLES = """
from IPython.display import display
for shown in (sky, frames, run, run.table(), run.labels.table(), run.labels.history(), run.schema):
    display(shown)
"""
PLOT = 'rw.show_map(sky, frames, pd.DataFrame({"x": [9.0, 60.0], "y": [9.0, 60.0], "name": [IMAGE, SCRIPT]}))'
CHANNELS = "rw.show_channels(np.dstack([pixels] * 3), [IMAGE, SCRIPT, LINK])"
# What such text would have become, also within the shadows in which Bokeh draws.
ELEMENTS = """() => {
  const found = [];
  const look = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      const links = [...element.attributes].some(({ name, value }) =>
        name.startsWith("on") || (/^(href|src|action|formaction)$/.test(name) && /^\\s*javascript:/i.test(value)));
      const script = element.tagName === "SCRIPT" && element.textContent.includes("__xss");
      if (links || script || (element.tagName === "IMG" && element.getAttribute("src") === "x")) {
        found.push(element.outerHTML.slice(0, 120));
      }
    }
  };
  look(document);
  return found;
}"""


def check(page: Page) -> None:
    assert page.evaluate("typeof window.__xss") == "undefined"
    assert page.evaluate(ELEMENTS) == []


def open_everything(page: Page, root: Locator) -> None:
    """Open each menu and panel of the widget in turn."""
    for summary in root.locator("summary").all():
        if summary.is_visible():
            summary.click()
            page.wait_for_timeout(300)
            check(page)
            if summary.evaluate("summary => summary.parentElement.classList.contains('rw-menu')"):
                summary.click()
    for name in ("History", "Columns", "Details"):
        button = root.get_by_role("button", name=re.compile(f"^{name}"))
        if button.count() and button.first.is_visible():
            button.first.click()
            page.wait_for_timeout(500)
            check(page)
            button.first.click()


def test_strings_that_are_markup_stay_text_in_review(page, jupyter):
    open_notebook(page, jupyter.write("safety.ipynb", [MAKE, SHOW, FAIL]))
    for index in (0, 1):
        run_cell(page, index)
    root = page.locator(".rw-review[data-ready=true]")
    expect(root).to_have_count(1, timeout=30_000)
    expect(root.locator(".rw-heading")).to_contain_text(IMAGE)
    root.locator(".rw-tile[data-place='0']").click()
    for key in "a4cn":
        page.keyboard.press(key)
    page.keyboard.type(f"{IMAGE} {SCRIPT} {LINK}")
    page.keyboard.press("Enter")
    expect(root).to_have_attribute("data-waiting", "0")
    for text in (IMAGE, SCRIPT, LINK):
        expect(root.locator(".rw-tag:visible", has_text=text).first).to_be_visible()
    root.locator(".rw-tile[data-place='0']").hover()
    check(page)
    open_everything(page, root)
    query = root.get_by_role("searchbox").or_(
        root.get_by_placeholder(re.compile("query|find", re.IGNORECASE))
    )
    for text in (f'"{IMAGE}" + {SCRIPT}', "") if query.count() else ():
        query.first.fill(text)
        query.first.press("Enter")
        page.wait_for_timeout(500)
        check(page)
    root.locator(".rw-scroller").focus()
    page.keyboard.press("Home")
    page.keyboard.press("?")
    expect(root.locator(".rw-help")).to_contain_text(IMAGE)
    check(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    large = root.locator(".rw-large")
    expect(large).to_be_visible()
    large.locator("canvas").first.hover()
    page.wait_for_timeout(500)
    check(page)
    page.keyboard.press("Escape")
    run_cell(page, 2)
    expect(root.locator(".rw-alarm")).to_contain_text("img src=x")
    check(page)


def test_strings_that_are_markup_stay_text_in_plots_and_tables(page, jupyter):
    open_notebook(page, jupyter.write("safe-plots.ipynb", [MAKE, PLOT, CHANNELS, TABLES]))
    run_cell(page, 0)
    plot = run_cell(page, 1)
    plot.scroll_into_view_if_needed()
    canvas = plot.locator(".bk-Figure canvas").first
    expect(canvas).to_be_visible(timeout=30_000)
    label = page.locator(".bk-tooltip-row-label", has_text="img src=x")
    for share in (0.3, 0.4, 0.5, 0.6):
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * share)
        page.wait_for_timeout(300)
    expect(label.first).to_be_visible()
    check(page)
    expect(run_cell(page, 2).locator("canvas").first).to_be_visible(timeout=30_000)
    check(page)
    expect(run_cell(page, 3).locator("table").first).to_contain_text(IMAGE)
    check(page)

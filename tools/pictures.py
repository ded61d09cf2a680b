"""Make the pictures of README and docs from a mock sky in a real JupyterLab: `make pictures`.

Usage: python tools/pictures.py [NAME ...]
"""

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import find_chromium
from browser.conftest import FLAGS
from browser.lab import LabServer, open_notebook, run_cell
from PIL import Image
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright

PICTURES = ROOT / "docs" / "pictures"
WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 620, "height": 1000}
SKY = """
import radiowidgets as rw
from radiowidgets.data.simulate import mock_sky
field = mock_sky("emu", size=2048, seed=1)
sky = field.observe()
"""
REVIEW = """
run = rw.Run.create("runs/mock-emu", rw.cut_windows(sky, size=128), annotator="ada")
known = sky.truth.sources.nlargest(300, "flux")
run.attach("mock catalogue", known.assign(name=known["population"].astype(str) + " " + known["id"].astype(str)))
rw.Review(run, bands={"1.4 GHz": field.observe(frequency=1.4e9), "3 GHz": field.observe(frequency=3e9)})
"""
MAP = """
rw.extension()
rw.show_map(sky, rw.cut_windows(sky, size=256), sky.truth.sources.nlargest(60, "flux"))
"""
# No large view is open, or its middle shows pixels: a band may take its time.
ARRIVED = """() => {
  const canvas = document.querySelector(".rw-large:not([hidden]) canvas");
  if (!canvas) return true;
  const [x, y] = [canvas.width / 2 - 60, canvas.height / 2 - 60];
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(x, y, 120, 120).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  return Math.max(...counts.values()) < pixels.length / 2; // names and marks alone leave one colour to most
}"""
LARGE = 18  # place of the frame that is shown large
# (tags, rating) given to the first frames
GIVEN = ["a1", "a0", "a0", "a0", "c1", "c0", "c1", "p5", "f3"]


def keep(shown: Locator, name: str) -> None:
    """Keep a part of the page as it looks once nothing moves any more, in 256 colours."""
    page = shown.page
    expect(page.locator(".rw-tile.rw-waiting:not([hidden])")).to_have_count(0)
    page.wait_for_function(ARRIVED)
    page.wait_for_timeout(1500)
    place = PICTURES / f"{name}.png"
    picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    picture.quantize(palette=picture.quantize(256)).save(place, optimize=True)  # a given palette is dithered
    print(f"wrote {place.relative_to(ROOT)}, {place.stat().st_size / 1000:.0f} kB")


def press(root: Locator, *keys: str) -> None:
    """Give keys to the gallery."""
    root.locator(".rw-scroller").focus()
    for key in keys:
        root.page.keyboard.press(key)


def button(root: Locator, name: str) -> Locator:
    """Find what can be pressed by the beginning of its name."""
    words = re.compile(f"^{re.escape(name)}", re.IGNORECASE)
    return root.get_by_role("button", name=words).or_(root.locator("summary", has_text=words)).first


@contextmanager
def opened(root: Locator, name: str) -> Iterator[None]:
    """Press a button, and press it again afterwards."""
    button(root, name).click()
    root.page.wait_for_timeout(800)
    yield
    button(root, name).click()


@contextmanager
def large(root: Locator) -> Iterator[Locator]:
    """Open the large view of a frame and point at its middle."""
    press(root, "Home", *["ArrowRight"] * LARGE, "Enter")
    canvas = root.locator(".rw-large canvas").first
    expect(canvas).to_be_visible()
    root.page.wait_for_timeout(1500)
    canvas.hover()
    yield root.locator(".rw-large")
    root.page.keyboard.press("Escape")
    expect(root.locator(".rw-large")).to_be_hidden()


@contextmanager
def themed(page: Page, theme: str) -> Iterator[None]:
    """Change JupyterLab's theme for a while."""
    change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    page.evaluate(change, theme)
    page.wait_for_timeout(1500)
    yield
    page.evaluate(change, "JupyterLab Light")
    page.wait_for_timeout(1500)


def review(root: Locator) -> None:
    """The gallery with its first frames rated and tagged."""
    press(root, "Home", *"".join(GIVEN), "Home")
    keep(root, "review")


def why(root: Locator) -> None:
    """What a score comes from, what is like the frame, what is known there."""
    press(root, "Home", *["ArrowRight"] * LARGE)
    with opened(root, "Why here"):
        expect(root.locator(".rw-bars").first).to_be_visible()
        keep(root, "why")


def session(root: Locator) -> None:
    """How far the session is, and its settings."""
    with opened(root, "Session"):
        keep(root, "session")


def history(root: Locator) -> None:
    """Who did what and when."""
    with opened(root, "History"):
        keep(root, "history")


def keys(root: Locator) -> None:
    """The sheet of keys."""
    press(root, "?")
    keep(root, "keys")
    root.page.keyboard.press("Escape")


def large_view(root: Locator) -> None:
    """One frame large, read at its middle."""
    with large(root):
        keep(root, "large-view")


def bands(root: Locator) -> None:
    """The same in the next band."""
    with large(root) as view:
        root.page.keyboard.press("b")
        keep(view, "blink")


def colours(root: Locator) -> None:
    """Three bands as red, green and blue."""
    with large(root) as view, opened(view, "Three bands"):
        keep(view, "rgb")


def contours(root: Locator) -> None:
    """Contours over the frame."""
    with large(root) as view:
        root.page.keyboard.press(",")
        keep(view, "contours")
        root.page.keyboard.press(",")


def dark(root: Locator) -> None:
    """The gallery in JupyterLab's dark theme."""
    with themed(root.page, "JupyterLab Dark"):
        press(root, "Home")
        keep(root, "review-dark")


def narrow(root: Locator) -> None:
    """The gallery in a narrow cell."""
    root.page.set_viewport_size(NARROW)
    root.scroll_into_view_if_needed()
    keep(root, "review-narrow")
    root.page.set_viewport_size(WIDE)
    root.page.wait_for_timeout(500)


STEPS: dict[str, Callable[[Locator], None]] = {
    step.__name__.replace("_", "-"): step
    for step in (review, why, session, history, keys, large_view, bands, colours, contours, dark, narrow)
}


def whole_map(page: Page, server: LabServer) -> None:
    """Show a whole map and point at a source."""
    open_notebook(page, server.write("map.ipynb", [SKY, MAP]))
    run_cell(page, 0)
    shown = run_cell(page, 1).locator(".jp-OutputArea-output").last
    expect(shown.locator("canvas").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(3000)
    box = shown.locator(".bk-Figure canvas").first.bounding_box()
    if box:  # Bokeh lays what hears the pointer over its canvas
        page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.45)
    keep(shown, "map")


def take(page: Page, server: LabServer, names: list[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the pictures that are asked for, and what makes each; the widget is shown before the first."""
    root = page.locator(".rw-review[data-ready=true]")
    wanted = [name for name in STEPS if name in names]
    if wanted:
        open_notebook(page, server.write("review.ipynb", [SKY, REVIEW]))
        for index in (0, 1):
            run_cell(page, index)
        root.wait_for()
    for name in wanted:
        yield name, lambda step=STEPS[name]: step(root)
    if "map" in names:
        yield "map", lambda: whole_map(page, server)


def main() -> int:
    """Take the pictures that are named, or all; say which could not be taken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(STEPS)}, map; all by default"
    )
    names = parser.parse_args().names or [*STEPS, "map"]
    if unknown := set(names) - {*STEPS, "map"}:
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    failed = 0
    server = LabServer(Path(tempfile.mkdtemp(prefix="pictures-")))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_context(base_url=server.url, viewport=WIDE).new_page()
            page.set_default_timeout(20_000)
            for name, step in take(page, server, names):
                try:
                    step()
                except (Error, AssertionError) as error:
                    failed += 1
                    print(f"{name}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
            browser.close()
    finally:
        server.stop()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

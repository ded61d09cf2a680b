"""Make the pictures of README and docs from mock skies in a real JupyterLab: `make pictures` (minutes).

Usage: python tools/pictures.py [NAME ...]
"""

import argparse
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import find_chromium
from browser.conftest import FLAGS
from browser.lab import LabServer, cell, open_notebook, run_cell
from PIL import Image, ImageChops
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright

PICTURES = ROOT / "docs" / "pictures"
WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 620, "height": 1000}
TALL = {"width": 1440, "height": 1400}
PATIENCE = 900.0  # seconds for a cell: compiling and training share the machine with others
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
COMPANIONS = [
    SKY,
    """
from radiowidgets.ranking.thresholds import group_frames
rw.extension()
frames = rw.cut_windows(sky, size=128)
features = rw.frame_features(frames)
run = rw.Run.create("runs/companions", frames, features=features, annotator="ada")
groups = group_frames(sky.truth.frame_tags(frames))
""",
    "rw.ThresholdExplorer(run, groups)",
    """
explorer = rw.FeatureExplorer(features, labels=groups, x="log_peak_snr", y="complexity")
explorer.select((run.order["rank"] <= 60).to_numpy())
explorer
""",
    "rw.MapExplorer(run, height=620)",
    """
first = [str(name) for name in run.order["rank"].nsmallest(20).index]
for begin, end, interest, tag in ((0, 4, 5, "PECULIAR"), (4, 9, 4, "RADIO-GALAXY"), (9, 20, 1, "EXTENDED")):
    for name in first[begin:end]:
        run.labels.record([name], interest=interest, add=[tag])
run.report("report.html")
""",
]
EXPLORER = [
    """
import radiowidgets as rw
sky = rw.simulate("emu", size=1536, seed=5)
frames = rw.cut_windows(sky, size=64, step=32)
run = rw.Run.create("runs/explored", frames, rw.embed(frames), annotator="ada")
run.projection("umap");
""",
    """
explorer = rw.LatentExplorer(run, colour="score")
explorer
""",
]
RELABEL = [
    """
import numpy as np, radiowidgets as rw
from radiowidgets.models import evaluate
from radiowidgets.models.mockframes import mock_objects
frames, truth = mock_objects(320, ("fr1", "fr2", "ring", "relic"), seed=8)
rng = np.random.default_rng(8)
labels = truth.copy()
labels[rng.choice(320, 32, replace=False)] = rng.choice(np.unique(truth), 32)
z = rw.embed(frames)
run = rw.Run.create("runs/relabelled", frames, z, annotator="ada")
""",
    "rw.Relabel.suspects(run, labels, evaluate.judge_labels(z, labels))",
]
OUTLINE = [
    """
import radiowidgets as rw
from radiowidgets.finding.instances import SURVEYS, mock_instances
test = mock_instances(40, seed=4, maps_each=1, surveys=SURVEYS[1:2])
run = rw.Run.create("runs/outlined", rw.FrameSet.from_images(test.images), annotator="ada")
outlines = test.outlines()
of_all_kinds = sorted(outlines, key=lambda k: -len({found["class"] for found in outlines[k]}))
""",
    "rw.Outline(run, of_all_kinds[:10], start=outlines)",
]
CURVES = [
    """
import keras, numpy as np, radiowidgets as rw
from radiowidgets.models.mockframes import mock_objects
frames, truth = mock_objects(400, ("fr1", "fr2", "ring", "relic"), seed=8)
x = np.asarray(rw.frame_features(frames).rank(pct=True))
y = np.unique(truth, return_inverse=True)[1]
keras.utils.set_random_seed(1)
layers = [keras.layers.Dense(width, "relu") for width in (48, 48)]
model = keras.Sequential([keras.Input(x.shape[1:]), *layers, keras.layers.Dense(4, "softmax")])
model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
curves = rw.LiveCurves()
curves
""",
    "model.fit(x, y, epochs=60, verbose=0, validation_split=0.3, callbacks=[curves.callback]);",
]
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
LARGE = 2  # place of the frame that is shown large
# (tags, rating) given to the first frames
GIVEN = ["p5", "p4", "g3", "g3", "d2", "a0", "c0", "d2", "c0"]


def keep(shown: Locator, name: str, trim: bool = False) -> None:
    """Keep a part of the page once nothing moves any more, in 256 colours; `trim` cuts off empty margins."""
    page = shown.page
    expect(
        page.locator(".rw-tile.rw-waiting:not([hidden]), .rw-saved:not([data-state=saved])")
    ).to_have_count(0)
    page.wait_for_function(ARRIVED)
    page.wait_for_timeout(1500)
    place = PICTURES / f"{name}.png"
    picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    if trim:
        empty = Image.new("RGB", picture.size, picture.getpixel((picture.width - 1, picture.height - 1)))
        left, top, right, low = ImageChops.difference(picture, empty).getbbox()
        right, low = min(right + 8, picture.width), min(low + 8, picture.height)
        picture = picture.crop((max(0, left - 8), max(0, top - 8), right, low))
    palette = picture.quantize(256, Image.Quantize.FASTOCTREE)  # keeps rare colours, such as those of tags
    picture.quantize(palette=palette).save(place, optimize=True)  # a given palette is dithered
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
    expect(root).to_contain_text("moved up")
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


def run_cells(page: Page, server: LabServer, name: str, cells: list[str]) -> Locator:
    """Open a notebook of these cells, run them, and return what the last one shows."""
    open_notebook(page, server.write(f"{name}.ipynb", cells))
    for index in range(len(cells)):
        last = run_cell(page, index, PATIENCE)
    return last.locator(".jp-OutputArea-output").last


def plotted(shown: Locator) -> Locator:
    """Wait until Bokeh has drawn what is shown."""
    shown.scroll_into_view_if_needed()
    expect(shown.locator("canvas").first).to_be_visible(timeout=60_000)
    shown.page.wait_for_timeout(3000)
    return shown


def whole_map(page: Page, server: LabServer) -> None:
    """A whole map, and a source pointed at."""
    shown = plotted(run_cells(page, server, "map", [SKY, MAP]))
    box = shown.locator(".bk-Figure canvas").first.bounding_box()
    if box:  # Bokeh lays what hears the pointer over its canvas
        page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.45)
    keep(shown, "map", trim=True)


def companions(page: Page, server: LabServer) -> None:
    """Threshold, features and map of one run, and its report."""
    page.set_viewport_size(TALL)
    run_cells(page, server, "companions", COMPANIONS)
    for index, name in ((2, "threshold"), (3, "features"), (4, "map-explorer")):
        keep(plotted(cell(page, index).locator(".jp-OutputArea-output").last), name, trim=True)
    page.goto((server.root / "report.html").as_uri())
    page.set_viewport_size({"width": 1000, "height": 1300})
    keep(page.locator("html"), "report")
    page.set_viewport_size(WIDE)


def explorer(page: Page, server: LabServer) -> None:
    """The latent space in a plane, coloured by score, with the first of the ranking selected."""
    root = run_cells(page, server, "explorer", EXPLORER).locator(".rw-explorer[data-ready=true]")
    root.locator(".rw-query").fill("rank <= 60")
    root.locator(".rw-query").press("Enter")
    expect(root).to_have_attribute("data-selected", "60", timeout=60_000)
    keep(root, "explorer")


def relabel(page: Page, server: LabServer) -> None:
    """A label that may be wrong, beside what is suggested."""
    root = run_cells(page, server, "relabel", RELABEL).locator(".rw-relabel[data-ready=true]")
    expect(root.locator(".rw-question[data-painted]:not([data-painted=''])")).to_have_count(1)
    keep(root, "relabel")


def outline(page: Page, server: LabServer) -> None:
    """The outlines of a frame, one of them chosen."""
    root = run_cells(page, server, "outline", OUTLINE).locator(".rw-outline[data-ready=true]")
    expect(root.locator(".rw-outline-picture[data-painted]:not([data-painted=''])")).to_have_count(1)
    keep(root, "outline")


def curves(page: Page, server: LabServer) -> None:
    """Loss and accuracy of a training."""
    run_cells(page, server, "curves", CURVES)
    keep(cell(page, 0).locator(".rw-curves"), "curves")


OTHERS: dict[str, Callable[[Page, LabServer], None]] = {
    "map": whole_map,
    **{other.__name__: other for other in (companions, explorer, relabel, outline, curves)},
}


def take(page: Page, server: LabServer, names: list[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the pictures that are asked for, and what makes each; the gallery is shown before the first of it."""
    root = page.locator(".rw-review[data-ready=true]")
    wanted = [name for name in STEPS if name in names]
    if wanted:
        run_cells(page, server, "review", [SKY, REVIEW])
        root.wait_for()
    for name in wanted:
        yield name, lambda step=STEPS[name]: step(root)
    for name in [name for name in OTHERS if name in names]:
        yield name, lambda step=OTHERS[name]: step(page, server)
        server.stop_kernels()


def main() -> int:
    """Take the pictures that are named, or all; say which could not be taken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*STEPS, *OTHERS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all by default")
    names = parser.parse_args().names or known
    if unknown := set(names) - set(known):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}")
    failed = 0
    folder = tempfile.mkdtemp(prefix="pictures-")
    server = LabServer(Path(folder))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_context(base_url=server.url, viewport=WIDE).new_page()
            page.set_default_timeout(120_000)
            expect.set_options(timeout=120_000)
            for name, step in take(page, server, names):
                try:
                    step()
                except (Error, AssertionError) as error:
                    failed += 1
                    print(f"{name}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
            browser.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

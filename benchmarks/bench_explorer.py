"""Ten million points in Chromium: LatentExplorer beside jupyter-scatter, and HoloViews with datashader.

The same points (a dozen clumps, coloured by a number) in the same JupyterLab, each contender in a notebook of its own;
jupyter-scatter 1.0.1 in its own environment. What a person sees is measured from pictures of the screen, in the same
way for all, taken as fast as they come (their spacing is told):

- first paint: from the key that runs the cell to points on the screen;
- zoom: from a turn of the wheel to the first change on the screen, and to the last (the picture is as sharp as it
  gets), median and 95 %;
- bytes through the websocket until the first paint, and for each zoom;
- memory of the kernel, and of the page, above what both had before the cell.

LatentExplorer tells by itself, too, how long the kernel's picture takes after each zoom ('by itself').

Usage: python benchmarks/bench_explorer.py [--points 10000000] [--zooms 20] [--only NAME ...]
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import result

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import nbformat
import numpy as np
import psutil
from browser.chromium import find_chromium
from browser.conftest import FLAGS
from browser.lab import LabServer, cell, open_notebook, run_cell
from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

ENVIRONMENT = ROOT / "build" / "bench-scatter"
PINNED = ("jupyter-scatter==1.0.1", "ipykernel==7.4.0")
PATIENCE = 300.0  # seconds for a first paint
STILL = 1.5  # seconds without a change after which a picture is the last

POINTS = """
import numpy as np, pandas as pd
rng, n = np.random.default_rng(1), {points}
group = rng.integers(0, 12, n)
middle = rng.normal(size=(12, 2)) * 3
xy = (middle[group] + rng.normal(size=(n, 2)) * (0.2 + 0.05 * group[:, None])).astype("f4")
value = (group + rng.normal(size=n)).astype("f4")
"""
CONTENDERS = {
    "LatentExplorer": (
        "python3",
        "import radiowidgets as rw",
        "rw.LatentExplorer(xy, columns={'value': value}, colour='value')",
        ".rw-plane",
    ),
    "HoloViews + datashader": (
        "python3",
        "import radiowidgets as rw\nrw.extension()",
        "rw.show_points(xy, value, name='value', height=500)",
        ".bk-Canvas, .bk-CanvasPanel, .bk-Figure",
    ),
    "jupyter-scatter": (
        "scatter",
        "import jscatter",
        (
            "table = pd.DataFrame({'x': xy[:, 0], 'y': xy[:, 1], 'value': value})\n"
            "jscatter.Scatter(data=table, x='x', y='y', color_by='value', color_map='viridis', height=500).show()"
        ),
        "canvas",
    ),
}
COUNT = """
(() => {
  const bench = window.bench = { received: 0 };
  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      const size = (data) => data.byteLength ?? data.size ?? data.length;
      this.addEventListener("message", ({ data }) => { bench.received += size(data); });
    }
  };
})();
"""
# The time from each turn of the wheel to the kernel's new picture, as the widget paints it.
WATCH = """
() => {
  const root = document.querySelector(".rw-explorer");
  bench.own = [];
  let turned = null;
  root.addEventListener("wheel", () => { turned = performance.now(); }, { capture: true, passive: true });
  new MutationObserver(() => {
    if (turned !== null) bench.own.push(performance.now() - turned);
    turned = null;
  }).observe(root, { attributes: true, attributeFilter: ["data-painted"] });
}
"""


def make_environment() -> bool:
    """Install the peer on first use; False where that cannot be done."""
    stamp = ENVIRONMENT / "installed"
    if stamp.exists() and stamp.read_text() == " ".join(PINNED):
        return True
    print(f"installing {' '.join(PINNED)} into {ENVIRONMENT.relative_to(ROOT)} ...", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run(
            [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED],
            check=True, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or [""]
        print(f"SKIPPED: {' '.join(PINNED)} cannot be installed ({lines[-1][:200]}).")
        return False
    stamp.write_text(" ".join(PINNED))
    return True


def add_kernel(folder: Path) -> None:
    """Let the server start kernels of the peer's environment."""
    place = folder / "data" / "kernels" / "scatter"
    place.mkdir(parents=True)
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "scatter", "language": "python", "env": {"PYTHONPATH": ""}}
    (place / "kernel.json").write_text(json.dumps(spec))


def write_notebook(server: LabServer, name: str, kernel: str, cells: list[str]) -> str:
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
    )
    nbformat.write(book, server.root / name)
    return name


class Screen:
    """Pictures of one part of the page, each with the time when it was taken (the middle of taking it)."""

    def __init__(self, page: Page, clip: dict[str, float]) -> None:
        self.page, self.clip = page, clip
        self.spacing: list[float] = []

    def take(self) -> tuple[float, np.ndarray]:
        """Return a picture and its time."""
        began = time.perf_counter()
        data = self.page.screenshot(clip=self.clip)
        ended = time.perf_counter()
        self.spacing.append(ended - began)
        return (began + ended) / 2, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def first_paint(self, began: float) -> tuple[float, np.ndarray]:
        """Return seconds until there are points, and the picture that has them."""
        while True:
            at, picture = self.take()
            if painted(picture):
                return at - began, picture
            if at - began > PATIENCE:
                raise RuntimeError(f"nothing was painted in {PATIENCE:.0f} s")

    def settle(self, before: np.ndarray, began: float) -> tuple[float, float]:
        """Return seconds to the first and to the last change."""
        first = last = None
        shown = before
        while True:
            at, picture = self.take()
            if differ(picture, shown):
                first = at if first is None else first
                last, shown = at, picture
            elif at - (last or began) > STILL:
                break
        if first is None or last is None:
            raise RuntimeError("a turn of the wheel changed nothing")
        return first - began, last - began


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a.astype(int) - b).max(axis=2) > 24).mean() > 0.0005)


def painted(picture: np.ndarray) -> bool:
    """Whether there are points: many pixels of saturated colours."""
    spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
    return bool((spread > 40).mean() > 0.02)


def memory(server: LabServer) -> tuple[float, float]:
    """MB of the kernel and of the page."""
    kernel = psutil.Process(server.kernel_pids()[-1]).memory_info().rss
    pages = [
        child.memory_info().rss
        for child in psutil.Process().children(recursive=True)
        if "--type=renderer" in " ".join(child.cmdline()) or "--type=gpu" in " ".join(child.cmdline())
    ]
    return kernel / 1e6, sum(pages) / 1e6


def spread(times: list[float]) -> dict[str, float]:
    return {
        "median": round(1e3 * float(np.median(times))),
        "p95": round(1e3 * float(np.percentile(times, 95))),
        "n": len(times),
    }


def measure(page: Page, server: LabServer, name: str, options: argparse.Namespace) -> dict[str, Any]:
    kernel, load, show, selector = CONTENDERS[name]
    cells = [POINTS.format(points=options.points), load, show]
    open_notebook(page, write_notebook(server, f"{name.partition(' ')[0].lower()}.ipynb", kernel, cells))
    for index in (0, 1):
        run_cell(page, index, timeout=300)
    page.wait_for_timeout(2000)
    before = memory(server)
    chosen = cell(page, 2)
    chosen.scroll_into_view_if_needed()
    chosen.locator(".jp-InputPrompt").click()
    received = page.evaluate("bench.received")
    screen = Screen(page, {"x": 0, "y": 60, "width": 1440, "height": 800})
    began = time.perf_counter()
    page.keyboard.press("Control+Enter")
    paint, picture = screen.first_paint(began)
    found: dict[str, Any] = {"first_paint_s": round(paint, 2)}
    screen.settle(np.zeros_like(picture), began)
    found["first_mb"] = round((page.evaluate("bench.received") - received) / 1e6, 2)
    chosen.scroll_into_view_if_needed()
    part = chosen.locator(f".jp-OutputArea-output >> {selector}").first
    part.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = part.bounding_box()
    assert box is not None
    after = memory(server)
    found |= {"kernel_mb": round(after[0] - before[0]), "page_mb": round(after[1] - before[1])}
    x, y = box["x"] + min(box["width"], 600.0) * 0.45, box["y"] + box["height"] * 0.45
    page.mouse.click(x, y)
    page.wait_for_timeout(1500)
    if name == "LatentExplorer":
        page.evaluate(WATCH)
    width, height = min(500.0, box["width"] - 20), min(360.0, box["height"] - 20)
    screen = Screen(page, {"x": box["x"] + 10, "y": box["y"] + 10, "width": width, "height": height})
    received, first, last = page.evaluate("bench.received"), [], []
    for number in range(options.zooms):  # three steps in, three steps out
        shown = screen.take()[1]
        began = time.perf_counter()
        page.mouse.wheel(0, -240 if number % 6 < 3 else 240)
        changed, settled = screen.settle(shown, began)
        first.append(changed)
        last.append(settled)
    found |= {"zoom_first_change_ms": spread(first), "zoom_sharp_ms": spread(last)}
    if name == "LatentExplorer":
        found["by_itself_ms"] = spread([own / 1e3 for own in page.evaluate("bench.own")])
    found["zoom_kb"] = round((page.evaluate("bench.received") - received) / 1e3 / options.zooms)
    found["picture_every_ms"] = round(1e3 * float(np.median(screen.spacing)))
    if options.keep:
        page.screenshot(path=str(Path(options.keep) / f"{name.partition(' ')[0]}.png"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--zooms", type=int, default=18)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--keep", help="a folder for pictures")
    options = parser.parse_args()
    names = [name for name in options.only if name != "jupyter-scatter" or make_environment()]
    folder = Path(tempfile.mkdtemp(prefix="explorer-"))
    server = LabServer(folder)
    add_kernel(folder)
    paints: dict[str, dict[str, Any]] = {}
    try:
        for name in names:
            with sync_playwright() as playwright:
                flags = [
                    *FLAGS,
                    "--use-angle=swiftshader",
                    "--enable-unsafe-swiftshader",
                ]  # WebGL without a GPU
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
                context = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900})
                context.add_init_script(COUNT)
                page = context.new_page()
                page.set_default_timeout(120_000)
                load = round(os.getloadavg()[0], 1)
                try:
                    found = measure(page, server, name, options)
                except (Error, RuntimeError, AssertionError) as error:
                    found = {"failed": " ".join(str(error).split())[:300]}
                browser.close()
            server.stop_kernels()
            print(json.dumps({"contender": name, "points": options.points, "load": load} | found), flush=True)
            paints |= {} if "failed" in found else {name: found}
        ours = paints.pop("LatentExplorer", None)
        for name, found in paints.items() if ours else ():
            first, zoom = "first_paint_s", "zoom_sharp_ms"
            result(f"{options.points} points, first paint", ours[first], found[first], than=name)
            sharp = ours[zoom]["median"], found[zoom]["median"]
            result(f"{options.points} points, zoom", *sharp, unit="ms", than=name)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Review of 55,773 and of 1,000,000 frames, in a real JupyterLab in Chromium: how long a person waits.

Frames are windows of 192 x 192 pixels of a map of 8192 x 8192, in random order, so that the tiles of a page come from
all over the map. Measured in the page, from the event of a key to the end of the animation frame in which the pixels
are there: first paint, moves, ratings until they are on disk, until what comes next and until all frames stand in the
order that follows them, jumps to pages never seen, a scroll of 1,000 frames, and labels at a steady pace with the
memory of the page and of the kernel before and after.

Usage: python benchmarks/bench_review.py [--frames 55773 1000000] [--minutes 1] [--pace 60] [--moves 200] [--follows 30]
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from results import result

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import psutil
from browser.chromium import find_chromium
from browser.conftest import FLAGS
from browser.lab import LabServer, cell, open_notebook, run_cell
from playwright.sync_api import CDPSession, Page, sync_playwright

import radiowidgets as rw

MAKE = """
import os, time; started = time.perf_counter()
import numpy as np, pandas as pd, psutil, radiowidgets as rw
from radiowidgets.features.frames import FEATURES
from radiowidgets.ranking.isolation import score_table
rng, n = np.random.default_rng(1), {count}
frames = rw.cut_windows(rw.SkyMap.open("{map}"), size=192, step={step}).select(np.arange(n))
frames.set_noise(np.zeros(n), np.full(n, {rms}), np.zeros(n))
ids = frames.frame_ids
features = pd.DataFrame(rng.normal(size=(n, len(FEATURES))).astype("f4"),
                        index=pd.Index(ids, name="frame_id"), columns=list(FEATURES))
scores = score_table(ids, rng.random(n))
made = time.perf_counter()
run = rw.Run.create("runs/{count}", frames, features=features, scores=scores, annotator="ada")
created = time.perf_counter() - made
del features, scores
print(round(created, 2), round(psutil.Process().memory_info().rss / 1e6))
"""
SHOW = """
spent = {}
class Timed(rw.Review):
    def _receive(self, widget, content, buffers=()):
        began = time.perf_counter()
        super()._receive(widget, content, buffers)
        spent.setdefault(str(content.get("kind")), []).append(time.perf_counter() - began)
began = time.perf_counter(); review = Timed(run); made = time.perf_counter() - began
review
"""
TELL = """
import json
def told(times):  # how many, median and longest in ms
    return [len(times), round(1e3 * float(np.median(times)), 1), round(1e3 * max(times), 1)]
print(json.dumps({"made": round(1e3 * made)} | {kind: told(times) for kind, times in spent.items()}))
"""
AGAIN = """
import time, radiowidgets as rw
rw.Review(rw.Run.open("runs/{count}", annotator="ada"))
"""

# What is measured in the page. A message posted from an animation frame is handled after that frame is painted.
WATCH = """
(() => {
  const bench = window.bench = { received: 0, sent: 0 };
  const size = (data) => data.byteLength ?? data.size ?? data.length;
  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", (event) => { bench.received += size(event.data); });
    }
    send(data) { bench.sent += size(data); super.send(data); }
  };
  const afterPaint = (call) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); call(performance.now()); };
    port2.postMessage(null);
  });
  bench.root = () => document.querySelector(".rw-review[data-ready=true]");
  bench.scroller = () => bench.root().querySelector(".rw-scroller");
  bench.visible = () => {
    const room = bench.scroller().getBoundingClientRect();
    return [...bench.root().querySelectorAll(".rw-tile:not([hidden])")].filter((tile) => {
      const box = tile.getBoundingClientRect();
      return box.bottom > room.top + 1 && box.top < room.bottom - 1;
    });
  };
  bench.filled = () => {
    if (!bench.root()) return false;
    const tiles = bench.visible();
    return tiles.length > 0 && !tiles.some((tile) => tile.classList.contains("rw-waiting"));
  };
  bench.cursor = () => bench.root()?.querySelector(".rw-tile.rw-cursor:not([hidden])");
  bench.until = (test, from = performance.now(), patience = 60000) => new Promise((done, fail) => {
    const look = (now) => {
      if (test()) done(now - from);
      else if (now - from > patience) fail(new Error("nothing was painted in time"));
      else afterPaint(look);
    };
    afterPaint(look);
  });
  // The next key: when its cursor is painted elsewhere, when all tiles are, and when it is saved.
  bench.arm = (saved) => {
    const before = bench.cursor()?.dataset.frame;
    const many = Number(bench.root()?.dataset.saved ?? 0);
    bench.result = new Promise((done, fail) => window.addEventListener("keydown", (event) => {
      const from = event.timeStamp;
      const moved = () => {
        const tile = bench.cursor();
        return tile && tile.dataset.frame !== before && !tile.classList.contains("rw-waiting");
      };
      Promise.all([
        bench.until(moved, from), bench.until(() => moved() && bench.filled(), from),
        saved ? bench.until(() => Number(bench.root().dataset.saved) > many, from) : 0,
      ]).then(done, fail);
    }, { capture: true, once: true }));
  };
  // The next rating: when it is saved, and when the nearest 5,500, the 55,000 candidates and all frames follow it.
  bench.armFollow = (labels) => {
    const many = Number(bench.root().dataset.saved ?? 0);
    const known = (name) => Number(bench.root().dataset[name] ?? 0) >= labels;
    bench.result = new Promise((done, fail) => window.addEventListener("keydown", (event) => Promise.all([
      bench.until(() => Number(bench.root().dataset.saved) > many, event.timeStamp),
      ...["learnt", "candidates", "ordered"].map((name) => bench.until(() => known(name), event.timeStamp)),
    ]).then(done, fail), { capture: true, once: true }));
  };
  bench.armFirst = () => {
    bench.result = new Promise((done, fail) => window.addEventListener("keydown", function hear(event) {
      if (event.key !== "Enter") return;
      window.removeEventListener("keydown", hear, true);
      const from = event.timeStamp;
      const some = () => bench.root() && bench.visible().some((tile) => !tile.classList.contains("rw-waiting"));
      Promise.all([bench.until(() => bench.root(), from), bench.until(some, from), bench.until(bench.filled, from)])
        .then(done, fail);
    }, true));
  };
  bench.jump = (share) => {
    const scroller = bench.scroller();
    scroller.scrollTop = share * (scroller.scrollHeight - scroller.clientHeight);
    const from = performance.now();
    let frames = 0; // the scroll event comes with the next frame
    return bench.until(() => ++frames > 1 && bench.filled(), from);
  };
  // Look at every frame of a scroll: how long any tile that can be seen is without pixels.
  bench.follow = () => {
    const since = new Map();
    const seen = new Set();
    const found = { longest: 0, late: 0, frames: 0, gap: 0 };
    let last = performance.now();
    bench.following = true;
    const end = (frame, now) => {
      const blank = now - since.get(frame);
      found.longest = Math.max(found.longest, blank);
      if (blank > 300) found.late += 1;
      since.delete(frame);
    };
    const look = (now) => {
      found.frames += 1;
      found.gap = Math.max(found.gap, now - last);
      last = now;
      const blank = new Set();
      for (const tile of bench.visible()) {
        seen.add(tile.dataset.frame);
        if (tile.classList.contains("rw-waiting")) blank.add(tile.dataset.frame);
      }
      for (const frame of blank) if (!since.has(frame)) since.set(frame, now);
      for (const frame of [...since.keys()]) if (!blank.has(frame)) end(frame, now);
      if (bench.following || blank.size) afterPaint(look);
      else bench.followed({ ...found, seen: seen.size });
    };
    bench.scrolled = new Promise((done) => { bench.followed = done; });
    afterPaint(look);
  };
  bench.painted = () => { // the cursor's tile shows more than one colour
    const canvas = bench.cursor().querySelector("canvas");
    const data = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(data).size;
  };
})();
"""


def spread(times: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(times)), 1),
        "p95": round(float(np.percentile(times, 95)), 1),
        "max": round(max(times), 1),
        "n": len(times),
    }


class Bench:
    """One notebook with a Review of `count` frames, and what is measured in it."""

    def __init__(self, page: Page, server: LabServer, count: int) -> None:
        self.page, self.server, self.count = page, server, count
        self.cdp: CDPSession = page.context.new_cdp_session(page)
        self.found: dict[str, Any] = {"frames": count, "load_before": round(os.getloadavg()[0], 2)}

    def text(self, index: int) -> str:
        """What a cell printed."""
        return cell(self.page, index).locator(".jp-OutputArea-output pre").first.inner_text()

    def open(self, sky: Path, rms: float) -> None:
        """Make the run in the kernel of a new notebook."""
        step = next(step for step in (32, 16, 8, 4) if ((8192 - 192) // step + 1) ** 2 >= self.count)
        make = MAKE.format(count=self.count, map=sky.name, step=step, rms=rms)
        open_notebook(self.page, self.server.write(f"review{self.count}.ipynb", [make, SHOW, TELL]))
        run_cell(self.page, 0, timeout=900)
        created, rss = map(float, self.text(0).split())
        self.found |= {"create_s": created, "kernel_after_create_mb": rss}

    def first_paint(self, index: int) -> dict[str, float]:
        """From the key that runs the cell to the widget, its first pixels and all of its pixels, in ms."""
        cell(self.page, index).locator(".jp-InputPrompt").click()
        before = self.page.evaluate("bench.received")
        self.page.evaluate("bench.armFirst()")
        self.page.keyboard.press("Control+Enter")
        ready, some, whole = self.page.evaluate("bench.result")
        received = self.page.evaluate("bench.received") - before
        return {
            "widget": round(ready),
            "first_tile": round(some),
            "all_tiles": round(whole),
            "received_mb": round(received / 1e6, 2),
        }

    def press(self, key: str, saved: bool = False) -> list[float]:
        """Press a key; ms until its cursor, all tiles, and the acknowledgement are there."""
        self.page.evaluate("saved => bench.arm(saved)", saved)
        self.page.keyboard.press(key)
        return self.page.evaluate("bench.result")

    def follow(self, number: int) -> dict[str, Any]:
        """Rate frames one by one, each once the whole order has followed the one before."""
        self.focus()
        times = []
        for labels in range(1, number + 3):  # a first one teaches nothing, the second warms up
            self.page.evaluate("labels => bench.armFollow(labels)", labels if labels > 1 else 0)
            self.page.keyboard.press("05420130"[labels % 8])
            times.append(self.page.evaluate("bench.result"))
        return {
            name: spread([row[k] for row in times[2:]])
            for k, name in enumerate(("saved", "nearest", "candidates", "whole"))
        }

    def keys(self, keys: list[str], pause: float, saved: bool = False) -> list[list[float]]:
        """Press keys one after the other, each once the one before is painted and `pause` seconds are over."""
        times = []
        for key in keys:
            times.append(self.press(key, saved))
            time.sleep(pause)
        return times

    def focus(self) -> None:
        """Bring the gallery into view and go to its first frame."""
        self.page.evaluate("bench.root().scrollIntoView({ block: 'end' }); bench.scroller().focus()")
        self.page.keyboard.press("Home")
        self.page.wait_for_timeout(500)

    def scroll(self, frames: int, seconds: float) -> dict[str, float]:
        """Turn the wheel over so many frames."""
        self.focus()
        tile = self.page.evaluate(
            """() => {
              const boxes = bench.visible().map((tile) => tile.getBoundingClientRect());
              const columns = boxes.filter((box) => Math.abs(box.top - boxes[0].top) < 2).length;
              const tops = [...new Set(boxes.map((box) => Math.round(box.top)))].sort((a, b) => a - b);
              return [columns, tops.length > 1 ? tops[1] - tops[0] : boxes[0].height];
            }"""
        )
        length = frames / tile[0] * tile[1]
        box = self.page.locator(".rw-scroller").bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.evaluate("bench.follow()")
        began, done = time.perf_counter(), 0.0
        while done < length:
            aim = min(length, (time.perf_counter() - began) / seconds * length)
            if aim - done >= 20:
                self.page.mouse.wheel(0, aim - done)
                done = aim
            time.sleep(0.012)
        self.page.wait_for_timeout(300)
        self.page.evaluate("bench.following = false")
        found = self.page.evaluate("bench.scrolled")
        return {
            "seen": found["seen"],
            "longest_blank": round(found["longest"]),
            "blank_over_300": found["late"],
            "longest_frame": round(found["gap"]),
        }

    def memory(self) -> dict[str, float]:
        """MB of the page's JavaScript (after collecting garbage), of its process, and of the kernel."""
        self.cdp.send("HeapProfiler.collectGarbage")
        metrics = {m["name"]: m["value"] for m in self.cdp.send("Performance.getMetrics")["metrics"]}
        pages = [
            child.memory_info().rss
            for child in psutil.Process().children(recursive=True)
            if "--type=renderer" in " ".join(child.cmdline())
        ]
        kernel = psutil.Process(self.server.kernel_pids()[-1]).memory_info().rss
        return {
            "heap": metrics["JSHeapUsedSize"] / 1e6,
            "page": max(pages, default=0) / 1e6,
            "kernel": kernel / 1e6,
            "nodes": metrics["Nodes"],
        }

    def label(self, minutes: float, pace: float) -> dict[str, Any]:
        """Rate frames at a steady pace; memory is counted from the first tenth on, when caches are warm."""
        self.focus()
        number = max(20, round(minutes * pace))
        times, before, sent = [], self.memory(), self.page.evaluate("bench.received + bench.sent")
        began = time.perf_counter()
        for i in range(number):
            if i == number // 10:
                before, first = self.memory(), i
                sent = self.page.evaluate("bench.received + bench.sent")
            times.append(self.press(str(i % 6), saved=True))
            time.sleep(max(0.0, began + (i + 1) * 60 / pace - time.perf_counter()))
        after = self.memory()
        traffic = self.page.evaluate("bench.received + bench.sent") - sent
        return {
            "labels": number,
            "painted": spread([t[0] for t in times]),
            "saved": spread([t[2] for t in times]),
            "kb_per_label": round(traffic / 1e3 / (number - first), 1),
            "growth_mb": {name: round(after[name] - before[name], 1) for name in ("heap", "page", "kernel")},
            "now_mb": {name: round(after[name], 1) for name in ("heap", "page", "kernel")},
            "more_nodes": after["nodes"] - before["nodes"],
        }

    def measure(self, options: argparse.Namespace) -> dict[str, Any]:
        """Measure everything, one after the other."""
        self.cdp.send("Performance.enable")
        self.found["first_paint_ms"] = self.first_paint(1)
        self.focus()
        steps: dict[str, Callable[[], Any]] = {
            "follow_ms": lambda: self.follow(options.follows),
            "move_ms": lambda: spread([t[0] for t in self.keys(["ArrowRight"] * options.moves, 0.08)]),
            "page_ms": lambda: self.pages(options.moves // 5),
            "jump_all_tiles_ms": lambda: self.jumps(options.moves // 5),
            "scroll": lambda: self.scroll(1000, options.seconds),
            "labels": lambda: self.label(options.minutes, options.pace),
        }
        for name, step in steps.items():
            self.found[name] = step()
        assert self.page.evaluate("bench.painted()") > 10, "the cursor's tile shows nothing"
        run_cell(self.page, 2)
        self.found["kernel_ms"] = json.loads(self.text(2))
        self.server.stop_kernels()
        again = self.server.write(f"again{self.count}.ipynb", [AGAIN.format(count=self.count)])
        open_notebook(self.page, again)
        self.found["opened_anew_ms"] = self.first_paint(0)
        self.server.stop_kernels()
        self.found["load_after"] = round(os.getloadavg()[0], 2)
        return self.found

    def pages(self, number: int) -> dict[str, Any]:
        """Page down without a pause, so that nothing is there before it is asked for."""
        self.focus()
        times = self.keys(["PageDown"] * number, 0)
        return {"cursor": spread([t[0] for t in times]), "all_tiles": spread([t[1] for t in times])}

    def jumps(self, number: int) -> dict[str, float]:
        """Drag the scroll bar to places never seen."""
        shares = np.random.default_rng(5).random(number).tolist()
        return spread([self.page.evaluate("share => bench.jump(share)", share) for share in shares])


def mosaic(place: Path) -> tuple[Path, float]:
    """Write a map of 8192 x 8192 pixels, made of one mock sky."""
    mock = rw.simulate("emu", size=2048, seed=1)
    pixels = np.tile(mock.pixels, (4, 4))
    sky = rw.SkyMap.from_array(pixels, name="mosaic", wcs=mock.wcs, beam=mock.beam, unit=mock.unit)
    rms = 1.4826 * float(np.nanmedian(np.abs(mock.pixels - np.nanmedian(mock.pixels))))
    return sky.write(place / "mosaic.fits"), rms


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What was asked for beside what was found."""
    first, labels = found["first_paint_ms"], found["labels"]
    limit = 2000 if found["frames"] < 500_000 else 4000
    both = "median {median} ms, 95 % {p95} ms (n = {n})".format
    growth = labels["growth_mb"]
    return [
        ("first paint", f"{first['first_tile']} ms, all tiles {first['all_tiles']} ms", f"< {limit} ms"),
        ("the same, from Run.open in a new kernel", f"{found['opened_anew_ms']['all_tiles']} ms", ""),
        ("rating to saved", both(**found["follow_ms"]["saved"]), ""),
        ("rating to the nearest 5,500 in the new order", both(**found["follow_ms"]["nearest"]), ""),
        ("rating to the 55,000 candidates in it", both(**found["follow_ms"]["candidates"]), "< 100 ms"),
        (
            "rating to all frames in it",
            both(**found["follow_ms"]["whole"]),
            f"< {500 if found['frames'] < 500_000 else 5000} ms",
        ),
        ("key to next frame painted", both(**found["move_ms"]), "< 50, < 100 ms"),
        ("the same, page by page without pause", both(**found["page_ms"]["cursor"]), ""),
        ("jump anywhere, all tiles", both(**found["jump_all_tiles_ms"]), ""),
        ("scroll of 1,000 frames, longest blank", f"{found['scroll']['longest_blank']} ms", "< 300 ms"),
        (f"{labels['labels']} labels: key to painted", both(**labels["painted"]), "< 50, < 100 ms"),
        ("key to saved on disk", both(**labels["saved"]), ""),
        (
            "growth meanwhile",
            f"JavaScript {growth['heap']} MB, page {growth['page']} MB, kernel {growth['kernel']} MB",
            "flat",
        ),
        ("traffic", f"{first['received_mb']} MB at first, {labels['kb_per_label']} kB a label", ""),
        (
            "Run.create",
            f"{found['create_s']} s, kernel then {found['kernel_after_create_mb']:.0f} MB",
            "",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[55_773, 1_000_000])
    parser.add_argument("--minutes", type=float, default=1.0, help="of labels")
    parser.add_argument("--pace", type=float, default=60.0, help="labels a minute")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--follows", type=int, default=30, help="ratings that the order follows")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the scroll over 1,000 frames")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="review-"))
    server = LabServer(folder)
    try:
        sky, rms = mosaic(server.root)
        for count in options.frames:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
                context = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900})
                context.add_init_script(WATCH)
                page = context.new_page()
                page.set_default_timeout(120_000)
                bench = Bench(page, server, count)
                bench.open(sky, rms)
                found = bench.measure(options)
                browser.close()
            print(f"{count:,} frames; load {found['load_before']} before, {found['load_after']} after")
            for what, value, target in rows(found):
                print(f"  {what:<42} {value:<58} {target}")
            print(json.dumps(found))
            moved, whole = found["move_ms"]["median"], found["follow_ms"]["whole"]["median"]
            result(f"{count} frames, first tiles", found["first_paint_ms"]["first_tile"], unit="ms")
            result(f"{count} frames, key to next frame", moved, unit="ms")
            result(f"{count} frames, rating to all frames in the new order", whole, unit="ms")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""From `import radiowidgets` to a painted gallery, in a real JupyterLab in Chromium.

A fresh kernel runs one cell: import, open a map of 1000 x 1000 pixels, cut 841 frames of 128 pixels, measure, rank,
write the run folder, show Review. The clock runs from the key press that runs the cell to the moment when no visible
tile waits for its pixels.

Usage: python benchmarks/bench_gallery.py [--repeat 3]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from results import result

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser.chromium import find_chromium
from browser.conftest import FLAGS
from browser.lab import LabServer, open_notebook, run_cell
from playwright.sync_api import sync_playwright

import radiowidgets as rw

CELL = """
import time; started = time.time()
import radiowidgets as rw; imported = time.time()
frames = rw.cut_windows(rw.SkyMap.open("{map}"), size=128, step=32)
ranked = rw.rank(frames); ranked_at = time.time()
run = rw.Run.create("runs/{number}", frames, scores=ranked); written = time.time()
review = rw.Review(run)
print([round(1000 * t) for t in (imported - started, ranked_at - imported, written - ranked_at, time.time() - written)])
review
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    server = LabServer(Path(tempfile.mkdtemp(prefix="gallery-")))
    times = []
    try:
        sky = rw.simulate("emu", size=1000, seed=3).write(server.root / "mock.fits")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_context(
                base_url=server.url, viewport={"width": 1440, "height": 900}
            ).new_page()
            for number in range(options.repeat + 1):
                name = server.write(f"gallery{number}.ipynb", [CELL.format(map=sky.name, number=number)])
                open_notebook(page, name)
                started = time.perf_counter()
                output = run_cell(page, 0)
                page.wait_for_function(
                    """() => {
                      const root = document.querySelector('.rw-review[data-ready=true]');
                      const tiles = [...(root?.querySelectorAll('.rw-tile:not([hidden])') ?? [])];
                      return tiles.length && !tiles.some(tile => tile.classList.contains('rw-waiting'));
                    }""",
                    polling=20,
                )
                total = time.perf_counter() - started
                parts = json.loads(output.locator(".jp-OutputArea-output pre").first.inner_text())
                which = "again" if number else "first (compiles, or loads what was compiled)"
                steps = zip(("import", "cut, measure, rank", "write", "widget"), parts, strict=True)
                print(f"{which}: {total:.2f} s;", ", ".join(f"{step} {ms} ms" for step, ms in steps))
                times.append(total)
                server.stop_kernels()
            browser.close()
    finally:
        server.stop()
    result("import to painted gallery, first kernel", times[0])
    result("the same, later kernels", statistics.median(times[1:]))
    print(json.dumps({"first_s": round(times[0], 2), "again_s": round(statistics.median(times[1:]), 2)}))


if __name__ == "__main__":
    main()

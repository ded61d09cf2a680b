"""Make the pictures of README and docs from a mock sky in a real JupyterLab: `make pictures`."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import find_chromium
from browser.conftest import FLAGS
from browser.lab import LabServer, open_notebook, run_cell
from playwright.sync_api import Page, sync_playwright

CELL = """
import radiowidgets as rw
frames = rw.cut_windows(rw.simulate("emu", size=2048, seed=1), size=128)
rw.Review(rw.Run.create("runs/mock-emu", frames, annotator="ada"))
"""
# (tags, rating) given to the first frames
GIVEN = ["a1", "a0", "a0", "a0", "p5", "p4", "f3", "a1", "0"]


def shoot(page: Page, name: str) -> None:
    """Keep the widget as it looks now."""
    page.wait_for_timeout(1500)
    path = ROOT / "docs" / "pictures" / f"{name}.png"
    page.locator(".rw-review").screenshot(path=path)
    print(f"wrote {path.relative_to(ROOT)}")


def main() -> None:
    """Take every picture."""
    server = LabServer(Path(tempfile.mkdtemp(prefix="pictures-")))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
            page = browser.new_context(
                base_url=server.url, viewport={"width": 1440, "height": 1000}
            ).new_page()
            open_notebook(page, server.write("pictures.ipynb", [CELL]))
            run_cell(page, 0)
            page.locator(".rw-review[data-ready=true]").wait_for()
            page.locator(".rw-tile[data-place='0']").click()
            for keys in GIVEN:
                for key in keys:
                    page.keyboard.press(key)
            page.keyboard.press("Home")
            shoot(page, "review")
            page.keyboard.press("Enter")
            box = page.locator(".rw-large-canvas").bounding_box()
            if box:
                page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            shoot(page, "large-view")
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()

"""Drive a real JupyterLab as a person does: by its menus, its keyboard and its cells."""

import contextlib
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).resolve().parent.parent.parent
SCREENSHOTS = ROOT / "build" / "screenshots"
START_TIMEOUT = 90.0  # seconds
RUN_TIMEOUT = 120.0

#: Cells stay in the page when they are out of sight, and nothing asks for news or updates.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
}

PREFIX = "/user/ada/"  # where a JupyterHub serves its users

_workspaces = itertools.count()


class LabServer:
    """A JupyterLab server on a free port of 127.0.0.1 with folders of its own, under a prefix as behind a hub.

    Parameters
    ----------
    folder
        An empty folder: notebooks lie in its ``notebooks``, settings and the home folder beside them.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "notebooks"
        self.log = folder / "server.log"
        home = folder / "home"
        config = folder / "config"
        for path in (self.root, home, config):
            path.mkdir(parents=True)
        for name, values in SETTINGS.items():
            path = config / "lab" / "user-settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{PREFIX}"
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("JUPYTER", "PYTEST"))
            },
            "HOME": str(home),
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}", f"--ServerApp.base_url={PREFIX}", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True",
            "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
            "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        ]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                self.api("GET", "status")
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(
                    f"JupyterLab did not start:\n{self.log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.1)

    def api(self, method: str, path: str) -> Any:
        """Call the server's REST interface and return what it answers."""
        request = urllib.request.Request(f"{self.url}api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def copy(self, notebook: Path) -> str:
        """Copy a notebook into the server's folder and return its name there."""
        shutil.copy(notebook, self.root)
        return notebook.name

    def write(self, name: str, cells: Iterable[str]) -> str:
        """Write a notebook of code cells into the server's folder and return its name."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.root / name)
        return name

    def kernel_pids(self) -> list[int]:
        """Return the process ids of the running kernels, the oldest first."""
        pids = []
        for child in sorted(psutil.Process(self.process.pid).children(recursive=True), key=lambda p: p.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if (
                    any("ipykernel" in word for word in child.cmdline())
                    and child.status() != psutil.STATUS_ZOMBIE
                ):
                    pids.append(child.pid)
        return pids

    def stop_kernels(self) -> None:
        """Shut down every kernel, as tests leave them."""
        for kind in ("sessions", "kernels"):  # a dashboard's kernel has no session
            for found in self.api("GET", kind):
                with contextlib.suppress(urllib.error.HTTPError):  # it may have died by itself
                    self.api("DELETE", f"{kind}/{found['id']}")

    def stop(self) -> None:
        """End the server and what it has started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    process.kill()
        self.process.wait()


def open_notebook(page: Page, name: str) -> None:
    """Open a notebook of the server's folder in a new, empty workspace, and wait for its kernel."""
    page.goto(f"lab/workspaces/test-{next(_workspaces)}/tree/{name}?reset")
    wait_until_ready(page)
    # The file browser would take a third of the page.
    if page.locator("#jp-left-stack").is_visible():
        page.keyboard.press("Control+b")
        expect(page.locator("#jp-left-stack")).to_be_hidden()


def wait_until_ready(page: Page) -> None:
    """Wait until the notebook is shown and its kernel is idle."""
    expect(cells(page).first).to_be_visible(timeout=START_TIMEOUT * 1000)
    wait_until_idle(page)


def wait_until_idle(page: Page) -> None:
    """Wait until the kernel is connected and has nothing to do."""
    # The status bar says so; the sign in the notebook's toolbar says 'idle' before there is a kernel.
    expect(page.locator("#jp-bottom-panel")).to_contain_text("| Idle", timeout=START_TIMEOUT * 1000)


def cells(page: Page) -> Locator:
    """Return the cells of the notebook that is shown."""
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")


def cell(page: Page, index: int) -> Locator:
    """Return one cell; `index` counts all cells from 0, text cells included."""
    return cells(page).nth(index)


# A prompt goes '[ ]', '[*]', '[3]', and after a restart a new '[1]' may follow an old one.
# So a cell has run when there was a '[*]' and is a number after it.
_WATCH = """
(all) => {
  for (const cell of all) {
    delete cell.dataset.started;
    cell.promptWatch?.disconnect();
    const look = () => {
      if (cell.querySelector('.jp-InputPrompt')?.textContent.includes('[*]')) cell.dataset.started = 'yes';
    };
    cell.promptWatch = new MutationObserver(look);
    cell.promptWatch.observe(cell.querySelector('.jp-InputArea') ?? cell, {
      childList: true, subtree: true, characterData: true,
    });
  }
}
"""

# The model alone knows an error from other text on stderr.
_ERRORS = """
(index) => window.jupyterapp.shell.currentWidget.content.widgets
  .filter((cell, i) => index === null || i === index)
  .filter((cell) => index !== null || cell.node.dataset.started)
  .flatMap((cell) => cell.model.outputs?.toJSON() ?? [])
  .filter((output) => output.output_type === 'error')
  .map((output) => `${output.ename}: ${output.evalue}\\n${output.traceback.join('\\n')}`)
"""

_FINISHED = f"""
(index) => {{
  const widgets = window.jupyterapp.shell.currentWidget.content.widgets;
  const chosen = (index === null ? widgets : [widgets[index]]).filter(
    (cell) => cell.model.type === 'code' && cell.model.sharedModel.source.trim());
  return chosen.every((cell) => cell.node.dataset.started
    && /\\[\\d+\\]/.test(cell.node.querySelector('.jp-InputPrompt')?.textContent ?? ''))
    || (index === null && ({_ERRORS})(null).length > 0);
}}
"""


class CellError(AssertionError):
    """A cell ended with an error; the message holds its traceback."""


@contextlib.contextmanager
def _finished(page: Page, index: int | None, timeout: float) -> Iterator[None]:
    chosen = cells(page) if index is None else cell(page, index)
    chosen.evaluate_all(_WATCH)
    yield
    page.wait_for_function(_FINISHED, arg=index, timeout=timeout * 1000)
    errors = page.evaluate(_ERRORS, index)
    if errors:
        raise CellError(errors[0])


def run_cell(page: Page, index: int, timeout: float = RUN_TIMEOUT) -> Locator:
    """Run one code cell from the keyboard, wait for its number, and return it; `CellError` where it fails."""
    chosen = cell(page, index)
    chosen.scroll_into_view_if_needed()
    with _finished(page, index, timeout):
        chosen.locator(".jp-InputPrompt").click()
        page.keyboard.press("Control+Enter")
    return chosen


def run_all(page: Page, timeout: float = RUN_TIMEOUT) -> None:
    """Run all cells from the menu and wait for the number of the last one; `CellError` where one fails."""
    with _finished(page, None, timeout):
        choose(page, "Run", "Run All Cells")


def choose(page: Page, menu: str, entry: str) -> None:
    """Choose an entry of JupyterLab's menu bar; `entry` is the beginning of its text."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
    label = page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{re.escape(entry)}")).first
    label.click()


def accept(page: Page) -> None:
    """Accept the dialog that JupyterLab shows, such as the one after a kernel has died."""
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def restart_kernel(page: Page) -> None:
    """Restart the kernel from the menu and wait until the new one answers."""
    choose(page, "Kernel", "Restart Kernel")
    with page.expect_response(re.compile(r"/api/kernels/[^/]+/restart\b")):
        accept(page)
    wait_until_idle(page)


def save(page: Page) -> None:
    """Save the notebook from the keyboard and wait until the server has it."""
    with page.expect_response(
        lambda answer: "/api/contents/" in answer.url and answer.request.method == "PUT"
    ):
        page.keyboard.press("Control+s")


def save_and_reload(page: Page) -> None:
    """Save the notebook, load the page anew, and wait until the notebook is there again."""
    save(page)
    page.reload()
    wait_until_ready(page)


def screenshot(page: Page, name: str) -> Path:
    """Keep what the page shows as ``build/screenshots/<name>.png``."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    return path

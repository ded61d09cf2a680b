"""Start a real JupyterHub as docs/jupyterhub.md says, and log people in."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import nbformat
import psutil
import pytest
from browser.conftest import Traffic
from browser.lab import ROOT, SETTINGS, START_TIMEOUT
from playwright.sync_api import Browser, Page

RECIPE = ROOT / "docs" / "jupyterhub.md"
PROXY = "configurable-http-proxy"
PROXY_VERSION = "5.3.0"

#: What differs from the recipe: ports, names without accounts, and what the tests look at in JupyterLab.
DIFFERENCES = """
import sys
c.JupyterHub.bind_url = {url!r}
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.JupyterHub.db_url = "sqlite://"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--LabApp.expose_app_in_browser=True", "--allow-root"]
c.Spawner.start_timeout = c.Spawner.http_timeout = {patience}
c.Spawner.environment = {{**c.Spawner.environment, **{environment!r}}}
"""


def block(language: str) -> str:
    """Return the first block of code in `language` of the recipe."""
    return re.search(rf"^```{language}\n(.*?)^```", RECIPE.read_text("utf-8"), re.DOTALL | re.MULTILINE)[1]


def find_proxy() -> list[str]:
    """Return the command of the hub's proxy, installed from npm's index where it is not there yet."""
    if shutil.which("npm") is None:
        pytest.skip(f"no npm, with which {PROXY} would be installed: a hub cannot be started")
    place = ROOT / "build" / f"{PROXY}-{PROXY_VERSION}"
    program = place / "node_modules" / PROXY / "bin" / PROXY
    if not program.exists():
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        draft.mkdir(parents=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", draft]
        done = subprocess.run(
            [*command, f"{PROXY}@{PROXY_VERSION}"], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            pytest.fail(f"npm could not install {PROXY} {PROXY_VERSION}: {done.stderr[-500:]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            draft.rename(place)
        shutil.rmtree(draft, ignore_errors=True)
    return ["node", str(program)]


class Hub:
    """A JupyterHub on free ports of 127.0.0.1; its users need no accounts and have homes in `folder`.

    Parameters
    ----------
    folder
        An empty folder.
    environment
        Variables of the users' servers.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.homes = folder / "homes"
        self.homes.mkdir()
        self.log = folder / "hub.log"
        ports = _free_ports(3)
        self.address = f"http://127.0.0.1:{ports[0]}/"
        config = folder / "jupyterhub_config.py"
        told = DIFFERENCES.format(
            url=self.address,
            hub_port=ports[1],
            proxy_port=ports[2],
            proxy=find_proxy(),
            homes=str(self.homes),
            patience=int(START_TIMEOUT),
            environment=dict(environment),
        )
        config.write_text(block("python") + told, encoding="utf-8")
        own = ("JUPYTER", "PYTEST", "CONFIGPROXY")
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        surroundings["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", config],
                cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}hub/health", timeout=5):
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"JupyterHub did not start:\n{self.told()}")
            time.sleep(0.1)

    def told(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-3000:]

    def family(self) -> list[psutil.Process]:
        """Return the hub's processes: proxy, users' servers, kernels."""
        return [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]

    def write(self, user: str, name: str, source: str) -> None:
        """Write a notebook of one cell into a user's home, beside settings that keep JupyterLab quiet."""
        home = self.homes / user
        for setting, values in SETTINGS.items():
            path = home / ".jupyter" / "lab" / "user-settings" / f"{setting}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [nbformat.v4.new_code_cell(source)]
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), home / f"{name}.ipynb"
        )

    def log_in(self, browser: Browser, *users: str) -> list[Page]:
        """Log in as people do, all at a time, and wait for JupyterLab; ``page.asked`` lists what a page asks for."""
        pages = [self._sign_in(browser, user) for user in users]
        for user, page in zip(users, pages, strict=True):
            page.wait_for_url(re.compile(rf"/user/{user}/lab"), timeout=START_TIMEOUT * 1000)
        return pages

    def _sign_in(self, browser: Browser, user: str) -> Page:
        context = browser.new_context(
            base_url=f"{self.address}user/{user}/",
            viewport={"width": 1440, "height": 900},
            service_workers="block",
        )
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("dialog", lambda dialog: dialog.accept())
        page.traffic = Traffic(page)
        page.asked = []
        context.on("request", lambda request: page.asked.append(request.url))
        page.on("websocket", lambda socket: page.asked.append(socket.url))
        page.goto(self.address)
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill("any will do")
        page.get_by_role("button", name="Sign in").click()
        return page

    def stop(self) -> None:
        """End the hub and what it has started."""
        family = self.family() if self.process.poll() is None else []
        for process in reversed(family):  # the hub first: it starts nothing more, and waits for nobody
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        self.process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]

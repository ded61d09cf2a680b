"""A real JupyterLab and a real Chromium that may speak to 127.0.0.1 alone."""

import contextlib
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from browser.chromium import VARIABLE, find_chromium
from browser.lab import LabServer
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Route, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
OUTSIDE = re.compile(r"^(?!(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:|about:)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "jupyter" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            # A busy machine may keep a page waiting for longer than any patience; pytest's last line tells of it.
            item.add_marker(pytest.mark.flaky(reruns=1))


class Traffic:
    """What a page did beyond being looked at: requests to the outside, and errors in its console."""

    def __init__(self, page: Page) -> None:
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.context.route(OUTSIDE, self._refuse)
        page.on("websocket", lambda socket: self._note(socket.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, url: str) -> None:
        if OUTSIDE.match(url):
            self.outside.append(url)

    def _refuse(self, route: Route) -> None:
        self._note(route.request.url)
        route.abort()

    def _hear(self, message: ConsoleMessage) -> None:
        # JupyterLab's debugger says so itself when a kernel is busy as a notebook opens.
        if message.type == "error" and not message.text.startswith("Could not restore the debugger state"):
            place = urlsplit(message.location.get("url", "")).path
            self.errors.append(f"{message.text} ({place})")


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """Start JupyterLab once, with settings, home and notebooks of its own."""
    server = LabServer(tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once, without a window."""
    path = find_chromium()
    if path is None:
        pytest.fail(f"no Chromium: `make test` installs one, or name it with {VARIABLE}=/path/to/chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, jupyter: LabServer) -> Iterator[Page]:
    """Open a page on the server with nothing remembered; a request that leaves 127.0.0.1 fails the test.

    ``page.traffic.errors`` holds what the console reports as errors.
    """
    context = browser.new_context(
        base_url=jupyter.url, viewport={"width": 1440, "height": 900}, service_workers="block"
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("dialog", lambda dialog: dialog.accept())  # 'leave the page?' on a reload
    page.traffic = Traffic(page)
    yield page
    outside = page.traffic.outside
    with contextlib.suppress(Error):  # a test may have closed it
        context.close()
    jupyter.stop_kernels()  # with no page left that would start them again
    assert not outside, f"requests left 127.0.0.1: {outside}"

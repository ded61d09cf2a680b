"""Find a Chromium for the browser tests; run as a script, install one where there is none."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "RADIOWIDGETS_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def _driver_starts() -> bool:
    """Whether Playwright's own program runs: it wants libatomic, which a bare Debian does not have."""
    command = [sys.executable, "-m", "playwright", "--version"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _candidates() -> Iterator[str | None]:
    yield from map(shutil.which, NAMES)
    yield MACOS
    if _driver_starts():
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            yield playwright.chromium.executable_path


def _starts(path: str | None) -> bool:
    # A snap or a download without its libraries is there and does not start.
    if path is None or not Path(path).is_file():
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return (
            subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
        )
    return False


def find_chromium() -> str | None:
    """Return the path of a Chromium that starts: the one that is named, an installed one, or Playwright's."""
    named = os.environ.get(VARIABLE)
    if named:
        return named if _starts(named) else None
    return next(filter(_starts, _candidates()), None)


def _install_playwrights() -> None:
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    subprocess.run(command, capture_output=True, timeout=600, check=False)


def _install_debians() -> None:
    if platform.system() != "Linux" or shutil.which("apt-get") is None:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    install = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q"]
    install += ["libatomic1"] if find_chromium() else ["chromium", "libatomic1"]
    for command in (install, [*sudo, "apt-get", "update", "-q"], install):
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):  # there may be no sudo
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False
            )
            if command is install and done.returncode == 0:
                return


def main() -> int:
    """Make sure that there is a Chromium; say in one line where there is none."""
    found = find_chromium()
    if found is None and VARIABLE in os.environ:
        print(
            f"{VARIABLE} is {os.environ[VARIABLE]!r}, which does not start; name a Chromium.", file=sys.stderr
        )
        return 1
    ready = found is not None and _driver_starts()
    for install in (_install_playwrights, _install_debians):
        if not ready:
            print("Installing Chromium for the browser tests ...")
            install()
            found = find_chromium()
            ready = found is not None and _driver_starts()
    if found is None:
        print(
            "No Chromium was found, and neither Playwright nor apt-get could install one: "
            f"install Chromium or Chrome, or name it with {VARIABLE}=/path/to/chromium.",
            file=sys.stderr,
        )
    elif not ready:
        print("Playwright does not start: install libatomic1 (Debian, Ubuntu) or libatomic.", file=sys.stderr)
    return int(not ready)


if __name__ == "__main__":
    sys.exit(main())

"""Find a Chromium for the browser tests; run as a script, install one, and libraries that a bare Debian lacks."""

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


def _lightgbm_starts() -> bool:
    """Whether LightGBM finds OpenMP, which a bare Debian does not have either."""
    command = [sys.executable, "-c", "import lightgbm"]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0


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


def _lacking() -> list[str]:
    """Return the Debian packages of what does not start."""
    found = {"chromium": find_chromium, "libatomic1": _driver_starts, "libgomp1": _lightgbm_starts}
    return [name for name, starts in found.items() if not starts()]


def _install_debians(packages: list[str]) -> None:
    if platform.system() != "Linux" or shutil.which("apt-get") is None:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    install = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", *packages]
    for command in (install, [*sudo, "apt-get", "update", "-q"], install):
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):  # there may be no sudo
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False
            )
            if command is install and done.returncode == 0:
                return


def main() -> int:
    """Make sure that there is a Chromium, and what it and LightGBM need; say in one line what is missing."""
    lacking = _lacking()
    if "chromium" in lacking and VARIABLE in os.environ:
        print(
            f"{VARIABLE} is {os.environ[VARIABLE]!r}, which does not start; name a Chromium.", file=sys.stderr
        )
        return 1
    if "chromium" in lacking:
        print("Installing Chromium for the browser tests ...")
        _install_playwrights()
        lacking = _lacking()
    if lacking:
        print(f"Installing {', '.join(lacking)} for the tests ...")
        _install_debians(lacking)
        lacking = _lacking()
    if lacking:
        print(
            f"The tests need {', '.join(lacking)}, and apt-get could not install it: install it (these are Debian's "
            f"names), or name a Chromium or Chrome with {VARIABLE}=/path/to/chromium.",
            file=sys.stderr,
        )
    return int(bool(lacking))


if __name__ == "__main__":
    sys.exit(main())

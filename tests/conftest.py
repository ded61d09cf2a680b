"""What tests of all rooms share: the real data, where they are, and which tests one process runs."""

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
REALDATA_VARIABLE = "RADIOWIDGETS_REALDATA"


def _find_realdata() -> Path | None:
    """Return the folder with real data, or None where none is named and none lies beside the project."""
    named = os.environ.get(REALDATA_VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if (folder / "SOURCES.tsv").is_file():
        return folder
    if named:
        pytest.fail(
            f"{REALDATA_VARIABLE} is {named!r}, where there is no SOURCES.tsv; name the folder of real data."
        )
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "realdata" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.realdata)


class TogetherScheduling(LoadScopeScheduling):
    """A file stays in one process, for its fixtures; so do all that drive a browser, which would slow one another."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "browser" if file.startswith("tests/browser/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return TogetherScheduling(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Only an unset variable leaves tests out: where it is set, as in .ci/run, missing data fail them.
    if item.get_closest_marker("realdata") and _find_realdata() is None:
        pytest.skip(f"no real data: {REALDATA_VARIABLE} is not set and ../shared/data is not there")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Return the folder with real survey data; a test that asks for it is marked ``realdata``."""
    folder = _find_realdata()
    assert folder is not None
    return folder

"""The ground: locks, environment files, and an import that costs next to nothing."""

import itertools
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import environment
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
HEAVY = (
    "astropy",
    "bokeh",
    "datashader",
    "holoviews",
    "IPython",
    "ipywidgets",
    "keras",
    "numba",
    "numpy",
    "pandas",
    "panel",
    "scipy",
    "sklearn",
    "tensorflow",
    "umap",
)


def _requirements(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock, without markers (a second user may widen one)."""
    found: dict[str, set[str]] = {}
    for pin in environment.pins((ROOT / name).read_text(encoding="utf-8")):
        package, version = pin.split("==", 1)
        found.setdefault(package, set()).add(version.split(";")[0].strip())
    return found


def _python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT)


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_pins_and_hashes_and_no_address(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://| @ |--(extra-)?index-url|--find-links", text)
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_users_and_developers_have_the_same_versions():
    users, developers = map(_requirements, LOCKS)
    assert len(users) > 100
    assert {package: developers.get(package) for package in users} == users
    assert {"pytest", "ruff", "mypy", "playwright"} <= developers.keys() - users.keys()


def test_lock_holds_all_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["build"],
        *itertools.chain(*extras.values()),
    ]
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in asked} - {"radiowidgets"}
    assert names <= _requirements("requirements.lock").keys()
    everything = re.search(r"\[(.*)\]", extras["all"][0])[1].split(",")
    assert set(everything) == extras.keys() - {"all"}


def test_environment_files_are_those_of_the_lock():
    pins = [pin for name, pin in _pins_by_name("requirements.lock")]
    for path in environment.COPIES:
        dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
        conda, pip = dependencies[:-1], dependencies[-1]["pip"]
        assert [re.split("[=<>]", name)[0] for name in conda] == ["python", "pip"], path
        assert pip == pins, path
        assert path.read_bytes() == environment.COPIES[0].read_bytes(), path


def _pins_by_name(lock: str) -> list[tuple[str, str]]:
    # Read once more, by the rule of the format and not by the tool's own code.
    found = re.findall(
        r"^([a-z0-9._-]+)(==[^\\\n]+?) *\\?$", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE
    )
    return [(name, name + rest) for name, rest in found]


def test_environment_installs_a_python_that_the_project_accepts():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = yaml.safe_load(environment.COPIES[0].read_text(encoding="utf-8"))["dependencies"][0]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert re.fullmatch(r"python=3\.1[123]", python)


@pytest.mark.parametrize("name", [".ci/run", "binder/postBuild"])
def test_scripts_are_sound_and_can_be_run(name):
    path = ROOT / name
    assert path.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_import_brings_nothing_heavy():
    code = f"import sys, radiowidgets; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert _python("-c", code).stdout.split() == []


def test_import_takes_less_than_a_tenth_of_keras():
    def seconds(module: str) -> float:
        lines = _python("-X", "importtime", "-c", f"import {module}").stderr.splitlines()
        (line,) = (line for line in lines if line.endswith(f"| {module}"))
        return int(line.split("|")[1]) / 1e6

    ours, keras = seconds("radiowidgets"), seconds("keras")
    assert ours < 0.1 * keras, f"import radiowidgets takes {ours:.3f} s, import keras {keras:.3f} s"

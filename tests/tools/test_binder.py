"""binder/ as Binder reads it, as far as that goes without a container engine: repo2docker's steps, not its build."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import environment
import pytest
import yaml

pytest.importorskip("repo2docker", reason="repo2docker is installed with the developers' lock")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of what decides about the image: the names at the root, and binder/."""
    folder = tmp_path_factory.mktemp("repository")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder / path.name)
    shutil.copytree(ROOT / "binder", folder / "binder")
    return folder


@pytest.fixture
def pack(repository, monkeypatch):
    """The build pack that repo2docker chooses."""
    from repo2docker.app import Repo2Docker

    monkeypatch.chdir(repository)
    app = Repo2Docker()
    packs = [made for made in (kind(base_image=app.base_image) for kind in app.buildpacks) if made.detect()]
    packs[0].platform = "linux/amd64"
    return packs[0]


def test_conda_is_chosen_with_our_python_and_binder_hides_the_root(pack):
    from repo2docker.buildpacks.conda import CondaBuildPack

    assert type(pack) is CondaBuildPack
    assert Path(pack.binder_dir) == Path("binder")
    python = yaml.safe_load(environment.COPIES[1].read_text())["dependencies"][0]
    assert f"python={pack.python_version}" == python


def test_steps_install_the_lock_and_then_run_post_build(pack):
    text = pack.render({"NB_UID": "1000"})
    steps = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    installs = [
        k for k, line in enumerate(steps) if "env update" in line and "binder/environment.yml" in line
    ]
    copies = [k for k, line in enumerate(steps) if line.startswith("COPY") and "src/ ${REPO_DIR}" in line]
    runs = [k for k, line in enumerate(steps) if line.startswith("RUN ./binder/postBuild")]
    assert len(installs) == len(runs) == 1
    assert installs[0] < copies[-1] < runs[0], "postBuild installs the package, so it needs all files"
    assert {path.name for path in Path("binder").iterdir()} == {"README.md", "environment.yml", "postBuild"}


def test_pins_of_the_environment_are_those_of_the_lock():
    dependencies = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text())["dependencies"]
    pins = dependencies[-1]["pip"]
    assert pins == environment.pins((ROOT / "requirements.lock").read_text())
    assert all("==" in pin for pin in pins)


@pytest.mark.soak
def test_post_build_installs_and_warms_the_package(tmp_path):
    """As on Binder, in an environment that has all dependencies but not the package."""
    venv.create(tmp_path / "env", symlinks=True)
    site = next((tmp_path / "env" / "lib").glob("python*")) / "site-packages"
    mine = Path(sys.prefix, "lib", site.parent.name, "site-packages")
    for path in mine.iterdir():
        if "radiowidgets" not in path.name.lower() and path.suffix != ".pth":
            (site / path.name).symlink_to(path)
    (tmp_path / "env" / "bin" / "pip").write_text(f'#!/bin/sh\nexec {tmp_path}/env/bin/python -m pip "$@"\n')
    (tmp_path / "env" / "bin" / "pip").chmod(0o755)
    sources = shutil.copytree(
        ROOT,
        tmp_path / "src",
        ignore=lambda folder, names: {n for n in names if n not in KEPT and Path(folder) == ROOT},
    )
    setting = os.environ | {"PATH": f"{tmp_path}/env/bin:/usr/bin:/bin", "PIP_NO_INDEX": "1"}
    setting.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sources / "binder" / "postBuild"],
        cwd=sources,
        env=setting,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (site / "radiowidgets" / "models" / "weights").is_dir()
    code = "import radiowidgets; print(radiowidgets.__file__)"
    python = [tmp_path / "env" / "bin" / "python", "-c", code]
    found = subprocess.run(python, cwd=tmp_path, env=setting, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(site))


KEPT = {"radiowidgets", "binder", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}

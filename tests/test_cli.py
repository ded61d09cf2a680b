import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets import cli


@pytest.fixture
def map_path(tmp_path):
    return noisy_sky().write(tmp_path / "field.fits")


def test_rank_then_export(tmp_path, map_path, capsys):
    assert cli.main(["rank", str(map_path), "-o", str(tmp_path / "run"), "--size", "64", "--step", "32"]) == 0
    out = capsys.readouterr()
    assert "63 frames ranked by Isolation Forest" in out.out
    assert (
        cli.main(
            ["export", str(tmp_path / "run"), "--format", "csv", "-o", str(tmp_path / "x.txt"), "--top", "4"]
        )
        == 0
    )
    assert len(pd.read_csv(tmp_path / "x.txt")) == 4
    assert cli.main(["export", str(tmp_path / "run"), "--format", "ds9", "-o", str(tmp_path / "x.reg")]) == 0
    assert (tmp_path / "x.reg").read_text().count("polygon") == 63
    # The same command again goes on where it was: here there is nothing left to do.
    assert cli.main(["rank", str(map_path), "-o", str(tmp_path / "run"), "--size", "64", "--quiet"]) == 0


def test_maps_of_one_name_are_called_by_their_folders_too(tmp_path):
    for seed, folder in enumerate(("tile-1", "tile-2")):
        (tmp_path / folder).mkdir()
        noisy_sky(seed=seed).write(tmp_path / folder / "image.fits")
    maps = [str(tmp_path / folder / "image.fits") for folder in ("tile-1", "tile-2")]
    assert cli.main(["rank", *maps, "-o", str(tmp_path / "run"), "--size", "64", "--quiet"]) == 0
    assert list(rw.Run.open(tmp_path / "run").frames.maps) == ["tile-1-image", "tile-2-image"]


def test_review_of_a_run_that_cannot_be_written_says_what_to_do(tmp_path, map_path, capsys, monkeypatch):
    cli.main(["rank", str(map_path), "-o", str(tmp_path / "run"), "--size", "64", "--quiet"])

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refused)
    assert cli.main(["review", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "Permission denied" in said and f"rw.Review({str(tmp_path / 'run')!r})" in said


def test_find_writes_a_table_and_regions(tmp_path, map_path, capsys):
    for name in ("x.csv", "x.parquet", "x.reg"):
        assert cli.main(["find", str(map_path), "--set", "seed=6", "-o", str(tmp_path / name)]) == 0
    table = pd.read_csv(tmp_path / "x.csv")
    assert f"wrote {len(table)} sources" in capsys.readouterr().out
    assert len(table) > 20 and table["name"].str.startswith("RW J").all() and table["snr"].min() >= 6
    assert (tmp_path / "x.reg").read_text().count("icrs; point") == len(table)
    assert cli.main(["find", str(map_path), "--finder", "sep", "-o", str(tmp_path / "sep.vot")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rank", "missing.fits", "-o", "run"], "missing.fits"),
        (["rank", "{map}", "-o", "{map}"], "is a file"),
        (["rank", "{map}", "-o", "run", "--size", "0"], "size"),
        (["rank", "{map}", "-o", "run", "--step", "-3"], "step"),
        (["export", "nowhere", "-o", "x.csv"], "no run folder"),
        (["review", "nowhere"], "no run folder"),
        (["find", "{map}", "--finder", "eye", "-o", "x.csv"], "choose one of"),
        (["find", "{map}", "--set", "seed", "-o", "x.csv"], "--set is 'seed'"),
        (["find", "{map}", "--set", "seedling=3", "-o", "x.csv"], "seedling"),
        (["find", "{map}", "-o", "x.png"], "'votable'"),
    ],
)
def test_a_failure_is_one_line_and_a_code(tmp_path, map_path, arguments, message):
    command = [part.replace("{map}", str(map_path)) for part in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "radiowidgets.cli", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("radiowidgets: ") and done.stderr.count("\n") == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_help_and_version(capsys):
    for arguments in (["--help"], ["rank", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
    assert f"radiowidgets {rw.__version__}" in capsys.readouterr().out


def test_review_makes_a_notebook_ready_and_starts_jupyterlab(tmp_path, map_path, monkeypatch):
    cli.main(["rank", str(map_path), "-o", str(tmp_path / "run"), "--size", "64", "--quiet"])
    started = []
    monkeypatch.setattr(os, "execv", lambda *call: started.append(call))
    monkeypatch.setattr(os, "chdir", started.append)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["review", str(tmp_path / "run"), "--", "--no-browser"]) == 0
    assert str(started[0]).endswith("run")
    assert started[1][1] == [
        sys.executable,
        "-m",
        "jupyterlab",
        "review.ipynb",
        *cli.QUIET_LAB,
        "--no-browser",
    ]
    notebook = json.loads((tmp_path / "run" / "review.ipynb").read_text())
    assert any("rw.Review(run)" in cell["source"] for cell in notebook["cells"])

"""``radiowidgets data``."""

import hashlib

import pytest

from radiowidgets import cli
from radiowidgets.data import manifest as data
from radiowidgets.data import services


@pytest.fixture
def stick(tmp_path, monkeypatch):
    """A manifest of one dataset, its mirror and an empty cache."""
    content = {"a.txt": b"one", "b.txt": b"two"}
    (tmp_path / "stick" / "set").mkdir(parents=True)
    files = []
    for name, text in content.items():
        (tmp_path / "stick" / "set" / name).write_bytes(text)
        address = f"http://127.0.0.1:9/{name}"
        files.append(data.DataFile(address, name, hashlib.sha256(text).hexdigest(), len(text)))
    entry = data.Dataset("set", "A set", "1", None, "verified", "public", "us", "none", tuple(files))
    mock = data.Dataset("emu", "A mock", "1", None, "made on the spot", "public", "us", "simulate")
    asked = data.Dataset("far", "Far", "1", None, "by hand", "public", "us", "none", (), "ask them.")
    manifest = data.Manifest({"set": entry, "emu": mock, "far": asked})
    monkeypatch.setattr(data, "read_manifest", lambda: manifest)
    monkeypatch.setenv("RADIOWIDGETS_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("RADIOWIDGETS_MIRROR", str(tmp_path / "stick"))
    return tmp_path


def test_list_get_verify(stick, capsys):
    assert cli.main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "made on the spot" in out and "a.txt, 0.0 MB" in out

    assert cli.main(["data", "verify"]) == 0
    assert "nothing was fetched" in capsys.readouterr().out
    assert cli.main(["data", "get", "set/b.txt", "emu", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == str(stick / "cache" / "set" / "b.txt")
    assert 'rw.simulate("emu")' in out
    assert cli.main(["data", "get", "set", "--quiet"]) == 0
    assert cli.main(["data", "verify", "set"]) == 0
    assert capsys.readouterr().out.count("well") == 2

    (stick / "cache" / "set" / "a.txt").write_bytes(b"ONE")
    assert cli.main(["data", "verify"]) == 1
    out = capsys.readouterr()
    assert "DAMAGED         set/a.txt" in out.out and "data get set/a.txt` fetches it anew" in out.err
    assert cli.main(["data", "get", "set/a.txt", "--quiet"]) == 0
    assert cli.main(["data", "verify"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "nothing"], "no dataset is registered as 'nothing'"),
        (["get", "set/../../etc/passwd"], "set has no file '../../etc/passwd'"),
        (["get", "far"], "ask them."),
        (["verify", "nothing"], "no dataset is registered"),
    ],
)
def test_a_failure_is_one_line_and_a_code(stick, capsys, arguments, message):
    assert cli.main(["data", *arguments]) == 1
    err = capsys.readouterr().err
    assert err.startswith("radiowidgets: ") and err.count("\n") == 1 and message in err


def test_a_mirror_without_the_file_is_one_line(stick, capsys, monkeypatch):
    monkeypatch.setenv("RADIOWIDGETS_MIRROR", str(stick / "elsewhere"))
    assert cli.main(["data", "get", "set", "--quiet"]) == 1
    assert "could not be fetched from file://" in capsys.readouterr().err


def test_a_cutout_is_planned_and_fetched(stick, capsys, monkeypatch):
    what = ["data", "cutout", "skyview", "266.4", "-29.0", "12 arcmin"]
    assert cli.main([*what, "--survey", "NVSS", "--plan"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("GET https://skyview.gsfc.nasa.gov/") and "Survey=NVSS" in out
    assert cli.main(what) == 1
    assert "skyview needs a survey" in capsys.readouterr().err
    monkeypatch.setattr(services, "SKYVIEW", "http://127.0.0.1:9/")
    assert cli.main([*what, "--survey", "NVSS"]) == 1
    err = capsys.readouterr().err
    assert "127.0.0.1 did not answer" in err and err.count("\n") == 1

"""A run in a folder that a team shares: who may write what, whatever the umask of who came first."""

import ast
import contextlib
import os
import re
import shutil
import stat
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets.errors import LabelError, RunError
from radiowidgets.labels.log import LabelLog

ANA, BOB, STRANGER, TEAM = 20001, 20002, 20003, 20000
pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be several people"
)


@pytest.fixture(scope="module")
def frames():
    pixels = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    return rw.cut_windows(rw.SkyMap.from_array(pixels, name="sky"), size=64)


@pytest.fixture
def shared():
    # Not tmp_path: only root may enter there.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        place = Path(folder) / "runs"
        place.mkdir()
        os.chown(place, 0, TEAM)
        place.chmod(0o2775)
        yield place


@pytest.fixture(autouse=True, scope="module")
def loaded(frames, tmp_path_factory):
    """Load whatever is loaded late: others than root may not read root's Python."""
    work(tmp_path_factory.mktemp("root") / "run", frames)


def work(path: Path, frames) -> None:
    run = rw.Run.create(path, frames, annotator=f"user{os.geteuid()}")
    label(path, frames)
    run.write_session_scores(f"session {os.geteuid()}", run.scores)
    run.remember(session="x")


def label(path: Path, frames, **how) -> None:
    run = rw.Run.open(path, annotator=f"user{os.geteuid()}", **how)
    run.labels.record([str(frames.frame_ids[0])], interest=os.geteuid() % 5)
    run.ratings  # noqa: B018
    run.labels.close()


def unanswered(folder: Path) -> str:
    """Return the address of a PostgreSQL where nothing answers; what speaks to one is loaded."""
    address = "postgresql://nobody@127.0.0.1:9/labels"
    LabelLog(address, run="x", spool=folder / "loads psycopg")._store._stop()
    return address


def as_user(user: int, groups: list[int], what, *args, umask: int = 0o022, **more) -> str:
    """Do something as somebody else and return the error, if any, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            os.umask(umask)
            what(*args, **more)
        except BaseException as error:  # noqa: BLE001
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def modes(path: Path) -> dict[str, int]:
    return {
        re.sub("-[0-9a-f]{16}", "", str(place.relative_to(path))): stat.S_IMODE(place.stat().st_mode)
        for place in (path, *path.rglob("*"))
    }


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_members_label_and_rerank_whatever_the_umask_of_the_first(shared, frames, umask):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames, umask=umask) == ""
    assert as_user(BOB, [TEAM], work, path, frames, umask=umask) == ""
    log = LabelLog(path / "labels", annotator="reader")
    assert log.annotators == [f"user{ANA}", f"user{BOB}"]
    found = modes(path)
    folders = {place: mode for place, mode in found.items() if (path / place).is_dir()}
    assert set(folders) == {".", "labels", "labels/views", "maps", "scores"}
    assert set(folders.values()) == {0o2775 & ~umask | 0o2070}
    files = {mode for place, mode in found.items() if place not in folders}
    assert files == {0o644 & ~umask | 0o040}  # nobody writes another's file
    assert {place.stat().st_gid for place in path.rglob("*")} == {TEAM}


def test_who_may_only_look_is_told_when_labelling(shared, frames):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames) == ""
    said = as_user(STRANGER, [], label, path, frames)
    assert said.startswith(f"{LabelError.__name__}: Not saved: interest 3 on 1 frame could not be written to")
    assert "Ask the folder's owner for the right to write" in said
    assert as_user(STRANGER, [], lambda: len(rw.Run.open(path).ratings)) == ""
    said = as_user(STRANGER, [], work, path, frames)
    assert said.startswith(f"{RunError.__name__}: ") and "cannot be written (Permission denied)" in said
    assert LabelLog(path / "labels").annotators == [f"user{ANA}"]


def review(path: Path, home: Path, labels: str) -> None:
    """Label, re-rank twice, ask why and export in Review; raise what the browser is told."""
    os.environ["XDG_CACHE_HOME"] = str(home)
    widget = rw.Review(rw.Run.open(path, annotator="stranger", labels=labels), follow=False)
    said = []
    widget.send = lambda content, **_: said.append(content)
    widget.follower._executor.submit = lambda call, *given: call(*given)
    widget._slow.submit = lambda call: call()
    for content in (
        {"kind": "act", "id": "1", "frames": [0], "interest": 5},
        {"kind": "rerank"},
        {"kind": "rerank"},
        {"kind": "why", "frame": 1, "request": 1},
        {"kind": "stacks", "request": 2},
        {"kind": "export", "which": "all", "format": "csv", "request": 3},
    ):
        widget._receive(None, content, [])
    told = [(answer["kind"], answer["error"] if "error" in answer else answer.get("text")) for answer in said]
    raise RuntimeError(repr(told))


def test_what_cannot_be_kept_in_a_run_that_is_read_only_is_told_once(shared, frames):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames) == ""
    home = shared.parent / "home"
    home.mkdir()
    os.chown(home, STRANGER, STRANGER)
    address = unanswered(shared)
    with contextlib.suppress(RuntimeError):  # loads what is loaded late
        review(shutil.copytree(path, shared / "copy"), home, "")
    said = as_user(STRANGER, [], review, path, home, address)
    told = ast.literal_eval(said.removeprefix("RuntimeError: "))
    assert [kind for kind, _ in told] == ["saved", "order", "error", "order", "why", "stacks", "export"]
    assert told[2][1].startswith("This order is shown but cannot be kept for the next time; labels are not")
    assert "Permission denied" in told[2][1] and "Permission denied" in told[-1][1]
    assert all(not text for kind, text in told if kind in ("saved", "why", "stacks"))


def test_a_member_may_be_kept_from_removing_anothers_labels(shared, frames):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames) == ""
    (file,) = (path / "labels").glob("*.jsonl")
    (path / "labels").chmod(0o3775)  # chmod +t
    assert as_user(BOB, [TEAM], work, path, frames) == ""
    assert as_user(BOB, [TEAM], file.unlink).startswith("PermissionError")
    assert LabelLog(path / "labels", annotator="reader").annotators == [f"user{ANA}", f"user{BOB}"]


def test_members_export_into_one_folder(shared, frames):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames) == ""
    review_ = partial(review, home=shared.parent, labels="")
    for user in (ANA, BOB):
        said = as_user(user, [TEAM], review_, path)
        assert ast.literal_eval(said.removeprefix("RuntimeError: "))[-1] == ("export", "Written.")
    assert stat.S_IMODE((path / "exports").stat().st_mode) == 0o2775


def test_who_may_not_look_is_told_when_opening(shared, frames):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames) == ""
    shared.chmod(0o2770)
    said = as_user(STRANGER, [], label, path, frames)
    assert said.startswith(f"{RunError.__name__}: ") and "ask the owner of the folder" in said
    assert said.count("\n") == 0


def test_labels_for_a_server_wait_in_the_users_cache_where_the_run_is_read_only(shared, frames, monkeypatch):
    path = shared / "run"
    assert as_user(ANA, [TEAM], work, path, frames) == ""
    home = shared.parent / "home"
    home.mkdir()
    os.chown(home, STRANGER, STRANGER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    address = unanswered(shared)
    assert as_user(STRANGER, [], label, path, frames, labels=address) == ""
    (kept,) = home.rglob("*.jsonl")
    assert kept.stat().st_uid == STRANGER and len(kept.read_text().splitlines()) == 1
    assert as_user(ANA, [TEAM], label, path, frames, labels=address) == ""
    assert len(list((path / "labels").glob("*.jsonl"))) == 2  # who may write keeps it in the run


def test_folders_that_nobody_shares_stay_as_the_umask_makes_them(tmp_path, frames):
    path = tmp_path / "run"
    before = os.umask(0o027)
    try:
        work(path, frames)
    finally:
        os.umask(before)
    assert set(modes(path).values()) == {0o750, 0o640}
    shutil.rmtree(path)

"""The label log: what is recorded is there, what is not saved is not, and no file of others does harm."""

import errno
import json
import os
import random
import re
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiowidgets.errors import LabelError
from radiowidgets.labels import events as events_module
from radiowidgets.labels import files
from radiowidgets.labels.events import Event, FrameRef
from radiowidgets.labels.fold import UNLABELLED, Fold, State
from radiowidgets.labels.log import LabelLog, default_annotator

FRAME = {
    "frame_id": "emu-x1-y2",
    "map": "emu",
    "box": [1, 2, 256, 256],
    "ra": 1.5,
    "dec": -2.5,
    "shown": True,
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "labels"


@pytest.fixture
def log(folder):
    return LabelLog(folder, annotator="ana", session="first")


def said(state):
    return state.interest, sorted(state.tags), state.note


def lines_of(folder):
    return [
        line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().split(b"\n") if line
    ]


# -- recording ------------------------------------------------------------------------------------------


def test_an_action_on_many_frames_is_one_line_that_anyone_can_read(log, folder):
    event = log.record([FRAME, "b"], interest=4, add=["EXTENDED", "ORC?"], note="two\nlines ✓")
    (line,) = lines_of(folder)
    assert json.loads(line) == {
        "version": 1,
        "event_id": event.event_id,
        "counter": 1,
        "annotator": "ana",
        "session": "first",
        "frames": [
            FRAME,
            {"frame_id": "b", "map": None, "box": None, "ra": None, "dec": None, "shown": None},
        ],
        "set": {"interest": 4},
        "add": ["EXTENDED", "ORC?"],
        "remove": [],
        "note": "two\nlines ✓",
        "time": event.time,
        "undoes": None,
    }
    assert event.frame_ids == ["emu-x1-y2", "b"]
    assert said(log.state_of("b")) == (4, ["EXTENDED", "ORC?"], "two\nlines ✓")
    assert LabelLog(folder, "ana").state() == log.state()
    assert LabelLog(folder, "bob").state() == {}
    assert LabelLog(folder, "bob").state("ana") == log.state()


def test_what_is_left_out_stays_and_none_takes_back(log):
    log.record(["a"], interest=3, add="X", note="n")
    log.record(["a"], add=["Y"], remove=["X", "never there"])
    assert said(log.state_of("a")) == (3, ["Y"], "n")
    log.record(["a"], interest=None)
    assert said(log.state_of("a")) == (None, ["Y"], "n")
    log.record(["a"], note=None)
    log.record(["a"], remove="Y")
    assert log.state_of("a").empty
    assert log.state_of("a").updated == 5
    assert "a" in log.state()
    assert log.state_of("unseen") == UNLABELLED


def test_numbers_of_numpy_and_doubled_frames_are_taken(log, folder):
    frame = {
        "frame_id": np.str_("a"),
        "box": np.array([1, 2, 3, 4]),
        "ra": np.float32(1.5),
        "dec": float("nan"),
        "shown": {"rank": np.int64(3), "stretch": "asinh"},
    }
    event = log.record([frame, frame, FrameRef("b"), "b"], interest=np.int8(5))
    assert event.frames == (
        FrameRef("a", None, (1, 2, 3, 4), 1.5, None, {"rank": 3, "stretch": "asinh"}),
        FrameRef("b"),
    )
    assert LabelLog(folder, "bob").events() == [event]
    assert log.record(iter("xy"), interest=1).frame_ids == ["x", "y"]
    assert log.record("xy", interest=1).frame_ids == ["xy"]


@pytest.mark.parametrize(
    ("frames", "what", "message"),
    [
        ([], {"interest": 1}, "no frames"),
        (None, {"interest": 1}, "frames is None, not a list"),
        ([7], {"interest": 1}, "a frame is 7, not a frame id"),
        ([""], {"interest": 1}, "frame_id is empty"),
        (["a\0"], {"interest": 1}, "control characters"),
        (["a\ud800"], {"interest": 1}, "control characters"),
        (["a" * 513], {"interest": 1}, "513 characters, more than 512"),
        ([{"map": "emu"}], {"interest": 1}, "frame_id is None"),
        ([{"frame_id": "a", "Box": []}], {"interest": 1}, "field 'Box'; it may have frame_id, map, box"),
        ([{"frame_id": "a", "box": [1, 2, 3]}], {"interest": 1}, "not \\[x, y, width, height"),
        ([{"frame_id": "a", "box": "1234"}], {"interest": 1}, "box is '1234'"),
        ([{"frame_id": "a", "box": [1, 2, 3, float("nan")]}], {"interest": 1}, "not \\[x, y"),
        ([{"frame_id": "a", "ra": float("inf")}], {"interest": 1}, "ra is infinite"),
        ([{"frame_id": "a", "ra": "1h"}], {"interest": 1}, "ra is '1h', not a number"),
        ([{"frame_id": "a", "shown": {"x": {"y": 1}}}], {"interest": 1}, "not a number"),
        (["a"], {}, "nothing to record"),
        (["a"], {"interest": 6}, "interest is 6, not a whole number 0-5"),
        (["a"], {"interest": -1}, "interest is -1"),
        (["a"], {"interest": 2.0}, "interest is 2.0"),
        (["a"], {"interest": True}, "interest is True"),
        (["a"], {"interest": "3"}, "interest is '3'"),
        (["a"], {"add": ["A;B"]}, "no semicolon"),
        (["a"], {"add": [""]}, "is empty"),
        (["a"], {"add": ["x" * 65]}, "65 characters"),
        (["a"], {"add": [None]}, "is None, not text"),
        (["a"], {"add": 5}, "not a list of tags"),
        (["a"], {"add": [f"t{i}" for i in range(101)]}, "101 tags, more than 100"),
        (["a"], {"add": ["A"], "remove": ["A"]}, "both in add and in remove"),
        (["a"], {"note": 5}, "note is 5, not text"),
        (["a"], {"note": "x" * 10_001}, "10001 characters, more than 10000"),
    ],
)
def test_what_is_not_valid_is_not_saved(log, folder, frames, what, message):
    with pytest.raises(LabelError, match=f"^Not saved: .*{message}") as caught:
        log.record(frames, **what)
    assert "\n" not in str(caught.value)
    assert len(log) == 0
    assert not folder.exists()


def test_an_action_too_large_is_refused(log, monkeypatch):
    monkeypatch.setattr(events_module, "MAX_FRAMES", 300)
    with pytest.raises(LabelError, match="more than 300 frames in one action; record them in parts"):
        log.record((str(i) for i in range(10**12)), interest=1)
    monkeypatch.setattr(events_module, "MAX_LINE_BYTES", 5000)
    with pytest.raises(LabelError, match=r"Not saved: an action of .* bytes on 300 frames"):
        log.record((str(i) for i in range(300)), interest=1)
    assert len(log) == 0


def test_notes_lose_only_what_harms(log, folder):
    log.record(["a"], note="tab\tand\r\nline\x00\x1b[31m \ud83d\ude00 \ud83d <b>")
    assert log.state_of("a").note == "tab\tand\nline[31m 😀 \ufffd <b>"
    assert LabelLog(folder, "bob").state("ana") == log.state()


def test_a_thousand_frames_and_their_undo_are_two_lines(log, folder):
    names = [f"f{i}" for i in range(1000)]
    log.record(names, interest=0, add=["BACKGROUND"])
    assert len(log.state()) == 1000
    undo = log.undo()
    assert log.state() == {}
    assert undo.frame_ids == names
    assert len(lines_of(folder)) == 2


# -- who ------------------------------------------------------------------------------------------------


def test_the_annotator_is_the_hubs_user_else_the_login_else_anonymous(folder, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "Zoë <b>\n")
    assert LabelLog(folder).annotator == "Zoë <b>"
    monkeypatch.delenv("JUPYTERHUB_USER")
    monkeypatch.setattr("getpass.getuser", lambda: "login")
    assert default_annotator() == "login"

    def nobody():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert default_annotator() == "anonymous"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b\\c", "<img src=x>", "ÅÄÖ", "日本", "con", "." * 40, "x" * 128]
)
def test_a_file_name_is_never_raw_text(folder, name):
    log = LabelLog(folder, annotator=name)
    log.record(["a"], interest=1)
    (path,) = folder.iterdir()
    assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert len(path.name) < 64
    assert LabelLog(folder, "bob").state(name)["a"].interest == 1


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "x" * 129, 7])
def test_names_are_checked(folder, bad):
    with pytest.raises(LabelError, match=r"cannot be opened: annotator"):
        LabelLog(folder, annotator=bad)
    with pytest.raises(LabelError, match=r"cannot be opened: session"):
        LabelLog(folder, annotator="ana", session=bad)


def test_an_address_is_no_folder():
    with pytest.raises(LabelError, match="cannot be kept at a 'mysql' address") as caught:
        LabelLog("mysql://me:secret@host/labels")
    assert "secret" not in str(caught.value)


# -- undo -----------------------------------------------------------------------------------------------


def test_undo_goes_back_step_by_step_also_in_a_later_session(log, folder):
    log.record(["a", "b"], interest=1)
    log.record(["a"], interest=2, add=["X"])
    log.record(["b"], note="n")
    assert log.undo().undoes == log.events()[2].event_id
    later = LabelLog(folder, "ana")
    later.undo()
    assert {frame: said(state) for frame, state in later.state().items()} == {
        "a": (1, [], None),
        "b": (1, [], None),
    }
    later.undo()
    assert later.state() == {}
    assert later.undo() is None
    log.refresh()
    assert log.state() == {}


def test_undo_of_an_early_event_leaves_the_later_ones(log):
    first = log.record(["a"], interest=1, add=["X"])
    log.record(["a"], note="n")
    log.record(["a"], add=["Y"])
    log.undo(first.event_id)
    assert said(log.state_of("a")) == (None, ["Y"], "n")


def test_undo_of_an_undo_brings_back(log):
    event = log.record(["a"], interest=1)
    undo = log.undo()
    assert log.state() == {}
    with pytest.raises(LabelError, match=f"undone already; undo {undo.event_id} to bring it back"):
        log.undo(event.event_id)
    redo = log.undo(undo.event_id)
    assert said(log.state_of("a")) == (1, [], None)
    log.undo(redo.event_id)
    assert log.state() == {}
    log.undo(log.events()[-1].event_id)
    log.undo()
    assert log.state() == {}


def test_only_own_events_can_be_undone(log, folder):
    event = log.record(["a"], interest=1)
    bob = LabelLog(folder, "bob")
    assert bob.undo() is None
    with pytest.raises(LabelError, match="is by 'ana'; 'bob' can undo only their own"):
        bob.undo(event.event_id)
    with pytest.raises(LabelError, match="no event 'nonsense' to undo"):
        bob.undo("nonsense")
    forged = Event("forged", 9, "bob", "s", undoes=event.event_id)
    (folder / "forged.jsonl").write_bytes(forged.to_line())
    log.refresh()
    assert log.state_of("a").interest == 1
    assert log.problems == ["event forged is ignored: 'bob' cannot undo what 'ana' did"]


def test_the_fold_is_the_same_in_any_order_of_arrival():
    rng = random.Random(5)
    events = []
    for counter in range(1, 60):
        who = rng.choice(["ana", "bob"])
        event = Event(f"{rng.random()}", counter // 2 + 1, who, "s", time=str(counter))
        own = [earlier for earlier in events if earlier.annotator == who]
        if own and rng.random() < 0.4:
            event = Event(event.event_id, event.counter, who, "s", undoes=rng.choice(own).event_id)
        else:
            frames = tuple(FrameRef(name) for name in rng.sample("abc", rng.randint(1, 3)))
            event = Event(
                event.event_id, event.counter, who, "s", frames, {"interest": counter % 6}, (f"t{counter}",)
            )
        events.append(event)
    expected = Fold(events)
    for _ in range(30):
        rng.shuffle(events)
        fold = Fold(events)
        assert fold.events() == expected.events()
        for who in ("ana", "bob"):
            assert fold.states(who) == expected.states(who)
            assert fold.last(who) == expected.last(who)
        assert sorted(fold.problems) == sorted(expected.problems)


def test_events_in_order_are_not_folded_again(log, monkeypatch):
    refolded = []
    refold = Fold._refold
    monkeypatch.setattr(
        Fold, "_refold", lambda self, who, frame: (refolded.append(frame), refold(self, who, frame))
    )
    for i in range(50):
        log.record([f"f{i % 7}"], interest=i % 6)
    assert refolded == []
    log.undo()
    assert refolded == ["f0"]


# -- reading others -------------------------------------------------------------------------------------


def test_sessions_read_each_other_and_count_on(log, folder):
    bob = LabelLog(folder, "bob")
    log.record(["a"], interest=1)
    assert bob.state("ana") == {}
    assert bob.refresh() == 1
    assert bob.refresh() == 0
    assert bob.record(["a"], interest=5).counter == 2
    assert log.record(["a"], interest=2).counter == 2
    log.refresh()
    assert log.annotators == ["ana", "bob"]
    assert (log.state_of("a").interest, log.state_of("a", "bob").interest) == (2, 5)
    assert log.record(["a"], interest=0).counter == 3
    bob.refresh()
    assert bob.events() == log.events()


def test_refresh_reads_only_what_is_new(log, folder, monkeypatch):
    bob = LabelLog(folder, "bob")
    log.record(["a"], interest=1)
    bob.refresh()
    parsed = []
    from_line = Event.from_line
    monkeypatch.setattr(Event, "from_line", lambda line: parsed.append(line) or from_line(line))
    log.record(["b"], interest=1)
    bob.refresh()
    bob.refresh()
    assert len(parsed) == 1


@pytest.mark.parametrize("cut", [1, 17, -1])
def test_a_line_in_flight_is_read_when_it_is_complete(folder, cut):
    folder.mkdir()
    path = folder / "x.jsonl"
    first, second = (
        Event(str(i), i, "bob", "s", (FrameRef("a"),), {"interest": i}).to_line() for i in (1, 2)
    )
    path.write_bytes(first + second[:cut])
    log = LabelLog(folder, "ana")
    assert log.state_of("a", "bob").interest == 1
    assert log.problems == [
        "x.jsonl:2: unfinished last line (perhaps still being written; else what a crash left)"
    ]
    log.refresh()
    assert len(log.problems) == 1
    path.write_bytes(first + second)
    log.refresh()
    assert log.state_of("a", "bob").interest == 2
    assert log.problems == []


def test_files_that_vanish_return_or_are_copied_do_no_harm(log, folder):
    bob = LabelLog(folder, "bob")
    log.record(["a"], interest=1)
    bob.refresh()
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.unlink()
    bob.refresh()
    assert bob.state_of("a", "ana").interest == 1
    path.write_bytes(content)
    (folder / "a copy.jsonl").write_bytes(content)
    bob.refresh()
    assert len(bob) == 1
    assert bob.problems == []
    folder.rename(folder.parent / "elsewhere")
    bob.refresh()
    assert len(bob) == 1


def test_only_plain_label_files_are_read(log, folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("{")
    (folder / ".hidden.jsonl").write_text("{\n")
    (folder / "dangling.jsonl").symlink_to("nowhere")
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "zero.jsonl").symlink_to("/dev/zero")
    log.refresh()
    assert log.problems == [f"{name}.jsonl: not a plain file" for name in ("folder", "pipe", "zero")]
    log.record(["a"], interest=1)
    with pytest.raises(LabelError, match=r"cannot be read \(Not a directory\)"):
        LabelLog(folder / "notes.txt", "ana")


def valid(**changes):
    line = {
        "event_id": "e", "counter": 1, "annotator": "bob", "session": "s", "frames": [{"frame_id": "a"}],
        "set": {"interest": 1}, "add": [], "remove": [], "note": None, "time": "", "undoes": None,
    }  # fmt: skip
    return json.dumps(line | changes).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not a line of JSON"),
        (b"\xff\xfe", "not a line of JSON"),
        (b"\0" * 40, "not a line of JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"counter": ' + b"9" * 5000 + b"}", "not a line of JSON"),
        (b'{"ra": NaN}', "NaN is not JSON"),
        (b'{"ra": 1e999}', "out of range"),
        (b"17", "not an event but 17"),
        (b"[]", "not an event but a list of 0"),
        (b"{}", "counter is None"),
        (valid(counter=0), "counter is 0"),
        (valid(counter=1.0), "counter is 1.0"),
        (valid(counter=True), "counter is True"),
        (valid(counter=10**13), "counter is 10000000000000"),
        (valid(event_id=""), "event_id is empty"),
        (valid(event_id=["x"]), "event_id is a list of 1"),
        (valid(event_id="x" * 129), "event_id has 129 characters"),
        (valid(annotator=None), "annotator is None"),
        (valid(annotator="a\nb"), "annotator is 'a\\\\nb', with control"),
        (valid(session=3), "session is 3"),
        (valid(frames=None), "no frames"),
        (valid(frames={}), "frames is a dict of 0"),
        (valid(frames=["a"]), "a frame is 'a', not an object"),
        (valid(frames=[{}]), "frame_id is None"),
        (valid(frames=[{"frame_id": "a", "box": [1, 2, 3, "4"]}]), "box is '4', not a number"),
        (valid(frames=[{"frame_id": "a", "box": [1, 2, 3, 10**30]}]), "out of range"),
        (valid(frames=[{"frame_id": "a", "box": {"x": 1}}]), "box is a dict of 1"),
        (valid(frames=[{"frame_id": "a", "ra": True}]), "ra is True"),
        (valid(frames=[{"frame_id": "a", "shown": [1]}]), "shown is a list of 1"),
        (valid(set=[]), "set is a list of 0"),
        (valid(set={"interest": 9}), "interest is 9"),
        (valid(set={"interest": "1"}), "interest is '1'"),
        (valid(add="EXTENDED"), "add is 'EXTENDED', not a list"),
        (valid(add=[{}]), "a tag in add is a dict"),
        (valid(remove=["a\u0007"]), "control characters"),
        (valid(note=[]), "note is a list"),
        (valid(note="x" * 10_001), "note has 10001 characters"),
        (valid(time=5), "time is 5"),
        (valid(undoes="x"), "an undo that also changes labels"),
        (valid(undoes=7), "undoes is 7"),
        (valid(version=2), "written by a newer radiowidgets \\(version 2"),
        (valid(version="1"), "version is '1'"),
        (valid(new=json.loads("[" * 40 + "]" * 40)), "nested more than 16 deep"),
    ],
)
def test_a_line_that_is_not_valid_is_skipped_and_listed(folder, line, reason):
    folder.mkdir()
    good = valid(event_id="good", counter=2)
    (folder / "x.jsonl").write_bytes(b"\n" + line + b"\n" + good + b"\n")
    log = LabelLog(folder, "ana")
    assert [event.event_id for event in log.events()] == ["good"]
    (problem,) = log.problems
    assert problem.startswith("x.jsonl:2: skipped, ")
    assert re.search(reason, problem), problem
    assert len(problem) < 300
    assert problem.isprintable()
    assert log.record(["a"], interest=2).counter == 3


def test_fields_of_a_newer_version_are_kept_and_ignored(folder):
    folder.mkdir()
    line = valid(set={"interest": 2, "redshift": 0.1}, mood={"calm": [1, 2]})
    (folder / "x.jsonl").write_bytes(line + b"\n" + valid(event_id="f", set={"redshift": 1}) + b"\n")
    log = LabelLog(folder, "ana")
    assert log.problems == []
    event, other = log.events()
    assert event.extra == {"mood": {"calm": [1, 2]}}
    assert json.loads(event.to_line()) == json.loads(line) | {
        "version": 1,
        "frames": [FrameRef("a")._asdict()],
    }
    assert not other.changes
    assert said(log.state_of("a", "bob")) == (2, [], None)


def test_one_id_with_two_contents_is_listed_and_decided_alike_by_all(folder):
    folder.mkdir()
    one, two = valid(set={"interest": 1}) + b"\n", valid(set={"interest": 2}) + b"\n"
    (folder / "x.jsonl").write_bytes(one + two)
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "x.jsonl").write_bytes(two + one)
    logs = [LabelLog(folder, "ana"), LabelLog(folder.parent / "other", "ana")]
    assert logs[0].state("bob") == logs[1].state("bob")
    assert (
        logs[0].problems
        == logs[1].problems
        == ["event e is there twice with different content; one is ignored"]
    )


def test_a_monstrous_line_is_skipped_in_bounded_memory(folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 3000)
    monkeypatch.setattr(files, "BLOCK_BYTES", 1000)
    folder.mkdir()
    path = folder / "x.jsonl"
    path.write_bytes(valid(event_id="1") + b"\n" + b"x" * 10_000)
    log = LabelLog(folder, "ana")
    assert len(log.problems) == 1
    with path.open("ab") as stream:
        stream.write(b"x" * 5000 + b"\n" + valid(event_id="2") + b"\n")
    log.refresh()
    assert [event.event_id for event in log.events()] == ["1", "2"]
    assert log.problems == ["x.jsonl:2: skipped, longer than 3000 bytes"]


def test_a_file_of_rubbish_is_listed_briefly(folder):
    folder.mkdir()
    (folder / "x.jsonl").write_bytes(b"rubbish\n" * 5000)
    log = LabelLog(folder, "ana")
    assert len(log.problems) == files.MAX_PROBLEMS + 1
    assert log.problems[-1] == "x.jsonl: 4900 more lines skipped"


def test_the_last_possible_counter_ends_in_one_line(folder):
    folder.mkdir()
    (folder / "x.jsonl").write_bytes(valid(counter=10**12) + b"\n")
    log = LabelLog(folder, "ana")
    with pytest.raises(
        LabelError, match=r"Not saved: .* counter 1000000000000, the largest there can be. Move"
    ):
        log.record(["a"], interest=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


FOREIGN = st.binary(max_size=60) | st.builds(
    lambda changes: valid(**changes), st.dictionaries(st.sampled_from(sorted(events_module._FIELDS)), JSON)
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(FOREIGN)
def test_a_foreign_line_is_an_event_or_a_value_error(line):
    try:
        event = Event.from_line(line)
    except ValueError as error:
        event, reason = None, str(error)
    if event is None:
        assert reason.isprintable()
        assert len(reason) < 250
    else:
        assert Event.from_line(event.to_line()) == event


def test_no_foreign_line_breaks_reading_or_writing(folder):
    # One folder for all examples: a thousand small folders would take long to flush.
    folder.mkdir()
    others = LabelLog(folder, "zoe")

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.lists(FOREIGN, max_size=4))
    def check(lines):
        with (folder / "x.jsonl").open("ab") as stream:
            stream.write(b"\n".join(lines) + b"\n")
        others.refresh()

    check()
    log = LabelLog(folder, "ana")
    assert log.events() == others.events()
    log.record(["a"], interest=1)
    assert log.table()["frame_id"].tolist()
    assert len(log.history()) == len(log)
    log.export(folder / "t.csv")
    log.export(folder / "t.parquet")
    assert all(problem.isprintable() for problem in log.problems)


# -- when writing fails ---------------------------------------------------------------------------------


class Disk:
    """Stands in for the system's write and flush, and fails as told."""

    def __init__(self, monkeypatch):
        self.room = None
        self.flush_error = None
        self.write_error = errno.ENOSPC
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor, data):
        if self.room is None:
            return self._write(descriptor, data)
        if self.room == 0:
            raise OSError(self.write_error, os.strerror(self.write_error))
        count = self._write(descriptor, bytes(data)[: self.room])
        self.room -= count
        return count

    def fsync(self, descriptor):
        if self.flush_error:
            raise OSError(self.flush_error, os.strerror(self.flush_error))
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("room", [0, 1, 30, -1])
def test_a_full_disk_loses_nothing_and_glues_nothing(log, folder, disk, begun, room):
    if begun:
        log.record(["a"], interest=1)
    before = log.state()
    # -1: all but the newline fits.
    event = Event("x" * 32, 9, "ana", "first", (FrameRef("b"),), {"interest": 2}, time="t" * 29)
    disk.room = room if room >= 0 else len(event.to_line()) - 1
    with pytest.raises(
        LabelError, match=r"^Not saved: interest 2 on 1 frame could not .*No space left.*Free some space"
    ) as caught:
        log.record(["b"], interest=2)
    assert isinstance(caught.value.__cause__, OSError)
    assert "\n" not in str(caught.value)
    assert log.state() == before
    disk.room = None
    log.record(["c"], interest=3)
    log.record(["d"], interest=4)
    other = LabelLog(folder, "bob")
    assert other.state("ana") == log.state()
    assert "b" not in other.state("ana")
    assert other.events() == log.events()
    assert len(list(folder.iterdir())) == 1
    assert len(other.problems) == (room != 0)


def test_a_short_write_that_can_go_on_is_no_error(log, folder, disk, monkeypatch):
    monkeypatch.setattr(os, "write", lambda descriptor, data: disk._write(descriptor, bytes(data)[:7]))
    log.record(["a"], interest=1)
    assert LabelLog(folder, "bob").events() == log.events()


def test_an_event_whose_flush_failed_counts_for_nobody(log, folder, disk):
    other = LabelLog(folder, "bob")
    log.record(["a"], interest=1)
    disk.flush_error = errno.EIO
    with pytest.raises(LabelError, match=r"Input/output error.*Check that the disk"):
        log.record(["a"], interest=2)
    assert log.state_of("a").interest == 1
    other.refresh()
    assert other.state("ana") == log.state()
    disk.flush_error = None
    log.record(["b"], interest=3)
    other.refresh()
    assert other.state("ana") == log.state() == LabelLog(folder, "x").state("ana")
    assert other.problems == []
    # A file whose flush failed may lose what is added to it, so nothing is.
    first = min(folder.iterdir(), key=lambda path: Event.from_line(path.read_bytes().split(b"\n")[0]).counter)
    assert len(first.read_bytes().splitlines()) == 2
    # The lost event, its retraction and the next one come one after the other, whoever reads them.
    assert [event.counter for event in other.events()] == [1, 2, 3, 4]
    assert [event.counter for event in log.events()] == [1, 3, 4]


def test_an_event_in_doubt_is_taken_back_as_soon_as_the_disk_allows(log, folder, disk, monkeypatch):
    log.record(["a"], interest=1)

    def fail(descriptor):
        disk.room = 0
        raise OSError(errno.EDQUOT, "Quota")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(LabelError, match=r"Quota.*quota"):
            log.record(["a"], interest=2)
    assert log.state_of("a").interest == 1
    with pytest.raises(LabelError):
        log.record(["a"], interest=3)
    disk.room = None
    log.record(["b"], interest=4)
    other = LabelLog(folder, "bob")
    assert other.state("ana") == log.state()
    assert said(other.state_of("a", "ana")) == (1, [], None)


def test_an_interrupt_while_writing_leaves_all_readers_agreed(log, folder, monkeypatch):
    log.record(["a"], interest=1)

    def interrupt(descriptor):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        log.record(["a"], interest=2)
    assert log.state_of("a").interest == 1
    assert LabelLog(folder, "bob").state("ana") == log.state()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabelError, match="cannot be read"):
        LabelLog(tmp_path / "file" / "labels", "ana").record(["a"], interest=1)


def test_a_deleted_file_is_written_again_with_all_that_was_saved(log, folder):
    log.record(["a"], interest=1)
    log.record(["b"], interest=2)
    (path,) = folder.iterdir()
    path.unlink()
    folder.rmdir()
    log.record(["c"], interest=3)
    assert LabelLog(folder, "bob").events() == log.events()
    assert len(log) == 3


def test_the_file_is_flushed_and_so_is_its_folder(log, folder, monkeypatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (flushed.append(os.fstat(descriptor).st_ino), fsync(descriptor))
    )
    log.record(["a"], interest=1)
    (path,) = folder.iterdir()
    assert {path.stat().st_ino, folder.stat().st_ino, folder.parent.stat().st_ino} == set(flushed)
    flushed.clear()
    log.record(["a"], interest=1)
    assert flushed == [path.stat().st_ino]


def test_a_forked_child_writes_a_file_of_its_own(log, folder):
    log.record(["a"], interest=1)
    child = os.fork()
    if child == 0:
        try:
            log.record(["b"], interest=2)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    log.record(["c"], interest=3)
    assert len(list(folder.iterdir())) == 2
    log.refresh()
    assert {frame: state.interest for frame, state in log.state().items()} == {"a": 1, "b": 2, "c": 3}


def test_threads_may_share_a_log(log, folder):
    def work(name):
        for i in range(25):
            log.record([f"{name}{i}"], interest=i % 6)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.counter for event in log.events()] == list(range(1, 101))
    assert LabelLog(folder, "bob").events() == log.events()


def test_closing_is_harmless(log, folder):
    with log:
        log.record(["a"], interest=1)
    log.close()
    log.record(["b"], interest=1)
    assert len(LabelLog(folder, "bob")) == 2


# -- tables and export ----------------------------------------------------------------------------------


def test_table_is_the_current_state(log, folder):
    bob = LabelLog(folder, "bob")
    log.record(["b", "a"], interest=2, add=["Z", "A"])
    bob.record(["a"], note="=cmd()")
    log.refresh()
    table = log.table()
    assert list(table.columns) == ["frame_id", "annotator", "interest", "tags", "note", "updated", "time"]
    assert list(zip(table["frame_id"], table["annotator"], strict=True)) == [
        ("a", "ana"),
        ("a", "bob"),
        ("b", "ana"),
    ]
    assert table["interest"].dtype == "Int8"
    assert table["interest"].isna().tolist() == [False, True, False]
    assert table["tags"].tolist() == [["A", "Z"], [], ["A", "Z"]]
    assert table["note"].isna().tolist() == [True, False, True]
    assert table["updated"].tolist() == [1, 1, 1]
    assert abs(table["time"] - pd.Timestamp.now("UTC")).max() < pd.Timedelta("1min")
    assert log.table("bob")["frame_id"].tolist() == ["a"]
    assert log.table("nobody").dtypes.equals(table.dtypes)


def test_times_that_are_no_times_do_no_harm(folder):
    folder.mkdir()
    times = [
        "",
        "yesterday",
        "0001-01-01",
        "9999-12-31T23:59:59+00:00",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01T12:00:00+02:00",
    ]
    lines = [valid(event_id=str(i), frames=[{"frame_id": str(i)}], time=time) for i, time in enumerate(times)]
    (folder / "x.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    table = LabelLog(folder, "ana").table()
    assert table["time"].iloc[-1] == pd.Timestamp("2026-01-01T10:00:00Z")
    assert table["time"].iloc[:2].isna().all()


def test_a_clock_gone_mad_costs_only_the_time(log, monkeypatch):
    for now in (-1e30, 1e30, float("nan"), 0.0):
        monkeypatch.setattr("time.time", lambda now=now: now)
        log.record(["a"], add=["X"])
    assert [event.time for event in log.events()] == ["", "", "", "1970-01-01T00:00:00.000+00:00"]


def test_a_clock_that_jumps_decides_nothing(folder, monkeypatch):
    """The last word is that of the larger counter, also where its clock is years behind."""
    for interest, now in ((1, 4e9), (5, 1.8e9), (3, 0.0)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        LabelLog(folder, "ana").record(["a"], interest=interest)  # each time a session of its own
    log = LabelLog(folder, "ana")
    assert log.state_of("a").interest == 3
    times = log.history()["time"]
    assert times.is_monotonic_decreasing
    undo = log.undo()
    assert log.state_of("a").interest == 5
    log.undo()
    assert log.state_of("a").interest == 1
    log.undo(undo.event_id)  # a redo
    assert log.state_of("a").interest == 3
    assert LabelLog(folder, "bob").state("ana") == log.state()


def test_history_says_who_did_what(log, folder):
    event = log.record(["a", "b"], interest=2, add=["X"], remove=["Y"], note="n")
    undo = log.undo()
    LabelLog(folder, "bob").record(["b"], interest=None, note="")
    log.refresh()
    history = log.history()
    assert history["what"].tolist() == [
        "interest 2, +X, -Y, note",
        f"undo of {event.event_id}",
        "no interest, no note",
    ]
    assert history["annotator"].tolist() == ["ana", "ana", "bob"]
    assert history["stands"].tolist() == [False, True, True]
    assert history["n_frames"].tolist() == [2, 2, 1]
    assert history["frame_ids"].tolist() == [["a", "b"], ["a", "b"], ["b"]]
    assert history["undoes"].tolist()[1] == event.event_id
    assert log.history("a")["event_id"].tolist() == [event.event_id, undo.event_id]
    assert log.history(annotator="bob")["counter"].tolist() == [3]


def test_export_as_csv(log, tmp_path):
    log.record(["a"], interest=4, add=["Z", "A"], note='say "hi",\nthen; go')
    log.record(["=b"], add=["@SUM"], note="=1+1")
    log.record(["c"], note="-0.7")
    path = log.export(tmp_path / "labels.csv")
    table = pd.read_csv(path, parse_dates=["time"])
    assert list(table.columns) == list(log.table().columns)
    assert table["frame_id"].tolist() == ["'=b", "a", "c"]
    assert table["tags"].fillna("").tolist() == ["'@SUM", "A;Z", ""]
    assert table["note"].tolist() == ["'=1+1", 'say "hi",\nthen; go', "'-0.7"]
    assert table["interest"].tolist()[1] == 4
    assert (table["time"] == log.table()["time"]).all()
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix == ".csv"] == ["labels.csv"]


def test_export_as_parquet(log, tmp_path):
    log.export(tmp_path / "empty.parquet")
    log.record(["a"], interest=4, add=["Z", "A"], note="=1+1")
    log.record(["b"], add=["X"])
    log.export(tmp_path / "labels.PARQUET")
    table = pd.read_parquet(tmp_path / "labels.PARQUET")
    assert table["note"].tolist()[0] == "=1+1"
    assert [list(tags) for tags in table["tags"]] == [["A", "Z"], ["X"]]
    assert table["interest"].isna().tolist() == [False, True]
    empty = pd.read_parquet(tmp_path / "empty.parquet")
    assert len(empty) == 0
    assert empty.dtypes["updated"] == "int64"


def test_export_that_fails_leaves_the_old_file(log, tmp_path, monkeypatch):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with pytest.raises(LabelError, match=r"'labels.xlsx'; let the name end in .csv or .parquet"):
        log.export(tmp_path / "labels.xlsx")
    with pytest.raises(LabelError, match=r"could not be exported .*No such file"):
        log.export(tmp_path / "no" / "labels.csv")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(LabelError, match=r"No space left on device.*Free some space"):
        log.export(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_tags_are_counted(log):
    log.record(["a", "b"], add=["ORC", "COMPACT"])
    log.record(["b"], add=["EXTENED"])
    assert log.unknown_tags() == {"EXTENED": 1, "ORC": 2}


def test_state_is_a_copy(log):
    log.record(["a"], interest=1)
    log.state().clear()
    assert log.state() == {"a": State(1, frozenset(), None, 1, log.events()[0].time)}
    assert repr(log).endswith("annotator='ana', 1 events)")

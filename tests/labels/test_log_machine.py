"""The label log under all that can happen to it: nothing acknowledged is lost, and all readers agree.

The model beside the log is a list of the acknowledged events and the plainest fold of them.
"""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from radiowidgets.errors import LabelError
from radiowidgets.labels.log import UNSET, LabelLog

FRAMES = ["f0", "f1", "f2"]
TAGS = ["COMPACT", "DIFFUSE", "odd one"]
ANNOTATORS = ["ana", "bob"]


def fold(events, annotator):
    """Fold from the beginning: who is undone by whom, then event by event."""
    own = sorted(
        (event for event in events if event["annotator"] == annotator),
        key=lambda event: (event["counter"], event["event_id"]),
    )
    undone = set()
    # Undos come after what they undo, so going backwards each is decided before it is needed.
    for event in reversed(own):
        if event["undoes"] and event["event_id"] not in undone:
            undone.add(event["undoes"])
    state = {}
    for event in own:
        if event["event_id"] in undone or event["undoes"]:
            continue
        for frame in event["frames"]:
            interest, tags, note = state.get(frame, (None, set(), None))
            if event["interest"] is not UNSET:
                interest = event["interest"]
            tags = (tags - set(event["remove"])) | set(event["add"])
            if event["note"] is not UNSET:
                note = event["note"] or None
            state[frame] = (interest, tags, note)
    return state, undone


def state_of(log, annotator):
    return {
        frame: (state.interest, set(state.tags), state.note) for frame, state in log.state(annotator).items()
    }


class Participant:
    """A log in one kernel, and which events it must know."""

    def __init__(self, log, acknowledged):
        self.log = log
        self.known = list(acknowledged)

    @property
    def annotator(self):
        return self.log.annotator


class LogMachine(RuleBasedStateMachine):
    """Several people and sessions over one folder, on a disk and with clocks that cannot be relied on."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="labels-"))
        self.acknowledged = []
        self.participants = []
        self.flights = 0
        self.in_flight = None
        self.clock = mock.patch("time.time", side_effect=lambda: self.now)
        self.now = 1.8e9
        self.clock.start()

    def teardown(self):
        try:
            fresh = self.participant("reader")
            for participant in [*self.participants, fresh]:
                self.read(participant)
            tables = [participant.log.table() for participant in [*self.participants, fresh]]
            assert all(table.equals(tables[-1]) for table in tables)
            saved = {event.event_id for event in fresh.log.events()}
            assert saved >= {event["event_id"] for event in self.acknowledged}
        finally:
            self.clock.stop()
            for participant in self.participants:
                participant.log.close()
            shutil.rmtree(self.folder)

    def participant(self, annotator, after=None):  # noqa: ARG002
        return Participant(LabelLog(self.folder, annotator), self.acknowledged)

    def file_of(self, log):
        return log._store.path

    def some(self, number):
        return self.participants[number % len(self.participants)]

    def read(self, participant):
        participant.log.refresh()
        participant.known = list(self.acknowledged)
        self.check(participant)

    def check(self, participant):
        for annotator in ANNOTATORS:
            assert state_of(participant.log, annotator) == fold(participant.known, annotator)[0]

    def acknowledge(self, participant, event, **what):
        seen = max((known["counter"] for known in participant.known), default=0)
        assert event.counter > seen
        described = {"event_id": event.event_id, "counter": event.counter, "annotator": event.annotator}
        nothing = {"frames": [], "interest": UNSET, "add": [], "remove": [], "note": UNSET, "undoes": None}
        participant.known.append(described | nothing | what)
        self.acknowledged.append(participant.known[-1])

    @contextmanager
    def refused(self, participant):
        """Expect the action to fail, to say so, and to leave the state as it was."""
        before = state_of(participant.log, participant.annotator)
        with pytest.raises(LabelError, match=r"^Not saved: .*then repeat the action") as caught:
            yield
        assert "\n" not in str(caught.value)
        assert state_of(participant.log, participant.annotator) == before

    @initialize()
    def begin(self):
        self.join("ana")
        self.join("bob")

    @precondition(lambda self: len(self.participants) < 5)
    @rule(annotator=st.sampled_from(ANNOTATORS))
    def join(self, annotator):
        self.participants.append(self.participant(annotator))

    @rule(
        number=st.integers(0, 4),
        frames=st.lists(st.sampled_from(FRAMES), min_size=1, unique=True),
        interest=st.sampled_from([UNSET, None, 0, 3, 5]),
        tags=st.dictionaries(st.sampled_from(TAGS), st.booleans()),
        note=st.sampled_from([UNSET, None, "", "seen\nagain ✓"]),
    )
    def record(self, number, frames, interest, tags, note):
        participant = self.some(number)
        what = {
            "interest": interest,
            "add": [tag for tag, on in tags.items() if on],
            "remove": [tag for tag, on in tags.items() if not on],
            "note": note,
        }
        if interest is UNSET and note is UNSET and not tags:
            what["note"] = "something"
        event = participant.log.record(frames, **what)
        self.acknowledge(participant, event, frames=frames, **what)

    @rule(number=st.integers(0, 4))
    def undo_the_last(self, number):
        participant = self.some(number)
        _, undone = fold(participant.known, participant.annotator)
        standing = [
            (known["counter"], known["event_id"])
            for known in participant.known
            if known["annotator"] == participant.annotator
            and known["event_id"] not in undone
            and not known["undoes"]
        ]
        event = participant.log.undo()
        if standing:
            assert event.undoes == max(standing)[1]
            self.acknowledge(participant, event, undoes=event.undoes)
        else:
            assert event is None

    @rule(number=st.integers(0, 4), which=st.integers(0, 10**6))
    def undo_any(self, number, which):
        """Undo, redo, or be refused."""
        participant = self.some(number)
        if not participant.known:
            return
        target = participant.known[which % len(participant.known)]
        _, undone = fold(participant.known, participant.annotator)
        if target["annotator"] != participant.annotator:
            with pytest.raises(LabelError, match="can undo only their own"):
                participant.log.undo(target["event_id"])
        elif target["event_id"] in undone:
            with pytest.raises(LabelError, match="undone already"):
                participant.log.undo(target["event_id"])
        else:
            event = participant.log.undo(target["event_id"])
            self.acknowledge(participant, event, undoes=target["event_id"])

    @rule(number=st.integers(0, 4))
    def refresh(self, number):
        self.read(self.some(number))

    @rule(number=st.integers(0, 4), torn=st.binary(max_size=40))
    def crash_and_open_again(self, number, torn):
        """A kernel dies; what it was writing stays half written."""
        place = number % len(self.participants)
        log = self.participants[place].log
        path = self.file_of(log)
        if path is not None:
            with path.open("ab") as stream:
                stream.write(torn.replace(b"\n", b""))
        self.participants[place] = self.participant(log.annotator, after=log)

    @rule(
        number=st.integers(0, 4),
        room=st.integers(0, 300) | st.just(10**6),
        error=st.sampled_from([errno.ENOSPC, errno.EROFS]),
    )
    def fail_to_write(self, number, room, error):
        """The disk takes some bytes of the line (never its newline) and no more."""
        participant = self.some(number)
        write = os.write
        left = room

        def short(descriptor, data):
            nonlocal left
            data = bytes(data)[:left].removesuffix(b"\n")
            if not data:
                raise OSError(error, os.strerror(error))
            left -= len(data)
            return write(descriptor, data)

        with mock.patch("os.write", short), self.refused(participant):
            participant.log.record(FRAMES, interest=1, add=["never"])

    @rule(number=st.integers(0, 4))
    def fail_to_flush(self, number):
        """The whole line is written, and the disk says that it may not be there."""
        participant = self.some(number)
        with (
            mock.patch("os.fsync", side_effect=OSError(errno.EIO, "Input/output error")),
            self.refused(participant),
        ):
            participant.log.record(FRAMES, interest=1, add=["never"])

    @rule(number=st.integers(0, 4))
    def fail_to_flush_and_then_to_write(self, number):
        """Not even taking the line back succeeds, until the next label does."""
        participant = self.some(number)
        write, left = os.write, 1

        def once(descriptor, data):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data)

        failing = mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left on device"))
        with mock.patch("os.write", once), failing, self.refused(participant):
            participant.log.record(FRAMES, interest=1, add=["never"])
        event = participant.log.record(["f0"], interest=2)
        self.acknowledge(participant, event, frames=["f0"], interest=2)

    @rule(number=st.integers(0, 4), error=st.sampled_from([errno.EACCES, errno.EROFS, errno.EMFILE]))
    def fail_to_begin_a_file(self, number, error):
        """The folder lets nobody make a file; a file that is open already is written to all the same."""
        participant = self.some(number)
        participant.log.close()
        open_file = os.open

        def read_only(path, flags, *more):
            if flags & os.O_CREAT:
                raise OSError(error, os.strerror(error))
            return open_file(path, flags, *more)

        with mock.patch("os.open", read_only), self.refused(participant):
            participant.log.record(FRAMES, interest=1, add=["never"])

    @rule(now=st.sampled_from([0.0, 1.8e9, 1.8e9 - 86400, 4e9, -5.0, 1e300]))
    def jump_the_clock(self, now):
        self.now = now

    @precondition(lambda self: self.in_flight is None)
    @rule(cut=st.integers(1, 150), annotator=st.sampled_from(ANNOTATORS), late=st.booleans())
    def see_half_a_line(self, cut, annotator, late):
        """Another machine's line is on its way, perhaps from long ago."""
        self.flights += 1
        counter = 1 if late else max((known["counter"] for known in self.acknowledged), default=0) + 1
        event = {
            "event_id": f"flight{self.flights}",
            "counter": counter,
            "annotator": annotator,
            "session": "far",
            "frames": [{"frame_id": "f1"}],
            "set": {"interest": 4},
            "add": ["DIFFUSE"],
        }
        line = json.dumps(event).encode() + b"\n"
        cut = min(cut, len(line) - 1)
        with (self.folder / "far.jsonl").open("ab") as stream:
            stream.write(line[:cut])
        self.in_flight = (event, line[cut:])

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def see_the_other_half(self):
        event, rest = self.in_flight
        self.in_flight = None
        with (self.folder / "far.jsonl").open("ab") as stream:
            stream.write(rest)
        nothing = {"remove": [], "note": UNSET, "undoes": None}
        self.acknowledged.append(event | nothing | {"frames": ["f1"], "interest": 4})

    @rule(rubbish=st.binary(min_size=1, max_size=30))
    def find_rubbish(self, rubbish):
        with (self.folder / "rubbish.jsonl").open("ab") as stream:
            stream.write(rubbish + b"\n")

    @invariant()
    def every_participant_knows_what_it_must(self):
        for participant in self.participants:
            self.check(participant)


LogMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True
)
TestLogMachine = LogMachine.TestCase


class LongLogMachine(LogMachine):
    """The same for long, and with other examples every time."""


LongLogMachine.TestCase.settings = settings(
    max_examples=1500, stateful_step_count=80, deadline=None, print_blob=True
)
TestLongLogMachine = pytest.mark.soak(LongLogMachine.TestCase)


# -- real processes, real signals, real limits ----------------------------------------------------------


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.splitlines()


WRITER = """
import random, sys, time
from radiowidgets.labels.log import LabelLog
annotator, seed = sys.argv[2], int(sys.argv[3])
rng, clock = random.Random(seed), time.time
time.time = lambda: rng.choice([0.0, -86400.0, 3e9, 1e300]) if rng.random() < 0.2 else clock()
log = LabelLog(sys.argv[1], annotator)
while True:
    # Now and then a long line, so that the end comes in the middle of one.
    count = rng.choice([1, 2, 4000])
    what = rng.random()
    if what < 0.1:
        log.refresh()
    own = [event for event in log.events()[-20:] if event.annotator == annotator and log.counts(event)]
    if what < 0.3 and own:  # an undo, or a redo where that is an undo
        event = log.undo(rng.choice(own).event_id)
    else:
        event = log.record([f"frame{i}" for i in range(count)], interest=rng.randrange(6), note=f"{what}")
    print(event.event_id, flush=True)
"""


def live_and_die(folder, lives, at_once, seed):
    """Let people label side by side, each killed in the middle of it; return what was said to be saved."""
    rng = random.Random(seed)
    said = []
    for first in range(0, lives, at_once):
        writers = [
            start(WRITER, folder, rng.choice(ANNOTATORS), seed + life)
            for life in range(first, min(first + at_once, lives))
        ]
        for writer in writers:
            said += [writer.stdout.readline().strip() for _ in range(rng.randint(1, 12))]
            time.sleep(rng.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            said += writer.stdout.read().split()
            assert writer.wait(timeout=60) == -signal.SIGKILL
            writer.stdout.close()
            writer.stderr.close()
    return said


def check_after(folder, lives, said):
    log = LabelLog(folder, "eve")
    events = [event.event_id for event in log.events()]
    assert len(said) >= lives
    assert set(said) <= set(events)
    # What nobody had said yet may be there too, at most one event for each life.
    assert len(events) <= len(said) + lives
    assert len(events) == len(set(events))
    assert all("unfinished last line" in problem for problem in log.problems)
    known = [
        {
            "event_id": event.event_id,
            "counter": event.counter,
            "annotator": event.annotator,
            "frames": event.frame_ids,
            "interest": event.set.get("interest", UNSET),
            "add": event.add,
            "remove": event.remove,
            "note": UNSET if event.note is None else event.note,
            "undoes": event.undoes,
        }
        for event in log.events()
    ]
    for annotator in ANNOTATORS:
        assert state_of(log, annotator) == fold(known, annotator)[0]
    assert LabelLog(folder, "ana").record(["a"], interest=1).counter > max(e.counter for e in log.events())


def test_killed_writers_have_saved_all_that_they_said(tmp_path):
    check_after(tmp_path, 4, live_and_die(tmp_path, lives=4, at_once=2, seed=3))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_hundreds_of_killed_writers_have_saved_all_that_they_said(tmp_path, seed):
    check_after(tmp_path, 40, live_and_die(tmp_path, lives=40, at_once=3, seed=1000 * seed))


FULL = """
import resource, sys
from radiowidgets.errors import LabelError
from radiowidgets.labels.log import LabelLog
log = LabelLog(sys.argv[1], "ana")
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
refused = 0
for number in range(60):
    try:
        event = log.record([f"frame{number}"], interest=number % 6, note="n" * (number % 7))
        print("saved", event.event_id)
    except LabelError as error:
        refused += 1
        print("refused", error)
        assert f"frame{number}" not in log.state()
        if refused == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("state", sorted(log.state()))
"""


def test_a_full_disk_is_told_and_got_over(tmp_path):
    lines = finish(start(FULL, tmp_path))
    saved = [line.split()[1] for line in lines if line.startswith("saved")]
    refused = [line for line in lines if line.startswith("refused")]
    assert len(saved) == 55
    assert len(refused) == 5
    assert all("Not saved: interest" in line and "(File too large)" in line for line in refused)
    log = LabelLog(tmp_path, "bob")
    assert [event.event_id for event in log.events()] == saved
    assert lines[-1] == f"state {sorted(log.state('ana'))}"
    assert all("skipped, not a line of JSON" in problem for problem in log.problems)
    # The limit is the file's and not the disk's, so a new file would hide what is tested here.
    assert len(list(tmp_path.iterdir())) == 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


BECOME_NOBODY = """
import os, sys
from radiowidgets.errors import LabelError
from radiowidgets.labels.log import LabelLog
if os.getuid() == 0:
    # Root writes anywhere: become nobody, once all that nobody may not read is imported.
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""
READ_ONLY = """
log = LabelLog(sys.argv[1], "bob")
print(log.state("ana")["a"].interest)
try:
    log.record(["a"], interest=5)
except LabelError as error:
    print(error)
print(log.state())
"""
TURNED_READ_ONLY = """
os.mkdir(sys.argv[1])
saved = [LabelLog(sys.argv[1], "bob").record(["a"], interest=1).event_id]
log = LabelLog(sys.argv[1], "bob")
for mode, frame in ((0o555, "b"), (0o555, "c"), (0o755, "d"), (0o555, "e")):
    os.chmod(sys.argv[1], mode)
    try:
        saved.append(log.record([frame], interest=2).event_id)
    except LabelError as error:
        print(f"{frame}: {error}")
print(*saved)
print(*sorted(log.state()))
"""


def test_a_read_only_folder_can_be_read_and_is_told():
    # Not tmp_path, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="labels-") as parent:
        folder = Path(parent) / "labels"
        LabelLog(folder, "ana").record(["a"], interest=2)
        Path(parent).chmod(0o755)
        folder.chmod(0o555)
        try:
            interest, error, state = finish(start(BECOME_NOBODY + READ_ONLY, folder))
        finally:
            folder.chmod(0o755)
    assert interest == "2"
    assert error.startswith("Not saved: interest 5 on 1 frame could not be written to")
    assert "(Permission denied). Ask the folder's owner for the right to write" in error
    assert error.endswith("then repeat the action; what was saved before is safe.")
    assert state == "{}"


def test_a_folder_that_turns_read_only_is_told_until_it_can_be_written_again():
    with tempfile.TemporaryDirectory(prefix="labels-") as parent:
        Path(parent).chmod(0o777)
        folder = Path(parent) / "labels"
        try:
            first, second, saved, state = finish(start(BECOME_NOBODY + TURNED_READ_ONLY, folder))
        finally:
            folder.chmod(0o755)
        assert first.startswith("b: Not saved: interest 2 on 1 frame could not be written to")
        assert second.startswith("c: Not saved:") and "(Permission denied)" in second
        # A file that was made in time is written to whatever becomes of its folder.
        assert state == "a d e"
        log = LabelLog(folder, "ana")
        assert [event.event_id for event in log.events()] == saved.split()
        assert sorted(log.state("bob")) == state.split()
        assert log.problems == []

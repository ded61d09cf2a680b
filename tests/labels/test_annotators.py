"""Eight annotators label at once, in files and on PostgreSQL: nothing is lost, nothing is there twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from labels.test_postgres import server  # noqa: F401 - a fixture

from radiowidgets.labels.log import LabelLog

PEOPLE = [f"annotator{k}" for k in range(8)]
SECONDS = 600

#: Rates, tags, notes, acts on many frames, undoes, reads the others; what must come of it is counted here by itself.
ANNOTATOR = """
import json, random, sys
from radiowidgets.labels.log import LabelLog
address, run, annotator, spool, count, told = sys.argv[1:]
log = LabelLog(address, annotator, run=run, spool=spool) if "://" in address else LabelLog(address, annotator)
rng = random.Random(annotator)
frames = [f"emu-x{k:05d}-y00000-64x64" for k in range(2000)]
ids, done = [], []
for number in range(int(count)):
    if done and rng.random() < 0.05:
        ids.append(log.undo().event_id)
        done.pop()
        continue
    chosen = rng.sample(frames, 20 if rng.random() < 0.02 else 1)
    kind = rng.randrange(4)
    what = {} if kind == 3 else {"interest": rng.randrange(6)}
    if kind >= 1:
        what["add"] = [rng.choice(["EXTENDED", "DIFFUSE", "PECULIAR"])]
    if kind == 2:
        what["note"] = f"note {number} \\u00e9"
    ids.append(log.record(chosen, **what).event_id)
    done.append((chosen, what))
    if number % 200 == 199:
        log.refresh()
assert log.sync(600), log.problems
state = {}
for chosen, what in done:
    for frame in chosen:
        interest, tags, note = state.get(frame, (None, [], None))
        state[frame] = (what.get("interest", interest), sorted({*tags, *what.get("add", [])}), what.get("note", note))
log.close()
with open(told, "w") as file:
    json.dump({"ids": ids, "state": state}, file)
"""


def label_at_once(place: str, run: str, folder: Path, count: int) -> dict[str, dict]:
    """Let all annotators label at once, `count` labels in all; return what each says that it did."""
    people = {}
    for name in PEOPLE:
        arguments = [
            place,
            run,
            name,
            str(folder / f"home-{name}"),
            str(count // len(PEOPLE)),
            str(folder / f"{name}.json"),
        ]
        people[name] = subprocess.Popen(
            [sys.executable, "-c", ANNOTATOR, *arguments], stderr=subprocess.PIPE, text=True
        )
    try:
        for process in people.values():
            _, errors = process.communicate(timeout=SECONDS * max(1, count // 20_000))
            assert process.returncode == 0, errors[-2000:]
    finally:
        for process in people.values():
            process.kill()
            process.wait()
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in PEOPLE}


def check_all_there(log: LabelLog, told: dict[str, dict], count: int) -> None:
    with log:
        assert log.sync(SECONDS) and not log.problems
        said = [event_id for one in told.values() for event_id in one["ids"]]
        assert len(said) == len(set(said)) == count == len(log)
        assert {event.event_id for event in log.events()} == set(said)
        for name, one in told.items():
            assert [event.event_id for event in log.events() if event.annotator == name] == one["ids"]
            found = {
                frame: [state.interest, sorted(state.tags), state.note]
                for frame, state in log.state(name).items()
            }
            assert found == one["state"]


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_eight_annotators_in_one_folder(tmp_path, count):
    folder = tmp_path / "labels"
    told = label_at_once(str(folder), "run", tmp_path, count)
    files = sorted(folder.glob("*.jsonl"))
    lines = [json.loads(line)["event_id"] for file in files for line in file.read_bytes().splitlines()]
    assert len(files) == len(PEOPLE) and len(lines) == len(set(lines)) == count
    check_all_there(LabelLog(folder, annotator="reader"), told, count)


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_eight_annotators_on_one_server(server, tmp_path, count):  # noqa: F811
    run = server.new_run()
    told = label_at_once(server.address, run, tmp_path, count)
    query = "select count(*), count(distinct event_id) from radiowidgets_events where run = %s"
    assert server.ask(query, run) == [(count, count)]
    check_all_there(LabelLog(server.address, "reader", run=run, spool=tmp_path / "reader"), told, count)

"""Relabel without a browser: queues, answers in the log, messages."""

import numpy as np
import pandas as pd
import pytest

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.labels.log import LabelLog


@pytest.fixture
def run(tmp_path):
    pixels = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    frames = rw.cut_windows(rw.SkyMap.from_array(pixels, name="noise"), size=64, step=32)
    return rw.Run.create(tmp_path / "run", frames, annotator="ada")


@pytest.fixture
def queue(run):
    ids = np.asarray(run.frames.frame_ids)[[4, 9, 2]]
    return pd.DataFrame(
        {
            "frame_id": ids,
            "label": ["FRI", "FRII", ""],
            "suggested": ["FRII", "FRI", "FRI"],
            "probability": [0.1, 0.2, np.nan],
            "suggested_probability": [0.9, 0.7, np.nan],
        }
    )


class Screen:
    """A relabelling and what it sends."""

    def __init__(self, relabel):
        self.relabel, self.sent = relabel, []
        relabel.send = lambda content, buffers=None: self.sent.append((content, buffers or []))

    def ask(self, **content):
        self.relabel._receive(None, {"view": "v", **content})
        return self.sent[-1]


def test_answers_become_tags_and_the_queue_goes_on_where_it_was_left(run, queue):
    relabel = rw.Relabel(run, queue, examples={"FRI": [1, 2, 3, 4]})
    screen = Screen(relabel)
    about, _ = screen.ask(kind="index")
    assert [row["frame"] for row in about["rows"]] == [4, 9, 2]
    assert about["rows"][0] | {"id": ""} == {
        "frame": 4,
        "id": "",
        "label": "FRI",
        "suggested": "FRII",
        "probability": 0.1,
        "other": 0.9,
        "why": "",
        "answer": None,
    }
    assert about["rows"][2]["probability"] is None and about["examples"] == {"FRI": [1, 2, 3]}

    for place, answer in enumerate(["accept", "keep", "unsure"]):
        reply, _ = screen.ask(kind="act", id=f"a{place}", place=place, answer=answer)
        assert reply["kind"] == "saved" and reply["id"] == f"a{place}"
    assert reply["answers"] == ["accept", "keep", "unsure"]
    state = run.labels.state()
    assert [sorted(state[frame].tags) for frame in queue["frame_id"]] == [["FRII"], ["FRII"], ["UNSURE"]]
    assert relabel.table["final"].tolist() == ["FRII", "FRII", ""]

    screen.ask(kind="act", id="a2", place=2, answer="unsure")  # the same message again is no second event
    assert len(run.labels) == 3
    reply, _ = screen.ask(kind="act", id="a3", place=2, answer="accept")  # a change of mind
    assert run.labels.state_of(queue["frame_id"][2]).tags == {"FRI"}
    reply, _ = screen.ask(kind="undo", id="u1")
    assert reply["answers"] == ["accept", "keep", "unsure"]

    later = rw.Relabel(rw.Run.open(run.path, annotator="ada"), queue)
    assert later.table["answer"].tolist() == ["accept", "keep", "unsure"]
    bob = rw.Relabel(rw.Run.open(run.path, annotator="bob"), queue)
    assert bob.table["answer"].tolist() == [None, None, None]


def test_what_cannot_be_done_is_told_and_nothing_is_recorded(run, queue):
    screen = Screen(rw.Relabel(run, queue))
    for bad in (
        {"place": 7, "answer": "keep"},
        {"place": 0, "answer": "maybe"},
        {"place": None, "answer": "keep"},
    ):
        reply, _ = screen.ask(kind="act", id=str(bad), **bad)
        assert reply["kind"] == "refused" and reply["text"]
    assert screen.ask(kind="nothing")[0]["text"].startswith("Unknown message")
    assert "reload" in screen.ask(kind="tiles", frames=[10**6], size=64)[0]["text"]
    assert len(run.labels) == 0
    tiles, (buffer,) = screen.ask(kind="tiles", request=3, frames=[4, 9], size=32)
    assert tiles["request"] == 3 and len(buffer) == 2 * 32 * 32 * 2


def test_queues_are_checked(run, queue):
    with pytest.raises(ParameterError, match="no column 'suggested'"):
        rw.Relabel(run, queue.drop(columns="suggested"))
    with pytest.raises(ParameterError, match="no frame 'elsewhere'"):
        rw.Relabel(run, queue.assign(frame_id=["elsewhere", *queue["frame_id"][1:]]))
    with pytest.raises(ParameterError, match="is there twice"):
        rw.Relabel(run, pd.concat([queue, queue]))
    assert (
        rw.Relabel(run, queue.set_index("frame_id")).queue["frame_id"].tolist() == queue["frame_id"].tolist()
    )
    assert rw.Relabel(run, queue.iloc[:0]).table.empty


def test_suspects_are_what_confident_learning_suspects(run):
    rng = np.random.default_rng(0)
    truth = np.tile(["double", "ring"], len(run.frames))[: len(run.frames)]
    sure = np.clip(rng.normal(0.85, 0.05, len(truth)), 0, 1)
    probabilities = np.where((truth == "double")[:, None], np.c_[sure, 1 - sure], np.c_[1 - sure, sure])
    labels = truth.copy()
    labels[[3, 20]] = ["double", "ring"]
    relabel = rw.Relabel.suspects(run, labels, probabilities)
    assert set(relabel.queue["frame_id"]) == set(np.asarray(run.frames.frame_ids)[[3, 20]])
    assert set(relabel.queue["label"]) == {"double", "ring"}
    assert all(truth[k] == name for name, some in relabel.examples.items() for k in some)
    with pytest.raises(ParameterError, match="There are 3 labels; give one for each of 49 frames"):
        rw.Relabel.suspects(run, labels[:3], probabilities[:3])


def test_disputes_are_tags_that_some_put_on(run):
    ids = [str(name) for name in run.frames.frame_ids[:3]]
    for who, tags in (("ana", [["RING"], [], ["ODD"]]), ("bob", [[], [], ["ODD"]])):
        log = LabelLog(run.path / "labels", who)
        for frame_id, some in zip(ids, tags, strict=True):
            log.record([frame_id], interest=1, add=some)
    run.labels.refresh()
    queue = rw.Relabel.disputes(run).queue
    assert queue["frame_id"].tolist() == [ids[0]]
    assert queue.loc[0, ["label", "suggested", "why"]].tolist() == ["", "RING", "put on by ana, not by bob"]

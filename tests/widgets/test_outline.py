"""Outline without a browser: what it shows, saves and takes back; and what training makes of it."""

import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets.errors import LabelError, ParameterError
from radiowidgets.finding.instances import labelled_instances
from radiowidgets.labels.log import LabelLog
from radiowidgets.widgets.answers import described

SQUARE = {"class": "EXTENDED", "rings": [[[10.0, 10.0], [20.0, 10.0], [20.0, 30.0], [10.0, 30.0]]]}
POINT = {"class": "COMPACT", "rings": [[[40.0, 40.0], [44.0, 40.0], [42.0, 44.0]]]}


@pytest.fixture
def run(tmp_path):
    pixels = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    frames = rw.cut_windows(rw.SkyMap.from_array(pixels, name="noise"), size=64, step=64)
    return rw.Run.create(tmp_path / "run", frames, annotator="ada")


def screen(widget):
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers or []))

    def ask(**content):
        widget._receive(None, {"view": "v", **content})
        return sent[-1]

    return ask


def test_outlines_are_saved_as_events_and_taken_back(run):
    widget = rw.Outline(run, [2, 0], start={2: [POINT]})
    ask = screen(widget)
    about, _ = ask(kind="index")
    assert [row["frame"] for row in about["rows"]] == [2, 0]
    assert about["rows"][0]["outlines"] == [POINT] and not about["rows"][0]["drawn"]
    assert about["classes"][2] == "EXTENDED" and about["annotator"] == "ada"
    told, _ = ask(kind="act", id="a", frame=2, outlines=[SQUARE, POINT])
    assert (
        told["kind"] == "saved"
        and told["rows"][0]["drawn"]
        and told["rows"][0]["outlines"] == [SQUARE, POINT]
    )
    ask(kind="act", id="a", frame=2, outlines=[SQUARE, POINT])  # sent again: recorded once
    event = run.labels.events()[-1]
    assert len(run.labels) == 1 and event.frames[0].box == (128, 0, 64, 64)
    assert rw.Outline(run, [2], start={2: []}).outlines(2) == [SQUARE, POINT]
    told, _ = ask(kind="undo", id="b")
    assert told["text"] == "undone" and widget.outlines(2) == [POINT]
    assert told["frame"] == 2
    assert ask(kind="undo", id="c")[0]["text"] == "nothing to undo here"


def test_an_undo_takes_back_outlines_of_these_frames_alone(run):
    elsewhere = rw.Outline(run, [5])
    elsewhere.save(5, [SQUARE])
    widget = rw.Outline(run, [2, 0])
    widget.save(0, [POINT])
    widget.save(2, [SQUARE])
    run.labels.record(described(run, 2, {}), interest=4)
    ask = screen(widget)
    assert [ask(kind="undo", id=name)[0].get("frame") for name in "abc"] == [2, 0, None]
    assert run.labels.state_of(str(run.frames.frame_id(2))).interest == 4
    assert elsewhere.outlines(5) == [SQUARE]


def test_saved_outlines_are_learnt_from(run):
    widget = rw.Outline(run)
    widget.save(1, [SQUARE])
    widget.save(3, [])
    frames = run.frames
    own = labelled_instances(
        frames.pixels(range(16))[..., 0], frames.frame_ids, LabelLog(run.path / "labels"), "ada"
    )
    assert len(own) == 2 and own.counts()["EXTENDED"] == 1
    assert own.patches[0][0].mask.shape == (20, 10) and own.patches[1] == []


def test_what_is_no_outline_is_refused_in_words(run):
    widget = rw.Outline(run, [0])
    ask = screen(widget)
    told, _ = ask(kind="act", id="a", frame=0, outlines=[{"class": "EXTENDED", "rings": [[[1, 2]]]}])
    assert told["kind"] == "refused" and "three corners" in told["text"]
    assert ask(kind="act", id="b", frame=1, outlines=[])[0]["kind"] == "refused"
    assert "does not show" in ask(kind="tiles", frames=[1], size=64)[0]["text"]
    assert "Unknown message" in ask(kind="run")[0]["text"]
    assert ask(kind="tiles", frames=[0], size=64)[0]["width"] == 64
    with pytest.raises(LabelError, match="class"):
        widget.save(0, [{}])
    assert len(run.labels) == 0


def test_what_it_cannot_show_is_said(run):
    with pytest.raises(ParameterError, match="no frame 16"):
        rw.Outline(run, [0, 16])
    with pytest.raises(ParameterError, match="one to nine"):
        rw.Outline(run, classes=[])
    with pytest.raises(ParameterError, match="see outlines_of"):
        rw.Outline(run, start={0: [{"class": "A"}]})

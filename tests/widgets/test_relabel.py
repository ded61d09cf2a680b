"""Relabel without a browser: queues, answers in the log, messages."""

import numpy as np
import pandas as pd
import pytest

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.labels.agreement import consensus
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

    def say(self, identity, place, answer):
        """Answer as the front end does: it names the question, whose place another queue may have given away."""
        question = list(self.relabel._questions[place])
        return self.ask(kind="act", id=identity, question=question, answer=answer)[0]

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
        "about": "tag",
        "by": "",
        "suggested_by": "",
        "label": "FRI",
        "suggested": "FRII",
        "probability": 0.1,
        "other": 0.9,
        "why": "",
        "answer": None,
    }
    assert about["rows"][2]["probability"] is None and about["examples"] == {"FRI": [1, 2, 3]}

    for place, answer in enumerate(["accept", "keep", "unsure"]):
        reply = screen.say(f"a{place}", place, answer)
        assert reply["kind"] == "saved" and reply["id"] == f"a{place}"
    assert reply["answers"] == ["accept", "keep", "unsure"]
    state = run.labels.state()
    assert [sorted(state[frame].tags) for frame in queue["frame_id"]] == [["FRII"], ["FRII"], ["UNSURE"]]
    assert relabel.table["final"].tolist() == ["FRII", "FRII", ""]

    screen.say("a2", 2, "unsure")  # the same message again is no second event
    assert len(run.labels) == 3
    screen.say("a3", 2, "accept")  # a change of mind, and another
    assert run.labels.state_of(queue["frame_id"][2]).tags == {"FRI"}
    screen.say("a4", 2, "unsure")
    assert run.labels.state_of(queue["frame_id"][2]).tags == {"UNSURE"}
    screen.say("a5", 0, "keep")
    run.labels.record([str(run.frames.frame_ids[40])], interest=5)  # in Review, after that
    reply, _ = screen.ask(kind="undo", id="u1")
    assert (reply["text"], reply["place"], reply["answers"]) == ("undone", 0, ["accept", "keep", "unsure"])
    assert run.ratings.tolist() == [5]

    later = rw.Relabel(rw.Run.open(run.path, annotator="ada"), queue)
    assert later.table["answer"].tolist() == ["accept", "keep", "unsure"]
    bob = rw.Relabel(rw.Run.open(run.path, annotator="bob"), queue)
    assert bob.table["answer"].tolist() == [None, None, None]


def test_only_answers_to_this_queue_are_undone(run, queue):
    screen = Screen(rw.Relabel(run, queue))
    run.labels.record([str(run.frames.frame_ids[4])], interest=5)
    assert screen.ask(kind="undo", id="u1")[0]["text"] == "nothing to undo in this queue"
    screen.say("a1", 0, "accept")
    assert screen.ask(kind="undo", id="u2")[0]["place"] == 0
    assert run.labels.state_of(queue["frame_id"][0]) == run.labels.state_of(queue["frame_id"][0])._replace(
        interest=5, tags=frozenset()
    )
    assert screen.ask(kind="undo", id="u3")[0]["text"] == "nothing to undo in this queue"


def test_an_answer_that_waited_goes_to_its_question_or_nowhere(run, queue):
    before, after = Screen(rw.Relabel(run, queue)), Screen(rw.Relabel(run, queue[::-1]))
    question = list(before.relabel._questions[0])
    assert after.ask(kind="act", id="a", question=question, answer="accept")[0]["answers"] == [
        None,
        None,
        "accept",
    ]
    assert before.relabel.table["answer"].tolist() == ["accept", None, None]
    shorter = Screen(rw.Relabel(run, queue[1:]))
    reply, _ = shorter.ask(kind="act", id="b", question=question, answer="keep")
    assert reply["kind"] == "refused" and "does not ask that" in reply["text"] and len(run.labels) == 1


def test_events_are_read_once(run, queue, monkeypatch):
    relabel = rw.Relabel(run, queue)
    seen = []
    monkeypatch.setattr(
        relabel, "_place_of", lambda event: seen.append(event) or rw.Relabel._place_of(relabel, event)
    )
    for k in range(50):
        relabel.answer(k % 3, ("accept", "keep")[k % 2])
        relabel._answers()
    assert len(seen) == 50 == len(run.labels)


def test_what_cannot_be_done_is_told_and_nothing_is_recorded(run, queue):
    screen = Screen(rw.Relabel(run, queue))
    asked = list(screen.relabel._questions[0])
    for bad in (
        {"question": [*asked[:3], "GAS"], "answer": "keep"},
        {"question": asked, "answer": "maybe"},
        {"question": asked[:2], "answer": "keep"},
        {"question": None, "answer": "keep"},
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
    with pytest.raises(ParameterError, match="are both 'FRI'"):
        rw.Relabel(run, queue.assign(suggested="FRI"))
    with pytest.raises(ParameterError, match="no semicolon"):
        rw.Relabel(run, queue.assign(suggested="A;B"))
    with pytest.raises(ParameterError, match="about is 'colour'"):
        rw.Relabel(run, queue.assign(about="colour"))
    with pytest.raises(ParameterError, match="not a whole number 0-5"):
        rw.Relabel(run, queue.assign(about="interest", label=1, suggested=7))


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


def test_suspects_of_some_frames(run):
    truth = np.tile(["double", "ring"], 5)
    labels = truth.copy()
    labels[3] = "double"
    probabilities = np.where((truth == "double")[:, None], [0.9, 0.1], [0.1, 0.9])
    rows = np.arange(30, 40)
    relabel = rw.Relabel.suspects(run, labels, probabilities, frames=rows)
    assert relabel.queue["frame_id"].tolist() == [run.frames.frame_ids[33]]
    assert set(relabel.examples["ring"]) <= set(rows)
    with pytest.raises(ParameterError, match="goes from 30 to 90; there are 49"):
        rw.Relabel.suspects(run, labels, probabilities, frames=[*rows[:-1], 90])


def test_labels_are_judged_by_the_embedding_of_the_run(tmp_path):
    rng = np.random.default_rng(0)
    frames = rw.FrameSet.from_images([rng.normal(size=(16, 16)) for _ in range(40)])
    truth = np.tile(["double", "ring"], 20)
    z = rng.normal(size=(40, 3)) + 4.0 * (truth == "ring")[:, None]
    labels = truth.copy()
    labels[7] = "double"
    run = rw.Run.create(tmp_path / "judged", frames, z.astype(np.float32), annotator="ada")
    relabel = rw.Relabel.suspects(run, labels)
    assert relabel.queue.loc[0, ["frame_id", "label", "suggested"]].tolist() == [
        run.frames.frame_ids[7], "double", "ring",
    ]  # fmt: skip
    named = rw.Relabel.suspects(run, labels, order="confident learning")
    assert len(named.queue) == len(relabel.queue)
    assert len(rw.Relabel.suspects(run, labels, count=12).queue) == 12
    bare = rw.Run.create(tmp_path / "bare", frames, annotator="ada")
    with pytest.raises(ParameterError, match="no embedding to judge labels by"):
        rw.Relabel.suspects(bare, labels)


def said(run, **people):
    ids = [str(name) for name in run.frames.frame_ids[:9]]
    for who, labels in people.items():
        log = LabelLog(run.path / "labels", who)
        for frame_id, (interest, tags) in zip(ids, labels, strict=False):
            log.record([frame_id], **({} if interest is None else {"interest": interest}), add=tags, note="")
    return ids


def test_disputes_are_ratings_and_tags_of_which_some_say_otherwise(run):
    ids = said(
        run,
        ana=[(1, ["RING"]), (1, []), (1, ["ODD"]), (5, ["FRI", "RING"]), (None, ["RING"])],
        bob=[(1, []), (1, []), (1, ["ODD"]), (1, ["FRII", "RING"]), (None, ["UNSURE"])],
        eve=[(1, []), (1, []), (1, ["ODD"]), (5, ["FRI", "RING"])],
    )
    for who, tag in (("ana", "RING"), ("bob", "ODD")):
        LabelLog(run.path / "labels", who).record(["of an earlier cut"], add=[tag])
    relabel = rw.Relabel.disputes(run)
    asked = (
        relabel.queue[["frame_id", "about", "label", "suggested", "by", "suggested_by"]].to_numpy().tolist()
    )
    assert asked == [
        [ids[3], "interest", "1", "5", "bob", "ana and eve"],
        [ids[3], "tag", "FRI", "FRII", "ana and eve", "bob"],
        [ids[0], "tag", "", "RING", "bob and eve", "ana"],
    ]
    assert relabel.examples["RING"] == [3, 4] and relabel.examples["FRI"] == []
    assert len(rw.Relabel.disputes(run, least=5).queue) == 2


def test_a_decision_is_a_label_of_the_one_who_decides(run):
    ids = said(run, ana=[(5, ["FRI", "RING"])], bob=[(1, ["FRII", "RING"])])
    relabel = rw.Relabel.disputes(run)
    for answer, interest, tags in (
        ("accept", 5, {"FRII", "RING"}),
        ("keep", 1, {"FRI", "RING"}),
        ("unsure", None, {"RING", "UNSURE"}),
        ("accept", 5, {"FRII", "RING"}),
    ):
        for place in (0, 1):
            relabel.answer(place, answer)
        state = run.labels.state_of(ids[0])
        assert (state.interest, state.tags) == (interest, tags)
    relabel.answer(0, "unsure")
    relabel.answer(1, "keep")  # of the tags; the rating is still open
    assert run.labels.state_of(ids[0]).tags == {"FRI", "RING", "UNSURE"}
    relabel.answer(0, "keep")
    assert run.labels.state_of(ids[0]).tags == {"FRI", "RING"}
    again = rw.Relabel.disputes(run)  # what was decided is asked no other way round
    assert again.table["answer"].tolist() == ["keep", "keep"]
    one = consensus(run.labels.table(), "expert", expert="ada")
    assert (one.loc[ids[0], "interest"], one.loc[ids[0], "tags"]) == (1, ["FRI", "RING"])


def test_who_is_blind_cannot_decide_between_others(run):
    said(run, ana=[(5, ["RING"])], bob=[(1, [])])
    with pytest.raises(ParameterError, match="open blind"):
        rw.Relabel.disputes(rw.Run.open(run.path, annotator="ada", blind=True))
    assert rw.Relabel.disputes(rw.Run.open(run.path, annotator="ada")).queue["about"].tolist() == [
        "interest",
        "tag",
    ]

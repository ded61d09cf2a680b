"""How the order of a review follows the labels, without a browser."""

import json
import shutil

import numpy as np
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.run import reranking
from radiowidgets.run.reranking import Reranking, order_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made") / "run"
    rw.Run.create(place, rw.cut_windows(noisy_sky(), size=64, step=24), annotator="ada")
    return place


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return rw.Run.open(tmp_path / "run", annotator="ada")


@pytest.fixture
def few(monkeypatch):
    """So small a head that the order of a small run comes in two parts."""
    monkeypatch.setattr(reranking, "HEAD", 30)
    monkeypatch.setattr(reranking, "DRAWN", 10)
    monkeypatch.setattr(reranking, "CHUNK", 64)


class Desk:
    """A review whose background work waits until it is told to go on."""

    def __init__(self, run, **given):
        self.sent, self.jobs = [], []
        self.review = rw.Review(run, **given)
        self.review.send = lambda content, buffers=(): self.sent.append((content, list(buffers)))
        self.review._slow.submit = lambda call: call()
        self.review.follower._executor.submit = lambda call, *given: self.jobs.append((call, given))
        self.review.follower.pause = self.review.follower.rest = 0.0
        self.number = 0

    def __call__(self, kind, buffers=(), **content):
        self.review._receive(None, {"kind": kind, **content}, list(buffers))
        return self.sent[-1]

    def rate(self, frame, interest, **more):
        self.number += 1
        return self("act", id=f"r{self.number}", frames=[int(frame)], interest=interest, look="rank", **more)

    def work(self):
        """Do what waits; return the orders that came of it."""
        before = len(self.sent)
        jobs, self.jobs[:] = list(self.jobs), []
        for call, given in jobs:
            call(*given)
        for content, _ in self.sent[before:]:
            json.dumps(content, allow_nan=False)
        return [entry for entry in self.sent[before:] if entry[0]["kind"] == "order"]


def places(message):
    return np.frombuffer(message[1][0], np.uint32)


def test_the_order_follows_each_label_and_is_that_of_a_full_re_ranking(run):
    desk = Desk(run)
    first = places(desk("index"))
    for frame, interest in zip(first[:10], (0, 5, 0, 4, 1, 0, 5, 0, 0, 3), strict=True):
        desk.rate(frame, interest)
        told = desk.work()
        assert len(told) == 1 and told[0][0]["live"]
    full = run.rerank()
    np.testing.assert_array_equal(places(told[0]), order_of(full))
    about, (_, steps) = told[0]
    score = about["low"] + np.frombuffer(steps, np.uint16) * (about["high"] - about["low"]) / 65535
    np.testing.assert_allclose(score, full["score"].to_numpy()[order_of(full)], atol=1e-5)
    assert "10 ratings" in about["text"] and "those you rated" in about["words"]
    coming, were = (
        [f for f in order if f not in first[:10]][: len(run) // 10] for order in (order_of(full), first)
    )
    assert about["risen"] == [frame for frame in coming if frame not in were]

    later = Desk(
        rw.Run.open(run.path, annotator="ada")
    )  # what stood is found again, and what moved up is told
    _, buffers = later("index")
    np.testing.assert_array_equal(np.frombuffer(buffers[0], np.uint32), order_of(full))
    np.testing.assert_array_equal(np.frombuffer(buffers[6], np.uint32), first[:10])
    (message,) = later.work()
    assert len(places(message)) == 0 and message[0]["risen"] == about["risen"]


def test_what_comes_first_is_there_before_the_rest_and_the_end_is_the_full_order(run, few):
    desk = Desk(run)
    first = places(desk("index"))
    for number, frame in enumerate(first[:6]):
        desk.rate(frame, 5 * (number % 2))
    head, whole = desk.work()
    assert len(places(head)) == 40 and len(places(whole)) == len(run)
    made = Reranking(run, run.worths())
    assert set(first[:30]) <= set(places(head))
    score = made.learnt.score()[places(head)]  # all frames of this sky can be ranked
    assert (np.diff(score) <= 0).all()
    table, count = made.head(run.scores)
    np.testing.assert_array_equal(order_of(table)[:count], places(head))
    rest = [frame for frame in first if frame not in places(head)]
    np.testing.assert_array_equal(order_of(table)[count:], rest)
    np.testing.assert_array_equal(places(whole), order_of(run.rerank()))
    np.testing.assert_array_equal(desk.review.follower.table["rank"], run.rerank()["rank"])


def test_the_nearest_places_come_before_the_candidates(run, few, monkeypatch):
    monkeypatch.setattr(reranking, "NEAR", 12)
    desk = Desk(run)
    first = places(desk("index"))
    desk.rate(first[0], 5)
    desk.rate(first[1], 0)
    near, head, whole = map(places, desk.work())
    assert (len(near), len(head), len(whole)) == (16, 40, len(run))
    assert set(first[:12]) <= set(near) <= set(head)
    assert desk.sent[-1][0]["labels"] == 2


def test_of_many_requests_only_the_newest_counts_and_a_newer_one_stops_the_rest(run, few, monkeypatch):
    desk = Desk(run)
    first = places(desk("index"))
    for number, frame in enumerate(first[:8]):
        desk.rate(frame, 5 * (number % 2))
    assert len(desk.jobs) == 8 and len(desk.work()) == 2
    head = Reranking.head

    def meanwhile(made, *given):  # another label comes while this one is worked on
        if len(run.worths()) == 9:
            desk.rate(first[9], 0)
        return head(made, *given)

    monkeypatch.setattr(Reranking, "head", meanwhile)
    desk.rate(first[8], 5)
    told = desk.work()
    assert [len(places(message)) for message in told] == [40]  # the head, and no more
    told = desk.work()
    assert [len(places(message)) for message in told] == [40, len(run)]
    np.testing.assert_array_equal(places(told[-1]), order_of(run.rerank()))


def test_a_re_ranking_that_was_asked_for_is_not_lost_to_a_newer_label(run):
    desk = Desk(run)
    first = places(desk("index"))
    for number, frame in enumerate(first[:4]):
        desk.rate(frame, 5 * (number % 2))
    desk("rerank")
    desk.rate(first[4], 0)
    told = [content for content, _ in desk.work()]
    assert [content["live"] for content in told] == [False, True]
    assert "4 ratings" in told[0]["text"] and "5 ratings" in told[1]["text"]


def test_notes_and_tags_that_say_nothing_of_interest_move_nothing_others_do(run):
    desk = Desk(run)
    first = places(desk("index"))
    desk("act", id="a", frames=[int(first[0])], note="odd")
    desk("act", id="b", frames=[int(first[1])], add=["COMPACT"])
    assert not desk.jobs
    desk("act", id="c", frames=[int(first[2])], add=["ARTEFACT"])
    (message,) = desk.work()
    assert len(places(message)) == 0 and "nothing to learn" in message[0]["text"]
    desk("act", id="d", frames=[int(first[-1])], add=["PECULIAR"])
    (message,) = desk.work()
    order = places(message).tolist()
    assert order.index(first[2]) > 0 and order.index(first[-1]) < len(run) - 1
    assert run.worths() == {
        str(run.frames.frame_ids[first[2]]): 0.0,
        str(run.frames.frame_ids[first[-1]]): 4.0,
    }
    rated = run.rerank({str(run.frames.frame_ids[first[2]]): 0, str(run.frames.frame_ids[first[-1]]): 4})
    np.testing.assert_array_equal(order, order_of(rated))
    desk("undo", id="e")
    desk("undo", id="f")
    message = desk.work()[-1]
    np.testing.assert_array_equal(places(message), first)  # with nothing said, the first order stands


def test_it_follows_only_if_it_is_to(run):
    desk = Desk(run, follow=False)
    first = places(desk("index"))
    desk.rate(first[0], 5)
    desk.rate(first[1], 0)
    assert not desk.jobs and not desk.review.view["follow"]
    desk("follow")
    assert len(desk.work()) == 1
    assert Desk(rw.Run.open(run.path, annotator="ada")).review.view.get("follow", True)


def test_what_fails_is_told(run, monkeypatch):
    desk = Desk(run)
    first = places(desk("index"))
    monkeypatch.setattr(reranking, "learn", lambda *_, **__: 1 / 0)
    desk.rate(first[0], 5)
    desk.work()
    assert "re-ranking failed: ZeroDivisionError" in desk.sent[-1][0]["text"]


def test_the_queue_goes_on_behind_what_is_planned_and_shows_each_thing_once(run):
    queue = run.queue(random=0, repeats=0, count=20)["frame"]
    later = run.queue(random=0, repeats=0, count=10, planned=queue[:10])["frame"]
    np.testing.assert_array_equal(later, queue[10:])
    leaders = run.stacks()
    assert len(set(leaders[queue].tolist())) == len(queue)
    run.labels.record([str(run.frames.frame_ids[queue[0]])], interest=3)
    stack = np.flatnonzero(leaders == leaders[queue[0]])
    assert not set(stack) & set(run.queue(random=0, repeats=0, count=20)["frame"].tolist())
    every = run.queue(random=0, repeats=0, count=len(run))["frame"]
    assert len(set(every.tolist())) == len(run) - 1  # in the end all come


def test_queries_do_not_tell_what_is_shown_again_blindly(run):
    desk = Desk(run)
    first = places(desk("index"))
    for frame in first[:3]:
        desk.rate(frame, 4)
    other = rw.Run.open(run.path, annotator="bob")
    other.labels.record([str(run.frames.frame_ids[first[1]])], interest=2)
    run.labels.refresh()

    def found(query="", **more):
        answer, buffers = desk("find", query=query, request=1, blind=[int(first[1])], **more)
        assert "error" not in answer
        return set(np.flatnonzero(np.unpackbits(np.frombuffer(buffers[0], np.uint8))[: len(run)]))

    assert found("my_interest >= 0") == {first[0], first[2]}
    assert found("interest == 2") == {first[1]}
    assert found("raters == 1") == set(first[:3])
    assert found('annotator == "ada"') == found(annotator="ada") == {first[0], first[2]}


def test_what_the_looks_ahead_promise_is_told_in_numbers(run):
    desk = Desk(run)
    first = places(desk("index"))
    assert "expected" not in desk("expected", threshold=3)[0]
    for number, frame in enumerate(first[:20]):
        desk.rate(frame, 5 * (number % 4 == 0))
    told = desk("expected", threshold=3)[0]["expected"]
    assert told["looks"] == len(run) - 20
    assert 0 <= told["low"] <= told["finds"] <= told["high"] <= told["looks"] and not told["stop"]
    for frame in first[20:]:
        desk.rate(frame, 0)
    assert "expected" not in desk("expected", threshold=3)[0]  # nothing is left to look at


def test_what_is_selected_in_the_gallery_is_selected_in_the_explorer(run):
    review = rw.Review(run)
    explorer = rw.LatentExplorer(run, plane="pca", review=review)
    told = []
    explorer.send = told.append
    review.selected = np.array([9, 4, 7])
    assert explorer.selected.tolist() == [4, 7, 9] and told[-1]["kind"] == "selected"
    serial = explorer.serial
    review.selected = np.array([5])  # the frame that is looked at is no selection
    assert explorer.selected.tolist() == [4, 7, 9] and explorer.serial == serial


def test_the_kernel_knows_what_is_selected(run):
    desk = Desk(run)
    heard = []
    desk("index")
    desk.review.observe(lambda change: heard.append(change["new"].tolist()), names="selected")
    desk("selected", buffers=[np.array([3, 1, 2], np.uint32).tobytes()])
    assert desk.review.selected.tolist() == [3, 1, 2] and heard == [[3, 1, 2]]
    assert desk("selected", buffers=[np.array([10**6], np.uint32).tobytes()])[0]["kind"] == "error"

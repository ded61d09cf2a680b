"""Outlines in the label log: kept, replaced, undone; nothing else is changed by them."""

import json

import pytest

from radiowidgets.errors import LabelError
from radiowidgets.labels.events import MAX_CORNERS, Event
from radiowidgets.labels.log import LabelLog

SQUARE = {"class": "EXTENDED", "rings": [[[1, 2], [9, 2], [9.5, 12], [1, 12]]]}
TWO = {"class": "EXTENDED-MULTISLAND", "rings": [[[1, 1], [3, 1], [2, 3]], [[8, 8], [11, 8], [9, 11]]]}


def test_outlines_replace_each_other_and_can_be_undone(tmp_path):
    log = LabelLog(tmp_path, annotator="ana")
    log.record("f", interest=3, add=["EXTENDED"])
    log.record("f", outlines=[SQUARE])
    log.record("f", outlines=[SQUARE, TWO])
    log.record("g", outlines=[])
    assert log.outlines() == {"f": [SQUARE, TWO], "g": []}
    assert (log.state_of("f").interest, log.state_of("f").tags) == (3, {"EXTENDED"})
    log.undo()
    log.undo()
    assert log.outlines() == {"f": [SQUARE]}
    log.record("f", outlines=None)
    assert log.outlines() == {} and not log.state_of("f").empty
    assert [event.describe() for event in log.events()][1:4] == ["1 outline", "2 outlines", "0 outlines"]


def test_outlines_are_read_back_from_disk_by_others(tmp_path):
    with LabelLog(tmp_path, annotator="ana") as log:
        log.record("f", outlines=[TWO])
    other = LabelLog(tmp_path, annotator="bob")
    assert other.outlines("ana") == {"f": [TWO]} and other.outlines() == {}
    table = other.table()
    assert list(table["frame_id"]) == ["f"] and table["interest"].isna().all()


def test_a_line_without_outlines_is_what_it_was_and_unknown_settings_stay(tmp_path):
    log = LabelLog(tmp_path, annotator="ana")
    assert json.loads(log.record("f", interest=2).to_line())["set"] == {"interest": 2}
    record = json.loads(log.record("f", outlines=[SQUARE]).to_line())
    assert record["version"] == 1
    record["set"]["later"] = {"a": [1]}
    again = Event.from_dict(record)
    assert again.set["later"] == {"a": [1]} and again.set["outlines"] == [SQUARE] and again.changes


@pytest.mark.parametrize(
    ("outlines", "says"),
    [
        ([{"class": "EXTENDED"}], "class and rings"),
        ([{"class": "A;B", "rings": SQUARE["rings"]}], "semicolon"),
        ([{"class": "EXTENDED", "rings": []}], "not a list of rings"),
        ([{"class": "EXTENDED", "rings": [[[1, 2], [3, 4]]]}], "three corners"),
        ([{"class": "EXTENDED", "rings": [[[1, 2], [3, 4], [5, "6"]]]}], "not a number"),
        ([{"class": "EXTENDED", "rings": [[[1, 2], [3, 4], [5, float("nan")]]]}], "not a number"),
        ([{"class": "EXTENDED", "rings": [[[1, 2], [3, 4], [5, float("inf")]]]}], "infinite"),
        ([{"class": "EXTENDED", "rings": [[[0, 0]] * (MAX_CORNERS // 2)] * 3}], "corners, more than"),
        ([SQUARE] * 501, "at most 500"),
        (["EXTENDED"], "class and rings"),
    ],
)
def test_what_is_no_outline_is_refused_and_not_saved(tmp_path, outlines, says):
    log = LabelLog(tmp_path, annotator="ana")
    with pytest.raises(LabelError, match=says):
        log.record("f", outlines=outlines)
    assert len(log) == 0
    line = {"event_id": "e", "counter": 1, "annotator": "ana", "frames": [{"frame_id": "f"}]}
    with pytest.raises(ValueError, match=says):
        Event.from_dict(line | {"set": {"outlines": outlines}})

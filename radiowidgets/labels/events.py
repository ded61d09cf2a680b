"""One event of the label log: what one person did in one action, as one line of JSON.

A line looks like this (here broken)::

    {"version": 1, "event_id": "5f0c...", "counter": 17, "annotator": "ana", "session": "2b1d9a...",
     "frames": [{"frame_id": "emu-x01280-y00896-256x256", "map": "emu", "box": [1280, 896, 256, 256],
                 "ra": 324.1, "dec": -55.2, "shown": true}],
     "set": {"interest": 4}, "add": ["EXTENDED"], "remove": [], "note": null,
     "time": "2026-11-02T20:25:31.120+00:00", "undoes": null}

`set.interest` is 0-5, or null to take a rating back; `set.outlines` are the objects of a frame with their outlines,
``[{"class": "EXTENDED", "rings": [[[x, y], ...], ...]}, ...]`` in pixels of the frame (rings apart are islands of one
object, rings within one another holes), an empty list for none, or null to take them back; `note` null leaves the note
alone, "" removes it; an event that names another one in `undoes` does only that. `time` informs and decides nothing.
Fields that this version does not know are kept in `Event.extra`; a `version` that it does not know makes a line
unreadable.
"""

import json
import math
import re
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

VERSION = 1

MAX_LINE_BYTES = 64 * 2**20
MAX_FRAMES = 200_000
MAX_TAGS = 100
MAX_TAG = 64
MAX_NAME = 128
MAX_FRAME_ID = 512
MAX_NOTE = 10_000
# No honest log comes near it; a garbled or hostile number must not push everybody's counter out of range.
MAX_COUNTER = 10**12
MAX_OUTLINES = 500
MAX_CORNERS = 20_000  # of all outlines of an event
MAX_SHOWN_KEYS = 32
MAX_NUMBER = 2**53
MAX_DEPTH = 16

INTERESTS = range(6)

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# A note may have lines and tabs; NUL and its kin end up in terminals, databases and spreadsheets.
_NOTE_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class FrameRef(NamedTuple):
    """The frame that an event speaks of, with what is needed to find it again without its frame table.

    Attributes
    ----------
    frame_id : str
    map : str or None
        Key of the map.
    box : tuple of float or None
        `(x, y, width, height)` in pixels of the map, (x, y) the lower left pixel, 0-based.
    ra, dec : float or None
        Centre, degrees (ICRS).
    shown : bool, number, str, dict or None
        What the annotator saw of it, for instance its rank or the display settings.
    """

    frame_id: str
    map: str | None = None
    box: tuple[float, ...] | None = None
    ra: float | None = None
    dec: float | None = None
    shown: Any = None


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One action of one annotator on one or many frames. Events are ordered by `order`, never by `time`."""

    event_id: str
    counter: int
    annotator: str
    session: str = ""
    frames: tuple[FrameRef, ...] = ()
    set: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    note: str | None = None
    time: str = ""
    undoes: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def __repr__(self) -> str:
        frames = f"{len(self.frames)} frame{'s' * (len(self.frames) != 1)}"
        return f"<Event {self.counter} by {self.annotator}: {self.describe()[:80]} on {frames}>"

    @property
    def order(self) -> tuple[int, str]:
        """The key by which every reader folds events in the same order."""
        return self.counter, self.event_id

    @property
    def frame_ids(self) -> list[str]:
        """Ids of the frames that the event acts on."""
        return [frame.frame_id for frame in self.frames]

    @property
    def changes(self) -> bool:
        """Whether the event itself says something of its frames (an undo does not)."""
        return self.undoes is None and bool(
            "interest" in self.set
            or "outlines" in self.set
            or self.add
            or self.remove
            or self.note is not None
        )

    def describe(self) -> str:
        """Say in a few words what was done, without saying to which frames."""
        if self.undoes is not None:
            return f"undo of {self.undoes}"
        parts = []
        if "interest" in self.set:
            interest = self.set["interest"]
            parts.append("no interest" if interest is None else f"interest {interest}")
        if "outlines" in self.set:
            drawn = self.set["outlines"]
            parts.append("no outlines" if drawn is None else f"{len(drawn)} outline{'s' * (len(drawn) != 1)}")
        parts += [f"+{tag}" for tag in self.add] + [f"-{tag}" for tag in self.remove]
        if self.note is not None:
            parts.append("note" if self.note else "no note")
        return ", ".join(parts) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON types, `extra` among its own fields."""
        return {
            **self.extra,
            "version": VERSION,
            "event_id": self.event_id,
            "counter": self.counter,
            "annotator": self.annotator,
            "session": self.session,
            "frames": [frame._asdict() for frame in self.frames],
            "set": dict(self.set),
            "add": list(self.add),
            "remove": list(self.remove),
            "note": self.note,
            "time": self.time,
            "undoes": self.undoes,
        }

    def to_line(self) -> bytes:
        """Return the event as one line of ASCII JSON with its newline."""
        # ASCII: no byte of a torn line is half a character, and no tool takes U+2028 for the end of a line.
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Event":
        """Read one line, whoever wrote it.

        Raises
        ------
        ValueError
            With the reason, if it is not a valid event.
        """
        try:
            record = _DECODER.decode(line.decode("utf-8"))
        except RecursionError:
            raise ValueError("not JSON that can be read: nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"not a line of JSON ({error})") from None
        return cls.from_dict(record)

    @classmethod
    def from_dict(cls, record: Any) -> "Event":
        """Check plain JSON types and make an event of them; ValueError says what is wrong."""
        if not isinstance(record, dict):
            raise ValueError(f"not an event but {_brief(record)}")
        version = record.get("version", VERSION)
        if type(version) is not int or version < 1:
            raise ValueError(f"version is {_brief(version)}, not a positive whole number")
        if version > VERSION:
            raise ValueError(
                f"written by a newer radiowidgets (version {_brief(version)} of the format); update to read"
            )
        counter = record.get("counter")
        if type(counter) is not int or not 1 <= counter <= MAX_COUNTER:
            raise ValueError(f"counter is {_brief(counter)}, not a whole number in 1..{MAX_COUNTER}")
        event_id = check_name(record.get("event_id"), "event_id")
        undoes = record.get("undoes")
        if undoes is not None:
            undoes = check_name(undoes, "undoes")
        changes = record.get("set")
        changes = _NOTHING if changes is None else _changes(changes)
        add, remove = check_tags(record.get("add"), "add"), check_tags(record.get("remove"), "remove")
        text = record.get("note")
        if text is not None:
            text = clean_note(text)
        frames = _frames(record.get("frames"))
        if undoes is not None and (changes or add or remove or text is not None):
            raise ValueError("an undo that also changes labels")
        if undoes is None and not frames:
            raise ValueError("no frames")
        time = record.get("time")
        if time is not None and (not isinstance(time, str) or len(time) > MAX_NAME or _CONTROL.search(time)):
            raise ValueError(f"time is {_brief(time)}, not a short text")
        session = record.get("session")
        return cls(
            event_id=event_id,
            counter=counter,
            annotator=sys.intern(check_name(record.get("annotator"), "annotator")),
            session="" if session in (None, "") else sys.intern(check_name(session, "session")),
            frames=frames,
            set=changes,
            add=add,
            remove=remove,
            note=text,
            time=time or "",
            undoes=undoes,
            extra=_NOTHING if record.keys() <= _FIELDS else _unknown_fields(record),
        )


_FIELDS = frozenset({"version", *Event.__dataclass_fields__} - {"extra"})


def new_id() -> str:
    """Return a random id for an event, never given twice."""
    return uuid.uuid4().hex


def check_name(value: Any, what: str, limit: int = MAX_NAME) -> str:
    """Return `value` if it can serve as an id or a name: some text, not too long, no control characters."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {_brief(value)}, not text")
    if not value.strip():
        raise ValueError(f"{what} is empty")
    if len(value) > limit:
        raise ValueError(f"{what} has {len(value)} characters, more than {limit}")
    if _CONTROL.search(value):
        raise ValueError(f"{what} is {_brief(value)}, with control characters")
    return str(value)


def check_tags(values: Any, what: str) -> tuple[str, ...]:
    """Return the tags in `values` once each; only their shape is checked, not whether a schema knows them."""
    if values is None:
        return ()
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{what} is {_brief(values)}, not a list of tags")
    if len(values) > MAX_TAGS:
        raise ValueError(f"{what} has {len(values)} tags, more than {MAX_TAGS}")
    if not values:
        return ()
    return tuple(dict.fromkeys(check_tag(value, f"a tag in {what}") for value in values))


def check_tag(value: Any, what: str = "a tag") -> str:
    """Return `value` if it has the shape of a tag: 1-64 characters, none a control character or semicolon."""
    value = check_name(value, what, MAX_TAG)
    if ";" in value or value != value.strip():
        raise ValueError(f"{what} is {_brief(value)}: no semicolon and no space at its ends")
    return sys.intern(value)


def clean_note(value: Any) -> str:
    """Return the text of a note without the characters that other programs choke on."""
    if not isinstance(value, str):
        raise ValueError(f"note is {_brief(value)}, not text")
    if len(value) > MAX_NOTE:
        raise ValueError(f"note has {len(value)} characters, more than {MAX_NOTE}")
    value = _NOTE_CONTROL.sub("", str(value).replace("\r\n", "\n").replace("\r", "\n"))
    if _SURROGATE.search(value):
        # Halves of a pair that belong together become their character, a lone half the replacement character.
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value


def check_interest(value: Any) -> int | None:
    """Return a rating 0-5 as a plain int, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or value not in INTERESTS:
        raise ValueError(f"interest is {_brief(value)}, not a whole number 0-5 or None")
    return int(value)


def check_outlines(values: Any) -> list[dict[str, Any]] | None:
    """Return the outlines of a frame's objects as plain JSON types: dicts of class and rings; or None."""
    if values is None:
        return None
    if not isinstance(values, (list, tuple)) or len(values) > MAX_OUTLINES:
        raise ValueError(f"outlines is {_brief(values)}, not a list of at most {MAX_OUTLINES} outlines")
    checked = [_outline(value) for value in values]
    corners = sum(len(ring) for outline in checked for ring in outline["rings"])
    if corners > MAX_CORNERS:
        raise ValueError(f"the outlines have {corners} corners, more than {MAX_CORNERS}")
    return checked


def _outline(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not {"class", "rings"} <= value.keys():
        raise ValueError(f"an outline is {_brief(value)}, not an object with class and rings")
    rings = value["rings"]
    if not isinstance(rings, (list, tuple)) or not rings:
        raise ValueError(f"the rings of an outline are {_brief(rings)}, not a list of rings")
    return {
        "class": check_tag(value["class"], "the class of an outline"),
        "rings": [_ring(ring) for ring in rings],
    }


def _ring(ring: Any) -> list[list[float]]:
    if not isinstance(ring, (list, tuple)) or not 3 <= len(ring) <= MAX_CORNERS:
        raise ValueError(f"a ring is {_brief(ring)}, not a list of three corners or more")
    corners = []
    for corner in ring:
        if not isinstance(corner, (list, tuple)) or len(corner) != 2:
            raise ValueError(f"a corner is {_brief(corner)}, not [x, y]")
        place = [_number(value, "a corner") for value in corner]
        if None in place:
            raise ValueError("a corner is not a number")
        corners.append([float(value) for value in place if value is not None])
    return corners


def frame_refs(frames: Any) -> tuple[FrameRef, ...]:
    """Make frame references of what a caller gives: an id, or a list of ids, of dicts or of references."""
    if isinstance(frames, (str, Mapping, FrameRef)):
        frames = [frames]
    if not isinstance(frames, Iterable):
        raise ValueError(f"frames is {_brief(frames)}, not a list of frame ids")
    refs: dict[str, FrameRef] = {}
    for frame in frames:
        if isinstance(frame, FrameRef):
            ref = _frame(frame._asdict())
        elif isinstance(frame, str):
            ref = FrameRef(check_name(frame, "frame_id", MAX_FRAME_ID))
        elif isinstance(frame, Mapping):
            unknown = [key for key in frame if key not in FrameRef._fields]
            if unknown:
                raise ValueError(
                    f"a frame has the field {_brief(unknown[0])}; it may have {', '.join(FrameRef._fields)}"
                )
            ref = _frame(frame)
        else:
            raise ValueError(f"a frame is {_brief(frame)}, not a frame id or a dict")
        refs.setdefault(ref.frame_id, ref)
        if len(refs) > MAX_FRAMES:
            raise ValueError(f"more than {MAX_FRAMES} frames in one action; record them in parts")
    if not refs:
        raise ValueError("no frames are given")
    return tuple(refs.values())


def _frames(frames: Any) -> tuple[FrameRef, ...]:
    if frames is None:
        return ()
    if not isinstance(frames, list):
        raise ValueError(f"frames is {_brief(frames)}, not a list")
    if len(frames) > MAX_FRAMES:
        raise ValueError(f"{len(frames)} frames, more than {MAX_FRAMES}")
    if len(frames) == 1:
        return (_frame(frames[0]),)
    return tuple({ref.frame_id: ref for ref in map(_frame, reversed(frames))}.values())[::-1]


def _frame(frame: Any) -> FrameRef:
    if not isinstance(frame, Mapping):
        raise ValueError(f"a frame is {_brief(frame)}, not an object")
    get = frame.get
    key = get("map")
    shown = get("shown")
    return FrameRef(
        sys.intern(check_name(get("frame_id"), "frame_id", MAX_FRAME_ID)),
        None if key is None else sys.intern(check_name(key, "map", MAX_FRAME_ID)),
        _box(get("box")),
        _number(get("ra"), "ra"),
        _number(get("dec"), "dec"),
        shown if shown is None or shown is True or shown is False else _shown(shown),
    )


def _box(box: Any) -> tuple[float, ...] | None:
    if box is None:
        return None
    if (
        type(box) is list
        and len(box) == 4
        and all(type(value) is int and -MAX_NUMBER < value < MAX_NUMBER for value in box)
    ):
        return tuple(box)  # the usual case
    if isinstance(box, str) or not isinstance(box, (Sequence, np.ndarray)):
        raise ValueError(f"box is {_brief(box)}, not [x, y, width, height]")
    values = tuple(_number(value, "box") for value in box)
    if len(values) != 4 or None in values:
        raise ValueError(f"box is {_brief(box)}, not [x, y, width, height]")
    return values  # type: ignore[return-value]


def _number(value: Any, what: str) -> float | None:
    """Return a finite plain number, or None for None and NaN (a frame without WCS has no position)."""
    kind = type(value)
    if kind is not float and kind is not int:
        if value is None:
            return None
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{what} is {_brief(value)}, not a number")
    if isinstance(value, int):
        if abs(value) > MAX_NUMBER:
            raise ValueError(f"{what} is {_brief(value)}, out of range")
        return value
    value = float(value)
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise ValueError(f"{what} is infinite")
    return value


def _shown(value: Any, nested: bool = False) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_name(value, "shown", MAX_FRAME_ID) if value else value
    if isinstance(value, Mapping) and not nested:
        if len(value) > MAX_SHOWN_KEYS:
            raise ValueError(f"shown has {len(value)} entries, more than {MAX_SHOWN_KEYS}")
        return {check_name(key, "a key of shown"): _shown(entry, nested=True) for key, entry in value.items()}
    return _number(value, "shown")


def _changes(changes: Any) -> Mapping[str, Any]:
    if not isinstance(changes, dict):
        raise ValueError(f"set is {_brief(changes)}, not an object")
    if "interest" in changes:
        check_interest(changes["interest"])
    if "outlines" in changes:
        changes = changes | {"outlines": check_outlines(changes["outlines"])}
    if len(changes) > 1 or "interest" not in changes:
        _check_depth(changes)
    return changes or _NOTHING


def _unknown_fields(record: dict[str, Any]) -> dict[str, Any]:
    unknown = {key: value for key, value in record.items() if key not in _FIELDS}
    _check_depth(unknown)
    return unknown


def _check_depth(value: Any) -> None:
    """Refuse what is nested so deeply that comparing or writing it could exhaust the stack."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            entry
            for parent in level
            if isinstance(parent, (dict, list))
            for entry in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise ValueError(f"unknown fields nested more than {MAX_DEPTH} deep")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)


def _brief(value: Any) -> str:
    """Show a value that may be anything, in few characters and on one line."""
    if isinstance(value, (list, tuple, dict, Mapping)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a huge number"
    text = ascii(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 64 else text[:61] + "..."

"""From events to the current state: the fold, which knows nothing of files.

The state of a frame, for one annotator, is what that annotator's events say about it, applied in the order of
(counter, event_id). An event counts unless an event that counts undoes it, so an undo may itself be undone.
Only an event's own annotator can undo it, and only by a later event. Whoever has the same events has the same
state, in whatever order they came in.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from radiowidgets.labels.events import Event


class State(NamedTuple):
    """What one annotator says of one frame now.

    Attributes
    ----------
    interest : int or None
        0-5; None if not rated.
    tags : frozenset of str
    note : str or None
    updated : int
        Counter of the last event that counts.
    time : str
        When that was, by the annotator's clock (ISO 8601); it only informs.
    outlines : list of dict or None
        The objects of the frame with their outlines, see `radiowidgets.labels.events`; None if nobody drew them.
    """

    interest: int | None = None
    tags: frozenset[str] = frozenset()
    note: str | None = None
    updated: int = 0
    time: str = ""
    outlines: list[dict[str, Any]] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no rating, no tag, no note and no outline (for instance because all were taken back)."""
        return self.interest is None and not self.tags and self.note is None and self.outlines is None

    def after(self, event: Event) -> "State":
        """Return the state once `event` has happened."""
        tags = self.tags
        if event.remove:
            tags = tags.difference(event.remove)
        if event.add:
            tags = tags.union(event.add)
        return State(
            event.set.get("interest", self.interest),
            tags,
            self.note if event.note is None else event.note or None,
            event.counter,
            event.time,
            event.set.get("outlines", self.outlines),
        )


UNLABELLED = State()


def _order(event: Event) -> tuple[int, str]:
    return event.order


class Fold:
    """The state of all frames for all annotators, kept up to date event by event.

    An event that comes in order costs one step a frame. One that comes late, is undone or is brought back
    costs a refold of the frames that it touches, and of no other.

    Attributes
    ----------
    largest : int
        Largest counter.
    arrived : list of Event
        All events in the order in which they came in, only ever appended to; another list after a refold of all.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._clear()
        for event in events:
            self.add(event)

    def _clear(self) -> None:
        self.largest = 0
        self._events: dict[str, Event] = {}
        self._sorted: list[Event] = []
        self.arrived: list[Event] = []
        self._in_order = True
        self._inactive: set[str] = set()
        self._undos: dict[str, list[Event]] = {}
        self._mine: dict[str, list[Event]] = {}
        self._touching: dict[tuple[str, str], list[Event]] = {}
        self._states: dict[str, dict[str, State]] = {}
        self._refused: dict[str, str] = {}
        self._doubled: dict[str, str] = getattr(self, "_doubled", {})

    def __len__(self) -> int:
        return len(self._events)

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._events

    def get(self, event_id: str) -> Event | None:
        """Return the event of that id, or None."""
        return self._events.get(event_id)

    def events(self) -> list[Event]:
        """Return all events in their order."""
        if not self._in_order:
            self._sorted.sort(key=_order)
            self._in_order = True
        return list(self._sorted)

    @property
    def annotators(self) -> list[str]:
        """Who has recorded anything."""
        return sorted(self._states)

    @property
    def problems(self) -> list[str]:
        """Events that are there and do not count, with the reason."""
        return [*self._refused.values(), *self._doubled.values()]

    def states(self, annotator: str) -> dict[str, State]:
        """Return the state of every frame that the annotator has labelled, as a copy."""
        return dict(self._states.get(annotator, {}))

    def state(self, annotator: str, frame_id: str) -> State:
        """Return the state of one frame; `UNLABELLED` if the annotator said nothing of it."""
        return self._states.get(annotator, {}).get(frame_id, UNLABELLED)

    def counts(self, event: Event) -> bool:
        """Whether the event stands, that is, has not been undone."""
        return event.event_id not in self._inactive

    def undone_by(self, event: Event) -> Event | None:
        """Return the undo that takes the event back, or None."""
        return next(self._standing_undos(event), None)

    def last(self, annotator: str) -> Event | None:
        """Return the annotator's last action that is not an undo and not undone."""
        for event in reversed(self._mine.get(annotator, [])):
            if self.counts(event):
                return event
        return None

    def add(self, event: Event) -> bool:
        """Take an event in; return whether it was new. The same event twice counts once."""
        known = self._events.get(event.event_id)
        if known is not None:
            if known != event:
                self._choose(known, event)
            return False
        self._events[event.event_id] = event
        if self._sorted and event.order < self._sorted[-1].order:
            self._in_order = False
        self._sorted.append(event)
        self.arrived.append(event)
        self.largest = max(self.largest, event.counter)
        self._states.setdefault(event.annotator, {})
        if event.undoes is not None:
            self._undos.setdefault(event.undoes, []).append(event)
        if self._undos and next(self._standing_undos(event), None) is not None:
            self._inactive.add(event.event_id)
        if event.undoes is not None:
            target = self._events.get(event.undoes)
            if target is not None:
                self._settle(target)
        elif event.changes:
            _insert(self._mine.setdefault(event.annotator, []), event)
            self._apply(event)
        return True

    def _apply(self, event: Event) -> None:
        annotator, counts = event.annotator, self.counts(event)
        states = self._states[annotator]
        for frame in event.frames:
            frame_id = frame.frame_id
            touching = self._touching.setdefault((annotator, frame_id), [])
            if _insert(touching, event):
                if counts:
                    states[frame_id] = states.get(frame_id, UNLABELLED).after(event)
            elif counts:
                self._refold(annotator, frame_id)

    def _settle(self, event: Event | None) -> None:
        """Decide again whether `event` counts, and with it what it undoes, and so on down the chain."""
        while event is not None:
            counts = next(self._standing_undos(event), None) is None
            if counts == self.counts(event):
                return
            if counts:
                self._inactive.discard(event.event_id)
            else:
                self._inactive.add(event.event_id)
            if event.undoes is None:
                if event.changes:
                    for frame in event.frames:
                        self._refold(event.annotator, frame.frame_id)
                return
            event = self._events.get(event.undoes)

    def _standing_undos(self, event: Event) -> Iterator[Event]:
        # An undo comes after what it undoes, so chains of undos end and cannot bite their own tail.
        for undo in self._undos.get(event.event_id, ()):
            if undo.annotator != event.annotator:
                reason = f"{undo.annotator!a} cannot undo what {event.annotator!a} did"
                self._refused[undo.event_id] = f"event {undo.event_id} is ignored: {reason}"
            elif undo.order < event.order:
                reason = f"it comes before event {event.event_id}, which it undoes"
                self._refused[undo.event_id] = f"event {undo.event_id} is ignored: {reason}"
            elif self.counts(undo):
                yield undo

    def _refold(self, annotator: str, frame_id: str) -> None:
        state = UNLABELLED
        for event in self._touching[annotator, frame_id]:
            if self.counts(event):
                state = state.after(event)
        if state is UNLABELLED:
            self._states[annotator].pop(frame_id, None)
        else:
            self._states[annotator][frame_id] = state

    def _choose(self, known: Event, other: Event) -> None:
        """Keep one of two different events under one id: the same one whichever was read first."""
        self._doubled[known.event_id] = (
            f"event {known.event_id} is there twice with different content; one is ignored"
        )
        if other.to_line() < known.to_line():
            events = [other if event is known else event for event in self._sorted]
            self._clear()
            for event in events:
                self.add(event)


def _insert(events: list[Event], event: Event) -> bool:
    """Put the event in its place; return whether that was the end of the list."""
    if not events or events[-1].order < event.order:
        events.append(event)
        return True
    insort(events, event, key=_order)
    return False

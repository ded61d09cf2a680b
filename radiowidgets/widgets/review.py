"""Review: look at frames in score order, rate and tag them from the keyboard."""

import asyncio
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import anywidget
import numpy as np
import pandas as pd
import traitlets

from radiowidgets.errors import ParameterError, RadioWidgetsError
from radiowidgets.labels.events import MAX_FRAMES
from radiowidgets.run import Run
from radiowidgets.run.reranking import order_of
from radiowidgets.widgets import answers
from radiowidgets.widgets.bundle import module, style
from radiowidgets.widgets.display import Display
from radiowidgets.widgets.following import Follower, Said
from radiowidgets.widgets.keys import ACTIONS, LARGE_KEYS, choose_keys

MOST_TAGS = 32  # tags of a frame travel as the bits of one number
MOST_MAPS = 65_536  # the map of a frame travels in 16 bits
REMEMBERED = 5000  # answers kept, so that an action sent twice is recorded once
MOST_NEWS = 10_000  # frames of one message of news
LOOKS = ("rank", "random", "repeat", "order")  # why a frame was looked at; "order": another one than the rank

# Questions whose answer goes to the part of the widget that asked, also where it is an error ...
ANSWERS: Mapping[str, Callable[..., answers.Reply]] = {
    "columns": answers.columns,
    "sort": answers.order_by,
    "find": answers.find,
    "stacks": answers.stacks,
    "why": answers.why,
    "progress": answers.progress,
    "expected": answers.expected,
    "export": answers.export,
}
# ... and those that may take long, and must not keep a rating waiting.
SLOW = ("columns", "stacks", "why", "expected", "export")


class Review(anywidget.AnyWidget):
    """A gallery of the frames of a run, most anomalous first, that turns keys into labels.

    Every action is one event in the label log of the run; the widget calls it saved only after it is on disk.
    The order follows the labels: after each, what is not in sight yet is ordered anew, and a line says what moved up
    (key ``t`` shows it). Key ``r`` goes to the top of the new order. After a restart of the kernel, making the widget
    again brings back labels, order and view.

    Parameters
    ----------
    run : Run or path
        What to review, or the folder that holds it.
    bands : SkyMap, path, or a sequence or mapping of them, optional
        Other maps of the same sky, to blink with, to draw contours of and to combine as colours; brought to a
        frame's grid when it is looked at.
    keys : mapping of action to key, optional
        Other keys than the usual ones: ``{"undo": "z", "like": None}``. The actions are `ACTIONS` of
        `radiowidgets.widgets.keys`; ``?`` in the widget shows the keys as they are.
    follow : bool, optional
        Whether the order follows the labels by itself; default: as it was left, at first yes.
    height : int
        Height in pixels; the lower edge can also be dragged.

    Attributes
    ----------
    selected : ndarray of int64
        The frames that are selected now, in the order of their places; can be observed.

    Raises
    ------
    ParameterError
        If the schema of the run has more than 32 tags, or one key would do two things.

    Notes
    -----
    The state machine is in Python and tested without a browser: each message of the front end is handled by a
    method ``_on_<kind>`` and answered by messages (kind, content, binary buffers):

    ========  ==================================================  =========================================
    message   content                                             answer
    ========  ==================================================  =========================================
    index                                                         index: order, scores, interest, tags, ranks
                                                                  before re-ranking, map of each frame
    tiles     request, frames, size, band, noise                  tiles: float16 (value - background) / rms
    large     frame, bands, noise                                 large: float32 pixels, sky grid
    parent    frame                                               parent: thumbnail of the frame's map
    act       id, frames, interest / add / remove / note, look    saved or refused, with the state of the frames
    undo      id, event (default: the last own action)            saved or refused, with the state of the frames
    rerank                                                        order: order, scores, what moved up
    follow                                                        order, as after each label from then on
    selected  frames in a buffer
    columns                                                       columns: those to order by, an example query
    sort      by first / column / like / queue, request           sort: order; of a queue, looks
    find      query, annotator, blind, request                    find: a bit a frame
    stacks                                                        stacks: the leader of each frame
    why       frame                                               why: bars, words, neighbours, objects
    progress  threshold                                           progress: rate, yield, expected, missed
    expected  threshold                                           expected: finds in the looks ahead, stop
    history   before                                              history: a page of events, the latest first
    export    format, which, least; frames in a buffer            export: path
    ========  ==================================================  =========================================

    The answers from ``columns`` on hold ``error``, a line, where they could not be given.
    """

    _esm = module("review")
    _css = style("review", "large")
    _watching: ClassVar[dict[tuple[Any, str], tuple["Review", Callable[[], None]]]] = {}
    view = traitlets.Dict(help="Display settings and place, set by the front end").tag(sync=True)
    height = traitlets.Int(720, min=320, max=4000).tag(sync=True)
    selected = traitlets.Instance(np.ndarray, (0,), {"dtype": np.int64}, help="Frames selected now")

    def __init__(
        self,
        run: Run | str | os.PathLike[str],
        *,
        bands: Any = None,
        keys: Mapping[str, str | None] | None = None,
        follow: bool | None = None,
        height: int = 720,
    ):
        if not isinstance(run, Run):
            run = Run.open(run)
        if len(run.schema) > MOST_TAGS:
            raise ParameterError(
                f"The schema has {len(run.schema)} tags; a review shows at most {MOST_TAGS}. Drop some."
            )
        if len(run.frames.map_names) > MOST_MAPS:
            raise ParameterError(
                f"The run has {len(run.frames.map_names)} maps; a review shows at most {MOST_MAPS}. Make several runs."
            )
        self._keys = choose_keys(
            keys, run.schema, dict.fromkeys(LARGE_KEYS, "belongs to the bands and the large view")
        )
        self.run = run
        self.display = Display(run, bands)
        self.labels = run.labels
        self.tags = run.schema.names
        self.ids = np.asarray(run.frames.frame_ids)
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._said = Said(run)
        self._slow = ThreadPoolExecutor(1, "review")
        self._explaining: dict[Any, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stuck = 0
        self._kept = True
        self.follower = Follower(
            run, lambda content, buffers: self._later(lambda: self.send(content, buffers=buffers)), self._keep
        )
        view = run.recall()["view"]
        super().__init__(height=height, view=view if follow is None else {**view, "follow": bool(follow)})
        self.on_msg(self._receive)
        self.observe(lambda change: run.remember(view=change["new"]), names="view")

    def select(self, frames: Any) -> str:
        """Show these frames alone, or all where there are none: positions, ids or a mask; returns the query for it."""
        some = len(np.asarray(frames)) > 0
        query = f"selection == {self.run.select(frames)}" if some else ""
        filters = self.view.get("filters")
        filters = {**(filters if isinstance(filters, dict) else {}), "query": query}
        stamp = int(self.view.get("stamp") or 0) + 1
        self.view = {**self.view, "filter": "all", "filters": filters, "stamp": stamp, "cursor": None}
        return query

    @property
    def alone(self) -> np.ndarray:
        """The frames that `select` made it show alone, as long as it does."""
        filters = self.view.get("filters")
        query = str(filters.get("query") or "") if isinstance(filters, dict) else ""
        known = query.startswith("selection ==")
        return np.flatnonzero(self.run.find(query)) if known else np.zeros(0, np.int64)

    # ------------------------------------------------------------ messages

    def _receive(self, _widget: Any, content: Any, buffers: Sequence[Any] = ()) -> None:
        """Answer one message; whatever goes wrong becomes a line in the widget, never a dead kernel."""
        with suppress(RuntimeError):  # without a loop there is no kernel whose turn is to be waited for
            self._loop = asyncio.get_running_loop()
        kind = str(content.get("kind")) if isinstance(content, dict) else "None"
        if kind in ANSWERS:
            self._answer(
                content,
                partial(
                    ANSWERS[kind], self.run, self._scores, content, *([buffers] if kind == "export" else [])
                ),
            )
            if kind == "columns" and self._follows:  # the page is painted: the first label will not wait
                self.follower.warm()
            return
        if kind == "history":
            self._answer(content, partial(answers.history, self.run, content))
            return
        handlers: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "index": self._on_index,
            "tiles": self._on_tiles,
            "large": self._on_large,
            "parent": self._on_parent,
            "act": self._on_act,
            "undo": self._on_undo,
            "rerank": self._on_rerank,
            "follow": self._on_follow,
            "selected": partial(self._on_selected, buffers=buffers),
        }
        handler = handlers.get(kind)
        if handler is None:
            self.send({"kind": "error", "text": f"Unknown message {kind!r}; reload the page."})
            return
        try:
            handler(content)
        except RadioWidgetsError as error:
            self.send({"kind": "error", "text": str(error)})
        except Exception as error:
            self.send({"kind": "error", "text": f"{kind} failed: {type(error).__name__}: {error}"})
            logging.getLogger(__name__).exception("review message %r failed", kind)

    def _answer(self, content: dict[str, Any], work: Callable[[], answers.Reply]) -> None:
        """Answer a question, in its turn beside the other messages if it may take long."""
        view = content.get("view")
        if content["kind"] == "why":  # of those who go on quickly only the last frame is explained
            self._explaining[view] = content

        def answer() -> None:
            if content["kind"] == "why" and self._explaining.get(view) is not content:
                return
            try:
                reply, buffers = work()
            except RadioWidgetsError as error:
                reply, buffers = {"error": str(error)}, []
            except Exception as error:
                reply, buffers = {"error": f"{content['kind']} failed: {type(error).__name__}: {error}"}, []
                logging.getLogger(__name__).exception("review question %r failed", content["kind"])
            self._later(lambda: self._reply(content, reply, buffers))

        if content["kind"] in SLOW:
            self._slow.submit(answer)
        else:
            answer()

    def _later(self, call: Callable[[], None]) -> None:
        """Do something in the kernel's own turn: threads leave the sending to it."""
        if self._loop is None or threading.current_thread() is threading.main_thread():
            call()
            return
        with suppress(RuntimeError):  # the kernel is at its end
            self._loop.call_soon_threadsafe(call)

    def _on_index(self, content: dict[str, Any]) -> None:
        self.labels.refresh()
        self._said.update()
        interest, tags, notes = self._state()
        self.send(
            {
                "kind": "index",
                "name": self.run.name,
                "view": content.get("view"),
                "key": hashlib.sha256(
                    f"{self.run.path.resolve()} {self.labels.annotator}".encode()
                ).hexdigest()[:24],
                "count": len(self.ids),
                "annotator": self.labels.annotator,
                "schema": [
                    {
                        "name": tag.name,
                        "key": tag.key,
                        "colour": tag.colour,
                        "text": tag.text_colour,
                        "description": tag.description,
                    }
                    for tag in self.run.schema
                ],
                "keys": [
                    {"action": action, "key": self._keys[action], "words": words}
                    for action, (_, words) in ACTIONS.items()
                ],
                "large_keys": [[key, words] for key, words in LARGE_KEYS.items() if words],
                "annotators": self.labels.annotators,
                "maps": list(self.run.frames.map_names),
                "most": MAX_FRAMES,
                "notes": notes,
                "rated": len(self._said.rated),
                "cursor": self.view.get("cursor"),
                "warning": " ".join(self.labels.problems[:3]),
                "display": self.display.about,
            },
            buffers=[
                order_of(self._scores).astype(np.uint32).tobytes(),
                self._scores["score"].to_numpy(np.float32).tobytes(),
                interest.tobytes(),
                tags.tobytes(),
                self._ranks_before(),
                np.asarray(self.run.frames.map_codes, dtype=np.uint16).tobytes(),
                self._trail().tobytes(),
            ],
        )
        if self._follows:
            self.follower.follow(self._said, tell=True)
        self._watch()

    def _watch(self) -> None:
        """Have news of others told as they arrive, to the latest widget on these labels alone."""
        place = (self.run.path.resolve(), self.labels.annotator)
        if self._loop is None or self._watching.get(place, (None,))[0] is self:
            return
        if place in self._watching:
            self._watching.pop(place)[1]()
        self._watching[place] = (self, self.labels.watch(lambda: self._later(self._take_news)))

    def _take_news(self) -> None:
        """Read what others said, and what the annotator said in other kernels, and show it."""
        before, events = len(self.labels.arrived), self.labels.arrived
        self.labels.refresh()
        fresh = self.labels.arrived[before if events is self.labels.arrived else 0 :]
        by: dict[str, int] = {}
        rows: dict[bool, set[int]] = {True: set(), False: set()}
        for event in fresh:
            own = event.annotator == self.labels.annotator
            rows[own].update(self._frames_of(event))
            if not own:
                by[event.annotator] = by.get(event.annotator, 0) + len(event.frames)
        if rows[True]:
            frames = sorted(rows[True])
            rated = len(self._said.update().rated)
            self.send({"kind": "saved", "id": "", "text": "", "rated": rated, **self._state_of(frames)})
            self._follow()
        if by or self.labels.stuck != self._stuck:
            self._stuck = self.labels.stuck
            frames = sorted(rows[False])[:MOST_NEWS]
            about = {"by": by, "frames": frames, "annotators": self.labels.annotators}
            self.send({"kind": "news", "stuck": self._stuck, **about})

    def _on_tiles(self, content: dict[str, Any]) -> None:
        frames = self._frames(content)
        self._reply(content, *self.display.tiles(frames, content))

    def _on_large(self, content: dict[str, Any]) -> None:
        index = int(self._frames({"frames": [content["frame"]]})[0])
        self._reply(content, *self.display.large(index, content))

    def _on_parent(self, content: dict[str, Any]) -> None:
        index = int(self._frames({"frames": [content["frame"]]})[0])
        self._reply(content, *self.display.parent(index))

    def _reply(self, asked: dict[str, Any], content: dict[str, Any], buffers: list[bytes]) -> None:
        """Answer the view that asked, under the kind and number of what it asked."""
        own = {name: asked.get(name) for name in ("kind", "view", "request", "check")}
        self.send(own | content, buffers=buffers)

    def _on_act(self, content: dict[str, Any]) -> None:
        self.act(content)

    def act(self, content: dict[str, Any]) -> dict[str, Any]:
        """Record what a message ``act`` says, and return the answer, which the front end gets too."""

        def record() -> Any:
            frames = self._frames(content)
            what: dict[str, Any] = {
                name: content[name] for name in ("interest", "note", "add", "remove") if name in content
            }
            looks = content.get("looks") or [content.get("look")] * len(frames)
            seen = dict(zip(frames.tolist(), looks, strict=True))
            return self.labels.record(
                [self._described(frame, look) for frame, look in sorted(seen.items())], **what
            )

        return self._once(content, record)

    def _on_undo(self, content: dict[str, Any]) -> None:
        self.undo(content)

    def undo(self, content: dict[str, Any]) -> dict[str, Any]:
        """Take back what a message ``undo`` names, and return the answer, which the front end gets too."""
        event = content.get("event")
        return self._once(
            content, self.labels.undo if event is None else lambda: self.labels.undo(str(event))
        )

    # ------------------------------------------------------------ re-ranking

    @property
    def _scores(self) -> pd.DataFrame:
        """The order as it is now."""
        return self.follower.table

    @property
    def _follows(self) -> bool:
        return self.view.get("follow") is not False

    def _on_rerank(self, _content: dict[str, Any]) -> None:
        self.labels.refresh()
        self.follower.rerank(self._said.update())

    def _on_follow(self, _content: dict[str, Any]) -> None:
        self.labels.refresh()
        self.follower.follow(self._said.update())

    def _follow(self) -> None:
        """Let the order follow what was said, if it is to."""
        if self._follows:
            self.follower.follow(self._said.update())

    def _keep(self, table: pd.DataFrame) -> None:
        """Write an order, to be found when the run is opened again."""

        def remember() -> None:
            if self.run.recall()["session"] != self.labels.session:
                self.run.remember(session=self.labels.session)

        try:
            self.run.write_session_scores(self.labels.session, table)
        except RadioWidgetsError as error:
            if self._kept:  # once is enough: each label brings another order
                text = f"This order is shown but cannot be kept for the next time; labels are not concerned. {error}"
                self._later(lambda: self.send({"kind": "error", "text": text}))
            self._kept = False
        else:
            self._kept = True
            self._later(remember)

    def _trail(self) -> np.ndarray:
        """Return the frames that were looked at one by one, in the order in which they were (uint32)."""
        rows: dict[int, None] = {}
        mine = (event for event in self.labels.events() if event.annotator == self.labels.annotator)
        for event in mine:
            seen = [
                frame.frame_id
                for frame in event.frames
                if isinstance(frame.shown, dict) and frame.shown.get("look") in LOOKS
            ]
            if len(seen) == 1:
                rows.setdefault(answers.rows_of(self.run, seen)[0])
        return np.array([row for row in rows if row >= 0 and self._said.looked[row]], np.uint32)

    def _on_selected(self, _content: dict[str, Any], buffers: Sequence[Any] = ()) -> None:
        frames = np.frombuffer(buffers[0] if buffers else b"", np.uint32).astype(np.int64)
        if len(frames) and frames.max() >= len(self.ids):
            raise ParameterError(f"The widget selects frames that this run does not have ({len(self.ids)}).")
        self.selected = frames

    # ------------------------------------------------------------ labels

    def _once(self, content: dict[str, Any], record: Any) -> dict[str, Any]:
        """Carry out an action and answer it; the same action sent again gets the same answer."""
        identity = str(content.get("id"))
        answer = self._answers.get(identity)
        if answer is None:
            asked = content.get("frames")
            asked = asked if isinstance(asked, list) else []
            frames = sorted({i for i in asked if isinstance(i, int) and 0 <= i < len(self.ids)})
            text = ""
            try:
                event = record()
                kind = "saved"
                if event is None:
                    text = "nothing to undo"
                elif content["kind"] == "undo":
                    frames = self._frames_of(event)
                    text = f"undone: {self._words(event)} on {len(frames)} frame{'' if len(frames) == 1 else 's'}"
            except RadioWidgetsError as error:
                kind, text = "refused", str(error)
            answer = {"kind": kind, "id": identity, "text": text, **self._state_of(frames)}
            if kind == "saved":  # what was refused may be tried again
                self._answers[identity] = answer
                while len(self._answers) > REMEMBERED:
                    self._answers.popitem(last=False)
        self.send(answer | {"rated": len(self._said.update().rated)})
        self._follow()
        return answer

    def _words(self, undo: Any) -> str:
        """Say what an undo took back."""
        undone = next((event for event in self.labels.events() if event.event_id == undo.undoes), None)
        if undone is None:
            return "an action"
        earlier = "" if undone.session == self.labels.session else " (of an earlier session)"
        return f"{undone.describe()}{earlier}"

    def _state_of(self, frames: list[int]) -> dict[str, Any]:
        """Return what was said of frames as the front end takes it."""
        interest, tags, notes = self._state(frames)
        texts = dict(notes)
        self._stuck = self.labels.stuck
        return {
            "frames": frames,
            "interest": interest.tolist(),
            "tags": tags.tolist(),
            "notes": [texts.get(frame, "") for frame in frames],
            "stuck": self._stuck,
        }

    def _frames_of(self, event: Any) -> list[int]:
        return sorted(row for row in answers.rows_of(self.run, event.frame_ids) if row >= 0)

    def _described(self, frame: int, look: Any = None) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "rank": int(self._scores["rank"].iloc[frame]),
            "score": round(float(self._scores["score"].iloc[frame]), 6),
        }
        if look in LOOKS:
            shown["look"] = look
        return answers.described(self.run, frame, shown)

    def _state(
        self, frames: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
        """Interest (-1 = none), tags as bits, and notes of all frames or of some."""
        if frames is None:
            state = self.labels.state()
            rows = answers.rows_of(self.run, state)
            known = [(row, row, label) for row, label in zip(rows, state.values(), strict=True) if row >= 0]
        else:
            known = [(i, row, self.labels.state_of(str(self.ids[row]))) for i, row in enumerate(frames)]
        count = len(self.ids) if frames is None else len(frames)
        interest, tags = np.full(count, -1, np.int8), np.zeros(count, np.uint32)
        notes = []
        for place, row, label in known:
            interest[place] = -1 if label.interest is None else label.interest
            tags[place] = sum(1 << bit for bit, name in enumerate(self.tags) if name in label.tags)
            if label.note:
                notes.append((int(row), label.note))
        return interest, tags, notes

    # ------------------------------------------------------------ order and frames

    def _ranks_before(self) -> bytes:
        """Ranks before any re-ranking, as uint32; nothing where they are the ranks now."""
        if np.array_equal(self._scores["rank"], self.run.scores["rank"]):
            return b""
        return self.run.scores["rank"].to_numpy(np.uint32).tobytes()

    def _frames(self, content: dict[str, Any]) -> np.ndarray:
        asked = content.get("frames", [])
        whole = isinstance(asked, list) and all(isinstance(frame, int) for frame in asked)
        frames = np.array(asked if whole else [], dtype=np.int64)
        if not frames.size or frames.min() < 0 or frames.max() >= len(self.ids):
            raise ParameterError(
                f"The widget asked for frames that this run does not have ({len(self.ids)} frames); reload the page."
            )
        return frames

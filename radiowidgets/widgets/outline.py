"""Outline: the objects of frames with their outlines, to be put right by hand and learnt from."""

from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets

from radiowidgets.data.simulate.truth import OBJECT_CLASSES
from radiowidgets.errors import LabelError, ParameterError, RadioWidgetsError
from radiowidgets.labels.events import check_outlines
from radiowidgets.run import Run
from radiowidgets.widgets.answers import Reply, described, receive
from radiowidgets.widgets.bundle import module, style
from radiowidgets.widgets.display import Display

MOST = 500  # frames

Outlines = list[dict[str, Any]]


class Outline(anywidget.AnyWidget):
    """Frames with outlines of their objects: move a corner, draw round what was missed, tell another class, save.

    Each saving is an event in the label log of the run, on disk before it counts as saved; it holds all outlines of the
    frame. `radiowidgets.finding.instances.labelled_instances` makes masks of them, to train on.

    Parameters
    ----------
    run : Run
    frames : sequence of int, optional
        Positions of the frames, in the order in which to look at them. Default: the first 500.
    start : mapping of position to outlines, optional
        What is shown where the annotator has drawn nothing yet, such as what a finder found (see `outlines_of`).
    classes : sequence of str
        At most nine: each has a digit for its key.
    height : int
        In pixels.

    Raises
    ------
    ParameterError
        If a frame is not there, there are more than 500, or what is to start from is no outline.
    """

    _esm = module("outline")
    _css = style("review", "relabel", "outline")
    height = traitlets.Int(600, min=360, max=4000).tag(sync=True)

    def __init__(
        self,
        run: Run,
        frames: Sequence[int] | np.ndarray | None = None,
        *,
        start: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
        classes: Sequence[str] = OBJECT_CLASSES,
        height: int = 600,
    ):
        chosen = range(min(len(run.frames), MOST)) if frames is None else frames
        self.frames = [int(frame) for frame in chosen]
        if len(self.frames) > MOST:
            raise ParameterError(f"There are {len(self.frames)} frames; give at most {MOST}.")
        strange = [frame for frame in self.frames if not 0 <= frame < len(run.frames)]
        if strange:
            raise ParameterError(f"There is no frame {strange[0]} in a run of {len(run.frames)}.")
        if not 1 <= len(classes) <= 9:
            raise ParameterError(f"There are {len(classes)} classes; give one to nine.")
        try:
            self.start = {
                int(frame): check_outlines(list(some)) or [] for frame, some in (start or {}).items()
            }
        except ValueError as error:
            raise ParameterError(f"start: {error}; see outlines_of.") from error
        self.run, self.labels, self.classes = run, run.labels, [str(name) for name in classes]
        self._display = Display(run)
        self._done: dict[str, dict[str, Any]] = {}
        super().__init__(height=height)
        self.on_msg(self._receive)

    def outlines(self, frame: int) -> Outlines:
        """Return the outlines of a frame as they are now: those that the annotator saved, else those of the start."""
        said = self.labels.state_of(str(self.run.frames.frame_id(frame))).outlines
        return self.start.get(frame, []) if said is None else said

    def save(self, frame: int, outlines: Sequence[Mapping[str, Any]]) -> None:
        """Record the outlines of all objects of a frame.

        Raises
        ------
        LabelError
            If they are no outlines, or could not be written.
        """
        self.labels.record(described(self.run, frame, {"look": "outline"}), outlines=outlines)

    # ------------------------------------------------------------ messages

    def _receive(self, _widget: Any, content: Any, _buffers: Sequence[Any] = ()) -> None:
        handlers = {"index": self._index, "tiles": self._tiles, "act": self._act, "undo": self._act}
        receive(self, handlers, content)

    def _index(self, _content: dict[str, Any]) -> Reply:
        self.labels.refresh()
        return {
            "rows": [self._row(frame) for frame in self.frames],
            "classes": self.classes,
            "name": self.run.name,
            "annotator": self.labels.annotator,
            "warning": " ".join(self.labels.problems[:3]),
        }, []

    def _row(self, frame: int) -> dict[str, Any]:
        frames = self.run.frames
        frame_id = str(frames.frame_id(frame))
        return {
            "frame": frame,
            "id": frame_id,
            "width": int(frames.width[frame]),
            "height": int(frames.height[frame]),
            "outlines": self.outlines(frame),
            "drawn": self.labels.state_of(frame_id).outlines is not None,
        }

    def _tiles(self, content: dict[str, Any]) -> Reply:
        frames = np.array([frame for frame in content["frames"] if isinstance(frame, int)], dtype=np.int64)
        if not frames.size or not set(frames.tolist()) <= set(self.frames):
            raise ParameterError("The widget asked for frames that it does not show; reload the page.")
        return self._display.tiles(frames, content)

    def _act(self, content: dict[str, Any]) -> Reply:
        """Record outlines, or take the last action back; the same message sent again is answered again."""
        identity = str(content.get("id"))
        reply = self._done.get(identity)
        if reply is None:
            try:
                told = self._undo() if content["kind"] == "undo" else self._save(content)
                reply = self._done[identity] = {"kind": "saved", "id": identity} | told
            except RadioWidgetsError as error:
                reply = {"kind": "refused", "id": identity, "text": str(error)}
        return reply | {"rows": [self._row(frame) for frame in self.frames]}, []

    def _save(self, content: dict[str, Any]) -> dict[str, Any]:
        frame, outlines = content.get("frame"), content.get("outlines")
        if frame not in self.frames or not isinstance(outlines, list):
            raise LabelError(f"Not saved: there is no frame {frame!r} here; reload the page.")
        self.save(frame, outlines)
        return {"text": ""}

    def _undo(self) -> dict[str, Any]:
        """Take back the annotator's last outlines of one of these frames; ratings and tags stay as they are."""
        frames = {str(self.run.frames.frame_id(frame)): frame for frame in self.frames}
        standing = [
            event
            for event in self.labels.events()
            if event.annotator == self.labels.annotator
            and event.undoes is None
            and "outlines" in event.set
            and set(event.frame_ids) <= set(frames)
            and self.labels.counts(event)
        ]
        if not standing:
            return {"text": "nothing to undo here"}
        last = max(standing, key=lambda event: event.order)
        self.labels.undo(last.event_id)
        return {"text": "undone", "frame": frames[last.frame_ids[0]]}

"""Relabel: labels that may be wrong, one by one, each beside the label that is suspected instead."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from radiowidgets.errors import ParameterError, RadioWidgetsError, check_one_of
from radiowidgets.labels.agreement import answers, disputes
from radiowidgets.run import Run
from radiowidgets.widgets.answers import rows_of
from radiowidgets.widgets.bundle import module, style
from radiowidgets.widgets.display import Display

ANSWERS = ("accept", "keep", "unsure")
UNSURE = "UNSURE"  # the tag of a frame whose label its reviewer could not decide
EXAMPLES = 3  # frames that stand for a label
MOST = 5000  # frames in a queue

Reply = tuple[dict[str, Any], list[bytes]]


class Relabel(anywidget.AnyWidget):
    """A queue of labels that may be wrong: accept what is suggested, keep what is there, or leave it open, by a key.

    Each answer is an event in the label log of the run, on disk before it counts as saved: 'accept' takes the old tag
    off and puts the suggested one on, 'keep' puts the old one on, 'unsure' the tag UNSURE. Opened again, the queue
    goes on where it was left.

    Parameters
    ----------
    run : Run
    queue : DataFrame
        Frames in the order in which to look at them: frame_id (as a column or the index), label, suggested; optionally
        probability, suggested_probability, why (a few words). A label is a tag; "" is none.
    examples : mapping of label to list of int, optional
        Positions of frames that stand for each label.
    height : int
        In pixels.

    Raises
    ------
    ParameterError
        If the queue lacks a column, names a frame that the run does not have, or is longer than 5,000.

    See Also
    --------
    Relabel.suspects, Relabel.disputes : queues ready made.
    """

    _esm = module("relabel")
    _css = style("review", "relabel")
    height = traitlets.Int(560, min=320, max=4000).tag(sync=True)

    def __init__(
        self,
        run: Run,
        queue: pd.DataFrame,
        *,
        examples: Mapping[str, Sequence[int]] | None = None,
        height: int = 560,
    ):
        self.run = run
        self.labels = run.labels
        self.queue = _checked(run, queue)
        self.examples = {name: [int(k) for k in some][:EXAMPLES] for name, some in (examples or {}).items()}
        self._display = Display(run)
        self._done: dict[str, dict[str, Any]] = {}
        super().__init__(height=height)
        self.on_msg(self._receive)

    @classmethod
    def suspects(
        cls, run: Run, labels: Sequence[str] | np.ndarray, probabilities: np.ndarray, **options: Any
    ) -> "Relabel":
        """Return the widget on the labels that confident learning suspects, the surest first.

        Parameters
        ----------
        run : Run
        labels : (n,) texts
            The label of each frame of the run.
        probabilities : (n, classes) array
            Out of fold, of `radiowidgets.models.evaluate.cross_validate`, classes in their order.
        """
        from radiowidgets.models.evaluate import suspected_mislabels

        labels, probabilities = np.asarray(labels).astype(str), np.asarray(probabilities)
        if len(labels) != len(run.frames):
            raise ParameterError(
                f"There are {len(labels)} labels; give one for each of {len(run.frames)} frames."
            )
        found = suspected_mislabels(labels, probabilities)[:MOST]
        queue = found.assign(frame_id=np.asarray(run.frames.frame_ids)[found["index"]]).drop(columns="index")
        examples = {}
        for k, name in enumerate(np.unique(labels)):
            own = np.flatnonzero(labels == name)
            examples[str(name)] = own[np.argsort(-probabilities[own, k], kind="stable")][:EXAMPLES].tolist()
        return cls(run, queue, examples=examples, **options)

    @classmethod
    def disputes(cls, run: Run, **options: Any) -> "Relabel":
        """Return the widget on tags that some annotators put on and others did not, the most divided frames first."""
        table = run.labels.table()
        rows = []
        for frame_id, found in disputes(table).iterrows():
            for tag in found["tags"]:
                said = answers(table, tag)[frame_id].dropna()
                on, off = (sorted(said.index[said == value]) for value in (1, 0))
                why = f"put on by {_people(on)}, not by {_people(off)}"
                rows.append({"frame_id": frame_id, "label": "", "suggested": tag, "why": why})
        columns = ["frame_id", "label", "suggested", "why"]
        return cls(run, pd.DataFrame(rows, columns=columns).drop_duplicates("frame_id"), **options)

    @property
    def table(self) -> pd.DataFrame:
        """The queue with a column `answer` (accept, keep, unsure, or None) and `final`, the label as it is now."""
        given = self._answers()
        said = [given.get(frame_id) for frame_id in self.queue["frame_id"]]
        final = np.where([one == "accept" for one in said], self.queue["suggested"], self.queue["label"])
        return self.queue.assign(answer=pd.Series(said, dtype=object), final=final)

    # ------------------------------------------------------------ messages

    def _receive(self, _widget: Any, content: Any, _buffers: Sequence[Any] = ()) -> None:
        """Answer one message; whatever goes wrong becomes a line in the widget, never a dead kernel."""
        kind = str(content.get("kind")) if isinstance(content, dict) else "None"
        handlers = {"index": self._index, "tiles": self._tiles, "act": self._act, "undo": self._act}
        if kind not in handlers:
            self.send({"kind": "error", "text": f"Unknown message {kind!r}; reload the page."})
            return
        try:
            reply, buffers = handlers[kind](content)
        except RadioWidgetsError as error:
            reply, buffers = {"kind": "error", "text": str(error)}, []
        except Exception as error:
            reply, buffers = {"kind": "error", "text": f"{kind} failed: {type(error).__name__}: {error}"}, []
            logging.getLogger(__name__).exception("relabel message %r failed", kind)
        self.send(
            {"kind": kind, "view": content.get("view"), "request": content.get("request")} | reply, buffers
        )

    def _index(self, _content: dict[str, Any]) -> Reply:
        self.labels.refresh()
        table = self.table
        rows = [
            {
                "frame": int(frame),
                "id": str(row.frame_id),
                "label": str(row.label),
                "suggested": str(row.suggested),
                "probability": _share(row, "probability"),
                "other": _share(row, "suggested_probability"),
                "why": str(getattr(row, "why", "") or ""),
                "answer": row.answer,
            }
            for frame, row in zip(self._places(), table.itertuples(), strict=True)
        ]
        colours = {tag.name: [tag.colour, tag.text_colour] for tag in self.run.schema}
        return {
            "rows": rows,
            "examples": self.examples,
            "colours": colours,
            "name": self.run.name,
            "annotator": self.labels.annotator,
            "warning": " ".join(self.labels.problems[:3]),
        }, []

    def _tiles(self, content: dict[str, Any]) -> Reply:
        frames = np.array([frame for frame in content["frames"] if isinstance(frame, int)], dtype=np.int64)
        if not frames.size or frames.min() < 0 or frames.max() >= len(self.run.frames):
            raise ParameterError("The widget asked for frames that this run does not have; reload the page.")
        return self._display.tiles(frames, content)

    def _act(self, content: dict[str, Any]) -> Reply:
        """Record an answer, or take the last one back; the same message sent again is answered again."""
        identity = str(content.get("id"))
        reply = self._done.get(identity)
        if reply is None:
            try:
                if content["kind"] == "undo":
                    event = self.labels.undo()
                    text = "nothing to undo" if event is None else "undone"
                else:
                    self.answer(content.get("place"), str(content.get("answer")))
                    text = ""
                reply = {"kind": "saved", "id": identity, "text": text}
                self._done[identity] = reply
            except RadioWidgetsError as error:
                reply = {"kind": "refused", "id": identity, "text": str(error)}
        return reply | {"answers": self.table["answer"].tolist()}, []

    # ------------------------------------------------------------ labels

    def answer(self, place: Any, said: str) -> None:
        """Record what was said of the frame at a place of the queue: 'accept', 'keep' or 'unsure'."""
        check_one_of("answer", said, ANSWERS)
        if not isinstance(place, int) or not 0 <= place < len(self.queue):
            raise ParameterError(f"There is no place {place!r} in a queue of {len(self.queue)}.")
        row = self.queue.iloc[place]
        label, suggested = str(row["label"]), str(row["suggested"])
        put, taken = {"accept": (suggested, label), "keep": (label, suggested), "unsure": (UNSURE, "")}[said]
        off = {taken, UNSURE} - {put, ""}
        frame = int(self._places()[place])
        frames = self.run.frames
        self.labels.record(
            {
                "frame_id": str(row["frame_id"]),
                "map": frames.map_names[frames.map_codes[frame]],
                "box": [int(v[frame]) for v in (frames.x, frames.y, frames.width, frames.height)],
                "ra": float(frames.ra[frame]),
                "dec": float(frames.dec[frame]),
                "shown": {"look": "relabel", "label": label, "suggested": suggested, "answer": said},
            },
            add=[put] if put else [],
            remove=sorted(off),
        )

    def _answers(self) -> dict[str, str]:
        """Return the standing answer for each frame of the queue, by what the annotator did here last."""
        asked = {(str(row.frame_id), str(row.label), str(row.suggested)) for row in self.queue.itertuples()}
        given = {}
        for event in self.labels.events():
            if event.annotator != self.labels.annotator or event.undoes or not self.labels.counts(event):
                continue
            for ref in event.frames:
                shown = ref.shown if isinstance(ref.shown, dict) else {}
                key = (ref.frame_id, str(shown.get("label")), str(shown.get("suggested")))
                if shown.get("look") == "relabel" and key in asked and shown.get("answer") in ANSWERS:
                    given[ref.frame_id] = str(shown["answer"])
        return given

    def _places(self) -> np.ndarray:
        return np.asarray(rows_of(self.run, self.queue["frame_id"].tolist()))


def _checked(run: Run, queue: pd.DataFrame) -> pd.DataFrame:
    if "frame_id" not in queue:
        queue = queue.rename_axis("frame_id").reset_index()
    missing = [name for name in ("label", "suggested") if name not in queue]
    if missing:
        raise ParameterError(
            f"The queue has no column {missing[0]!r}; it needs frame_id, label and suggested."
        )
    if len(queue) > MOST:
        raise ParameterError(f"The queue has {len(queue)} frames; give at most {MOST}, the surest first.")
    queue = queue.assign(frame_id=queue["frame_id"].astype(str)).fillna({"label": "", "suggested": ""})
    unknown = queue["frame_id"][np.asarray(rows_of(run, queue["frame_id"].tolist()), dtype=int) < 0]
    if len(unknown):
        raise ParameterError(
            f"The run has no frame {unknown.iloc[0]!r}, nor {len(unknown) - 1} others of the queue."
        )
    if queue["frame_id"].duplicated().any():
        raise ParameterError(
            f"Frame {queue['frame_id'][queue['frame_id'].duplicated()].iloc[0]!r} is there twice."
        )
    return queue.reset_index(drop=True)


def _share(row: Any, name: str) -> float | None:
    value = getattr(row, name, None)
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def _people(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"

"""Relabel: labels that may be wrong, one by one, each beside the label that is suspected instead."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import anywidget
import numpy as np
import pandas as pd
import traitlets

from radiowidgets.errors import ParameterError, RadioWidgetsError, check_one_of
from radiowidgets.labels.agreement import UNSURE, consensus, disputes
from radiowidgets.labels.events import Event, check_interest, check_tag
from radiowidgets.run import Run
from radiowidgets.widgets.answers import Reply, described, receive, rows_of
from radiowidgets.widgets.bundle import module, style
from radiowidgets.widgets.display import Display

ANSWERS = ("accept", "keep", "unsure")
ABOUT = ("tag", "interest")
EXAMPLES = 3  # frames that stand for a label
MOST = 5000  # questions in a queue


class Question(NamedTuple):
    """Which of two labels a frame has: tags, "" = none, or ratings as texts."""

    frame_id: str
    about: str
    label: str
    suggested: str


class Relabel(anywidget.AnyWidget):
    """A queue of labels that may be wrong: accept what is suggested, keep what is there, or leave it open, by a key.

    Each answer is an event in the label log of the run, on disk before it counts as saved. Of the old tag, the
    suggested one and UNSURE one is on afterwards: by 'accept' the suggested, by 'keep' the old, by 'unsure' the last.
    Of two ratings 'accept' and 'keep' give one, 'unsure' takes the own rating back and puts UNSURE on. Opened again,
    the queue goes on where it was left.

    Parameters
    ----------
    run : Run
    queue : DataFrame
        Questions in the order in which to look at them: frame_id (as a column or the index), label, suggested;
        optionally about ('tag', the default, or 'interest'), probability, suggested_probability, by, suggested_by (who
        says so), why (a few words), settled (list of tags which an answer puts on as well). A label is a tag, "" for
        none, or a rating.
    examples : mapping of label to list of int, optional
        Positions of frames that stand for each label.
    height : int
        In pixels.

    Raises
    ------
    ParameterError
        If the queue lacks a column, asks what cannot be asked or asks it twice, names a frame that the run does not
        have, or is longer than 5,000.

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
        self.queue, self._rows = _checked(run, queue)
        self._questions = [Question(*map(str, row)) for row in self.queue[list(Question._fields)].to_numpy()]
        self._place = {question: place for place, question in enumerate(self._questions)}
        self.examples = {name: [int(k) for k in some][:EXAMPLES] for name, some in (examples or {}).items()}
        self._display = Display(run)
        self._done: dict[str, dict[str, Any]] = {}
        self._events: Sequence[Event] = ()
        self._read = 0
        self._given: dict[int, list[Event]] = {}
        super().__init__(height=height)
        self.on_msg(self._receive)

    @classmethod
    def suspects(
        cls,
        run: Run,
        labels: Sequence[str] | np.ndarray,
        probabilities: np.ndarray | None = None,
        *,
        order: str = "odds",
        count: int | None = None,
        frames: Sequence[int] | np.ndarray | None = None,
        **options: Any,
    ) -> "Relabel":
        """Return the widget on labels that are probably wrong, the surest first.

        Parameters
        ----------
        run : Run
        labels : (n,) texts
            The label of each frame of the run, or of each of `frames`.
        probabilities : (n, classes) array, optional
            Of each label, out of fold, classes in their order. By default `radiowidgets.models.evaluate.judge_labels`
            on the embedding of the run.
        order : {'odds', 'confident learning'}
            See `radiowidgets.models.evaluate.suspected_mislabels`.
        count : int, optional
            How many. By default as many as confident learning suspects.
        frames : (n,) positions, optional
            Of the frames that have a label, where not all do.

        Raises
        ------
        ParameterError
            If labels, probabilities and frames do not fit each other, a class is too rare to be judged, or there are
            neither probabilities nor an embedding.
        """
        from radiowidgets.models.evaluate import judge_labels, suspected_mislabels

        labels = np.asarray(labels).astype(str)
        rows = np.arange(len(run.frames)) if frames is None else np.asarray(frames, dtype=np.int64)
        if len(labels) != len(rows):
            raise ParameterError(f"There are {len(labels)} labels; give one for each of {len(rows)} frames.")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(run.frames):
            raise ParameterError(
                f"frames goes from {rows.min()} to {rows.max()}; there are {len(run.frames)}."
            )
        if probabilities is None:
            if run.embedding is None:
                raise ParameterError(
                    "The run has no embedding to judge labels by; give probabilities, or make it with rw.embed(frames)."
                )
            probabilities = judge_labels(run.embedding[rows], labels)
        probabilities = np.asarray(probabilities)
        found = suspected_mislabels(labels, probabilities, every=count is not None, order=order)
        found = found[: MOST if count is None else min(count, MOST)]
        ids = np.asarray(run.frames.frame_ids)[rows[found["index"]]]
        examples = {}
        for k, name in enumerate(np.unique(labels)):
            own = np.flatnonzero(labels == name)
            best = own[np.argsort(-probabilities[own, k], kind="stable")]
            examples[str(name)] = rows[best][:EXAMPLES].tolist()
        return cls(run, found.assign(frame_id=ids).drop(columns="index"), examples=examples, **options)

    @classmethod
    def disputes(cls, run: Run, *, least: float = 2.0, **options: Any) -> "Relabel":
        """Return the widget on what annotators see differently, the most divided frames first.

        Two ratings at least `least` apart, two tags of which each has its supporters, or one tag that some put on and
        others did not. An answer is the reviewer's own label and changes nobody else's; tags that all agreed on are
        put on with it.

        Raises
        ------
        ParameterError
            If the run was opened blind.
        """
        run.labels.refresh()
        if run.labels.blind:
            raise ParameterError(
                "The run is open blind, so that others' labels are not known; open it again without blind=True."
            )
        table = run.labels.table()
        table = table[np.asarray(rows_of(run, table["frame_id"]), dtype=int) >= 0]  # labels outlive frames
        queue = pd.DataFrame(
            _divided(table, least), columns=[*Question._fields, "by", "suggested_by", "settled"]
        )
        options.setdefault("examples", _agreed(run, table, {*queue["label"], *queue["suggested"]} - {""}))
        return cls(run, queue[:MOST], **options)

    @property
    def table(self) -> pd.DataFrame:
        """The queue with a column `answer` (accept, keep, unsure, or None) and `final`, the label to go on with."""
        said = self._answers()
        final = np.where([one == "accept" for one in said], self.queue["suggested"], self.queue["label"])
        return self.queue.assign(answer=pd.Series(said, dtype=object), final=final)

    # ------------------------------------------------------------ messages

    def _receive(self, _widget: Any, content: Any, _buffers: Sequence[Any] = ()) -> None:
        handlers = {"index": self._index, "tiles": self._tiles, "act": self._act, "undo": self._act}
        handlers["stuck"] = lambda _: ({"stuck": self.labels.stuck}, [])
        receive(self, handlers, content)

    def _index(self, _content: dict[str, Any]) -> Reply:
        self.labels.refresh()
        rows = [
            {
                "frame": int(frame),
                "id": str(row.frame_id),
                "about": row.about,
                "label": row.label,
                "suggested": row.suggested,
                "probability": _share(row, "probability"),
                "other": _share(row, "suggested_probability"),
                **{name: str(getattr(row, name, "") or "") for name in ("by", "suggested_by", "why")},
                "answer": row.answer,
            }
            for frame, row in zip(self._rows, self.table.itertuples(), strict=True)
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
                    reply = self._undo()
                else:
                    self.answer(self._asked(content.get("question")), str(content.get("answer")))
                    reply = {"text": ""}
                reply |= {"kind": "saved", "id": identity}
                self._done[identity] = reply
            except RadioWidgetsError as error:
                reply = {"kind": "refused", "id": identity, "text": str(error)}
        return reply | {"answers": self._answers(), "stuck": self.labels.stuck}, []

    def _asked(self, question: Any) -> int:
        """Return the place of a question that the front end names: it may be of an earlier queue."""
        place = self._place.get(Question(*map(str, question))) if _is_question(question) else None
        if place is None:
            raise ParameterError("This queue does not ask that: it was answered in another one. Discard it.")
        return place

    def _undo(self) -> dict[str, Any]:
        """Take back the last answer that was given to this queue."""
        self._answers()
        standing = [
            (event.order, place, event)
            for place, events in self._given.items()
            for event in events
            if self.labels.counts(event)
        ]
        if not standing:
            return {"text": "nothing to undo in this queue"}
        _, place, event = max(standing)
        self.labels.undo(event.event_id)
        return {"text": "undone", "place": place}

    # ------------------------------------------------------------ labels

    def answer(self, place: Any, said: str) -> None:
        """Record what was said at a place of the queue: 'accept', 'keep' or 'unsure'."""
        check_one_of("answer", said, ANSWERS)
        if not isinstance(place, int) or not 0 <= place < len(self.queue):
            raise ParameterError(f"There is no place {place!r} in a queue of {len(self.queue)}.")
        question = self._questions[place]
        shown = {"look": "relabel", **question._asdict(), "answer": said}
        del shown["frame_id"]
        ref = described(self.run, int(self._rows[place]), shown)
        self.labels.record(ref, **self._changes(place, said))

    def _changes(self, place: int, said: str) -> dict[str, Any]:
        """Return what an answer changes: of the two labels and UNSURE one stays."""
        question, changes = self._questions[place], {}
        label = {"accept": question.suggested, "keep": question.label, "unsure": UNSURE}[said]
        add, rivals = {label}, {UNSURE}
        if question.about == "interest":
            changes["interest"] = None if label == UNSURE else int(label)
            add &= {UNSURE}
        else:
            rivals |= {question.label, question.suggested}
        if said != "unsure" and "settled" in self.queue:
            add |= set(self.queue["settled"].iloc[place])
        answers = self._answers()
        if any(answers[k] == "unsure" for k in np.flatnonzero(self._rows == self._rows[place]) if k != place):
            rivals -= {UNSURE}  # about something else of the frame
        return changes | {"add": sorted(add - {""}), "remove": sorted(rivals - add - {""})}

    def _answers(self) -> list[str | None]:
        """Return the standing answer to each question, by what the annotator said here last."""
        if self._events is not self.labels.arrived:  # another list: what was read may not hold
            self._events, self._read, self._given = self.labels.arrived, 0, {}
        new = self._events[self._read :]
        self._read += len(new)
        for event in new:
            if event.annotator == self.labels.annotator and (place := self._place_of(event)) is not None:
                self._given.setdefault(place, []).append(event)
        answers: list[str | None] = [None] * len(self._questions)
        for place, events in self._given.items():
            standing = [event for event in events if self.labels.counts(event)]
            if standing:
                shown: Any = max(standing, key=lambda event: event.order).frames[0].shown
                answers[place] = shown["answer"]
        return answers

    def _place_of(self, event: Event) -> int | None:
        """Return the place of the question that an event answers."""
        shown = event.frames[0].shown if len(event.frames) == 1 and event.undoes is None else None
        if (
            not isinstance(shown, Mapping)
            or shown.get("look") != "relabel"
            or shown.get("answer") not in ANSWERS
        ):
            return None
        asked = (str(shown.get(name, "")) for name in ("label", "suggested"))
        return self._place.get(Question(event.frames[0].frame_id, str(shown.get("about", "tag")), *asked))


def _checked(run: Run, queue: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the queue with all that a question has, and the position of each frame."""
    if "frame_id" not in queue:
        queue = queue.rename_axis("frame_id").reset_index()
    missing = [name for name in ("label", "suggested") if name not in queue]
    if missing:
        raise ParameterError(
            f"The queue has no column {missing[0]!r}; it needs frame_id, label and suggested."
        )
    if len(queue) > MOST:
        raise ParameterError(f"The queue asks {len(queue)} questions; give at most {MOST}, the surest first.")
    queue = queue.assign(frame_id=queue["frame_id"].astype(str), about=queue.get("about", "tag"))
    queue = queue.reset_index(drop=True)
    for name in ("label", "suggested"):
        queue[name] = pd.Series([_text(value) for value in queue[name]], dtype=object)
    rows = np.asarray(rows_of(run, queue["frame_id"].tolist()), dtype=np.int64)
    unknown = queue["frame_id"][rows < 0]
    if len(unknown):
        raise ParameterError(
            f"The run has no frame {unknown.iloc[0]!r}, nor {len(unknown) - 1} others of the queue."
        )
    asked = queue[list(Question._fields)]
    if asked.duplicated().any():
        raise ParameterError(f"Frame {asked['frame_id'][asked.duplicated()].iloc[0]!r} is there twice.")
    for question in asked.itertuples(index=False):
        _check_question(Question(*question))
    return queue, rows


def _text(value: Any) -> str:
    """Return a label as a text; a rating may come as a number, "" is none."""
    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def _check_question(question: Question) -> None:
    check_one_of("about", question.about, ABOUT)
    labels = (question.label, question.suggested)
    if labels[0] == labels[1]:
        raise ParameterError(
            f"Label and suggestion of frame {question.frame_id!r} are both {labels[0]!r}; give two to choose from."
        )
    try:
        for label in labels:
            if question.about == "interest":
                check_interest(int(label))
            elif label:
                check_tag(label)
    except ValueError as error:
        raise ParameterError(f"The labels of frame {question.frame_id!r} are {labels}: {error}.") from error


def _is_question(given: Any) -> bool:
    return isinstance(given, list) and len(given) == len(Question._fields)


def _divided(table: pd.DataFrame, least: float) -> list[tuple[Any, ...]]:
    """Return the questions that disputes ask, each with who says what and the tags that all agree on."""
    apart = disputes(table, least)
    table = table[table["frame_id"].isin(apart.index)]
    said = {name: list(zip(rows["annotator"], rows["interest"], rows["tags"], strict=True))
            for name, rows in table.groupby("frame_id")}  # fmt: skip
    asked = []
    for frame_id, found in apart.iterrows():
        rows, settled = said[str(frame_id)], found["settled"]
        if found["apart"] >= least:
            ends = [int(found["lowest"]), int(found["highest"])]
            by = [
                _people(who for who, interest, _ in rows if interest is not pd.NA and interest == end)
                for end in ends
            ]
            asked.append((frame_id, "interest", *map(str, ends), *by, settled))
        on = {tag: [who for who, _, tags in rows if tag in tags] for tag in found["tags"]}
        if len(on) == 2 and not set.intersection(*map(set, on.values())):
            by = [_people(some) for some in on.values()]
            asked.append((frame_id, "tag", *on, *by, settled))
            continue
        for tag, some in on.items():
            off = _people(who for who, _, tags in rows if tag not in tags and UNSURE not in tags)
            asked.append((frame_id, "tag", "", tag, off, _people(some), settled))
    return asked


def _agreed(run: Run, table: pd.DataFrame, tags: Iterable[str]) -> dict[str, list[int]]:
    """Return for each tag frames on which all put it, most people first."""
    one = consensus(table, "unanimous").sort_values("annotators", ascending=False, kind="stable")
    rows = np.asarray(rows_of(run, one.index.tolist()), dtype=np.int64)
    found = {tag: rows[[tag in some for some in one["tags"]]] for tag in tags}
    return {tag: some[some >= 0][:EXAMPLES].tolist() for tag, some in found.items()}


def _share(row: Any, name: str) -> float | None:
    value = getattr(row, name, None)
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def _people(names: Iterable[str]) -> str:
    names = sorted(names)
    return " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"

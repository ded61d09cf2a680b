"""What widgets of frames answer, and what Review answers without changing a label: orders, queries, reasons, history.

Each function of these takes the run, the scores as the reviewer sees them and what the front end asked, and returns
the answer: plain JSON and binary buffers.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import FrameError, ParameterError, RadioWidgetsError, check_one_of
from radiowidgets.labels.events import Event
from radiowidgets.labels.files import make_folder
from radiowidgets.ranking.campaign import worth_stopping
from radiowidgets.run import Run
from radiowidgets.run.columns import TEXTS
from radiowidgets.widgets.display import number

Reply = tuple[dict[str, Any], list[bytes]]

PAGE = 40  # events of the history in one answer
MOST_GONE_TO = 2000  # frames of an event that the history leads to
BARS = 8
EXAMPLE = 'peak_snr > 20 and tag == "ARTEFACT"'
NEIGHBOURS = 8
MOST_OBJECTS = 12
FORMATS = {
    "csv": ".csv",
    "votable": ".vot",
    "ds9": ".reg",
    "moc": ".moc.fits",
    "cutouts": "",
    "sheet": ".png",
    "summary": ".md",
}


def receive(widget: Any, handlers: Mapping[str, Callable[[dict[str, Any]], Reply]], content: Any) -> None:
    """Answer one message of a widget; whatever goes wrong becomes a line in it, never a dead kernel."""
    kind = str(content.get("kind")) if isinstance(content, dict) else "None"
    if kind not in handlers:
        widget.send({"kind": "error", "text": f"Unknown message {kind!r}; reload the page."})
        return
    try:
        reply, buffers = handlers[kind](content)
    except RadioWidgetsError as error:
        reply, buffers = {"kind": "error", "text": str(error)}, []
    except Exception as error:
        reply, buffers = {"kind": "error", "text": f"{kind} failed: {type(error).__name__}: {error}"}, []
        logging.getLogger(type(widget).__module__).exception("message %r failed", kind)
    asked = {key: content.get(key) for key in ("view", "request")}
    widget.send({"kind": kind, **asked} | reply, buffers)


def described(run: Run, frame: int, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a label keeps of a frame, so that it outlives the table of frames."""
    frames = run.frames
    return {
        "frame_id": str(frames.frame_id(frame)),
        "map": frames.map_names[frames.map_codes[frame]],
        "box": [int(v[frame]) for v in (frames.x, frames.y, frames.width, frames.height)],
        "ra": number(frames.ra[frame]),
        "dec": number(frames.dec[frame]),
        "shown": dict(shown),
    }


def order_by(run: Run, scores: pd.DataFrame, asked: Mapping[str, Any]) -> Reply:
    """Return an order of frames (uint32); of a session also why each is looked at (uint8)."""
    by = str(asked.get("by"))
    check_one_of("by", by, ("first", "column", "like", "queue"))
    if by == "queue":
        queue = run.queue(
            random=float(asked["random"]),
            repeats=float(asked["repeats"]),
            count=int(asked["count"]),
            planned=[frame_of(run, frame) for frame in asked.get("planned") or ()],
            scores=scores,
        )
        if not len(queue) and not asked.get("planned"):
            raise ParameterError("Every frame is rated: there is nothing left to look at.")
        return {}, [queue["frame"].astype(np.uint32).tobytes(), queue["look"].astype(np.uint8).tobytes()]
    if by == "first":
        order = np.argsort(run.scores["rank"].to_numpy(), kind="stable")
    elif by == "like":
        order = run.more_like(frame_of(run, asked.get("frame")))
    else:
        values = np.asarray(run.column(str(asked.get("column")), scores), dtype=np.float64)
        # Frames without a value come last either way; equal ones stay in the order of their ranks.
        values = np.where(np.isfinite(values), -values if asked.get("descending") else values, np.inf)
        order = np.lexsort((scores["rank"].to_numpy(), values))
    return {}, [order.astype(np.uint32).tobytes()]


def find(run: Run, scores: pd.DataFrame, asked: Mapping[str, Any]) -> Reply:
    """Return one bit a frame: whether a query and an annotator's labels hold for it."""
    found = np.ones(len(run), dtype=bool)
    blind = [frame_of(run, frame) for frame in asked.get("blind") or ()]  # shown again as if never rated
    if query := str(asked.get("query") or "").strip():
        found &= run.find(query, scores, unsaid=blind)
    if annotator := str(asked.get("annotator") or ""):
        said = {frame_id for frame_id, state in run.labels.state(annotator).items() if not state.empty}
        if annotator == run.labels.annotator:
            said -= {str(run.frames.frame_ids[frame]) for frame in blind}
        found &= np.fromiter((frame_id in said for frame_id in run.frames.frame_ids), bool, len(run))
    return {"count": int(found.sum())}, [np.packbits(found).tobytes()]


def stacks(run: Run, scores: pd.DataFrame, _asked: Mapping[str, Any]) -> Reply:
    """Return for each frame the frame that leads its stack (int32)."""
    return {}, [np.asarray(run.stacks(scores["rank"].to_numpy()), dtype=np.int32).tobytes()]


def why(run: Run, scores: pd.DataFrame, asked: Mapping[str, Any]) -> Reply:
    """Return what makes the score of a frame, which frames are like it, and what is known there."""
    frame = frame_of(run, asked.get("frame"))
    answer: dict[str, Any] = {"frame": frame, "notes": []}

    def part(work: Callable[[], dict[str, Any]]) -> None:
        try:
            answer.update(work())
        except RadioWidgetsError as error:  # the other parts may still be there
            answer["notes"].append(str(error))

    part(lambda: _reasons(run, scores, frame))
    part(lambda: _neighbours(run, frame))
    part(lambda: _objects(run, frame))
    return answer, []


def _reasons(run: Run, scores: pd.DataFrame, frame: int) -> dict[str, Any]:
    explanation = run.why(frame, scores)
    table = explanation.contributions.head(BARS)
    rows = zip(
        *(table[name] for name in ("feature", "value", "typical", "unit", "contribution")), strict=True
    )
    bars = [
        {
            "feature": str(feature),
            "value": _short(value, unit),
            "typical": _short(typical, unit),
            "contribution": float(contribution),
        }
        for feature, value, typical, unit, contribution in rows
    ]
    return {"bars": bars, "words": [str(line) for line in explanation.words]}


def _short(value: Any, unit: Any) -> str:
    number = f"{float(value):.3g}" if np.isfinite(value) else "none"
    return f"{number} {unit}".strip() if isinstance(unit, str) else number


def _neighbours(run: Run, frame: int) -> dict[str, Any]:
    indices, distances = run.neighbours(frame, count=NEIGHBOURS)
    others = [name for name in run.labels.annotators if name != run.labels.annotator]
    found = []
    for index, distance in zip(indices.tolist(), distances.tolist(), strict=True):
        frame_id = str(run.frames.frame_ids[index])
        said = []
        for name in others:
            state = run.labels.state_of(frame_id, name)
            if not state.empty:
                rating = "not rated" if state.interest is None else f"interest {state.interest}"
                words = ", ".join([rating, *sorted(state.tags)])
                said.append({"annotator": name, "words": words, "tags": sorted(state.tags)})
        found.append({"frame": index, "distance": distance, "others": said})
    return {"neighbours": found}


def _objects(run: Run, frame: int) -> dict[str, Any]:
    found = run.objects_in(frame)
    objects = [
        {"catalogue": catalogue, "name": name, "separation": _angle(separation)}
        for catalogue, name, _ra, _dec, separation in found[:MOST_OBJECTS]
    ]
    return {"objects": objects, "more": max(0, len(found) - MOST_OBJECTS)}


def _angle(arcsec: float) -> str:
    return f"{arcsec:.0f}″" if arcsec < 100 else f"{arcsec / 60:.1f}′"


def progress(run: Run, scores: pd.DataFrame, asked: Mapping[str, Any]) -> Reply:
    """Return the numbers of the session strip; what is not known yet is left out."""
    now = run.progress(threshold=int(asked.get("threshold") or 3), scores=scores)
    answer: dict[str, Any] = {
        "rate": now.labels_per_minute or now.overall_per_minute,
        "looks": now.rated,
        "interesting": now.interesting,
    }
    if now.expected is not None and now.ahead:
        finds, low, high = now.expected
        answer["expected"] = {"looks": now.ahead, "finds": finds, "low": low, "high": high}
    if now.missed is not None:
        value, low, high = now.missed
        words = (
            f"{now.random_interesting} of {now.random_looks} random looks were interesting; "
            f"so of the {now.frames - now.looks} frames not looked at about {value:.0f} ({low:.0f} to {high:.0f}) are"
        )
        answer["missed"] = {"count": value, "low": low, "high": high, "words": words}
    if now.repeats:
        kappa = "" if now.kappa is None else f", weighted kappa {now.kappa:.2f}"
        near = f"{now.agree:.0%} the same, {now.agree_within_one:.0%} within one"
        words = f"{now.repeats} frames rated twice: {near}{kappa}"
        answer["consistency"] = {"agreement": now.agree, "words": words}
    return answer, []


def expected(run: Run, scores: pd.DataFrame, asked: Mapping[str, Any]) -> Reply:
    """Return what the looks ahead promise, and whether it is time to think of stopping."""
    ahead, finds = run.expected(int(asked.get("threshold") or 3), scores)
    if finds is None or not ahead:
        return {}, []
    told = {"looks": ahead, "finds": finds.value, "low": finds.low, "high": finds.high}
    return {"expected": {**told, "stop": worth_stopping(finds)}}, []


def columns(run: Run, _scores: pd.DataFrame, _asked: Mapping[str, Any]) -> Reply:
    """Return the columns that frames can be ordered by, with what they mean, and a query for example."""
    numbers = {name: words for name, words in run.columns.items() if name not in TEXTS}
    return {"columns": numbers, "example": EXAMPLE}, []


def history(run: Run, asked: Mapping[str, Any]) -> Reply:
    """Return a page of events, the latest first; ``before`` names the place in the log where it begins."""
    log = run.labels
    log.refresh()
    events = log.events()
    # An undo that stands is what a redo takes back.
    undone = {event.undoes: event.event_id for event in events if event.undoes and log.counts(event)}
    by_id = {event.event_id: event for event in events}
    before = asked.get("before")
    end = min(len(events), before) if isinstance(before, int) and before >= 0 else len(events)
    page = [_told(place, events[place], run, by_id, undone) for place in range(max(0, end - PAGE), end)]
    return {"events": page[::-1], "before": before, "more": end > PAGE}, []


def _told(
    place: int,
    event: Event,
    run: Run,
    by_id: Mapping[str, Event],
    undone: Mapping[str, str],
) -> dict[str, Any]:
    target = by_id.get(event.undoes) if event.undoes else None
    if event.undoes is None:
        words = event.describe()
    elif target is None:
        words = "undid an action"
    else:
        words = f"{'redid' if target.undoes else 'undid'} {said(target, by_id)}"
    log = run.labels
    frames = [row for row in rows_of(run, event.frame_ids[:MOST_GONE_TO]) if row >= 0]
    stands = log.counts(event)
    return {
        "place": place,
        "id": event.event_id,
        "time": event.time,
        "annotator": event.annotator,
        "mine": event.annotator == log.annotator,
        "words": words,
        "note": (event.note or "")[:200],
        "count": len(event.frames),
        "frames": frames,
        "stands": stands,
        "undo": event.undoes is not None,
        # The event that a click takes back: this one, or the undo that took it back.
        "takes": event.event_id if stands else undone.get(event.event_id),
    }


def said(event: Event, by_id: Mapping[str, Event]) -> str:
    """Say what was done, also by the undo of an undo."""
    seen = 0
    while event.undoes is not None and event.undoes in by_id and seen < 100:
        event, seen = by_id[event.undoes], seen + 1
    return event.describe()


def export(run: Run, _scores: pd.DataFrame, asked: Mapping[str, Any], buffers: Any = ()) -> Reply:
    """Write frames into the run's folder ``exports``, and return where and how many."""
    kind, which = str(asked.get("format")), str(asked.get("which"))
    check_one_of("format", kind, FORMATS)
    check_one_of("which", which, ("selection", "shown", "rated", "all"))
    frames = None
    if which in ("selection", "shown"):
        frames = np.frombuffer(buffers[0] if buffers else b"", dtype=np.uint32).astype(np.int64)
        if not len(frames) or frames.max() >= len(run):
            raise ParameterError("There are no frames to write; select some.")
    least = int(asked.get("least") or 0)
    words = f"rated-{least}" if which == "rated" else which
    folder = run.path / "exports"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.name)
    place = folder / f"{name}-{words}-{time.strftime('%Y%m%dT%H%M%S')}{FORMATS[kind]}"
    try:
        make_folder(folder)
    except OSError as error:
        raise ParameterError(
            f"Cannot write into {folder}: {error.strerror}. Free some space, or export with run.export elsewhere."
        ) from error
    place = run.export(place, kind, min_interest=least if which == "rated" else None, frames=frames)
    text = (
        "Written." if frames is None else f"{len(frames):,} frame{'' if len(frames) == 1 else 's'} written."
    )
    return {"path": str(place), "text": text}, []


def rows_of(run: Run, frame_ids: Iterable[str]) -> list[int]:
    """Return the index of each of these frames; -1 for one that the run does not have."""

    def row(frame_id: str) -> int:
        try:
            return run.frames.index_of(frame_id)
        except FrameError:
            return -1

    return [row(frame_id) for frame_id in frame_ids]


def frame_of(run: Run, frame: Any) -> int:
    """Return the index of a frame that the front end names."""
    if not isinstance(frame, int) or isinstance(frame, bool) or not 0 <= frame < len(run):
        raise ParameterError(f"The widget asked for the frame {frame!r} of {len(run)}; reload the page.")
    return frame

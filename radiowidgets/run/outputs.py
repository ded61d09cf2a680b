"""What a run gives to others and takes from them: objects, a report, and runs and labels of Astronomaly."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

import radiowidgets
from radiowidgets.data.building import drafted
from radiowidgets.errors import ParameterError
from radiowidgets.exchange.astronomaly import labels_for, read_astronomaly, write_astronomaly
from radiowidgets.exchange.pictures import picture_of
from radiowidgets.exchange.regions import iau_name
from radiowidgets.exchange.report import MOST, Picture, scale_bar, write_report
from radiowidgets.labels.agreement import agreement
from radiowidgets.ranking.objects import find_objects

if TYPE_CHECKING:
    from radiowidgets.data.noted import NotedTable
    from radiowidgets.run import Run

MANY = 5000  # frames from which on the merging shows its progress
FRAMES_PER_OBJECT = 16  # as many show one where frames lie a quarter apart
HIGHEST = 5
ELSEWHERE = {"by": "astronomaly"}  # what an event keeps of a look that was not ours


def objects_of(run: Run, frames: pd.DataFrame) -> NotedTable:
    """Return the objects that frames of a run show, with what people say of them; see `Run.objects`.

    Parameters
    ----------
    run : Run
    frames : DataFrame
        One row a frame in rank order, as of `Run.selection`, with notes.
    """
    rows = run._rows(frames["frame_id"])
    progress = "merging" if len(rows) > MANY else None
    table = find_objects(run.frames.select(rows), frames["rank"].to_numpy(), run.focus[rows], progress)
    ids, scores = frames["frame_id"].to_numpy(object), frames["score"].to_numpy(np.float64)
    interest = frames["interest"].to_numpy(np.float64, na_value=np.nan)
    members = [np.array(those, np.int64) for those in table["members"]]
    table["frame_id"] = ids[table.pop("frame").to_numpy(np.int64)]
    table["score"] = [scores[those[0]] for those in members]
    table["frames"] = [len(those) for those in members]
    table["members"] = [";".join(ids[those]) for those in members]
    table["tags"] = [_joined(frames["tags"].iloc[those], ";") for those in members]
    # What one frame shows in full another shows in part: the highest rating is that of the object.
    table["interest"] = [np.nanmax(interest[those], initial=-1) for those in members]
    table["interest"] = table["interest"].where(table["interest"] >= 0)
    table["note"] = [_joined(frames["note"].iloc[those], "\n") for those in members]
    table.insert(0, "name", iau_name(table["ra"].to_numpy(), table["dec"].to_numpy()))
    return table


def report_on(run: Run, path: Path, threshold: int, top: int) -> Path:
    """Write the report of a run; see `Run.report`."""
    for name, value, most in (("threshold", threshold, HIGHEST), ("top", top, MOST)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ParameterError(f"{name} is {value!r}; give a whole number from 1 to {most}.")
    order = run.selection()
    interesting = (order["interest"] >= threshold).fillna(False).to_numpy(bool)
    # Frames of one object overlap: several times as many are merged as objects are shown.
    chosen = np.flatnonzero(interesting)[:MANY].tolist()
    chosen += np.flatnonzero(~interesting)[: FRAMES_PER_OBJECT * top].tolist()
    objects = run.objects(frames=list(order["frame_id"].iloc[sorted(chosen)]))
    first = np.argsort(~(objects["interest"] >= threshold).to_numpy(), kind="stable")
    objects = objects.iloc[first].head(top)
    labels = run.labels.table()
    page = write_report(
        run.name,
        run.about,
        map_facts(run),
        objects,
        [_picture(run, frame_id) for frame_id in objects["frame_id"]],
        labels=labels,
        progress=[run.progress(None, threshold, who) for who in run.labels.annotators],
        curves=yield_curves(run, threshold),
        agreement=agreement(labels),
        schema=run.schema,
        version=radiowidgets.__version__,
        threshold=threshold,
    )
    with drafted(path) as draft:
        draft.write_text(page, "utf-8")
    return path


def map_facts(run: Run) -> list[dict[str, str]]:
    """Return what there is to say of each map of a run."""
    maps = []
    for name, entry in run.about["maps"].items():
        sky = run.frames.maps.get(name)
        facts = {"map": name, "file": Path(entry["path"]).name, "fingerprint": entry["fingerprint"]}
        if sky is not None:
            facts["pixels"] = " x ".join(map(str, reversed(sky.shape)))
            facts["unit"] = "" if sky.unit is None else str(sky.unit)
            facts["frequency"] = "" if sky.frequency is None else f"{sky.frequency.to_value('GHz'):.6g} GHz"
        maps.append(facts)
    return maps


def yield_curves(run: Run, threshold: int) -> dict[str, np.ndarray]:
    """Return of each annotator how many interesting frames were found after each look, in the order of the log.

    Labels of another tool are left out, as nobody knows in which order they were given.
    """
    looks: dict[str, dict[str, None]] = {}
    for event in run.labels.events():
        if event.changes and run.labels.counts(event):
            own = [frame.frame_id for frame in event.frames if frame.shown != ELSEWHERE]
            looks.setdefault(event.annotator, {}).update(dict.fromkeys(own))
    curves = {}
    for who, frames in looks.items():
        states = run.labels.state(who)
        ratings = [states[frame_id].interest if frame_id in states else None for frame_id in frames]
        curves[who] = np.cumsum(
            [rating is not None and rating >= threshold for rating in ratings], dtype=np.int64
        )
    return curves


def _picture(run: Run, frame_id: str) -> Picture:
    frame = run.frames[run.frames.index_of(frame_id)]
    scale = None if frame.sky is None else frame.sky.pixel_scale
    return Picture(
        picture_of(frame), None if scale is None else scale_bar(scale * max(frame.width, frame.height))
    )


def open_in_astronomaly(run: Run, path: Path, frames: pd.DataFrame) -> Path:
    """Write frames of a run into a new folder that Astronomaly opens; see `write_astronomaly`.

    Parameters
    ----------
    run : Run
    path : Path
    frames : DataFrame
        One row a frame, as of `Run.selection`.
    """
    frames = frames.drop_duplicates("frame_id")  # two objects may be shown best by one frame
    base = run.scores["score"].reindex(frames["frame_id"]).to_numpy()
    order = run.order
    return write_astronomaly(
        path,
        frames.assign(score=base),
        run.frames,
        run.features,
        trained=None if order is run.scores else order["score"],
        embedding=run.embedding,
        plane=run.projection("umap") if run.is_projected("umap") else None,
    )


class LabelsRead(NamedTuple):
    """What came of reading labels.

    Attributes
    ----------
    recorded : int
        Frames whose rating is new or another than before.
    known : int
        Frames whose rating was so already.
    problems : DataFrame
        What could not be used, one row each: file, row, object, problem.
    """

    recorded: int
    known: int
    problems: pd.DataFrame


def labels_from_astronomaly(run: Run, folder: str | os.PathLike[str], annotator: str) -> LabelsRead:
    """Record in the log of a run what was rated in Astronomaly; see `Run.read_labels`."""
    labels, problems = labels_for(read_astronomaly(folder), run.frames)
    other = copy.copy(run)  # the same run with another annotator
    other.__dict__.pop("labels", None)
    other.annotator = annotator
    before = other.labels.state()
    new: dict[int, list[dict[str, Any]]] = {}
    for k, interest in labels.items():
        frame = run.frames[k]
        state = before.get(frame.frame_id)
        if state is None or state.interest != interest:
            new.setdefault(interest, []).append(_reference(run, k))
    for interest, frames in sorted(new.items()):
        other.labels.record(frames, interest=interest)
    other.labels.close()
    run.labels.refresh()
    recorded = sum(len(frames) for frames in new.values())
    return LabelsRead(recorded, len(labels) - recorded, problems)


def _reference(run: Run, k: int) -> dict[str, Any]:
    """Return what an event keeps of a frame."""
    frame = run.frames[k]
    place = {"ra": float(run.frames.ra[k]), "dec": float(run.frames.dec[k])}
    known = place if np.isfinite(list(place.values())).all() else {}
    box = [frame.x, frame.y, frame.width, frame.height]
    return {"frame_id": frame.frame_id, "map": frame.map, "box": box, **known, "shown": ELSEWHERE}


def _joined(texts: Any, mark: str) -> str:
    """Join what lists of texts hold, each once, in their order."""
    return mark.join(dict.fromkeys(part for text in texts for part in text.split(mark) if part))

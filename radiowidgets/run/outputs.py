"""What a run gives to others: the objects that its frames show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiowidgets.exchange.regions import iau_name
from radiowidgets.ranking.objects import find_objects

if TYPE_CHECKING:
    from radiowidgets.data.noted import NotedTable
    from radiowidgets.run import Run

MANY = 5000  # frames from which on the merging shows its progress


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


def _joined(texts: Any, mark: str) -> str:
    """Join what lists of texts hold, each once, in their order."""
    return mark.join(dict.fromkeys(part for text in texts for part in text.split(mark) if part))

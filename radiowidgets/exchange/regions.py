"""Frames as regions and tables for other tools: DS9, VOTable, CSV, Parquet."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError, RadioWidgetsError
from radiowidgets.labels.log import guard_formulas

UNITS = {"x": "pix", "y": "pix", "width": "pix", "height": "pix", "ra": "deg", "dec": "deg"}


def write_table(
    table: pd.DataFrame, path: str | os.PathLike[str], format: str | None = None, frames: Any = None
) -> Path:
    """Write a table of frames to a file that other tools open.

    Parameters
    ----------
    table : DataFrame
        One row a frame, with a column ``frame_id``.
    path : path
        Where to write.
    format : {"csv", "parquet", "votable", "ds9"}, optional
        Default: by the suffix (.csv, .parquet, .vot or .votable or .xml, .reg).
    frames : FrameSet
        Needed by "ds9": the frames that the rows speak of.

    Raises
    ------
    ParameterError
        If the format is not known.
    """
    path = Path(path)
    suffixes = {
        ".csv": "csv",
        ".parquet": "parquet",
        ".vot": "votable",
        ".votable": "votable",
        ".xml": "votable",
        ".reg": "ds9",
    }
    chosen = format or suffixes.get(path.suffix.lower())
    writers: dict[str, Callable[[], str | bytes]] = {
        "csv": lambda: guard_formulas(table).to_csv(index=False),
        "parquet": lambda: table.to_parquet(index=False),
        "votable": lambda: _votable(table),
        "ds9": lambda: _ds9(table, frames),
    }
    if chosen not in writers:
        raise ParameterError(
            f"Cannot tell the format of {path.name!r} (format is {format!r}); choose one of {', '.join(writers)}, "
            "or a suffix .csv, .parquet, .vot or .reg."
        )
    content = writers[chosen]()
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)  # whole or not at all
    except OSError as error:
        raise RadioWidgetsError(
            f"Cannot write {path}: {error.strerror}. Choose a file that you may write."
        ) from error
    return path


def _votable(table: pd.DataFrame) -> bytes:
    import io

    from astropy.table import Table

    columns = {}
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            columns[name] = (
                column.to_numpy(dtype=float, na_value=np.nan) if column.isna().any() else column.to_numpy()
            )
        else:
            columns[name] = column.fillna("").astype(str).to_numpy(dtype=str)
    votable = Table(columns)
    for name, unit in UNITS.items():
        if name in votable.colnames:
            votable[name].unit = unit
    buffer = io.BytesIO()
    votable.write(buffer, format="votable")
    return buffer.getvalue()


def _ds9(table: pd.DataFrame, frames: Any) -> str:
    """One polygon a frame: on the sky where the map has coordinates, else in pixels of its map (from 1, as in DS9)."""
    if frames is None:
        raise ParameterError("Writing DS9 regions needs the frames; give frames=.")
    rows = np.array([frames.index_of(frame_id) for frame_id in table["frame_id"]], dtype=np.int64)
    x = frames.x[rows, None] - 0.5 + frames.width[rows, None] * np.array([0, 1, 1, 0])
    y = frames.y[rows, None] - 0.5 + frames.height[rows, None] * np.array([0, 0, 1, 1])
    ra, dec = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    for code, name in enumerate(frames.map_names if frames.maps else ()):
        mine = frames.map_codes[rows] == code
        if mine.any() and frames.maps[name].wcs is not None:
            ra[mine], dec[mine] = frames.maps[name].pixel_to_sky(x[mine], y[mine])
    on_sky = np.asarray(np.isfinite(ra + dec).all(axis=1))
    lines = ["# Region file format: DS9"]
    tags = table["tags"] if "tags" in table else [""] * len(table)
    for k, (frame_id, given) in enumerate(zip(table["frame_id"], tags, strict=True)):
        system, a, b, digits = ("icrs", ra[k], dec[k], 7) if on_sky[k] else ("image", x[k] + 1, y[k] + 1, 2)
        corners = ",".join(f"{value:.{digits}f}" for point in zip(a, b, strict=True) for value in point)
        lines.append(f"{system}; polygon({corners}) # text={{{_region_text(f'{frame_id} {given}'.strip())}}}")
    return "\n".join(lines) + "\n"


def _region_text(text: str) -> str:
    """DS9 ends a text at the closing brace and a region at the line's end."""
    return "".join(" " if letter in "{}" or not letter.isprintable() else letter for letter in text)

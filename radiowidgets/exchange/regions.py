"""Frames as regions and tables for other tools: DS9, VOTable, CSV, Parquet."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.errors import ParameterError

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
        "csv": lambda: table.to_csv(index=False),
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
    if path.parent != Path():
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.replace(path)  # whole or not at all
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
    """One polygon a frame: on the sky where the map has coordinates, else in pixels of its map."""
    from astropy.coordinates import SkyCoord
    from regions import PixCoord, PolygonPixelRegion, PolygonSkyRegion, Regions

    if frames is None:
        raise ParameterError("Writing DS9 regions needs the frames; give frames=.")
    regions = []
    for row in table.itertuples():
        frame = frames[frames.index_of(row.frame_id)]
        x = np.array([0, frame.width, frame.width, 0]) - 0.5
        y = np.array([0, 0, frame.height, frame.height]) - 0.5
        text = f"{row.frame_id} {getattr(row, 'tags', '')}".strip()
        # DS9 ends a text at the closing brace and a region at the line's end.
        meta = {
            "text": "".join(
                " " if letter in "{}\r\n" or not letter.isprintable() else letter for letter in text
            )
        }
        region = None
        if frame.wcs is not None:
            corners = SkyCoord(frame.wcs.pixel_to_world(x, y)).icrs
            if np.isfinite(corners.ra.deg).all() and np.isfinite(corners.dec.deg).all():
                region = PolygonSkyRegion(corners, meta=meta)
        if region is None:
            region = PolygonPixelRegion(PixCoord(x + frame.x, y + frame.y), meta=meta)
        regions.append(region)
    return Regions(regions).serialize(format="ds9", precision=7) if regions else "# Region file format: DS9\n"

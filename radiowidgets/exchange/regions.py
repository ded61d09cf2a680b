"""Frames as tables, regions and coverage maps for other tools: CSV, Parquet, VOTable, DS9, MOC."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiowidgets.data.building import drafted
from radiowidgets.errors import ParameterError, check_one_of
from radiowidgets.labels.log import guard_formulas

UNITS = {
    **dict.fromkeys(("x", "y", "width", "height", "peak_x", "peak_y"), "pix"),
    **dict.fromkeys(("ra", "dec", "peak_ra", "peak_dec"), "deg"),
}
# What each format is for, and the endings of its files.
FORMATS: dict[str, tuple[str, ...]] = {
    "csv": (".csv",),
    "parquet": (".parquet",),
    "votable": (".vot", ".votable", ".xml"),
    "ds9": (".reg",),
    "moc": (".fits", ".moc"),
    "cutouts": (".zip", ""),
    "sheet": (".png",),
    "summary": (".md",),
    "report": (".html",),
    "astronomaly": ("",),
}
_CELLS = 16  # of a coverage map along the side of a frame, at least
_JOINED = 8  # frames side by side, most
_ORDERS = (3, 20)
_CELL_0 = 58.6  # degrees, the side of a cell of order 0


def format_of(path: str | os.PathLike[str], format: str | None = None) -> str:
    """Return the format of a file to be written, by its name unless it is given.

    Raises
    ------
    ParameterError
        If the format is not known.
    """
    if format is not None:
        check_one_of("format", format, FORMATS)
        return format
    suffix = Path(path).suffix.lower()
    for name, suffixes in FORMATS.items():
        if suffix and suffix in suffixes:
            return name
    known = ", ".join(f"{name} ({suffixes[0] or 'a folder'})" for name, suffixes in FORMATS.items())
    raise ParameterError(
        f"Cannot tell the format of {Path(path).name!r}; let its name end so, or give format=: {known}."
    )


def write_table(
    table: pd.DataFrame, path: str | os.PathLike[str], format: str | None = None, frames: Any = None
) -> Path:
    """Write a table of frames, or of objects, to a file that other tools open.

    Parameters
    ----------
    table : DataFrame
        One row a frame, with a column ``frame_id``; or one row an object, as of `Run.objects`.
    path : path
        Where to write.
    format : {"csv", "parquet", "votable", "ds9", "moc"}, optional
        Default: by the suffix, see `FORMATS`.
    frames : FrameSet, optional
        Needed by "ds9" and "moc": the frames that the rows speak of. Without them each row is a circle round its
        position, of its ``size``.

    Raises
    ------
    ParameterError
        If the format is not known.
    """
    path = Path(path)
    chosen = format_of(path, format)
    writers: dict[str, Callable[[], str | bytes]] = {
        "csv": lambda: guard_formulas(table).to_csv(index=False),
        "parquet": lambda: table.to_parquet(index=False),
        "votable": lambda: _votable(table),
        "ds9": lambda: _ds9_circles(table) if frames is None else _ds9(table, frames),
        "moc": lambda: _moc_circles(table) if frames is None else _moc(table, frames),
    }
    check_one_of("format", chosen, writers)
    content = writers[chosen]()
    with drafted(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def iau_name(ra: Any, dec: Any, prefix: str = "RW") -> Any:
    """Return the name of a place on the sky as the IAU asks for it: ``RW JHHMMSS.ss+DDMMSS.s``.

    The digits are truncated, never rounded, so that a name says in which cell of the sky its object lies. (What
    lies within 1e-7 of its last digit below the next is taken for that one: it is a number such as 1.10 s that
    degrees in binary cannot hold.)

    Parameters
    ----------
    ra, dec : float or array_like
        ICRS degrees; any right ascension is brought into 0 to 360.
    prefix : str
        The acronym before the J; none if empty.

    Returns
    -------
    str, or object array of str
        Empty where the position is not known.

    Raises
    ------
    ParameterError
        If a declination is beyond the poles.

    Examples
    --------
    >>> iau_name(324.12345, -0.00417)
    'RW J213629.62-000015.0'
    """
    ra, dec = np.broadcast_arrays(np.asarray(ra, np.float64), np.asarray(dec, np.float64))
    beyond = np.abs(dec) > 90
    if beyond.any():
        raise ParameterError(f"dec is {dec[beyond].flat[0]:g}; give degrees from -90 to 90.")
    known = np.isfinite(ra) & np.isfinite(dec)
    hours = np.floor(np.where(known, ra, 0) % 360 * 24_000 + 1e-7).astype(np.int64) % 8_640_000  # in 0.01 s
    degrees = np.floor(np.abs(np.where(known, dec, 0)) * 36_000 + 1e-7).astype(np.int64)  # in 0.1 arcsec
    lead = f"{prefix} J" if prefix else "J"
    rows = zip(known.flat, hours.flat, (dec < 0).flat, degrees.flat, strict=True)
    names = [
        f"{lead}{h // 360_000:02d}{h // 6000 % 60:02d}{h // 100 % 60:02d}.{h % 100:02d}"
        f"{'-' if south else '+'}{d // 36_000:02d}{d // 600 % 60:02d}{d // 10 % 60:02d}.{d % 10}"
        if there
        else ""
        for there, h, south, d in rows
    ]
    return np.array(names, dtype=object).reshape(ra.shape) if ra.ndim else names[0]


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
    for name, unit in {**UNITS, **getattr(table, "units", {})}.items():
        if name in votable.colnames:
            votable[name].unit = unit
    buffer = io.BytesIO()
    votable.write(buffer, format="votable")
    return buffer.getvalue()


def _rows_of(table: pd.DataFrame, frames: Any) -> np.ndarray:
    return np.array([frames.index_of(frame_id) for frame_id in table["frame_id"]], dtype=np.int64)


def _to_sky(frames: Any, codes: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ICRS degrees of pixels of the maps `codes`; NaN where there is no sky."""
    ra, dec = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    for code, name in enumerate(frames.map_names if frames.maps else ()):
        mine = codes == code
        if mine.any() and frames.maps[name].wcs is not None:
            ra[mine], dec[mine] = frames.maps[name].pixel_to_sky(x[mine], y[mine])
    return ra, dec


def _moc(table: pd.DataFrame, frames: Any) -> bytes:
    """The sky that the frames cover, as a FITS file (IVOA MOC 2.0), in cells of at most 1/16 of a frame."""
    from astropy.coordinates import angular_separation
    from mocpy import MOC

    boxes = _joined(frames, _rows_of(table, frames))
    # Points along the edges, as those of a long box are no great circles.
    points = np.linspace(0, 1, _JOINED + 1)[:-1]
    u = np.concatenate([points, np.ones(_JOINED), 1 - points, np.zeros(_JOINED)])
    v = np.roll(u, _JOINED)
    code, x, y, width, height, count = (column[:, None] for column in boxes.T)
    ra, dec = _to_sky(frames, np.repeat(code, len(u), axis=1), x - 0.5 + width * u, y - 0.5 + height * v)
    there = np.isfinite(ra + dec).all(axis=1)
    if not there.all():
        warnings.warn(
            f"{int(count[~there].sum())} of {len(table)} frames have no sky coordinates and are not in the MOC.",
            stacklevel=4,
        )
    moc = MOC.new_empty(max_depth=_ORDERS[0])
    if there.any():
        ra, dec = ra[there], dec[there]
        low, high = (np.radians([ra[:, k], dec[:, k]]) for k in (0, 3 * _JOINED))  # of the left edges
        side = np.degrees(np.median(angular_separation(*low, *high)))
        order = _order_of(side)
        mocs = MOC.from_polygons(
            [axis for both in zip(ra, dec, strict=True) for axis in both], max_depth=order
        )
        moc = mocs[0].union(*mocs[1:]) if len(mocs) > 1 else mocs[0]
    return _moc_file(moc)


def _moc_circles(table: pd.DataFrame) -> bytes:
    """The sky that objects cover; one without a size covers the cell that it lies in."""
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from mocpy import MOC

    ra, dec, radius = (table[name].to_numpy(np.float64) for name in ("ra", "dec", "size"))
    there = np.isfinite(ra + dec)
    if not there.all():
        warnings.warn(
            f"{int((~there).sum())} of {len(table)} objects have no sky coordinates and are not in the MOC.",
            stacklevel=4,
        )
    if not there.any():
        return _moc_file(MOC.new_empty(max_depth=_ORDERS[0]))
    radius = np.maximum(np.nan_to_num(radius[there]) / 7200, 1 / 3600)
    cones = MOC.from_cones(
        lon=Longitude(ra[there] * u.deg),
        lat=Latitude(dec[there] * u.deg),
        radius=radius * u.deg,
        max_depth=_order_of(2 * float(np.median(radius))),
    )
    return _moc_file(cones[0].union(*cones[1:]) if len(cones) > 1 else cones[0])


def _order_of(side: float) -> int:
    """The order of cells of which 16 lie along `side` degrees."""
    return int(np.clip(np.ceil(np.log2(_CELL_0 * _CELLS / max(side, 1e-9))), *_ORDERS))


def _moc_file(moc: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    moc.serialize(format="fits").writeto(buffer)
    return buffer.getvalue()


def _joined(frames: Any, rows: np.ndarray) -> np.ndarray:
    """Join overlapping frames of a row to boxes up to eight frames long: (n, 6) code, x, y, width, height, frames."""
    columns = (frames.map_codes, frames.y, frames.height, frames.x, frames.width)
    code, y, height, x, width = (column[rows].astype(np.int64) for column in columns)
    order = np.lexsort((x, x // (_JOINED * height), height, y, code))
    code, y, height, x, width = (column[order] for column in (code, y, height, x, width))
    band = np.stack([code, y, height, x // (_JOINED * height)])
    other = np.any(np.diff(band, axis=1, prepend=-1) != 0, axis=0)
    group = np.cumsum(other)
    end = np.maximum.accumulate(x + width + group * 2**32) - group * 2**32  # of all so far in the band
    first = np.flatnonzero(other | (x > np.roll(end, 1)))
    if not first.size:
        return np.zeros((0, 6), np.int64)
    last = np.append(first[1:], len(x)) - 1
    count = last - first + 1
    return np.stack([code[first], x[first], y[first], end[last] - x[first], height[first], count], axis=1)


def _ds9(table: pd.DataFrame, frames: Any) -> str:
    """One polygon a frame: on the sky where the map has coordinates, else in pixels of its map (from 1, as in DS9)."""
    rows = _rows_of(table, frames)
    x = frames.x[rows, None] - 0.5 + frames.width[rows, None] * np.array([0, 1, 1, 0])
    y = frames.y[rows, None] - 0.5 + frames.height[rows, None] * np.array([0, 0, 1, 1])
    ra, dec = _to_sky(frames, np.repeat(frames.map_codes[rows, None], 4, axis=1), x, y)
    on_sky = np.asarray(np.isfinite(ra + dec).all(axis=1))
    lines = ["# Region file format: DS9"]
    tags = table["tags"] if "tags" in table else [""] * len(table)
    for k, (frame_id, given) in enumerate(zip(table["frame_id"], tags, strict=True)):
        system, a, b, digits = ("icrs", ra[k], dec[k], 7) if on_sky[k] else ("image", x[k] + 1, y[k] + 1, 2)
        corners = ",".join(f"{value:.{digits}f}" for point in zip(a, b, strict=True) for value in point)
        lines.append(f"{system}; polygon({corners}) # text={{{_region_text(f'{frame_id} {given}'.strip())}}}")
    return "\n".join(lines) + "\n"


def _ds9_circles(table: pd.DataFrame) -> str:
    """One circle an object, a point where it has no size: on the sky, else in pixels of its map (from 1)."""
    lines = ["# Region file format: DS9"]
    for row in table.to_dict("records"):
        text = (
            f" # text={{{_region_text(' '.join(str(row[name]) for name in ('name', 'tags') if row[name]))}}}"
        )
        if not np.isfinite(row["ra"] + row["dec"]):
            lines.append(f"image; point({row['x'] + 1:.2f},{row['y'] + 1:.2f}){text}")
        elif np.isfinite(row["size"]):
            lines.append(f'icrs; circle({row["ra"]:.7f},{row["dec"]:.7f},{row["size"] / 2:.2f}"){text}')
        else:
            lines.append(f"icrs; point({row['ra']:.7f},{row['dec']:.7f}){text}")
    return "\n".join(lines) + "\n"


def _region_text(text: str) -> str:
    """DS9 ends a text at the closing brace and a region at the line's end."""
    return "".join(" " if letter in "{}" or not letter.isprintable() else letter for letter in text)

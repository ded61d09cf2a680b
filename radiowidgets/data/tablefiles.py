"""Tables of any format the field uses, from bytes that are not trusted to plain columns.

What a file is is told by its content, not by its name. Nothing is fetched, executed or unpickled on the way.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy import units as u

from radiowidgets.data.cards import card, caught_warnings, shorten
from radiowidgets.errors import CatalogueError

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import Column, Table

MAX_BYTES = 4 * 2**30
# A compressed table may expand so much; tables of numbers shrink to a third, repetitive ones to a twentieth.
FREE_BYTES, MAX_RATIO = 2**27, 100

# What people write where they have no value.
_NOTHING = frozenset(
    (
        "",
        "-",
        "--",
        "---",
        "...",
        "null",
        "nan",
        "-nan",
        "+nan",
        "none",
        "n/a",
        "na",
        "<na>",
        "nodata",
        "masked",
        "indef",
    )
)
_SIGNS = frozenset(
    ("de-", "dec-", "design", "decsign", "de_sign", "dec_sign")
)  # columns in which '-' is a value
_SENTINEL = re.compile(r"-9{3,}\.*0*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?|[-+]?inf|nan", re.IGNORECASE)
_REGION_LINE = re.compile(
    rb"(?im)^\s*(?:# *region file format|(?:fk5|fk4|icrs|galactic|image|physical|ecliptic|j2000|b1950|global)\b"
    rb"|-?(?:circle|ellipse|box|polygon|point|annulus|line)\s*\()"
)


@dataclass
class RawTable:
    """The columns of a file as it holds them.

    Attributes
    ----------
    columns : dict of Series, in the file's order; text is str with None where missing, numbers have NaN
    units : the unit that the file states for a column, as text
    format : what the file is
    frame : 'fk4', 'fk5' or 'icrs' where the file states one
    notes : what was skipped or assumed
    """

    columns: dict[str, pd.Series]
    format: str
    units: dict[str, str] = field(default_factory=dict)
    frame: str | None = None
    notes: list[str] = field(default_factory=list)


def read_table(path: Path, *, names: Sequence[str] | None = None, hdu: int | str | None = None) -> RawTable:
    """Read the columns of a file.

    Raises
    ------
    CatalogueError
        If it cannot be read, or is no table.
    """
    data = _read_bytes(path)
    if data.startswith(b"\x1f\x8b"):
        data = _gunzip(path, data)
    kind, reader = _recognise(path, data)
    try:
        with caught_warnings():
            table = reader(data, names, hdu)
    except CatalogueError as error:
        raise CatalogueError(f"{path}: {error}") from error
    except Exception as error:  # the parsers have exceptions of their own
        raise CatalogueError(
            f"{path} is no readable {kind} table ({shorten(str(error), 100)}); check the file or fetch it again."
        ) from error
    if not table.columns:
        raise CatalogueError(f"{path} has no columns; give a table of sources.")
    return table


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CatalogueError(f"{path} has {path.stat().st_size} bytes; cut it to less than {MAX_BYTES}.")
        return path.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def _gunzip(path: Path, data: bytes) -> bytes:
    limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * len(data)))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            plain = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogueError(
            f"{path} is truncated or damaged ({shorten(str(error))}); fetch it again."
        ) from error
    if len(plain) > limit:
        raise CatalogueError(
            f"{path} expands from {len(data)} to more than {limit} bytes, as no table does; if you trust it,"
            " decompress it first (gunzip)."
        )
    return plain


def _recognise(path: Path, data: bytes) -> tuple[str, Callable[..., RawTable]]:
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise CatalogueError(f"{path} is empty; give a table of sources.")
    if data.startswith(b"SIMPLE  ="):
        return "FITS", _read_fits
    if start.startswith(b"<"):
        if b"<VOTABLE" in data[:65536] or re.search(rb"<\w+:VOTABLE", data[:65536]):
            return "VOTable", _read_votable
        raise CatalogueError(f"{path} looks like a web page or XML, not a VOTable; fetch the table again.")
    if start.startswith((b"|", b"\\")):
        return "IPAC", _read_ipac
    if start.startswith(b"# %ECSV"):
        return "ECSV", _read_ecsv
    if _REGION_LINE.search(data[:4096]):
        return "DS9 region", _read_regions
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CatalogueError(f"{path} is binary and no FITS file; give FITS, VOTable, text or DS9 regions.")
    return "text", _read_text


# --------------------------------------------------------------------------------
# formats that astropy reads


# Of what astropy counts up to, whatever it says.
_COUNTS = re.compile(rb"(Z?NAXIS  ?|TFIELDS ) ?= *\+?0*(\d+)")


def _read_fits(data: bytes, _names: Sequence[str] | None, hdu: int | str | None) -> RawTable:
    from astropy.io import fits
    from astropy.table import Table

    for match in _COUNTS.finditer(data):
        if int(match[2][:18]) > 999:
            raise CatalogueError(
                f"its header has {match[1].decode().strip()} {match[2][:18].decode()}; FITS allows 999."
            )
    with fits.open(io.BytesIO(data), memmap=False) as units:
        tables = [unit for unit in units if isinstance(unit, fits.BinTableHDU | fits.TableHDU)]
        tables = [unit for unit in tables if not isinstance(unit, fits.CompImageHDU)]
        if hdu is not None:
            chosen = units[hdu]
            if chosen not in tables:
                raise CatalogueError(f"HDU {hdu!r} is no table; the file has {len(tables)} tables.")
        elif tables:
            chosen = tables[0]
        else:
            raise CatalogueError("it holds no table; give the catalogue, or open maps with SkyMap.open.")
        rows = int(card(chosen.header, "NAXIS2", 0))
        bytes_there = int(card(chosen.header, "NAXIS1", 0)) * rows
        if max(bytes_there, rows) > len(data):  # rows may be of no bytes
            raise CatalogueError(
                f"the header promises {bytes_there} bytes and the file has {len(data)}; it is cut."
            )
        stated = {
            str(column.name): str(column.unit) for column in chosen.columns if column.name and column.unit
        }
        table = _from_astropy(Table.read(chosen, format="fits"), "FITS", stated)
    if len(tables) > 1 and hdu is None:
        table.notes.append(f"the first of {len(tables)} tables was read; hdu chooses another.")
    return table


def _read_votable(data: bytes, _names: Sequence[str] | None, hdu: int | str | None) -> RawTable:
    from astropy.io import votable

    # It might name files and addresses to read in its place, or expand without end.
    if b"\0" in data[:4096] or re.search(rb"(?i)<!ENTITY", data):
        raise CatalogueError("it declares entities or another encoding; save it as a plain VOTable.")
    if re.search(rb"(?i)<(\w+:)?STREAM\b[^>]*\bhref", data):
        raise CatalogueError("its rows are kept elsewhere (STREAM href); download them into the table.")
    _check_promises(data)
    parsed = votable.parse(io.BytesIO(data), verify="ignore", invalid="mask")
    tables = list(parsed.iter_tables())
    if not tables:
        raise CatalogueError("the VOTable holds no table; the query may have failed.")
    first = tables[hdu if isinstance(hdu, int) else 0]
    result = _from_astropy(first.to_table(use_names_over_ids=True), "VOTable")
    systems = {str(system.system or "").lower() for system in parsed.iter_coosys()}
    result.frame = _frame_named(" ".join(systems)) if len(systems) == 1 else None
    if len(tables) > 1 and hdu is None:
        result.notes.append(f"the first of {len(tables)} tables was read; hdu chooses another.")
    return result


_TAG = re.compile(rb"<(?:\w+:)?(?:TABLE|FIELD)\b[^>]*>")
_ROWS = re.compile(rb"\bnrows\s*=\s*[\"']\s*(\d{1,18})")
_SIZES = re.compile(rb"\barraysize\s*=\s*[\"']([\dx*]{1,60})")


def _check_promises(data: bytes) -> None:
    """Refuse a VOTable that promises more rows or longer cells than its bytes can hold: room is made for them first."""
    rows, cells = 0, 0
    for tag in _TAG.findall(data):
        if (
            b"&" in tag
            and (b"arraysize" in tag or b"nrows" in tag)
            and re.search(rb"=\s*[\"'][\dx*]*&#", tag)
        ):
            raise CatalogueError("it writes numbers as character codes; save it as a plain VOTable.")
        rows = max([rows, *(int(found) for found in _ROWS.findall(tag))])
        for found in _SIZES.findall(tag):
            cells += (
                math.prod(int(part[:18]) for part in re.findall(rb"\d+", found)) if b"*" not in found else 1
            )
    if rows > len(data) or cells > max(len(data), 2**16) or rows * cells > max(2**24, 100 * len(data)):
        raise CatalogueError(
            f"it promises {rows} rows of {cells} letters or numbers, and the file has {len(data)} bytes; it is cut."
        )


def _read_ipac(data: bytes, _names: Sequence[str] | None, _hdu: int | str | None) -> RawTable:
    from astropy.table import Table

    text, notes = _decode(data)
    table = _from_astropy(Table.read(text.splitlines(), format="ascii.ipac"), "IPAC")
    table.notes = notes + table.notes
    return table


def _read_ecsv(data: bytes, _names: Sequence[str] | None, _hdu: int | str | None) -> RawTable:
    from astropy.table import Table

    text, notes = _decode(data)
    if re.search(r"(?m)^#.*(<<|!!merge|!<|yaml\.org)", text):
        raise CatalogueError("its header merges maps, which could grow without end; save it anew.")
    table = _from_astropy(Table.read(text.splitlines(), format="ascii.ecsv"), "ECSV")
    table.notes = notes + table.notes
    return table


def _from_astropy(table: Table, kind: str, stated: dict[str, str] | None = None) -> RawTable:
    result = RawTable({}, kind)
    for name in table.colnames:
        column = table[name]
        if getattr(column, "ndim", 0) != 1 or not hasattr(column, "dtype"):
            result.notes.append(f"column {shorten(name)} holds arrays or objects and was left out.")
            continue
        result.columns[name] = _plain(column)
        if getattr(column, "unit", None) is not None:
            result.units[name] = str(column.unit)
    result.units |= stated or {}
    return result


def _plain(column: Column) -> pd.Series:
    """Return a column as native numbers with NaN, or text with None."""
    mask = np.ma.getmaskarray(column)
    values = np.asarray(getattr(column, "filled", lambda: column)() if mask.any() else column)
    if values.dtype.kind in "SUO":
        text = [None if hidden else _text(value) for value, hidden in zip(values.tolist(), mask, strict=True)]
        return _typed(text, column.name, keep_text=True)
    values = values.astype(values.dtype.newbyteorder("="))
    if not mask.any():
        return pd.Series(values)
    if values.dtype.kind == "b":
        truth = values.astype(object)
        truth[mask] = None
        return pd.Series(truth)
    return pd.Series(np.where(mask, np.nan, values.astype(np.float64)))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _frame_named(text: str) -> str | None:
    for frame, pattern in (("icrs", "icrs"), ("fk4", "fk4|b1950"), ("fk5", "fk5|j2000")):
        if re.search(pattern, text, re.IGNORECASE):
            return frame
    return None


# --------------------------------------------------------------------------------
# DS9 regions


_REGION = re.compile(r"(?i)\b(?:circle|ellipse|box|polygon|point|annulus|line|panda|vector|text|ruler)\s*\(")


def _read_regions(data: bytes, _names: Sequence[str] | None, _hdu: int | str | None) -> RawTable:
    from regions import Regions

    text, notes = _decode(data)
    shapes = Regions.parse(text, format="ds9")
    rows, centres = [], []
    for shape in shapes:
        row, centre = _region_row(shape)
        rows.append(row)
        if centre is not None:
            centres.append((row, shape, centre))
    _add_positions(centres)
    lines = sum(_REGION.search(line.partition("#")[0]) is not None for line in text.split("\n"))
    if lines > len(rows):
        notes.append(f"{lines - len(rows)} regions could not be read and were skipped.")
    if not rows:
        raise CatalogueError('no region in it can be read; it needs lines such as fk5;circle(83.6,22.0,5").')
    table = pd.DataFrame(rows)
    columns = {str(name): pd.Series(table[name].to_numpy()) for name in table}
    angles = dict.fromkeys(("major", "minor", "radius"), "arcsec")
    units = {
        name: unit
        for name, unit in ({"ra": "deg", "dec": "deg", "pa": "deg"} | angles).items()
        if name in columns
    }
    if "x" in columns:
        notes.append("regions in pixels have x and y, from 0, and no position on the sky.")
    return RawTable(columns, "DS9 regions", units, "icrs", notes)


def _region_row(shape: Any) -> tuple[dict[str, Any], SkyCoord | None]:
    """Return what a region says but for its position on the sky, which is given as it is there."""
    from astropy.coordinates import SkyCoord

    kind = type(shape).__name__.removesuffix("Region")
    meta = dict(shape.meta)
    tags = meta.get("tag")
    row: dict[str, Any] = {
        "shape": kind.removesuffix("Sky").removesuffix("Pixel").lower(),
        "text": meta.get("text") or meta.get("label"),
        "tag": ";".join(str(tag) for tag in tags) if isinstance(tags, list | tuple) else tags,
        "ra": np.nan, "dec": np.nan, "major": np.nan, "minor": np.nan, "pa": np.nan, "radius": np.nan,
    }  # fmt: skip
    centre: Any = getattr(shape, "center", None)
    vertices: Any = getattr(shape, "vertices", getattr(shape, "start", None))
    if not kind.endswith("Sky"):
        place = centre if centre is not None else vertices
        row["x"], row["y"] = float(np.mean(place.x)), float(np.mean(place.y))
        return row, None
    if centre is None:
        points = vertices.cartesian.reshape(-1)
        centre = SkyCoord(points.mean(), frame=vertices.frame.name, representation_type="cartesian")
        centre.representation_type = "unitspherical"
        row["radius"] = float(vertices.separation(centre).max().to_value("arcsec"))
    if hasattr(shape, "radius"):
        row["radius"] = float(shape.radius.to_value("arcsec"))
    return row, centre


def _add_positions(centres: list[tuple[dict[str, Any], Any, SkyCoord]]) -> None:
    """Add positions, axes of ellipses and boxes, and their angles from the north of ICRS: all of a frame at once."""
    from astropy.coordinates import SkyCoord

    for frame in {centre.frame.name for _, _, centre in centres}:
        mine = [
            (row, shape, centre.spherical) for row, shape, centre in centres if centre.frame.name == frame
        ]
        lon, lat = ([getattr(place, axis).deg for _, _, place in mine] for axis in ("lon", "lat"))
        together = SkyCoord(np.array(lon) * u.deg, np.array(lat) * u.deg, frame=frame)
        icrs = together.icrs
        # North of the frame is not always that of ICRS.
        turns = icrs.position_angle(together.directional_offset_by(0 * u.deg, 1 * u.arcsec).icrs).deg
        for (row, shape, _), ra, dec, turn in zip(mine, icrs.ra.deg, icrs.dec.deg, turns, strict=True):
            row["ra"], row["dec"] = float(ra), float(dec)
            if hasattr(shape, "width") and hasattr(shape, "height"):
                _add_axes(row, shape, float(turn))


def _add_axes(row: dict[str, Any], shape: Any, turn: float) -> None:
    width, height = float(shape.width.to_value("arcsec")), float(shape.height.to_value("arcsec"))
    # The angle counts from the axis of longitude to that of width.
    angle = float(shape.angle.to_value("deg")) + (90.0 if height > width else 0.0) - 90.0
    row["major"], row["minor"] = max(width, height), min(width, height)
    row["pa"] = (angle + turn) % 180.0
    row["radius"] = row["major"] / 2


# --------------------------------------------------------------------------------
# text


def _decode(data: bytes) -> tuple[str, list[str]]:
    notes: list[str] = []
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
            notes.append("not UTF-8; read as Latin-1.")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _read_text(data: bytes, names: Sequence[str] | None, _hdu: int | str | None) -> RawTable:
    text, notes = _decode(data)
    lines = [line for line in text.split("\n") if line.strip()]
    comments, body = _split_comments(lines)
    if not body:
        raise CatalogueError("it has no rows; give a table of sources.")
    delimiter = _delimiter(body)
    split = _splitter(delimiter)
    head, start, units = _header(comments, body, split, names)
    rows, skipped = [], 0
    for line in body[start:]:
        if line.lstrip().startswith("#"):
            continue
        fields = split(line)
        while len(fields) > len(head) and not fields[-1].strip():
            fields.pop()
        if len(fields) == len(head):
            rows.append(fields)
        else:
            skipped += 1
    if skipped:
        notes.append(f"{skipped} lines do not have {len(head)} fields and were skipped.")
        if skipped > len(rows):
            raise CatalogueError(
                f"{skipped} of its lines do not have the {len(head)} fields of its header; is it a table?"
            )
    columns: dict[str, pd.Series] = {}
    transposed = list(zip(*rows, strict=True)) if rows else [()] * len(head)
    for name, values in zip(_unique(head, notes), transposed, strict=True):
        columns[name] = _typed(list(values), name)
    stated = {name: unit for name, unit in zip(columns, units, strict=True) if unit}
    kind = {",": "CSV", "\t": "TSV", " ": "ASCII"}.get(delimiter, f"text ({delimiter})")
    frame = _frame_named(" ".join(line for line in comments if re.match(r"#\s*coosys", line, re.IGNORECASE)))
    return RawTable(columns, kind, stated, frame, notes)


def _split_comments(lines: list[str]) -> tuple[list[str], list[str]]:
    for i, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            return lines[:i], lines[i:]
    return lines, []


def _delimiter(body: list[str]) -> str:
    """Return the delimiter that splits the first lines most evenly, preferring the more special ones."""
    sample = [line for line in body[:30] if not re.fullmatch(r"[-;|\t, =]+", line)]
    for delimiter in ("\t", ";", "|", ","):
        counts = [len(_splitter(delimiter)(line)) for line in sample]
        common = max(set(counts), key=counts.count)
        if counts[0] == common > 1 and counts.count(common) >= 0.7 * len(counts):
            return delimiter
    return " "


def _splitter(delimiter: str) -> Callable[[str], list[str]]:
    if delimiter == " ":
        return str.split
    # Line by line: a lone quotation mark (5" beam) would else swallow the lines that follow.
    return lambda line: next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _header(
    comments: list[str], body: list[str], split: Callable[[str], list[str]], names: Sequence[str] | None
) -> tuple[list[str], int, list[str]]:
    """Return column names, the line at which rows begin, and units."""
    first = split(body[0])
    numeric = sum(bool(_NUMBER.fullmatch(cell.strip())) for cell in first)
    if names is not None:
        if len(names) != len(first):
            raise CatalogueError(f"names has {len(names)} entries and the first line {len(first)} fields.")
        return list(names), 0, [""] * len(names)
    if numeric:
        for line in reversed(comments):  # PyBDSF and others write the header as a comment
            head = [cell.strip() for cell in split(line.lstrip("# \t"))]
            if len(head) == len(first) and not any(_NUMBER.fullmatch(cell) for cell in head):
                return head, 0, [""] * len(head)
        if numeric * 2 >= len(first):
            raise CatalogueError(
                f"its first line holds {len(first)} values and no column names; pass names=[...]."
            )
    head = [cell.strip().lstrip("#").strip() for cell in first]
    # VizieR: a line of units, and a line of dashes.
    if len(body) > 2 and re.fullmatch(r"[-\s;|,\t]*-[-\s;|,\t]*", body[2]):
        units = [cell.strip().strip('"') for cell in split(body[1])]
        return head, 3, (units + [""] * len(head))[: len(head)]
    if len(body) > 1 and re.fullmatch(r"[-\s;|,\t]*--[-\s;|,\t]*", body[1]):
        return head, 2, [""] * len(head)
    return head, 1, [""] * len(head)


def _unique(head: list[str], notes: list[str]) -> list[str]:
    result: dict[str, None] = {}
    following: dict[str, int] = {}  # numbers tried so far, as there may be thousands of one name
    for i, name in enumerate(head):
        new = name or f"column_{i + 1}"
        k = following.get(name, 2)
        while new in result:
            new = f"{name}_{k}"
            k += 1
        following[name] = k
        if new != name and name:
            notes.append(f"a second column {shorten(name)} is called {shorten(new)}.")
        result[new] = None
    return list(result)


def _typed(values: list[str | None], name: str, *, keep_text: bool = False) -> pd.Series:
    """Return numbers where all that is there are numbers, truth values, or text with None."""
    nothing = _NOTHING - {"-"} if name.lower() in _SIGNS else _NOTHING
    text = [None if value is None or value.strip().lower() in nothing else value.strip() for value in values]
    if not keep_text:
        there = [value for value in text if value is not None and not _SENTINEL.fullmatch(value)]
        if (there or len(text) > text.count(None)) and all(_NUMBER.fullmatch(value) for value in there):
            # A sentinel that is mistyped (-999..) is one none the less.
            plain = [
                "nan" if value is None else _SENTINEL_DOTS.sub("", value).replace("D", "E").replace("d", "e")
                for value in text
            ]
            numbers = np.array([float(value) for value in plain])
            whole = all(value is not None and value.lstrip("+-").isdigit() for value in text)
            if whole and np.abs(numbers).max() < 2**53:
                return pd.Series(numbers.astype(np.int64))
            return pd.Series(numbers)
        if there and {value.lower() for value in there} <= {"true", "false"} and None not in text:
            return pd.Series([str(value).lower() == "true" for value in text])
    return pd.Series(
        [None if value and _SENTINEL.fullmatch(value) else value for value in text], dtype=object
    )


_SENTINEL_DOTS = re.compile(r"(?<=9)\.+0*$")

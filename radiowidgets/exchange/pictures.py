"""Frames as pictures for other tools: FITS cutouts with all that a header can tell, and a contact sheet (PNG)."""

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits

from radiowidgets.data.building import drafted
from radiowidgets.data.cards import card, caught_warnings, shorten
from radiowidgets.data.maps import SkyMap
from radiowidgets.errors import ParameterError
from radiowidgets.exchange.regions import iau_name
from radiowidgets.labels.schema import DEFAULT_SCHEMA, Schema

MOST_ON_SHEET = 1000
# Cards of a map that say whence it comes; its coordinates, beam, unit and frequency are written anew.
WHENCE = ("OBJECT", "TELESCOP", "INSTRUME", "OBSERVER", "DATE-OBS", "ORIGIN", "PROJECT", "AUTHOR", "REFERENC")

# The gallery's first look: inferno (CC0, matplotlib; 33 points), asinh between -2 and 40 rms.
INFERNO = (
    "0000030302120a0723140b36200c4a2e0a5a3c09654a0b6a570f6d63146e70196e7d1d6c892269962666a32b61af315bbb3754c53d4d"
    "d04544da4e3be35832ea6428f0701ef57e14f98c09fb9b06fbaa0efbb91ef8c931f5d948f1e864f2f485fcfea4"
)
LOW, HIGH, BEND = -2.0, 40.0, 10.0

# The sheet, in pixels and colours.
_GAP, _MARGIN, _TEXT = 14, 28, 62
_GROUND, _CARD, _BLANK, _INK, _FAINT, _AMBER = (
    "#101216",
    "#1a1d23",
    "#2a2e36",
    "#f2f3f5",
    "#9aa1ad",
    "#f5a524",
)


def write_cutouts(
    table: pd.DataFrame, path: Path, frames: Any, about: Mapping[str, str] | None = None
) -> Path:
    """Write each frame as a FITS file of its own, into a new folder, or into a .zip archive by the suffix.

    The pixels are those of the map, in its unit; the header has coordinates, beam, unit and frequency of the frame,
    what the map says of its origin, and where the frame was cut. A colour or multi-band image has its bands as the
    third axis.

    Parameters
    ----------
    table : DataFrame
        One row a frame, as of `Run.selection`.
    path : Path
    frames : FrameSet
    about : mapping of str to str, optional
        Lines of HISTORY of every file.

    Raises
    ------
    ParameterError
        If there is something under that name and it is no archive.
    """
    zipped = path.suffix.lower() == ".zip"
    if not zipped and path.exists():
        raise ParameterError(f"{path} exists; choose the name of a new folder, or one that ends in .zip.")
    with drafted(path) as draft:
        if zipped:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name, content in _cutouts(table, frames, about or {}):
                    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        else:
            draft.mkdir()
            for name, content in _cutouts(table, frames, about or {}):
                (draft / name).write_bytes(content)
    return path


def _cutouts(table: pd.DataFrame, frames: Any, about: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    digits = len(str(max(1, len(table))))
    for place, row in enumerate(table.to_dict("records"), start=1):
        frame = frames[frames.index_of(row["frame_id"])]
        pixels, header = frame.pixels, _header(frame, row, about)
        if pixels.ndim == 3:
            pixels = np.moveaxis(pixels, -1, 0)
        buffer = io.BytesIO()
        with caught_warnings():
            fits.PrimaryHDU(np.ascontiguousarray(pixels, dtype=">f4"), header).writeto(buffer)
        name = str(header.get("IAUNAME", "frame")).replace(" ", "_")
        yield f"{place:0{digits}d}_{name}.fits", buffer.getvalue()


def _header(frame: Any, row: Mapping[Any, Any], about: Mapping[str, str]) -> fits.Header:
    sky = frame.sky
    header = fits.Header()
    if sky is not None:
        whence = fits.Header(
            [(key, value) for key in WHENCE if isinstance(value := card(sky.header, key), str)]
        )
        piece = SkyMap.from_array(
            np.zeros((frame.height, frame.width), np.float32),
            wcs=frame.wcs, beam=sky.beam, unit=sky.unit, frequency=sky.frequency, header=whence,
        )  # fmt: skip
        header = piece.new_header()
        for key in ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
            del header[key]
        for key in WHENCE:
            if key in whence and key not in header:
                header[key] = _plain(whence[key])
    cards = {
        "IAUNAME": (row.get("name") or iau_name(frame.ra, frame.dec), "truncated, never rounded"),
        "FRAMEID": (frame.frame_id, ""),
        "MAPNAME": (frame.map, "the map that the frame is a piece of"),
        "MAPPRINT": ("" if sky is None else sky.fingerprint, "fingerprint of that map"),
        "MAPX": (frame.x, "first column of the frame in the map, from 0"),
        "MAPY": (frame.y, "first row of the frame in the map, from 0"),
        "LOCALRMS": (_finite(frame.rms), "noise, in the unit of the pixels"),
        "LOCALBKG": (_finite(frame.background), "background, in the unit of the pixels"),
        "RANK": (_finite(row.get("rank")), "place in the order, from 1"),
        "SCORE": (_finite(row.get("score")), "larger is more anomalous"),
        "INTEREST": (_finite(row.get("interest")), "mean rating, 0 to 5"),
        "TAGS": (str(row.get("tags") or ""), ""),
        "PEAKRA": (_finite(row.get("peak_ra")), "[deg] of the brightest place"),
        "PEAKDEC": (_finite(row.get("peak_dec")), "[deg] of the brightest place"),
    }
    for key, (value, comment) in cards.items():
        if value not in ("", None):
            header[key] = (_plain(value) if isinstance(value, str) else value, comment)
    for key, text in about.items():
        header.add_history(_plain(f"{key}: {text}"))
    return header


def _plain(text: str) -> str:
    """Return a text as a header takes it: printable ASCII, not endless."""
    return shorten(text, 400)[1:-1]


def _finite(value: Any) -> float | int | None:
    if value is None or pd.isna(value) or not np.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(value)


def paint(sigma: np.ndarray) -> np.ndarray:
    """Return the colours, uint8 (..., 3), of values in rms above the background; blank ones are grey."""
    t = np.clip((sigma - LOW) / (HIGH - LOW), 0, 1)
    colours = paint_share(np.nan_to_num(np.arcsinh(BEND * t) / np.arcsinh(BEND)))
    colours[np.isnan(sigma)] = [int(_BLANK[k : k + 2], 16) for k in (1, 3, 5)]
    return colours


def paint_share(share: np.ndarray) -> np.ndarray:
    """Return the colours, uint8 (..., 3), of values from 0 to 1."""
    points = np.frombuffer(bytes.fromhex(INFERNO), np.uint8).reshape(-1, 3).astype(float)
    steps = np.linspace(0, 1, len(points))
    colours = np.stack([np.interp(share, steps, points[:, k]) for k in range(3)], axis=-1)
    return np.round(colours).astype(np.uint8)


def write_sheet(
    table: pd.DataFrame,
    path: Path,
    frames: Any,
    *,
    title: str = "",
    subtitle: str = "",
    schema: Schema = DEFAULT_SCHEMA,
    size: int = 168,
) -> Path:
    """Write a contact sheet: thumbnails in the order of the table, as the gallery shows them at first.

    Under each: its IAU name (or its id), rank, interest and tags.

    Parameters
    ----------
    table : DataFrame
        One row a frame, as of `Run.selection`; at most 1,000.
    path : Path
        The PNG file.
    frames : FrameSet
    title, subtitle : str
    schema : Schema
        Colours of the tags.
    size : int
        Side of a thumbnail in pixels, 64 to 512.

    Raises
    ------
    ParameterError
        If there are too many frames, or `size` is out of range.
    """
    from PIL import Image, ImageDraw

    if len(table) > MOST_ON_SHEET:
        raise ParameterError(
            f"{len(table)} frames are too many for a contact sheet ({MOST_ON_SHEET}); choose some with top= or query=."
        )
    if not 64 <= size <= 512:
        raise ParameterError(f"size is {size}; give 64 to 512 pixels.")
    cell, tall = size + _GAP, size + _TEXT + _GAP
    columns = max(1, min(max(4, len(table)), math.ceil(math.sqrt(1.5 * max(1, len(table)) * tall / cell))))
    lines = math.ceil(len(table) / columns)
    top = 86
    width = 2 * _MARGIN + columns * cell - _GAP
    sheet = Image.new("RGB", (width, top + lines * tall - _GAP * (lines > 0) + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 20), _fit(draw, title, _font(26), width - 2 * _MARGIN), _INK, _font(26))
    draw.text((_MARGIN, 53), _fit(draw, subtitle, _font(14), width - 2 * _MARGIN - 230), _FAINT, _font(14))
    _draw_scale(sheet, draw, width - _MARGIN, 56)
    for k, row in enumerate(table.to_dict("records")):
        x, y = _MARGIN + k % columns * cell, top + k // columns * tall
        _draw_frame(sheet, draw, (x, y), size, frames[frames.index_of(row["frame_id"])], row, schema)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    with drafted(path) as draft:
        draft.write_bytes(buffer.getvalue())
    return path


def _draw_frame(
    sheet: Any, draw: Any, at: tuple[int, int], size: int, frame: Any, row: Mapping[Any, Any], schema: Schema
) -> None:
    from PIL import Image

    x, y = at
    sheet.paste(_rounded(Image.new("RGB", (size, size + _TEXT), _CARD), 8, at, sheet), at)
    thumbnail = Image.fromarray(paint(_thumbnail(frame, size))[::-1])
    sheet.paste(thumbnail, (x, y), _mask(size, size, 8, bottom=False))
    name = row.get("name") or iau_name(frame.ra, frame.dec) or frame.frame_id
    draw.text((x + 8, y + size + 6), _fit(draw, name, _font(12.5), size - 16), _INK, _font(12.5))
    rank = _finite(row.get("rank"))
    if rank is not None:
        draw.text((x + 8, y + size + 23), f"#{rank}", _FAINT, _font(12))
    interest = _finite(row.get("interest"))
    if interest is not None:
        sheet.paste(*_dots(interest, (x + size - 8, y + size + 26)))
    _draw_tags(sheet, draw, (x + 8, y + size + 41), size - 16, str(row.get("tags") or "").split(";"), schema)


def _draw_tags(
    sheet: Any, draw: Any, at: tuple[int, int], room: int, tags: list[str], schema: Schema
) -> None:
    """Draw as many tags as there is room for, and how many more there are."""
    from PIL import Image

    font = _font(9.5)
    left, right = at[0], at[0] + room
    for k, tag in enumerate(tags if tags != [""] else []):
        known = schema.tags.get(tag)
        colour, ink = (known.colour, known.text_colour) if known else (_BLANK, _INK)
        rest = len(tags) - k
        free = right - left - (22 if rest > 1 else 0)
        text = _fit(draw, tag, font, free - 10 if k else room - 32)
        if k and text != tag:
            draw.text((left, at[1] + 7), f"+{rest}", _FAINT, font, anchor="lm")
            return
        wide = int(draw.textlength(text, font)) + 10
        sheet.paste(Image.new("RGB", (wide, 15), colour), (left, at[1]), _mask(wide, 15, 4))
        draw.text((left + 5, at[1] + 7), text, ink, font, anchor="lm")
        left += wide + 4


def _draw_scale(sheet: Any, draw: Any, right: int, y: int) -> None:
    """Draw the colours from LOW to HIGH rms."""
    from PIL import Image

    high = f"{HIGH:g} rms"
    x = right - int(draw.textlength(high, _font(12))) - 128
    ramp = paint(np.linspace(LOW, HIGH, 120)[None].repeat(10, axis=0))
    sheet.paste(Image.fromarray(ramp), (x, y), _mask(120, 10, 3))
    draw.text((x - 6, y + 5), f"{LOW:g}", _FAINT, _font(12), anchor="rm")
    draw.text((right, y + 5), high, _FAINT, _font(12), anchor="rm")


def picture_of(frame: Any, size: int = 200) -> bytes:
    """Return a frame as the gallery shows it at first, a PNG file of size x size pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(paint(_thumbnail(frame, size))[::-1]).quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _thumbnail(frame: Any, size: int) -> np.ndarray:
    """Return a frame in rms above its background, size x size; padded with blanks where it is not square."""
    from radiowidgets.data.resampling import resize

    pixels = frame.pixels
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=-1)
    height, width = pixels.shape
    side = max(height, width)
    square = np.full((side, side), np.nan, np.float32)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = pixels
    rms = frame.rms if frame.rms > 0 else 1.0
    return (resize(square, (size, size)) - np.nan_to_num(frame.background)) / rms


def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _fit(draw: Any, text: str, font: Any, room: float) -> str:
    """Return a text in one line, cut where it would be too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "...", font) > room:
        text = text[: -max(1, len(text) // 20)]
    return text + "..." if text else ""


def _mask(width: int, height: int, radius: int, bottom: bool = True) -> Any:
    """A rounded box without steps at its corners."""
    from PIL import Image, ImageDraw

    large = Image.new("L", (4 * width, 4 * height))
    corners = (True, True, bottom, bottom)
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, 255, corners=corners
    )
    return large.resize((width, height), Image.Resampling.LANCZOS)


def _rounded(box: Any, radius: int, at: tuple[int, int], sheet: Any) -> Any:
    from PIL import Image

    under = sheet.crop((*at, at[0] + box.width, at[1] + box.height))
    return Image.composite(box, under, _mask(box.width, box.height, radius))


def _dots(interest: float, right: tuple[int, int]) -> tuple[Any, tuple[int, int]]:
    """Five dots, as many bright as the interest; and where they stand."""
    from PIL import Image, ImageDraw

    side, step, scale = 8, 11, 4
    wide = 4 * step + side
    large = Image.new("RGB", (wide * scale, side * scale), _CARD)
    draw = ImageDraw.Draw(large)
    for k in range(5):
        box = tuple(scale * edge for edge in (k * step, 0, k * step + side, side))
        box = (box[0], box[1], box[2] - 1, box[3] - 1)
        draw.ellipse(box, _BLANK)
        share = min(1.0, max(0.0, interest - k))
        if share > 0:
            draw.pieslice(box, -90, -90 + 360 * share, fill=_AMBER)
    return large.resize((wide, side), Image.Resampling.LANCZOS), (right[0] - wide, right[1])

"""Find the image in a FITS file, trusting nothing that the file says about itself.

Headers are parsed by astropy; where the bytes lie is worked out here, so that a file is refused before it is
mapped or memory is taken: a truncated one by its size, a decompression bomb by what it would expand to.
"""

import contextlib
import functools
import gzip
import hashlib
import io
import math
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from radiowidgets.data.cards import card, caught_warnings, number, shorten
from radiowidgets.data.pixels import (
    DTYPES,
    ArrayPixels,
    MappedPixels,
    PixelSource,
    Scaling,
    TiledPixels,
    convert,
)
from radiowidgets.data.remote import RangedPixels, RemoteFile, is_address
from radiowidgets.errors import MapError

BLOCK = 2880
MAX_HEADER_BYTES = 16 * 2**20
MAX_UNITS = 1000
# A file compressed as a whole must be held in memory. More than this, or than half of the memory there is, is
# refused.
MAX_EXPANDED_BYTES = 8 * 2**30

# Headers are ASCII by the standard; any other byte becomes a question mark.
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))
_OTHER_FORMATS = {
    b"BZh": "is compressed by bzip2; decompress it first (bunzip2)",
    b"\xfd7zXZ": "is compressed by xz; decompress it first (unxz)",
    b"\x1f\x9d": "is compressed by compress; decompress it first (uncompress)",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"\x89PNG": "is a PNG picture; read it with an image library and use FrameSet.from_images",
    b"\xff\xd8\xff": "is a JPEG picture; read it with an image library and use FrameSet.from_images",
    b"\x89HDF": "is an HDF5 file; save the image as FITS first",
    b"<": "looks like a web page or XML (a failed download?); fetch the FITS file again",
}


@dataclass
class Unit:
    """One header-data unit: what it is and where its bytes lie."""

    index: int
    header: fits.Header
    text: bytes
    offset: int
    kind: str  # 'image', 'tiled', 'table', 'groups' or 'empty'
    bitpix: int
    axes: tuple[int, ...]  # NAXIS1, NAXIS2, ...
    size: int  # bytes of data, without padding

    @property
    def name(self) -> str:
        """EXTNAME, or nothing."""
        return str(card(self.header, "EXTNAME", "") or "")

    @property
    def next_offset(self) -> int:
        """Where the next unit begins."""
        return self.offset + -(-self.size // BLOCK) * BLOCK


@dataclass
class ImageFile:
    """The image found in a file."""

    path: Path | str  # a text for an address
    header: fits.Header
    kept: tuple[int, int]  # the FITS axes (from 1) that run along x and y
    pixels: PixelSource
    fingerprint: str
    notes: list[str]


class FilePixels:
    """The image of a file that is opened when it is read, in whatever process that is."""

    def __init__(
        self, path: Path | str, hdu: int | str | None, shape: tuple[int, int], fingerprint: str | None = None
    ) -> None:
        self.path = path
        self.shape = shape
        self._hdu = hdu
        self._fingerprint = fingerprint

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `PixelSource`."""
        image = _opened(self.path, self._hdu)
        if image.pixels.shape != self.shape or self._fingerprint not in (None, image.fingerprint):
            raise MapError(f"{self.path} is another map now; put the one back that was opened.")
        return image.pixels.read(y0, y1, x0, x1)


@functools.lru_cache(maxsize=4)  # a gzipped one is held in memory
def _opened(path: Path | str, hdu: int | str | None) -> ImageFile:
    return open_image(path, hdu)


def open_image(path: str | os.PathLike[str], hdu: int | str | None = None) -> ImageFile:
    """Find the 2-D image in a FITS file; see `radiowidgets.data.maps.SkyMap.open`."""
    if is_address(path):
        return _open_remote(str(path), hdu)
    path = Path(path).expanduser()
    try:
        status = path.stat()
    except OSError as error:
        raise MapError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise MapError(f"{path} is a folder; give the path of one FITS file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise MapError(f"{path} is not an ordinary file; give the path of a FITS file.")
    try:
        with path.open("rb") as file:
            start = file.read(10)
            file.seek(0)
            if start[:2] == b"\x1f\x8b":
                return _open_gzip(path, file, hdu)
            _check_start(path, start)
            return _open_plain(path, file, status.st_size, hdu)
    except OSError as error:
        raise MapError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error


def _open_remote(address: str, hdu: int | str | None) -> ImageFile:
    """Find the image in a plain FITS file behind an address, reading its headers and a few blocks."""
    file = RemoteFile(address)
    start = file.read(10)
    if start[:2] == b"\x1f\x8b":
        raise MapError(
            f"{file.shown} is compressed as a whole and cannot be read in ranges; download it first."
        )
    _check_start(file.shown, start)
    return _open_plain(file.shown, file, file.size, hdu)


def fingerprint(source: Path | RemoteFile, header_text: bytes, first: int = 0) -> str:
    """Recognise a file by its size, the hash of its header and of blocks sampled from byte `first` on."""
    size = source.size if isinstance(source, RemoteFile) else source.stat().st_size
    starts = [first + position for position in sample_positions(size - first)]
    if isinstance(source, RemoteFile):
        samples = source.ranges(starts, [min(start + 4096, size) for start in starts])
    else:
        with source.open("rb") as file:
            samples = [_read_at(file, start) for start in starts]
    return join_fingerprint(size, header_text, hashlib.sha256(b"".join(samples)).hexdigest())


def _read_at(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(4096)


def join_fingerprint(size: int, header_text: bytes, blocks: str) -> str:
    """Put the three parts of a fingerprint together."""
    return f"{size}-{hashlib.sha256(header_text).hexdigest()[:16]}-{blocks[:16]}"


def sample_positions(size: int) -> list[int]:
    """Return the starts of 16 blocks of 4096 bytes spread over `size` bytes, from the first to the last."""
    last = max(0, size - 4096)
    return sorted({last * k // 15 for k in range(16)})


def expansion_limit() -> int:
    """Return how many bytes a compressed file may expand to in memory."""
    limit = MAX_EXPANDED_BYTES
    with contextlib.suppress(OSError, ValueError, AttributeError):
        limit = min(limit, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # 'max' = no limit
            limit = min(limit, int(Path(name).read_text()) // 2)
    return limit


def _check_start(path: Path | str, start: bytes) -> None:
    if start.startswith(b"SIMPLE"):
        return
    if not start:
        raise MapError(f"{path} is empty (0 bytes); fetch or write it again.")
    for magic, advice in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise MapError(f"{path} {advice}.")
    raise MapError(
        f"{path} is not a FITS file: it begins with {start[:8]!r} instead of 'SIMPLE'; give a FITS file."
    )


_END = re.compile(rb"END(?![A-Z0-9_-])")  # also with rubbish behind it


def _read_header(
    path: Path | str, stream: BinaryIO | gzip.GzipFile | RemoteFile, index: int
) -> tuple[fits.Header, bytes] | None:
    """Read one header from `stream`; None where there are no more."""
    blocks: list[bytes] = []
    while True:
        block = stream.read(BLOCK)
        # Padding or remarks may follow the last unit: the standard allows them.
        if not blocks and (not block or (index > 0 and not block.startswith(b"XTENSION"))):
            return None
        if blocks and block.startswith(
            b"XTENSION"
        ):  # else data would pass for cards, and other data for these
            raise MapError(f"{path} is damaged: the header of HDU {index} has no END; fetch it again.")
        blocks.append(block)
        if any(_END.match(block, k) for k in range(0, len(block), 80)):
            break
        if len(block) < BLOCK:
            raise MapError(f"{path} is truncated: it ends within the header of HDU {index}; fetch it again.")
        if len(blocks) * BLOCK > MAX_HEADER_BYTES:
            raise MapError(f"{path} has a header of more than {MAX_HEADER_BYTES} bytes; repair it.")
    text = b"".join(blocks)
    try:
        with caught_warnings():
            return fits.Header.fromstring(text.translate(_PRINTABLE).decode("ascii")), text
    except (ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise MapError(f"{path} has a header that astropy cannot parse ({shorten(str(error))}).") from error


def _length(path: Path | str, header: fits.Header, key: str, default: int | None = None) -> int:
    value = card(header, key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MapError(f"{path} is not a usable FITS file: {key} is {shorten(value)}; repair its header.")
    return value


def _describe(path: Path | str, index: int, header: fits.Header, text: bytes, offset: int) -> Unit:
    """Work out what a header announces."""
    bitpix = card(header, "BITPIX")
    if isinstance(bitpix, bool) or bitpix not in DTYPES:
        known = ", ".join(str(value) for value in DTYPES)
        raise MapError(
            f"{path} has BITPIX {shorten(bitpix)} in HDU {index}; FITS knows {known}: repair its header."
        )
    naxis = _length(path, header, "NAXIS")
    if naxis > 999:
        raise MapError(f"{path} has NAXIS {naxis} in HDU {index}; FITS allows 999: repair its header.")
    axes = tuple(_length(path, header, f"NAXIS{k}") for k in range(1, naxis + 1))
    extension = str(card(header, "XTENSION", "IMAGE")).strip().upper()
    groups = index == 0 and card(header, "GROUPS") is True and naxis > 0 and axes[0] == 0
    elements = math.prod(axes[1:] if groups else axes) if naxis else 0
    if index > 0 or groups:
        elements = _length(path, header, "GCOUNT", 1) * (_length(path, header, "PCOUNT", 0) + elements)
        if naxis == 0:
            elements = 0
    size = elements * abs(bitpix) // 8
    kind = "table"
    if groups:
        kind = "groups"
    elif extension in ("IMAGE", "IUEIMAGE"):
        kind = "image" if axes else "empty"
    elif extension == "BINTABLE" and card(header, "ZIMAGE") is True:
        kind = "tiled"
        bitpix = card(header, "ZBITPIX")
        if bitpix not in DTYPES:
            raise MapError(f"{path} has ZBITPIX {shorten(bitpix)} in HDU {index}; repair its header.")
        axes = tuple(
            _length(path, header, f"ZNAXIS{k}") for k in range(1, _length(path, header, "ZNAXIS") + 1)
        )
    return Unit(index, header, text, offset, kind, bitpix, axes, size)


def _matches(unit: Unit, hdu: int | str | None) -> bool:
    if hdu is None:
        return unit.kind in ("image", "tiled") and len(unit.axes) >= 2 and (0 not in unit.axes)
    if isinstance(hdu, str):
        return unit.name.strip().upper() == hdu.strip().upper()
    return unit.index == hdu


def _no_image(path: Path | str, units: list[Unit], hdu: int | str | None) -> MapError:
    """Say why none of the units will do."""
    found = ", ".join(
        f"HDU {unit.index}: {unit.kind}"
        + (f" {'x'.join(map(str, unit.axes))}" if unit.kind in ("image", "tiled") else "")
        for unit in units[:8]
    )
    if hdu is not None:
        return MapError(f"{path} has no HDU {hdu!r} ({found}); choose one of these or leave hdu out.")
    if any(unit.kind == "groups" for unit in units):
        return MapError(f"{path} holds visibilities (random groups), not an image; image them first.")
    if any(unit.kind in ("image", "tiled") and 0 in unit.axes for unit in units):
        return MapError(f"{path} holds an image without pixels ({found}); write it again.")
    if any(unit.kind == "table" for unit in units):
        return MapError(
            f"{path} holds only tables ({found}); give a FITS image (a catalogue is read by other functions)."
        )
    if any(len(unit.axes) == 1 for unit in units):
        return MapError(f"{path} holds a 1-D image ({found}); a map needs two axes.")
    return MapError(f"{path} holds no image ({found}); give a FITS image.")


# fmt: off
_NOT_SKY = (
    "FREQ", "VELO", "VRAD", "VOPT", "FELO", "ZOPT", "WAVE", "AWAV", "LAMBDA", "STOKES", "TIME", "ENER",
)
# fmt: on
_CELESTIAL = re.compile(r"(RA|DEC|[A-Z]{1,4}L(ON|AT))(-|$)|[A-Z]{2}L[NT]-")


def _plane(path: Path | str, unit: Unit) -> tuple[int, int]:
    """Return the two FITS axes of the image that span the map; every other must have length 1."""
    if unit.kind not in ("image", "tiled") or not unit.axes:
        raise MapError(f"{path} has no image in HDU {unit.index} (it is: {unit.kind}); choose another hdu.")
    size = "x".join(str(length) for length in unit.axes[:9])
    if 0 in unit.axes:
        raise MapError(f"{path} holds an image without pixels ({size}); write it again.")
    kinds = {
        axis: str(card(unit.header, f"CTYPE{axis}", "") or "").strip().upper() for axis in _numbers(unit)
    }
    long = [axis for axis in kinds if unit.axes[axis - 1] > 1]
    planes = [axis for axis in long if kinds[axis].startswith(_NOT_SKY)]
    if len(long) > 2 and not planes:
        celestial = [axis for axis in long if _CELESTIAL.match(kinds[axis])]
        planes = [axis for axis in long if axis not in celestial] if len(celestial) == 2 else long[2:]
    if planes:
        what = "is a cube" if len(long) > 2 else "is not a map of the sky"
        named = " and ".join(
            f"axis {axis} ({shorten(kinds[axis] or 'no CTYPE')}) has length {unit.axes[axis - 1]}"
            for axis in planes[:4]
        )
        raise MapError(f"{path} {what}, {size}: {named}; save the plane that you want as a 2-D image first.")
    if len(long) == 2:
        return long[0], long[1]
    # One row, or a single pixel: a map only if the header says so.
    celestial = [axis for axis in kinds if _CELESTIAL.match(kinds[axis])]
    if len(celestial) != 2 or not set(long) <= set(celestial):
        raise MapError(f"{path} holds a 1-D image ({size}); a map needs two axes of the sky.")
    return celestial[0], celestial[1]


def _numbers(unit: Unit) -> range:
    return range(1, len(unit.axes) + 1)


def _scaling(path: Path | str, unit: Unit, notes: list[str]) -> Scaling:
    factors = []
    for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)):
        value = number(unit.header, key)
        if value is None and key in unit.header:
            raise MapError(
                f"{path} has {key} {shorten(card(unit.header, key))}, not a number; repair its header."
            )
        factors.append(default if value is None else value)
    if factors[0] == 0:
        raise MapError(f"{path} has BSCALE 0, which makes every pixel the same; repair its header.")
    blank = card(unit.header, "BLANK")
    if blank is not None and unit.bitpix < 0:
        notes.append(f"BLANK {shorten(blank)} ignored: it has no meaning for floating-point pixels.")
        blank = None
    if blank is not None and (isinstance(blank, bool) or not isinstance(blank, int)):
        notes.append(f"BLANK {shorten(blank)} ignored: it is not an integer.")
        blank = None
    if blank is not None and not -(2**63) <= blank < 2**63:
        notes.append(f"BLANK {blank} ignored: no pixel can have this value.")
        blank = None
    return Scaling(factors[0], factors[1], blank)


def _open_plain(path: Path | str, file: BinaryIO | RemoteFile, size: int, hdu: int | str | None) -> ImageFile:
    """Map the first image that matches."""
    units: list[Unit] = []
    notes: list[str] = []
    try:
        units.extend(_walk(path, file, size))  # keeps those before an error
    except MapError as error:
        if not any(_matches(unit, hdu) for unit in units):
            raise
        notes.append(
            f"HDU {len(units)}, behind the image, is ignored: {str(error).removeprefix(str(path)).strip()}"
        )
    matching = [unit for unit in units if _matches(unit, hdu)]
    if not matching:
        raise _no_image(path, units, hdu)
    unit = matching[0]
    if hdu is None and len(matching) > 1:
        others = ", ".join(str(other.index) for other in matching[1:9])
        notes.append(
            f"{len(matching)} images in the file: HDU {unit.index} is used; hdu= chooses another ({others})."
        )
    kept = _plane(path, unit)
    shape = (unit.axes[kept[1] - 1], unit.axes[kept[0] - 1])
    if isinstance(file, RemoteFile):
        if unit.kind == "tiled":
            raise MapError(
                f"{path} is tile-compressed, which is not read over the network; download it first."
            )
        mark = fingerprint(file, unit.text, unit.offset)
        ranged = RangedPixels(file, unit.offset, unit.bitpix, shape, _scaling(path, unit, notes))
        return ImageFile(file.address, unit.header, kept, ranged, mark, notes)
    path = Path(path)
    mark = fingerprint(path, unit.text, unit.offset)
    if unit.kind == "tiled":
        tile = _check_tiles(path, unit)
        _check_gzipped_tiles(path, file, unit, tile)
        # The decoders of these two believe what the data say of their own length.
        apart = str(card(unit.header, "ZCMPTYPE", "")).strip() in ("HCOMPRESS_1", "PLIO_1")
        tiled = TiledPixels(path, unit.index, unit.axes, kept, apart=apart)
        tiled.read(0, 1, 0, shape[1])  # a damaged one is refused now rather than in the middle of a long run
        return ImageFile(path, _decompressed_header(unit), kept, tiled, mark, notes)
    mapped = MappedPixels(path, unit.offset, unit.bitpix, shape, _scaling(path, unit, notes))
    return ImageFile(path, unit.header, kept, mapped, mark, notes)


def _walk(path: Path | str, file: BinaryIO | RemoteFile, size: int) -> Iterator[Unit]:
    """Yield the units of an uncompressed file; those that are complete."""
    offset = 0
    for index in range(MAX_UNITS):
        file.seek(offset)
        read = _read_header(path, file, index) if offset < size else None
        if read is None:
            return
        header, text = read
        unit = _describe(path, index, header, text, offset + len(text))
        end = unit.offset + unit.size
        if end > size:
            raise MapError(
                f"{path} is truncated: it announces {end} bytes and has {size}; fetch or write it again."
            )
        yield unit
        offset = unit.next_offset


# Cards of the table that a compressed image is stored in; those of the image begin with Z, or have no place.
_TABLE_CARDS = re.compile(
    r"(XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|THEAP|CHECKSUM|DATASUM"
    r"|T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO|DISP)\d+"
    r"|Z(IMAGE|CMPTYPE|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0|MASKCMP|HECKSUM|DATASUM|BLANK|BITPIX|NAXIS\d*)"
    r"|Z(SIMPLE|TENSION|EXTEND|PCOUNT|GCOUNT))$"
)


def _decompressed_header(unit: Unit) -> fits.Header:
    """Return the header of a compressed image as it was before."""
    with caught_warnings():
        out = fits.Header([item for item in unit.header.cards if not _TABLE_CARDS.match(item.keyword)])
    for axis in reversed(_numbers(unit)):
        out.insert(0, (f"NAXIS{axis}", unit.axes[axis - 1]))
    out.insert(0, ("NAXIS", len(unit.axes)))
    out.insert(0, ("BITPIX", unit.bitpix))
    return out


def _check_tiles(path: Path | str, unit: Unit) -> int:
    """Refuse a tile-compressed image that would expand to an absurd size; return the pixels of a tile."""
    tiles, tile = 1, 1
    for axis, length in enumerate(unit.axes, start=1):
        width = card(unit.header, f"ZTILE{axis}", length if axis == 1 else 1)
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise MapError(f"{path} has ZTILE{axis} {shorten(width)}; repair its header.")
        tiles *= -(-length // width)
        tile *= min(width, length)
    rows = _length(path, unit.header, "NAXIS2", 0)
    if tiles != rows:
        raise MapError(
            f"{path} announces {tiles} compressed tiles but holds {rows}; it is damaged: fetch it again."
        )
    limit = expansion_limit()
    expanded = math.prod(unit.axes) * abs(unit.bitpix) // 8
    if tile * 8 > limit or (expanded > limit and expanded > 100 * max(1, unit.size)):
        raise MapError(
            f"{path} would expand from {unit.size} to {expanded} bytes (tiles of {tile} pixels); "
            "if you trust it, decompress it first (funpack)."
        )
    return tile


_WIDTHS = dict(zip("LXBAIJKEDCMPQ", (1, 0.125, 1, 1, 2, 4, 8, 4, 8, 8, 16, 8, 16), strict=True))
_GZIP_RATIO = 1032  # more than this gzip cannot expand
_UNCHECKED = 2**28  # bytes that a tile may expand to without a look at it


def _check_gzipped_tiles(path: Path, file: BinaryIO, unit: Unit, tile: int) -> None:
    """Refuse a tile that holds more than its pixels: it is expanded whole before anyone looks at its size."""
    gzipped = {"GZIP_COMPRESSED_DATA"}
    if str(card(unit.header, "ZCMPTYPE", "")).startswith("GZIP"):
        gzipped.add("COMPRESSED_DATA")
    width, rows = (_length(path, unit.header, f"NAXIS{axis}") for axis in (1, 2))
    heap = unit.offset + _length(path, unit.header, "THEAP", width * rows)
    at = 0.0
    for column in range(1, _length(path, unit.header, "TFIELDS") + 1):
        form = re.match(r"\s*(\d*)([LXBAIJKEDCMPQ])([BIJ]?)", str(card(unit.header, f"TFORM{column}", "")))
        if form is None:
            raise MapError(f"{path} has a TFORM{column} that is none; repair its header.")
        start = math.ceil(at)
        at = start + int(form[1] or 1) * _WIDTHS[form[2]]
        if (
            str(card(unit.header, f"TTYPE{column}", "")).strip() not in gzipped
            or form[2] not in "PQ"
            or at > width
        ):
            continue
        file.seek(unit.offset)
        table = np.frombuffer(file.read(width * rows), np.uint8).reshape(rows, width)
        descriptors = np.ascontiguousarray(table[:, start : math.ceil(at)]).view(
            ">i4" if form[2] == "P" else ">i8"
        )
        sizes = descriptors[:, 0].astype(np.int64) * int(_WIDTHS[form[3] or "B"])
        for row in np.flatnonzero(sizes > _UNCHECKED // _GZIP_RATIO):
            file.seek(heap + max(0, int(descriptors[row, 1])))
            if _expands_beyond(file.read(min(int(sizes[row]), unit.size)), 8 * tile + 2**16):
                raise MapError(
                    f"{path}: tile {row} of {sizes[row]} bytes expands beyond its {tile} pixels; it is damaged or"
                    " hostile: fetch the map again from its source."
                )


def _expands_beyond(data: bytes, limit: int) -> bool:
    total = 0
    with (
        contextlib.suppress(EOFError, OSError, zlib.error),
        gzip.GzipFile(fileobj=io.BytesIO(data)) as stream,
    ):
        while total <= limit and (piece := stream.read(2**20)):
            total += len(piece)
    return total > limit


def _open_gzip(path: Path, file: BinaryIO, hdu: int | str | None) -> ImageFile:
    """Decompress the first image that matches into memory, reading no more than its header announces."""
    limit = expansion_limit()
    units: list[Unit] = []
    passed = 0  # bytes up to the end of the last unit
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while True:
                if not units:
                    start = stream.peek(10)[:10]
                    _check_start(path, start)
                read = _read_header(path, stream, len(units))
                if read is None or len(units) == MAX_UNITS:
                    break
                unit = _describe(path, len(units), *read, 0)
                units.append(unit)
                passed += unit.size
                if sum(len(unit.text) for unit in units) > MAX_HEADER_BYTES:
                    raise MapError(f"{path} has headers of more than {MAX_HEADER_BYTES} bytes; repair it.")
                if passed > limit:
                    raise MapError(
                        f"{path} would expand to {passed} bytes (more than the {limit} allowed here); "
                        "decompress it first (gunzip): a plain file needs no memory."
                    )
                if unit.kind == "tiled" and _matches(unit, hdu):
                    raise MapError(
                        f"{path} is compressed twice (tiles and gzip); decompress it first (gunzip)."
                    )
                if _matches(unit, hdu):
                    return _decode_gzip(path, stream, unit, limit)
                _skip(path, stream, unit.next_offset)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MapError(f"{path} is truncated or damaged ({shorten(str(error))}); fetch it again.") from error
    raise _no_image(path, units, hdu)


def _skip(path: Path, stream: gzip.GzipFile, count: int) -> None:
    while count > 0:
        got = len(stream.read(min(count, 2**20)))
        if got == 0:
            raise MapError(f"{path} is truncated: {count} bytes are missing; fetch it again.")
        count -= got


def _decode_gzip(path: Path, stream: gzip.GzipFile, unit: Unit, limit: int) -> ImageFile:
    notes: list[str] = []
    kept = _plane(path, unit)
    ny, nx = unit.axes[kept[1] - 1], unit.axes[kept[0] - 1]
    if ny * nx * 4 > limit:
        raise MapError(f"{path} needs {ny * nx * 4} bytes of memory; decompress it first (gunzip).")
    scaling = _scaling(path, unit, notes)
    dtype = np.dtype(DTYPES[unit.bitpix])
    out = np.empty((ny, nx), dtype=np.float32)
    rows = max(1, 2**20 // (nx * dtype.itemsize))
    for y in range(0, ny, rows):
        wanted = min(rows, ny - y) * nx * dtype.itemsize
        data = stream.read(wanted)
        if len(data) < wanted:
            raise MapError(f"{path} is truncated: it ends near row {y} of {ny}; fetch it again.")
        convert(np.frombuffer(data, dtype).reshape(-1, nx), out[y : y + rows], scaling)
    out.flags.writeable = False
    return ImageFile(path, unit.header, kept, ArrayPixels(out), fingerprint(path, unit.text), notes)

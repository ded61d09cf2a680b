"""Find the image in a FITS file and read pieces of it, trusting nothing that the file says about itself.

Headers are parsed by astropy; where the bytes lie is worked out here, so that a file is refused before anything is
mapped or allocated: a truncated one by its size, a decompression bomb by what it would expand to.
"""

import contextlib
import gzip
import hashlib
import math
import mmap
import os
import stat
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from astropy.io import fits

from radiowidgets.errors import MapError

BLOCK = 2880
MAX_HEADER_BYTES = 16 * 2**20
# A file compressed as a whole must be held in memory. More than this, or than half of the memory there is, is refused.
MAX_EXPANDED_BYTES = 8 * 2**30
# Compressed images up to this size are decoded once and kept: thousands of small cutouts would else be decoded again
# for each look at them.
KEEP_DECODED_BYTES = 2**20
# Larger files stay mapped between reads; small ones are mapped for each read, as a process may hold only so many files.
KEEP_MAPPED_BYTES = 64 * 2**20
# Conversion of types and scaling goes through pieces of this size, which stay in the processor's cache.
_PIECE_BYTES = 2**18

_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
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
# What astropy and its decompressors raise on damaged input.
DECODING_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    zlib.error,
    MemoryError,
)

# astropy reports oddities by warnings, and catching those changes state shared by all threads.
_warnings_lock = threading.RLock()


@contextlib.contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collect warnings instead of showing them, one thread at a time."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def shorten(value: Any, length: int = 60) -> str:
    """Return untrusted text as one printable line of at most `length` characters, quoted."""
    text = value if isinstance(value, str) else str(value)
    text = "".join(character if " " <= character <= "~" else "?" for character in text).strip()
    if len(text) > length:
        text = text[: length - 3] + "..."
    return f"'{text}'" if isinstance(value, str) else text


def card(header: fits.Header, key: str, default: Any = None) -> Any:
    """Return the value of a card, or `default` where it is missing, undefined or cannot be parsed."""
    try:
        value = header.get(key, default)
    except (fits.VerifyError, ValueError, TypeError, KeyError, IndexError):
        return default
    return default if isinstance(value, fits.card.Undefined) else value


def number(header: fits.Header, key: str) -> float | None:
    """Return the finite value of a numeric card (also one written as text), else None."""
    value = card(header, key)
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


# ----------------------------------------------------------------------------------------
# pixel sources


class PixelSource(Protocol):
    """Where the pixels of one 2-D image come from; read by several threads at once."""

    shape: tuple[int, int]

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return rows y0..y1 and columns x0..x1 as new, native, C-contiguous float32; blank and infinite = NaN."""
        ...


def blank_infinities(pixels: np.ndarray) -> None:
    """Set infinite values of a C-contiguous float32 array to NaN, in place, piece by piece."""
    flat = pixels.reshape(-1)
    step = _PIECE_BYTES // 4
    for start in range(0, flat.size, step):
        piece = flat[start : start + step]
        infinite = np.isinf(piece)
        if infinite.any():
            piece[infinite] = np.nan


@dataclass(frozen=True)
class Scaling:
    """How stored numbers become physical ones: ``bscale * stored + bzero``, `blank` (of integers) becoming NaN."""

    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    @property
    def trivial(self) -> bool:
        return self.bscale == 1.0 and self.bzero == 0.0 and self.blank is None


def convert(raw: np.ndarray, out: np.ndarray, scaling: Scaling) -> None:
    """Turn stored numbers of any FITS type and byte order into native float32, a few rows at a time."""
    rows = max(1, _PIECE_BYTES // (8 * max(1, raw.shape[1])))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, raw.shape[0], rows):
            stored, piece = raw[start : start + rows], out[start : start + rows]
            if scaling.trivial:
                piece[...] = stored
            else:
                values = stored.astype(np.float64)
                values *= scaling.bscale
                values += scaling.bzero
                piece[...] = values
                if scaling.blank is not None:
                    piece[stored == scaling.blank] = np.nan
            infinite = np.isinf(piece)
            if infinite.any():
                piece[infinite] = np.nan


class ArrayPixels:
    """An image in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = (int(array.shape[0]), int(array.shape[1]))

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return np.array(self.array[y0:y1, x0:x1], dtype=np.float32, order="C")


class MappedPixels:
    """An uncompressed image on disk, memory-mapped: a read touches only the pages of the pixels asked for."""

    def __init__(
        self, path: Path, offset: int, bitpix: int, shape: tuple[int, int], scaling: Scaling
    ) -> None:
        self.path = path
        self.shape = shape
        self._offset = offset
        self._dtype = np.dtype(_DTYPES[bitpix])
        self._scaling = scaling
        self._end = offset + shape[0] * shape[1] * self._dtype.itemsize
        self._mapping: mmap.mmap | None = None
        self._lock = threading.Lock()

    def _map(self) -> mmap.mmap:
        with self._lock:
            mapping = self._mapping
            if mapping is None:
                try:
                    with open(self.path, "rb") as file:
                        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or error
                    raise MapError(
                        f"{self.path} can no longer be read ({reason}); put it back or open it anew."
                    ) from error
                if self._end > KEEP_MAPPED_BYTES:
                    self._mapping = mapping
        # Touching a page beyond the end of a file that has shrunk would kill the process.
        if min(len(mapping), mapping.size()) < self._end:
            raise MapError(
                f"{self.path} has shrunk to {mapping.size()} bytes since it was opened ({self._end} needed); "
                "wait until it is written and open it anew."
            )
        return mapping

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        mapping = self._map()
        nx = self.shape[1]
        stored = np.frombuffer(
            mapping,
            dtype=self._dtype,
            count=(y1 - y0) * nx,
            offset=self._offset + y0 * nx * self._dtype.itemsize,
        ).reshape(y1 - y0, nx)[:, x0:x1]
        out = np.empty(stored.shape, dtype=np.float32)
        convert(stored, out, self._scaling)
        return out


class TiledPixels:
    """A tile-compressed image (.fits.fz): only the tiles that a read touches are decompressed."""

    def __init__(self, path: Path, hdu: int, axes: tuple[int, ...], kept: tuple[int, int]) -> None:
        self.path = path
        self.shape = (axes[kept[1] - 1], axes[kept[0] - 1])
        self._hdu = hdu
        self._naxis = len(axes)
        self._kept = kept
        self._decoded: np.ndarray | None = None

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        if self._decoded is None and self.shape[0] * self.shape[1] * 4 <= KEEP_DECODED_BYTES:
            self._decoded = self._decode(0, self.shape[0], 0, self.shape[1])
        if self._decoded is not None:
            return np.array(self._decoded[y0:y1, x0:x1], dtype=np.float32, order="C")
        return self._decode(y0, y1, x0, x1)

    def _decode(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        # numpy's order of axes is the reverse of that of FITS
        index: list[Any] = [0] * self._naxis
        index[self._naxis - self._kept[1]] = slice(y0, y1)
        index[self._naxis - self._kept[0]] = slice(x0, x1)
        try:
            with caught_warnings(), fits.open(self.path, memmap=False, lazy_load_hdus=True) as hdus:
                stored = hdus[self._hdu].section[tuple(index)]
        except DECODING_ERRORS as error:
            raise MapError(
                f"{self.path} cannot be decompressed ({shorten(str(error))}); it is damaged: fetch or compress it again."
            ) from error
        out = np.empty((y1 - y0, x1 - x0), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            out[...] = stored
        blank_infinities(out)
        return out


# ----------------------------------------------------------------------------------------
# finding the image


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
        return str(card(self.header, "EXTNAME", "") or "")

    @property
    def next_offset(self) -> int:
        return self.offset + -(-self.size // BLOCK) * BLOCK


@dataclass
class ImageFile:
    """The image found in a file."""

    path: Path
    header: fits.Header
    kept: tuple[int, int]  # the FITS axes (from 1) that run along x and y
    pixels: PixelSource
    fingerprint: str
    notes: list[str]


def open_image(path: str | os.PathLike[str], hdu: int | str | None = None) -> ImageFile:
    """Find the 2-D image in a FITS file; see `radiowidgets.data.maps.SkyMap.open`."""
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
        with open(path, "rb") as file:
            start = file.read(10)
            file.seek(0)
            if start[:2] == b"\x1f\x8b":
                return _open_gzip(path, file, hdu)
            _check_start(path, start)
            return _open_plain(path, file, status.st_size, hdu)
    except OSError as error:
        raise MapError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error


def fingerprint(path: Path, header_text: bytes, first: int = 0) -> str:
    """Recognise a file by its size, the hash of its header and that of a few blocks sampled from byte `first` on."""
    size = path.stat().st_size
    blocks = hashlib.sha256()
    with open(path, "rb") as file:
        for position in sample_positions(size - first):
            file.seek(first + position)
            blocks.update(file.read(4096))
    return join_fingerprint(size, header_text, blocks.hexdigest())


def join_fingerprint(size: int, header_text: bytes, blocks: str) -> str:
    """Put the three parts of a fingerprint together."""
    return f"{size}-{hashlib.sha256(header_text).hexdigest()[:16]}-{blocks[:16]}"


def sample_positions(size: int) -> list[int]:
    """Return the starts of 16 blocks of 4096 bytes spread over `size` bytes, the first and the last among them."""
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


def _check_start(path: Path, start: bytes) -> None:
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


def _read_header(path: Path, stream: BinaryIO, index: int) -> tuple[fits.Header, bytes] | None:
    """Read one header from `stream`; None where there are no more."""
    text = b""
    while True:
        block = stream.read(BLOCK)
        if not block and not text:
            return None
        if index > 0 and not text and not block.startswith(b"XTENSION"):
            return None  # padding or remarks after the last unit: the standard allows them
        text += block
        ends = any(block[k : k + 80].rstrip() == b"END" for k in range(0, len(block), 80))
        if ends:
            break
        if len(block) < BLOCK:
            raise MapError(
                f"{path} is truncated: it ends within a header, after {len(text)} bytes; fetch it again."
            )
        if len(text) > MAX_HEADER_BYTES:
            raise MapError(
                f"{path} has a header of more than {MAX_HEADER_BYTES} bytes; it is not a usable FITS file."
            )
    printable = bytes(byte if 32 <= byte < 127 else 63 for byte in text)  # 63: '?'
    try:
        with caught_warnings():
            return fits.Header.fromstring(printable.decode("ascii")), text
    except (ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise MapError(
            f"{path} has a header that cannot be parsed ({shorten(str(error))}); repair it."
        ) from error


def _length(path: Path, header: fits.Header, key: str, default: int | None = None) -> int:
    value = card(header, key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MapError(f"{path} is not a usable FITS file: {key} is {shorten(value)}; repair its header.")
    return value


def _describe(path: Path, index: int, header: fits.Header, text: bytes, offset: int) -> Unit:
    """Work out what a header announces."""
    bitpix = card(header, "BITPIX")
    if isinstance(bitpix, bool) or bitpix not in _DTYPES:
        known = ", ".join(str(value) for value in _DTYPES)
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
        if bitpix not in _DTYPES:
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


def _no_image(path: Path, units: list[Unit], hdu: int | str | None) -> MapError:
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


_NOT_SKY = (
    "FREQ",
    "VELO",
    "VRAD",
    "VOPT",
    "FELO",
    "ZOPT",
    "WAVE",
    "AWAV",
    "LAMBDA",
    "STOKES",
    "TIME",
    "ENER",
    "BETA",
)


def _plane(path: Path, unit: Unit) -> tuple[int, int]:
    """Return the two FITS axes of the image that span the map; every other must have length 1."""
    if unit.kind not in ("image", "tiled") or not unit.axes:
        raise MapError(f"{path} has no image in HDU {unit.index} (it is: {unit.kind}); choose another hdu.")
    size = "x".join(str(length) for length in unit.axes)
    if 0 in unit.axes:
        raise MapError(f"{path} holds an image without pixels ({size}); write it again.")

    def kind(axis: int) -> str:
        return str(card(unit.header, f"CTYPE{axis}", "") or "").strip().upper()

    def say(axis: int) -> str:
        return (
            f"axis {axis} ({shorten(kind(axis)) if kind(axis) else 'no CTYPE'}, length {unit.axes[axis - 1]})"
        )

    advice = "save the plane that you want as a 2-D FITS image first"
    long = [axis for axis, length in enumerate(unit.axes, start=1) if length > 1]
    for axis in long:
        if kind(axis).startswith(_NOT_SKY):
            raise MapError(f"{path} is a cube, {size}: {say(axis)} is not an axis of the sky; {advice}.")
    if len(long) > 2:
        celestial = [
            axis for axis in long if kind(axis)[4:5] == "-" or kind(axis)[:4] in ("RA", "DEC", "GLON", "GLAT")
        ]
        extra = [axis for axis in long if axis not in celestial] if len(celestial) == 2 else long[2:]
        raise MapError(
            f"{path} is a cube, {size}: {', '.join(say(axis) for axis in extra)} is one too many; {advice}."
        )
    if len(long) == 2:
        return long[0], long[1]
    sky = [axis for axis in range(1, len(unit.axes) + 1) if not kind(axis).startswith(_NOT_SKY)]
    chosen = sorted(long + [axis for axis in sky if axis not in long][: 2 - len(long)])
    named = all(kind(axis) for axis in chosen)
    if len(chosen) < 2 or (len(unit.axes) > 2 and not named):
        raise MapError(f"{path} holds a 1-D image ({size}); a map needs two axes.")
    return chosen[0], chosen[1]


def _scaling(path: Path, unit: Unit, notes: list[str]) -> Scaling:
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


def _open_plain(path: Path, file: BinaryIO, size: int, hdu: int | str | None) -> ImageFile:
    units: list[Unit] = []
    offset = 0
    while offset < size:
        file.seek(offset)
        read = _read_header(path, file, len(units))
        if read is None:
            break
        header, text = read
        unit = _describe(path, len(units), header, text, offset + len(text))
        units.append(unit)
        if unit.offset + unit.size > size:
            raise MapError(
                f"{path} is truncated: its header announces {unit.offset + unit.size} bytes, there are {size}; "
                "fetch or write it again."
            )
        offset = unit.next_offset
    matching = [unit for unit in units if _matches(unit, hdu)]
    if not matching:
        raise _no_image(path, units, hdu)
    unit = matching[0]
    notes: list[str] = []
    if hdu is None and len(matching) > 1:
        others = ", ".join(str(other.index) for other in matching[1:9])
        notes.append(
            f"{len(matching)} images in the file: HDU {unit.index} is used (hdu= chooses another: {others})."
        )
    kept = _plane(path, unit)
    shape = (unit.axes[kept[1] - 1], unit.axes[kept[0] - 1])
    mark = fingerprint(path, unit.text, unit.offset)
    if unit.kind == "tiled":
        _check_tiles(path, unit)
        with caught_warnings():
            header = _decompressed_header(unit.header)
        pixels: PixelSource = TiledPixels(path, unit.index, unit.axes, kept)
        return ImageFile(path, header, kept, pixels, mark, notes)
    pixels = MappedPixels(path, unit.offset, unit.bitpix, shape, _scaling(path, unit, notes))
    return ImageFile(path, unit.header, kept, pixels, mark, notes)


def _decompressed_header(header: fits.Header) -> fits.Header:
    """Return the header of the image without the cards of the table that it is compressed in."""
    out = fits.Header()
    table = (
        "XTENSION",
        "BITPIX",
        "NAXIS",
        "PCOUNT",
        "GCOUNT",
        "TFIELDS",
        "THEAP",
        "CHECKSUM",
        "DATASUM",
        "BLANK",
    )
    columns = ("TTYPE", "TFORM", "TUNIT", "TDIM", "TNULL", "TSCAL", "TZERO", "TDISP")
    for item in header.cards:
        key = item.keyword
        if key in table or key.startswith(columns) or (key.startswith("NAXIS") and key[5:].isdigit()):
            continue
        if key.startswith(("ZNAXIS", "ZBITPIX")):
            key = key[1:]
        elif key.startswith(("ZIMAGE", "ZCMPTYPE", "ZTILE", "ZNAME", "ZVAL", "ZQUANTIZ", "ZDITHER", "ZMASKCMP", "ZHECKSUM",
                             "ZDATASUM", "ZSIMPLE", "ZTENSION", "ZEXTEND", "ZPCOUNT", "ZGCOUNT", "ZBLANK")):  # fmt: skip
            continue
        try:
            out.append((key, item.value, item.comment), end=True)
        except (fits.VerifyError, ValueError, TypeError):
            continue
    return out


def _check_tiles(path: Path, unit: Unit) -> None:
    """Refuse a tile-compressed image that would expand to an absurd size."""
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


def _open_gzip(path: Path, file: BinaryIO, hdu: int | str | None) -> ImageFile:
    """Decompress the first image that matches into memory, reading no more than its header announces."""
    limit = expansion_limit()
    units: list[Unit] = []
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while True:
                if not units:
                    start = stream.peek(10)[:10]
                    _check_start(path, start)
                read = _read_header(path, stream, len(units))
                if read is None:
                    break
                unit = _describe(path, len(units), *read, 0)
                units.append(unit)
                if unit.size > limit:
                    raise MapError(
                        f"{path} would expand to {unit.size} bytes (more than the {limit} allowed here); "
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
    dtype = np.dtype(_DTYPES[unit.bitpix])
    out = np.empty((ny, nx), dtype=np.float32)
    rows = max(1, 2**20 // (nx * dtype.itemsize))
    for y in range(0, ny, rows):
        wanted = min(rows, ny - y) * nx * dtype.itemsize
        data = stream.read(wanted)
        if len(data) < wanted:
            raise MapError(
                f"{path} is truncated: row {y + len(data) // (nx * dtype.itemsize)} of {ny} is cut; fetch it again."
            )
        convert(np.frombuffer(data, dtype).reshape(-1, nx), out[y : y + rows], scaling)
    out.flags.writeable = False
    return ImageFile(path, unit.header, kept, ArrayPixels(out), fingerprint(path, unit.text), notes)

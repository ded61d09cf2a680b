"""Files behind an address, on web servers and object stores: only the ranges that are asked for are read."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
import time
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np

from radiowidgets.data.pixels import DTYPES, Scaling, convert
from radiowidgets.errors import MapError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Protocol, and the package that fsspec needs for it.
PROTOCOLS = {
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
AHEAD = 8 * 2880  # bytes of a header that are fetched at once
PIECE = 8 * 2**20  # bytes of one request
GAP = 32 * 2**10  # bytes that are read along, as another request would cost as much
TRIES, PAUSE = 3, 0.5  # a request that fails is made again, after 0.5 s and after 2 s
MOST_KEPT = 64  # pieces of maps that a process keeps: more than a chunk of frames of 256 pixels lies on
FRESH = 60.0  # seconds for which a file is taken to be the same
_SECRET = re.compile(r"sig|token|key|secret|credential|password|policy|expires", re.IGNORECASE)

_KEPT: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
_KEPT_LOCK = threading.Lock()


def is_address(path: Any) -> bool:
    """Return whether this is an address rather than the path of a file, C:/ among them."""
    return isinstance(path, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/?/", path) is not None


def file_name(address: str) -> str:
    """Return the last part of an address, without its query."""
    return PurePosixPath(unquote(urlsplit(address).path)).name


def public_address(address: str) -> str:
    """Return an address as it may be shown and kept: a query that grants access is left out."""
    before, mark, query = address.partition("?")
    return before if mark and _SECRET.search(query) else address


class RemoteFile:
    """One file behind an address; several threads may call `ranges` at once.

    Attributes
    ----------
    address : str
    shown : str
        The address as it may be shown.
    size : int
        In bytes.
    state : tuple of int and str
        The size, and what tells whether the file was written since.
    """

    def __init__(self, address: str) -> None:
        self.address, self.shown = address, public_address(address)
        self._system, self._path = _file_system(address)
        self._lock = threading.Lock()
        self.state = self._look()
        self.size = self.state[0]
        self._looked = time.monotonic()
        self._at, self._first, self._held = 0, 0, b""
        self._check_ranges()

    def _look(self) -> tuple[int, str]:
        """Return the size of the file, and what tells whether it was written since."""
        try:
            about = self._system.info(self._path)
        except Exception as error:  # every file system has exceptions of its own
            raise MapError(
                f"{self.shown} cannot be reached ({_reason(error)}); check the address."
            ) from error
        size = about.get("size")
        if not isinstance(size, int):
            raise MapError(f"{self.shown} is on a server that does not tell its size; download it first.")
        marks = [about.get(key) for key in ("ETag", "etag", "Last-Modified", "LastModified", "mtime")]
        return size, " ".join(str(mark) for mark in marks if mark is not None)

    def _check_ranges(self) -> None:
        """Refuse a web server that answers with the whole file whatever is asked for."""
        if self._system.protocol not in (("http", "https"), "http", "https") or self.size <= AHEAD:
            return
        try:
            # Opened as a file, fsspec looks at what the server answers before it reads on.
            with self._system.open(self._path, block_size=AHEAD, cache_type="none") as file:
                file.seek(self.size - 16)
                if len(file.read(16)) == 16:
                    return
        except ValueError:  # it says so
            pass
        except Exception as error:
            raise MapError(f"{self.shown} cannot be read ({_reason(error)}); check the address.") from error
        raise MapError(
            f"{self.shown} is on a server that sends whole files only (no range requests); download it first."
        )

    def ranges(self, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Return the bytes from each start to each end (exclusive)."""
        self._check_same()
        asked = [self._path] * len(starts), list(starts), list(ends)
        for trial in range(TRIES):
            try:
                parts = self._system.cat_ranges(*asked)
                failed = [part for part in parts if isinstance(part, Exception)]
                if failed:
                    raise failed[0]
                break
            except Exception as error:
                if trial + 1 == TRIES:
                    raise MapError(
                        f"{self.shown} cannot be read ({_reason(error)}); try again later: what is done is kept."
                    ) from error
                time.sleep(PAUSE * 4**trial)
        if [len(part) for part in parts] != [end - start for start, end in zip(starts, ends, strict=True)]:
            raise MapError(
                f"{self.shown} came back with other ranges than those asked for; download it first."
            )
        return list(parts)

    def sha256(self) -> str:
        """Return the sha256 of the whole file, reading all of it."""
        digest = hashlib.sha256()
        for start in range(0, self.size, PIECE):
            digest.update(self.ranges([start], [min(start + PIECE, self.size)])[0])
        return digest.hexdigest()

    def _check_same(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < FRESH:
                return
            if self._look() != self.state:
                raise MapError(f"{self.shown} has changed since it was opened; open it anew.")
            self._looked = time.monotonic()

    def seek(self, offset: int) -> None:
        """Go to a byte, for `read`."""
        self._at = offset

    def read(self, count: int) -> bytes:
        """Return the next bytes, for the parsing of headers."""
        end = min(self._at + count, self.size)
        if self._at < self._first or end > self._first + len(self._held):
            self._first = self._at
            (self._held,) = self.ranges([self._at], [min(max(end, self._at + AHEAD), self.size)])
        found = self._held[self._at - self._first : end - self._first]
        self._at = end
        return found


class RangedPixels:
    """An uncompressed image behind an address."""

    def __init__(
        self, file: RemoteFile, offset: int, bitpix: int, shape: tuple[int, int], scaling: Scaling
    ) -> None:
        self.file = file
        self.shape = shape
        self._offset = offset
        self._dtype = np.dtype(DTYPES[bitpix])
        self._scaling = scaling

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `PixelSource`."""
        item, width = self._dtype.itemsize, x1 - x0
        line = self.shape[1] * item
        apart = line - width * item > GAP
        out = np.empty((y1 - y0, width), dtype=np.float32)
        large = (y1 - y0) * line >= PIECE // 2 or y1 - y0 == self.shape[0]
        if large and not apart:
            self._read_blocks(y0, y1, x0, x1, out)
            return out
        together = 1 if apart else max(1, PIECE // line)
        tops = range(y0, y1, together)
        counts = [min(together, y1 - top) for top in tops]
        starts = [self._offset + top * line + x0 * item for top in tops]
        ends = [
            start + (count - 1) * line + width * item for start, count in zip(starts, counts, strict=True)
        ]
        for top, count, part in zip(tops, counts, self.file.ranges(starts, ends), strict=True):
            # Rows lie a line apart in what was read; the last one ends with it.
            stored = np.ndarray((count, width), self._dtype, part, strides=(line, item))
            convert(stored, out[top - y0 : top - y0 + count], self._scaling)
        return out

    def _read_blocks(self, y0: int, y1: int, x0: int, x1: int, out: np.ndarray) -> None:
        """Fill `out` from blocks of whole rows, which are kept: frames are looked at several times in a row."""
        ny, nx = self.shape
        rows = max(1, PIECE // (nx * self._dtype.itemsize))
        for block in range(y0 // rows, -(-y1 // rows)):
            low = block * rows
            stored = np.frombuffer(self._block(low, min(low + rows, ny)), self._dtype).reshape(-1, nx)
            top, end = max(y0, low), min(y1, low + rows)
            convert(stored[top - low : end - low, x0:x1], out[top - y0 : end - y0], self._scaling)

    def _block(self, low: int, high: int) -> bytes:
        """Return the bytes of rows, of those kept or fetched."""
        line = self.shape[1] * self._dtype.itemsize
        key = (self.file.address, *self.file.state, self._offset + low * line, (high - low) * line)
        with _KEPT_LOCK:
            known = _KEPT.pop(key, None)
            if known is not None:
                _KEPT[key] = known  # the last to go
                return known
        (found,) = self.file.ranges([key[-2]], [key[-2] + key[-1]])
        with _KEPT_LOCK:
            _KEPT[key] = found
            while len(_KEPT) > MOST_KEPT:
                _KEPT.popitem(last=False)
        return found


def _file_system(address: str) -> tuple[Any, str]:
    """Return what reads files of this kind, and the file's name there."""
    protocol = address.partition(":")[0].lower()
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise MapError(f"{address!r:.80} is no address that can be read; give a path or one of {known}.")
    if urlsplit(address).password is not None:
        raise MapError(
            f"the address of {file_name(address)!r} holds a password, which a run would keep; "
            "leave it out and put it into fsspec's own settings."
        )
    if importlib.util.find_spec("fsspec") is None:
        raise MissingExtraError("maps behind an address need fsspec: pip install 'radiowidgets[cluster]'.")
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = PROTOCOLS[protocol]
        raise MissingExtraError(f"{protocol}:// needs {package}: pip install {package}.") from error
    except Exception as error:
        raise MapError(f"{public_address(address)} cannot be reached ({_reason(error)}).") from error


def _reason(error: BaseException) -> str:
    """Say what went wrong without the address, which may grant access."""
    root = error.__cause__ or error
    status = getattr(root, "status", None)
    return f"HTTP status {status}" if isinstance(status, int) else type(root).__name__

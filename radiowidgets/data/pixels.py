"""Where the pixels of a map come from: an array, a memory-mapped file, or a tile-compressed one."""

import json
import mmap
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from astropy.io import fits

from radiowidgets.data.cards import caught_warnings, shorten
from radiowidgets.errors import MapError

# Compressed images up to this size are decoded once and kept: thousands of small cutouts would else be
# decoded again for each look at them.
KEEP_DECODED_BYTES = 2**20
# Larger files stay mapped between reads; small ones are mapped for each read, as a process may hold only so
# many files open.
KEEP_MAPPED_BYTES = 64 * 2**20
# Conversion of types and scaling goes through pieces of this size, which stay in the processor's cache.
_PIECE_BYTES = 2**20

# numpy types of BITPIX
DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class PixelSource(Protocol):
    """Where the pixels of one 2-D image come from; several threads may read at once."""

    shape: tuple[int, int]

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return rows y0..y1 and columns x0..x1 as new, native, C-contiguous float32, without infinities."""
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
    """How stored numbers become physical: ``bscale * stored + bzero``; the integer `blank` becomes NaN."""

    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    @property
    def trivial(self) -> bool:
        """Whether stored numbers are physical ones already."""
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


def file_state(path: Path) -> tuple[int, int]:
    """Return what tells whether a file has been written since: its size and the time of the last change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class ArrayPixels:
    """An image in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = (int(array.shape[0]), int(array.shape[1]))

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `PixelSource`."""
        return np.array(self.array[y0:y1, x0:x1], dtype=np.float32, order="C")


class MappedPixels:
    """An uncompressed image on disk, memory-mapped: a read touches only the pages of the pixels asked for."""

    def __init__(
        self, path: Path, offset: int, bitpix: int, shape: tuple[int, int], scaling: Scaling
    ) -> None:
        self.path = path
        self.shape = shape
        self._offset = offset
        self._dtype = np.dtype(DTYPES[bitpix])
        self._scaling = scaling
        self._end = offset + shape[0] * shape[1] * self._dtype.itemsize
        self._state = file_state(path)
        self._mapping: mmap.mmap | None = None
        self._lock = threading.Lock()

    def _map(self) -> mmap.mmap:
        with self._lock:
            mapping = self._mapping
            try:
                state = file_state(self.path)
                if mapping is None:
                    with self.path.open("rb") as file:
                        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise MapError(f"{self.path} can no longer be read ({reason}); put it back.") from error
            # Other pixels than those measured would go unnoticed, and touching a page beyond the end of a
            # file that has shrunk would kill the process.
            if state != self._state or min(len(mapping), mapping.size()) < self._end:
                raise MapError(f"{self.path} has changed since it was opened; open it anew.")
            if self._end > KEEP_MAPPED_BYTES:
                self._mapping = mapping
        return mapping

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `PixelSource`."""
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


_APART = """
import json, sys, warnings
import numpy as np
from astropy.io import fits
warnings.simplefilter("ignore")
path, hdu, parts = json.loads(sys.argv[1])
with fits.open(path, memmap=False) as hdus:
    found = hdus[hdu].section[tuple(slice(*part) if isinstance(part, list) else part for part in parts)]
sys.stdout.buffer.write(np.ascontiguousarray(found, np.float32).tobytes())
"""


class TiledPixels:
    """A tile-compressed image (.fits.fz): only the tiles that a read touches are decompressed."""

    def __init__(
        self, path: Path, hdu: int, axes: tuple[int, ...], kept: tuple[int, int], *, apart: bool = False
    ) -> None:
        self.path = path
        self.shape = (axes[kept[1] - 1], axes[kept[0] - 1])
        self._hdu = hdu
        self._apart = apart
        self._state = file_state(path)
        self._naxis = len(axes)
        self._kept = kept
        self._decoded: np.ndarray | None = None

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """See `PixelSource`."""
        if self._decoded is None and (self._apart or self.shape[0] * self.shape[1] * 4 <= KEEP_DECODED_BYTES):
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
            if file_state(self.path) != self._state:
                raise MapError(f"{self.path} has changed since it was opened; open it anew.")
            if self._apart:
                stored = self._decode_apart(index)
            else:
                with caught_warnings(), fits.open(self.path, memmap=False, lazy_load_hdus=True) as hdus:
                    stored = hdus[self._hdu].section[tuple(index)]
            if stored.shape != (y1 - y0, x1 - x0):
                raise ValueError(f"tiles give {stored.shape[::-1]} pixels instead of {(x1 - x0, y1 - y0)}")
        except MapError:
            raise
        except Exception as error:  # the decompressors have exceptions of their own
            raise MapError(
                f"{self.path} cannot be decompressed ({shorten(str(error))}); fetch it again."
            ) from error
        out = np.empty((y1 - y0, x1 - x0), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            out[...] = stored
        blank_infinities(out)
        return out

    def _decode_apart(self, index: list[Any]) -> np.ndarray:
        """Decode in a process of its own, for which damage that ends it is no more than a damaged file."""
        parts = [[part.start, part.stop] if isinstance(part, slice) else part for part in index]
        told = json.dumps([str(self.path), self._hdu, parts])
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-c", _APART, told],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        wanted = self.shape[0] * self.shape[1] * 4
        if done.returncode or len(done.stdout) != wanted:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise ValueError(said[-1] if said else f"its decoder ended with {done.returncode}")
        return np.frombuffer(done.stdout, np.float32).reshape(self.shape)

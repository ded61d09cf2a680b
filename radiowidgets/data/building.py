"""Files and folders written whole or not at all, and one builder at a time: a lock file that says who holds it."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from radiowidgets.errors import RadioWidgetsError


@contextmanager
def drafted(path: Path, error: type[RadioWidgetsError] = RadioWidgetsError) -> Iterator[Path]:
    """Yield a place beside `path` for a file or a folder, which takes its name once all is written and on the disk.

    Raises
    ------
    error
        If it cannot be written; what stood there before is then unchanged.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        if draft.is_file():
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError as cause:
        raise error(
            f"Cannot write {path}: {cause.strerror}. Free some space, or choose a place that you may write."
        ) from cause
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        elif draft.exists():
            draft.unlink()


@contextmanager
def build_lock(folder: Path, error: type[RadioWidgetsError]) -> Iterator[None]:
    """Hold ``build.lock`` in a folder; one whose process on this host is gone is taken over.

    Raises
    ------
    error
        If somebody else holds it, or the folder cannot be written.
    """
    place = folder / "build.lock"
    try:
        handle = _take(place)
        if handle is None:
            _drop_if_dead(place)
            handle = _take(place)
    except OSError as cause:
        raise error(
            f"{folder} cannot be written ({cause.strerror}); choose a folder that you may write."
        ) from cause
    if handle is None:
        holder = _holder(place)
        who = f"process {holder[1]} on {holder[0]}" if holder else "somebody else"
        raise error(f"{folder} is being written by {who}; wait for it, or remove {place.name} if it died.")
    try:
        os.write(handle, f"{socket.gethostname()} {os.getpid()}\n".encode())
        os.close(handle)
        yield
    finally:
        place.unlink(missing_ok=True)


def _take(place: Path) -> int | None:
    try:
        return os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None


def _holder(place: Path) -> tuple[str, int] | None:
    try:
        host, pid = place.read_text("utf-8", "replace").split()[:2]
        return host, int(pid)
    except (OSError, ValueError):
        return None


def _drop_if_dead(place: Path) -> None:
    holder = _holder(place)
    if holder is None or holder[0] != socket.gethostname():
        return
    try:
        os.kill(holder[1], 0)
    except ProcessLookupError:
        place.unlink(missing_ok=True)
    except (PermissionError, OverflowError):
        return

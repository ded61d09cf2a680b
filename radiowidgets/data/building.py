"""Files and folders written whole or not at all, and one builder at a time: a lock file that says who holds it."""

import glob
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from radiowidgets.errors import RadioWidgetsError
from radiowidgets.labels.files import make_folder, share

_ABANDONED = 86400.0  # seconds
_SPEECHLESS = 5.0  # seconds after which a lock that does not say whose it is was left by one that died


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
        make_folder(path.parent)
        yield draft
        if draft.is_file():
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        share(draft)
        draft.replace(path)
    except OSError as cause:
        raise error(
            f"Cannot write {path}: {cause.strerror or cause}. Free some space, or choose a place that you may write."
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
    mine = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}\n"
    try:
        taken = _take(place, mine)
        if not taken and _drop_if_dead(place):
            taken = _take(place, mine)
    except OSError as cause:
        raise error(
            f"{folder} cannot be written ({cause.strerror}); choose a folder that you may write."
        ) from cause
    if not taken:
        holder = _holder(_read(place))
        who = f"process {holder[1]} on {holder[0]}" if holder else "somebody else"
        raise error(f"{folder} is being written by {who}; wait for it, or remove {place.name} if it died.")
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


def clear_drafts(folder: Path, names: Iterable[str]) -> None:
    """Remove what `drafted` left of files of these names when its process was killed; hold the lock for it."""
    for name in names:
        for draft in folder.glob(f".{glob.escape(name)}.*.part"):
            _remove(draft)


def clear_old_drafts(folder: Path) -> None:
    """Remove what was left in a cache that several processes fill: drafts that nobody has touched for a day."""
    with suppress(OSError):
        for draft in folder.glob(".*.part"):
            if time.time() - draft.stat().st_mtime > _ABANDONED:
                _remove(draft)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)


def _take(place: Path, mine: str) -> bool:
    try:
        handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(handle, mine.encode())
    except OSError:  # a full disk: a lock that names nobody would stay
        place.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return True


def _read(place: Path) -> str | None:
    """Return what a lock says; None where there is none, or it cannot be read."""
    try:
        return place.read_text("utf-8", "replace")
    except OSError:
        return None


def _holder(text: str | None) -> tuple[str, int] | None:
    try:
        host, pid = (text or "").split()[:2]
        return host, int(pid)
    except ValueError:
        return None


def _drop_if_dead(place: Path) -> bool:
    """Remove a lock whose process on this host is gone, or that was killed before it wrote who it was."""
    text = _read(place)
    if text is None or not _is_dead(place, text):
        return False
    # Another builder may have done the same, and hold the lock already: moved aside, it can be looked at.
    aside = place.with_name(f".{place.name}.{secrets.token_hex(8)}.part")
    try:
        place.rename(aside)
    except FileNotFoundError:
        return True
    if _read(aside) != text:
        with suppress(OSError):
            os.link(aside, place)
    aside.unlink(missing_ok=True)
    return True


def _is_dead(place: Path, text: str) -> bool:
    holder = _holder(text)
    if holder is None:
        try:
            return not text and time.time() - place.stat().st_mtime > _SPEECHLESS
        except FileNotFoundError:
            return False
    if holder[0] != socket.gethostname():
        return False
    try:
        os.kill(holder[1], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False

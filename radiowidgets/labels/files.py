"""Where the events of a label log are kept: a folder of JSON-lines files, each written by one session only.

Nothing is locked and nothing is ever rewritten. A session appends to a file of its own, so several kernels
and several people, on one disk or on a shared home folder, cannot corrupt each other's labels; they read each
other's files.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
import unicodedata
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from radiowidgets.errors import LabelError
from radiowidgets.labels.events import MAX_LINE_BYTES, Event

SUFFIX = ".jsonl"
# Put behind what a failed write left, so that it can never be taken for an event, even if only its newline is
# missing.
TORN = b"#torn\n"
BLOCK_BYTES = 4 * 2**20
MAX_PROBLEMS = 100
LOOK_SECONDS = 2.0  # between two looks at the files of others

_FLAGS_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
# Not to wait for ever on a named pipe that somebody put there.
_FLAGS_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


class Store(Protocol):
    """What a label log needs of the place where events are kept."""

    place: str
    folder: Path

    @property
    def doubtful(self) -> bool:
        """Whether events that could not be kept may nevertheless be there."""

    @property
    def waiting(self) -> int:
        """Number of events that are kept here but have not reached the others yet."""

    @property
    def unreachable(self) -> bool:
        """Whether the others cannot be reached now."""

    def sync(self, seconds: float) -> bool:
        """Wait until nothing waits and what others said can be read; False where that took too long."""

    def append(self, events: Sequence[Event]) -> None:
        """Keep the events for good before returning.

        Raises
        ------
        OSError
            If that failed. `doubtful` then says whether the events may nevertheless be there.
        """

    def read_new(self) -> list[Event]:
        """Return the events of others that have arrived since the last call, in any order."""

    def wait(self, seconds: float) -> bool:
        """Wait until there may be something for `read_new`, at most so long; whether there may be."""

    @property
    def problems(self) -> list[str]:
        """What could not be read, and where."""

    def close(self) -> None:
        """Let go of files or connections."""


class FileStore:
    """Events in JSON-lines files of one folder.

    Parameters
    ----------
    folder : path
        Created by the first `append`.
    annotator : str
        Gives the file its name, reduced to a few plain letters.
    """

    def __init__(self, folder: str | os.PathLike[str], annotator: str) -> None:
        self.folder = Path(folder)
        self.place = str(self.folder)
        self.path: Path | None = None
        self.doubtful = False
        self.waiting = 0
        self.unreachable = False
        self._slug = slug(annotator)
        self._descriptor: int | None = None
        self._close_at_exit: weakref.finalize | None = None
        self._process = os.getpid()
        self._torn = False
        self._unflushed: list[Path] = []
        self._written: list[Event] = []
        self._lost: list[Event] = []
        self._own: set[str] = set()
        self._files: dict[str, _ReadFile] = {}
        self._waited: tuple[tuple[str, int], ...] = ()

    def append(self, events: Sequence[Event]) -> None:
        """Write the events in one go and flush them to the disk."""
        self.doubtful = False
        if self._process != os.getpid():
            self._leave_to_parent()
        if self._descriptor is not None and self._vanished():
            # Somebody deleted the file under us. What it held was reported as saved, so it is written again.
            self._lost += self._written
            self.close()
        events = [*self._lost, *events]
        data = b"".join(event.to_line() for event in events)
        try:
            if self._descriptor is None:
                self._create()
            self.doubtful = True
            self._write(data)
            self._flush()
        except BaseException:
            # After a failed flush nobody knows what of the file will survive: no later event is trusted to
            # it. The same holds for an interrupt, of which nobody knows where it struck.
            if self.doubtful:
                self.close()
            raise
        self.doubtful = False
        self._lost = []
        self._written += events

    def sync(self, seconds: float) -> bool:  # noqa: ARG002
        """Return True: what is written can be read by all."""
        return True

    def wait(self, seconds: float) -> bool:
        """Look now and then whether a file of another session has grown: network file systems tell nobody."""
        end = time.monotonic() + seconds
        while (seen := self._sizes()) == self._waited:
            rest = end - time.monotonic()
            if rest <= 0:
                return False
            time.sleep(min(rest, LOOK_SECONDS))
        self._waited = seen
        return True

    def _sizes(self) -> tuple[tuple[str, int], ...]:
        try:
            with os.scandir(self.folder) as entries:
                found = [entry for entry in entries if _is_log(entry.name) and entry.name not in self._own]
                return tuple(sorted((entry.name, entry.stat().st_size) for entry in found))
        except OSError:
            return ()

    def _vanished(self) -> bool:
        assert self._descriptor is not None
        try:
            return os.fstat(self._descriptor).st_nlink == 0
        except OSError:
            # What a network file system says of a file that another machine deleted.
            return True

    def _create(self) -> None:
        folders = (self.folder, *self.folder.parents)
        self._unflushed = [self.folder, *(folder.parent for folder in folders if not folder.exists())]
        make_folder(self.folder)
        path = self.folder / f"{self._slug}-{secrets.token_hex(8)}{SUFFIX}"
        self._own.add(path.name)
        # Others on a team read the labels; only their author adds to them.
        self._descriptor = os.open(path, _FLAGS_APPEND, 0o644)
        share(path)
        self._close_at_exit = weakref.finalize(self, os.close, self._descriptor)
        self.path = path
        self._torn, self._written = False, []

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        if self._torn:
            data = TORN + data
        view, done = memoryview(data), 0
        while done < len(data):
            try:
                # One call is one line on any disk with room; a second one says why the first fell short.
                count = os.write(self._descriptor, view[done:])
            except OSError:
                self._torn = self._torn or done > 0
                self.doubtful = False
                raise
            if count == 0:
                self._torn = self._torn or done > 0
                self.doubtful = False
                raise OSError(errno.EIO, "nothing was written")
            done += count
        self._torn = False

    def _flush(self) -> None:
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        # A new file is only there for good when its folder's entry is, and so on up for new folders.
        while self._unflushed:
            _flush_folder(self._unflushed[-1])
            self._unflushed.pop()

    def _leave_to_parent(self) -> None:
        """In a forked child: begin a file of our own, since two processes must not share one."""
        self._process = os.getpid()
        self.close()
        for name in self._own:
            self._files.pop(name, None)
        self._own.clear()

    def read_new(self) -> list[Event]:
        """Read what has been added to the files of others; a line that is still being written waits."""
        try:
            with os.scandir(self.folder) as entries:
                listing = sorted((entry.name, entry) for entry in entries if _is_log(entry.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LabelError(
                f"The labels in {self.place!r} cannot be read ({describe(error)})."
                " Give a folder that you may read."
            ) from error
        events: list[Event] = []
        for name, entry in listing:
            if name in self._own and self._process == os.getpid():
                continue
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = _ReadFile(self.folder / name)
            try:
                # A file that vanishes between the listing and here has been read as far as it was there.
                file.read_new(entry.stat(), events)
            except FileNotFoundError:
                continue
            except OSError as error:
                file.failure = f"{name}: cannot be read ({describe(error)})"
        return events

    @property
    def problems(self) -> list[str]:
        """Lines and files that were skipped, as 'file:line: reason'."""
        return [problem for name in sorted(self._files) for problem in self._files[name].problems]

    def close(self) -> None:
        """Close the session's file; a later `append` begins another one."""
        if self._close_at_exit is not None:
            finalizer, self._close_at_exit, self._descriptor = self._close_at_exit, None, None
            self._torn, self._written = False, []
            finalizer()


class _ReadFile:
    """One file of another session, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure = ""
        self._begin(None)

    def _begin(self, identity: tuple[int, int] | None) -> None:
        self._identity = identity
        self._offset = 0
        self._size = 0
        self._line = 0
        self._skipping = False
        self._problems: list[str] = []
        self._more_problems = 0

    def read_new(self, status: os.stat_result, events: list[Event]) -> None:
        if not stat.S_ISREG(status.st_mode):
            self.failure = f"{self.path.name}: not a plain file"
            return
        self.failure = ""
        identity = (status.st_dev, status.st_ino)
        if identity != self._identity or status.st_size < self._offset:
            # Another file under the old name (a copy was put back): events read before are known by their
            # ids.
            self._begin(identity)
        if status.st_size == self._size:
            return
        with open(self.path, "rb", buffering=0, opener=lambda path, _: os.open(path, _FLAGS_READ)) as stream:
            stream.seek(self._offset)
            rest = b""
            while block := stream.read(BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self._offset += len(line) + 1
                    self._take(line, events)
                if self._skipping or len(rest) > MAX_LINE_BYTES:
                    self._skipping = True
                    self._offset += len(rest)
                    rest = b""
        self._size = self._offset + len(rest)

    def _take(self, line: bytes, events: list[Event]) -> None:
        self._line += 1
        if self._skipping:
            self._skipping = False
            self._note(f"longer than {MAX_LINE_BYTES} bytes")
            return
        if not line.strip():
            return
        try:
            events.append(Event.from_line(line))
        except ValueError as error:
            self._note(str(error))

    def _note(self, reason: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(f"{self.path.name}:{self._line}: skipped, {reason}")
        else:
            self._more_problems += 1

    @property
    def problems(self) -> list[str]:
        problems = list(self._problems)
        if self._more_problems:
            problems.append(f"{self.path.name}: {self._more_problems} more lines skipped")
        if self._skipping or self._size > self._offset:
            where = f"{self.path.name}:{self._line + 1}"
            problems.append(
                f"{where}: unfinished last line (perhaps still being written; else what a crash left)"
            )
        if self.failure:
            problems.append(self.failure)
        return problems


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; in one that a group shares, they are the group's too."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        share(place)


def share(path: Path) -> None:
    """Let the group read a new file, or write into a new folder, where the folder above is shared.

    A folder is taken for shared that the group may write and that hands its group on (setgid): else the umask of
    whoever labels first would keep the others of the team from labelling.
    """
    with contextlib.suppress(OSError):  # not ours: its owner decides
        above, mode = path.parent.stat().st_mode, path.stat().st_mode
        if not (above & stat.S_ISGID and above & stat.S_IWGRP):
            return
        folder = stat.S_ISDIR(mode)
        path.chmod(stat.S_IMODE(mode) | (stat.S_IRWXG | stat.S_ISGID if folder else stat.S_IRGRP))
        for place in path.iterdir() if folder else ():
            share(place)


def slug(text: str, limit: int = 32) -> str:
    """Reduce any text to a few letters a-z, digits and hyphens that are safe in a file name."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:limit].strip("-") or "annotator"


def describe(error: OSError) -> str:
    """Say what the system said, without its numbers."""
    return error.strerror or type(error).__name__


def _is_log(name: str) -> bool:
    return name.endswith(SUFFIX) and not name.startswith(".")


def _flush_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot, and need not
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such thing as flushing a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)

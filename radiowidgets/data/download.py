"""One file from one address, going on where a cut connection left it."""

import os
import shutil
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from radiowidgets.errors import DataError

ATTEMPTS = 4
CHUNK_BYTES = 2**16  # up to so much of what arrived is lost when a connection is cut


class ResumingDownloader:
    """A downloader for pooch that keeps what has arrived in ``part`` and asks for the rest only.

    Parameters
    ----------
    part : Path
        Where the beginning of the file is kept until all of it is there; the server's mark of the version
        (ETag or Last-Modified) lies beside it as ``<part>.version``.
    size : int, optional
        The size that the file must have, in bytes. A server that announces another is turned down at once.
    progress : bool
        Show a bar.
    pause : float
        Seconds before the second attempt; twice as long before the third, and so on.

    Notes
    -----
    pooch's own downloader starts again from nothing; it still moves the bytes here. A part is continued only
    if the server had marked its version and confirms that this is unchanged (``If-Range``), so that two
    versions of a file are never joined. The bytes are those on the server: a transfer encoding such as gzip
    is neither asked for nor undone.
    """

    def __init__(
        self, part: Path, *, size: int | None = None, progress: bool = False, pause: float = 1.0
    ) -> None:
        self.part = part
        self.size = size
        self.progress = progress
        self.pause = pause
        self._version = part.with_name(part.name + ".version")
        self._expected: int | None = None

    def __call__(self, url: str, output_file: str, pooch: Any = None, check_only: bool = False) -> None:
        """Bring `url` to `output_file` (as pooch calls it; `pooch` and `check_only` are not used)."""
        del pooch, check_only
        if urlsplit(url).scheme == "file":
            shutil.copyfile(url2pathname(urlsplit(url).path), output_file)
            Path(output_file).chmod(0o644)  # pooch's drafts are their owner's alone
            return
        with self.part.open("ab") as file:
            _own(file, self.part)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._go_on(url, file)
                    break
                except OSError as error:
                    if attempt == ATTEMPTS or not _passes(error):
                        raise
                time.sleep(self.pause * 2 ** (attempt - 1))
            if os.name == "nt":  # Windows moves no open file
                file.close()
            self.part.replace(output_file)
        self._version.unlink(missing_ok=True)

    def _go_on(self, url: str, file: IO[bytes]) -> None:
        from pooch import HTTPDownloader

        self._expected = None
        headers = {"Accept-Encoding": "identity"}
        if file.tell() and self._version.exists():
            headers |= {"Range": f"bytes={file.tell()}-", "If-Range": self._version.read_text("ascii")}
        hooks = {"response": lambda response, **_: self._begin(response, file)}
        HTTPDownloader(self.progress, CHUNK_BYTES, headers=headers, hooks=hooks)(url, file, None)
        file.flush()
        expected = self.size if self._expected is None else self._expected
        if expected is not None and file.tell() != expected:
            raise OSError(f"the connection ended after {file.tell()} of {expected} bytes")

    def _begin(self, response: Any, file: IO[bytes]) -> None:
        """Look at the headers before the first byte is written (also called for redirections)."""
        headers = response.headers
        begin, total = "", headers.get("content-length")
        if response.status_code in (206, 416):
            begin, _, total = headers.get("content-range", "").removeprefix("bytes ").partition("/")
        elif response.status_code != 200:
            return
        self._expected = int(total) if total and total.isdecimal() else None
        if self.size is not None and self._expected not in (None, self.size):
            raise DataError(
                f"{response.url} has {self._expected} bytes and the manifest says {self.size}: not fetched,"
                " for it is another version. Ask the source, or correct the manifest."
            )
        # urllib3 would undo an encoding that some archives declare for each .fits.gz.
        response.raw.headers.pop("content-encoding", None)
        if response.status_code == 206 and begin.partition("-")[0] == str(file.tell()):
            return
        # Another version or another piece than was asked for: from the beginning.
        self._version.unlink(missing_ok=True)
        file.truncate(0)
        if response.status_code != 200:
            raise OSError(f"{response.url} did not give the piece that was asked for")
        mark = headers.get("etag", "")
        if not mark.startswith('"'):  # a weak mark (W/"...") does not vouch for bytes
            mark = headers.get("last-modified", "")
        if mark and mark.isascii():
            self._version.write_text(mark, "ascii")


def _passes(error: OSError) -> bool:
    """Say whether it may go better another time: a cut connection or an overloaded server, not 'not found'."""
    response = getattr(error, "response", None)
    return response is None or response.status_code >= 500 or response.status_code == 429


def _own(file: IO[bytes], path: Path) -> None:
    """Keep other processes from writing the same part; the lock goes with the file or the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        mine = False
    if not mine:
        raise DataError(f"{path} is being fetched by another process; try again when it has ended.")

"""The label log: who said what of which frame, appended to and never edited.

Every action is an event (`radiowidgets.labels.events`), kept on disk before `LabelLog.record` returns
(`radiowidgets.labels.files`); the current state is a fold over the events (`radiowidgets.labels.fold`).
"""

import contextlib
import errno
import getpass
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from radiowidgets.errors import LabelError
from radiowidgets.labels import events as checks
from radiowidgets.labels.events import Event, FrameRef
from radiowidgets.labels.files import FileStore, Store, describe
from radiowidgets.labels.fold import Fold, State
from radiowidgets.labels.schema import DEFAULT_SCHEMA, Schema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNSET", "Event", "FrameRef", "LabelLog", "State"]


class _Unset:
    """The value of an argument that was not given, where None means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()
WATCH_SECONDS = 5.0  # after which one who watches looks whether to go on

_REMEDIES = {
    errno.ENOSPC: "Free some space on that disk",
    errno.EDQUOT: "Free some of your quota on that disk",
    errno.EFBIG: "Raise the limit on the size of files, or free some space",
    errno.EROFS: "Choose a folder for the run that can be written to",
    errno.EACCES: "Ask the folder's owner for the right to write, or choose a folder of your own",
    errno.EPERM: "Ask the folder's owner for the right to write, or choose a folder of your own",
    errno.ENOTDIR: "Move the file of that name away, or choose another folder",
    errno.EEXIST: "Move the file of that name away, or choose another folder",
}
_REMEDY = "Check that the disk is mounted and sound"

# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class LabelLog:
    """The labels of one run: everybody's are read, those of one annotator are written.

    Parameters
    ----------
    folder : path or str
        Where the label files are or shall be; the folder is created with the first label. Or the address of a
        PostgreSQL that a team shares, ``postgresql://user@host/database``, without a password (that comes from
        ~/.pgpass or PGPASSWORD): what is said is then kept on this machine and carried there.
    annotator : str, optional
        Who labels. The default is the user name on the hub (JUPYTERHUB_USER), else the login name, else
        'anonymous'.
    session : str, optional
        Name of this sitting, to tell events apart later; random by default.
    blind : bool
        Whether others' labels are left out. It keeps a second opinion independent; it is no protection against
        someone who opens the files.
    run : str, optional
        Name under which a team keeps these labels on a server; needed there.
    spool : path, optional
        Folder on this machine of what goes to a server. Default: one in the user's cache.

    Attributes
    ----------
    annotator, session : str
    blind : bool
    folder : pathlib.Path

    Examples
    --------
    >>> import tempfile
    >>> log = LabelLog(tempfile.mkdtemp(), annotator="ana")
    >>> event = log.record(["emu-x00000-y00000-256x256"], interest=4, add=["EXTENDED"])
    >>> log.state()["emu-x00000-y00000-256x256"].interest
    4
    >>> undo = log.undo()
    >>> log.state()
    {}
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        annotator: str | None = None,
        session: str | None = None,
        *,
        blind: bool = False,
        run: str | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        with _as_label_error("The log cannot be opened"):
            self.annotator = (
                default_annotator() if annotator is None else checks.check_name(annotator, "annotator")
            )
            self.session = secrets.token_hex(6) if session is None else checks.check_name(session, "session")
        self.blind = blind
        self._store: Store = _store(folder, self.annotator, run, spool)
        self.folder = self._store.folder
        self._fold = Fold()
        self._unseen = 0  # largest counter of events that a blind log does not take in
        self._retractions: list[Event] = []
        self._lock = threading.RLock()
        self.refresh()

    def __repr__(self) -> str:
        return f"LabelLog({self._store.place!r}, annotator={self.annotator!r}, {len(self)} events)"

    def __len__(self) -> int:
        return len(self._fold)

    def __enter__(self) -> "LabelLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the session's file; all is on disk already. Recording again begins a new file."""
        with self._lock:
            self._store.close()

    @property
    def waiting(self) -> int:
        """Number of events that are safe on this machine but not with the team yet; 0 without a server."""
        return self._store.waiting

    @property
    def stuck(self) -> int:
        """Number of events that wait because the server cannot be reached; they are sent once it can."""
        return self._store.waiting if self._store.unreachable else 0

    def sync(self, seconds: float = 5.0) -> bool:
        """Send what waits and read what others said, and wait for both; False if it did not come to pass in time."""
        arrived = self._store.sync(seconds)
        self.refresh()
        return arrived

    # -- saying
    # ---------------------------------------------------------------------------------------------------

    def record(
        self,
        frames: str | FrameRef | Mapping[str, Any] | Iterable[str | FrameRef | Mapping[str, Any]],
        *,
        interest: int | _Unset | None = UNSET,
        add: str | Iterable[str] = (),
        remove: str | Iterable[str] = (),
        note: str | _Unset | None = UNSET,
        outlines: Iterable[Mapping[str, Any]] | _Unset | None = UNSET,
    ) -> Event:
        """Record one action on one or many frames, and return when it is on the disk.

        Parameters
        ----------
        frames : list
            Frame ids, or dicts (or `FrameRef`) with `frame_id` and any of `map, box, ra, dec, shown`: the key
            of the map, `[x, y, width, height]` in its pixels, the centre in degrees, and what was shown of
            the frame. With them the labels stay useful without the frame table. At most 200,000.
        interest : int or None, optional
            The rating 0-5; None takes a rating back. Left out, the rating stays.
        add, remove : list of str, optional
            Tags to put on and to take off (1-64 characters, no semicolon). A schema need not know them.
        note : str or None, optional
            Replaces the note, at most 10,000 characters; None or "" removes it. Left out, the note stays.
        outlines : list of dict or None, optional
            Replaces the outlines of the objects of the frame, in its pixels:
            ``[{"class": "EXTENDED", "rings": [[[x, y], ...], ...]}, ...]``; none in an empty list, None takes them
            back. Left out, they stay.

        Returns
        -------
        Event

        Raises
        ------
        LabelError
            If the action is not valid or could not be written. It is then not part of the log.
        """
        with _as_label_error("Not saved"):
            refs = checks.frame_refs(frames)
            changes: dict[str, Any] = {}
            if not isinstance(interest, _Unset):
                changes["interest"] = checks.check_interest(interest)
            if not isinstance(outlines, _Unset):
                drawn = None if outlines is None else list(outlines)
                changes["outlines"] = checks.check_outlines(drawn)
            added = checks.check_tags(_as_list(add), "add")
            removed = checks.check_tags(_as_list(remove), "remove")
            text = None if isinstance(note, _Unset) else checks.clean_note("" if note is None else note)
            both = sorted(set(added) & set(removed))
            if both:
                raise ValueError(f"the tag {both[0]!a} is both in add and in remove")
            if not changes and not added and not removed and text is None:
                raise ValueError("nothing to record: give interest, add, remove, note or outlines")
        with self._lock:
            event = self._event(frames=refs, set=changes, add=added, remove=removed, note=text)
            self._save(event)
        return event

    def undo(self, event_id: str | None = None) -> Event | None:
        """Take back an action: the state becomes what it would be had it never happened.

        An undo is an event too. Undoing it (by its id) brings the action back.

        Parameters
        ----------
        event_id : str, optional
            An event of this annotator, in this session or an earlier one. By default the last action that is
            not itself an undo and has not been undone.

        Returns
        -------
        Event or None
            The undo, on disk; None if there is nothing to take back.

        Raises
        ------
        LabelError
            If there is no such event, it is somebody else's or undone already, or the undo could not be
            written.
        """
        with self._lock:
            if event_id is None:
                target = self._fold.last(self.annotator)
                if target is None:
                    return None
            else:
                target = self._target(event_id)
            event = self._event(undoes=target.event_id, frames=target.frames)
            self._save(event)
        return event

    def _target(self, event_id: str) -> Event:
        target = self._fold.get(event_id)
        if target is None:
            raise LabelError(f"There is no event {str(event_id)[:80]!a} to undo; history() lists the events.")
        if target.annotator != self.annotator:
            raise LabelError(
                f"Event {event_id} is by {target.annotator!a}; {self.annotator!a} can undo only their own."
            )
        undo = self._fold.undone_by(target)
        if undo is not None:
            raise LabelError(f"Event {event_id} is undone already; undo {undo.event_id} to bring it back.")
        return target

    def _event(self, after: int = 0, **what: Any) -> Event:
        counter = 1 + max(self._fold.largest, self._unseen, after)
        if counter > checks.MAX_COUNTER:
            raise LabelError(
                f"Not saved: an event in {self._store.place!r} has the counter {self._fold.largest}, the"
                " largest there can be. Move the file that holds it out of the folder and open the log again."
            )
        return Event(checks.new_id(), counter, self.annotator, self.session, time=_now(), **what)

    def _save(self, event: Event) -> None:
        # A few frames are a short line whatever they are called.
        if len(event.frames) > 100 and (size := len(event.to_line())) > checks.MAX_LINE_BYTES:
            raise LabelError(
                f"Not saved: an action of {size} bytes on {len(event.frames)} frames; record it in parts."
            )
        try:
            self._store.append([*self._retractions, event])
        except BaseException as error:
            if self._store.doubtful:
                self._retract(event)
            if isinstance(error, OSError):
                raise self._not_saved(event, error) from error
            raise
        self._retractions.clear()
        self._fold.add(event)

    def _retract(self, event: Event) -> None:
        """Undo an event that may have reached the disk although its author is told that it is not saved."""
        # Our own fold does not know the event, nor its counter.
        undo = self._event(after=event.counter, undoes=event.event_id, frames=event.frames)
        self._retractions.append(undo)
        self._fold.add(undo)
        # If this fails as well, it goes out with the next event that can be written; twice does no harm.
        with contextlib.suppress(OSError):
            self._store.append(self._retractions)
            self._retractions.clear()

    def _not_saved(self, event: Event, error: OSError) -> LabelError:
        count = len(event.frames)
        on = "" if not count else " on 1 frame" if count == 1 else f" on {count} frames"
        remedy = _REMEDIES.get(error.errno or 0, _REMEDY)
        return LabelError(
            f"Not saved: {event.describe()[:120]}{on} could not be written to {self._store.place!r}"
            f" ({describe(error)}). {remedy}, then repeat the action; what was saved before is safe."
        )

    # -- reading
    # --------------------------------------------------------------------------------------------------

    def refresh(self) -> int:
        """Read what others have written since; return the number of new events."""
        with self._lock:
            return sum(self._take(event) for event in self._store.read_new())

    def _take(self, event: Event) -> bool:
        if self.blind and event.annotator != self.annotator:
            self._unseen = max(self._unseen, event.counter)  # what comes after it must say so
            return False
        return self._fold.add(event)

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Have `told` called, in a thread, whenever there may be something to `refresh`; returns how to end that.

        What others say arrives at once from a server, and within seconds from a folder. Also called when a server
        can no longer be reached, and when it can again.
        """
        over = threading.Event()

        def look() -> None:
            while not over.is_set():
                if self._store.wait(WATCH_SECONDS) and not over.is_set():
                    told()
                    over.wait(0.2)  # who is told must have time to read

        threading.Thread(target=look, name="radiowidgets-watch", daemon=True).start()
        return over.set

    @property
    def problems(self) -> list[str]:
        """What was skipped in reading and where, a line each: torn or garbled lines, impossible undos."""
        with self._lock:
            return [*self._store.problems, *self._fold.problems]

    @property
    def annotators(self) -> list[str]:
        """Everybody with an event in the log."""
        with self._lock:
            return self._fold.annotators

    def events(self) -> list[Event]:
        """Return all events known, everybody's, in the order in which they are folded."""
        with self._lock:
            return self._fold.events()

    @property
    def arrived(self) -> list[Event]:
        """All events in the order in which they were read or recorded; not to be changed by the reader.

        It only grows, so that who has read n events goes on there; should two different events of one id turn
        up, it is another list.
        """
        return self._fold.arrived

    def counts(self, event: Event) -> bool:
        """Whether the event stands, that is, has not been undone."""
        with self._lock:
            return self._fold.counts(event)

    def state(self, annotator: str | None = None) -> dict[str, State]:
        """Return the current state of all frames that an annotator (by default one's own) has labelled.

        Returns
        -------
        dict of str to State
            By frame id: `interest` (0-5 or None), `tags` (frozenset), `note` (str or None), `updated`
            (counter), `time`. A frame whose labels were all taken off stays, with an empty state; one whose
            events were all undone does not.
        """
        with self._lock:
            return self._fold.states(self.annotator if annotator is None else annotator)

    def state_of(self, frame_id: str, annotator: str | None = None) -> State:
        """Return the current state of one frame for an annotator (by default one's own); it may be empty."""
        with self._lock:
            return self._fold.state(self.annotator if annotator is None else annotator, frame_id)

    def outlines(self, annotator: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return the outlines that an annotator (by default oneself) has drawn, by frame id; see `record`."""
        return {
            frame_id: state.outlines
            for frame_id, state in self.state(annotator).items()
            if state.outlines is not None
        }

    def unknown_tags(self, schema: Schema = DEFAULT_SCHEMA) -> dict[str, int]:
        """Count the tags now on frames that `schema` does not have (of a colleague's schema, or misspelt)."""
        with self._lock:
            counts = Counter(
                tag
                for annotator in self._fold.annotators
                for state in self._fold.states(annotator).values()
                for tag in state.tags
                if tag not in schema
            )
        return dict(sorted(counts.items()))

    def table(self, annotator: str | None = None) -> "pd.DataFrame":
        """Return the current state as a table, one row a frame and annotator, sorted by both.

        Parameters
        ----------
        annotator : str, optional
            Only this one's rows; by default everybody's.

        Returns
        -------
        pandas.DataFrame
            `frame_id, annotator, interest` (Int8, may be missing), `tags` (sorted list of str), `note`,
            `updated`
            (counter of the last event), `time` (UTC, by the annotator's clock).
        """
        import pandas as pd

        with self._lock:
            who = self._fold.annotators if annotator is None else [annotator]
            rows = [
                (frame_id, name, state) for name in who for frame_id, state in self._fold.states(name).items()
            ]
        rows.sort(key=lambda row: row[:2])
        states = [state for _, _, state in rows]
        return pd.DataFrame(
            {
                "frame_id": pd.array([frame_id for frame_id, _, _ in rows], dtype="str"),
                "annotator": pd.array([name for _, name, _ in rows], dtype="str"),
                "interest": pd.array([state.interest for state in states], dtype="Int8"),
                "tags": pd.Series([sorted(state.tags) for state in states], dtype=object),
                "note": pd.array([state.note for state in states], dtype="str"),
                "updated": pd.array([state.updated for state in states], dtype="int64"),
                "time": _times([state.time for state in states]),
            }
        )

    def history(self, frame_id: str | None = None, annotator: str | None = None) -> "pd.DataFrame":
        """Return who did what and when, one row an event, in the order in which they are folded.

        Parameters
        ----------
        frame_id : str, optional
            Only events on this frame, and undos of them.
        annotator : str, optional
            Only this one's events.

        Returns
        -------
        pandas.DataFrame
            `event_id, counter, time` (UTC, by the annotator's clock), `annotator, session, what` (in words),
            `note`, `n_frames, frame_ids, undoes, stands` (False once undone). An undo shows the frames of
            what it undoes.
        """
        import pandas as pd

        with self._lock:
            rows = []
            for event in self._fold.events():
                if annotator is not None and event.annotator != annotator:
                    continue
                frame_ids = event.frame_ids
                if frame_id is None or frame_id in frame_ids:
                    rows.append((event, frame_ids, self._fold.counts(event)))
        events = [event for event, _, _ in rows]
        return pd.DataFrame(
            {
                "event_id": pd.array([event.event_id for event in events], dtype="str"),
                "counter": pd.array([event.counter for event in events], dtype="int64"),
                "time": _times([event.time for event in events]),
                "annotator": pd.array([event.annotator for event in events], dtype="str"),
                "session": pd.array([event.session for event in events], dtype="str"),
                "what": pd.array([event.describe() for event in events], dtype="str"),
                "note": pd.array([event.note or None for event in events], dtype="str"),
                "n_frames": pd.array([len(frame_ids) for _, frame_ids, _ in rows], dtype="int64"),
                "frame_ids": pd.Series([frame_ids for _, frame_ids, _ in rows], dtype=object),
                "undoes": pd.array([event.undoes for event in events], dtype="str"),
                "stands": pd.array([stands for _, _, stands in rows], dtype="bool"),
            }
        )

    def export(self, path: str | os.PathLike[str], annotator: str | None = None) -> Path:
        """Write `table()` to a file, as CSV or Parquet by the suffix.

        In CSV the tags are joined by ';', and a text that a spreadsheet would run as a formula (it begins
        with one of ``= + - @``) has an apostrophe before it. Parquet keeps every text as it is.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        LabelError
            If the suffix is another, or the file cannot be written. A file that was there before is then
            unchanged.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".parquet"):
            raise LabelError(
                f"Labels cannot be exported to {path.name!r}; let the name end in .csv or .parquet."
            )
        table = self.table(annotator)
        try:
            with _replacing(path) as temporary:
                if suffix == ".csv":
                    _write_csv(table, temporary)
                else:
                    _write_parquet(table, temporary)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "Check that its folder exists and can be written to")
            raise LabelError(
                f"The labels could not be exported to {str(path)!r} ({describe(error)}). {remedy}."
            ) from error
        return path


def _store(
    place: str | os.PathLike[str], annotator: str, run: str | None, spool: str | os.PathLike[str] | None
) -> Store:
    """Return where events are kept: a folder, or a server."""
    scheme = place.partition("://")[0] if isinstance(place, str) and "://" in place else ""
    if not scheme:
        return FileStore(place, annotator)
    if scheme not in ("postgresql", "postgres"):
        raise LabelError(
            f"Labels cannot be kept at a {scheme!r} address; give the path of a folder, or postgresql://..."
        )
    from radiowidgets.labels.postgres import PostgresStore, default_folder

    if run is None:
        raise LabelError('Labels on a server belong to a run; give its name, as run="emu".')
    return PostgresStore(
        str(place), run, default_folder(str(place), run) if spool is None else spool, annotator
    )


def default_annotator() -> str:
    """Return the user name on the hub, else the login name, else 'anonymous'."""
    for find in (lambda: os.environ.get("JUPYTERHUB_USER"), getpass.getuser):
        # A container may run under a user id without a name: KeyError or OSError, by the version of Python.
        with contextlib.suppress(OSError, KeyError, ImportError):
            name = "".join(character for character in find() or "" if character.isprintable()).strip()
            if name:
                return name[: checks.MAX_NAME]
    return "anonymous"


@contextlib.contextmanager
def _as_label_error(what: str) -> Any:
    try:
        yield
    except ValueError as error:
        raise LabelError(f"{what}: {error}.") from error


def _as_list(tags: str | Iterable[str]) -> list[str]:
    if isinstance(tags, str):
        return [tags]
    if not isinstance(tags, Iterable):
        raise ValueError(f"tags are {tags!r:.60}, not a list of tags")
    return list(tags)


def _now() -> str:
    try:
        return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
    except (OverflowError, OSError, ValueError):
        # A clock gone mad costs the event its time and nothing else.
        return ""


def _times(times: list[str]) -> "pd.Series":
    import pandas as pd

    stamps = pd.to_datetime(pd.Series(times, dtype="str"), format="ISO8601", utc=True, errors="coerce")
    return stamps.astype("datetime64[ms, UTC]")


@contextlib.contextmanager
def _replacing(path: Path) -> Any:
    """Give the name of a temporary file that takes the place of `path` only when all is written."""
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def guard_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table whose texts no spreadsheet runs: an apostrophe stands before what looks like a formula."""
    texts = {
        column: [
            f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else text
            for text in table[column]
        ]
        for column in ("frame_id", "map", "annotator", "tags", "note", "members")
        if column in table
    }
    return table.assign(**texts)


def _write_csv(table: "pd.DataFrame", path: Path) -> None:
    table = guard_formulas(table.assign(tags=[";".join(tags) for tags in table["tags"]]))
    table.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")


def _write_parquet(table: "pd.DataFrame", path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    text = pa.string()
    schema = pa.schema(
        [
            ("frame_id", text),
            ("annotator", text),
            ("interest", pa.int8()),
            ("tags", pa.list_(text)),
            ("note", text),
            ("updated", pa.int64()),
            ("time", pa.timestamp("ms", tz="UTC")),
        ]
    )
    pyarrow.parquet.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), path)

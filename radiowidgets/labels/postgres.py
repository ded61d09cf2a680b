"""The events of a label log in one table of a shared PostgreSQL, for teams whose members share no folder.

Every event is first kept in a file of this machine, as without a server, and counts as saved from then on. A thread
carries it to the server and brings what others said; a server that is down is tried again until it answers, and an
event arrives there once, however often it was sent. So labelling never waits for the network.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radiowidgets.errors import LabelError, MissingExtraError
from radiowidgets.labels.events import Event, check_name
from radiowidgets.labels.files import MAX_PROBLEMS, FileStore, slug

CHANNEL = "radiowidgets"
TABLE = """
create table if not exists radiowidgets_events (
    place bigserial primary key,
    run text not null,
    event_id text not null,
    annotator text not null,
    arrived timestamptz not null default now(),
    line text not null,
    unique (run, event_id));
-- Rows become visible in the order of their places, whoever inserts them, so that no reader passes one by.
create or replace function radiowidgets_turn() returns trigger language plpgsql as
    $$begin perform pg_advisory_xact_lock(hashtext('radiowidgets_turn')); return null; end$$;
create trigger radiowidgets_turn before insert on radiowidgets_events
    for each statement execute function radiowidgets_turn()
"""
NEWS = """
select place, event_id, line from radiowidgets_events where run = %s and place > %s order by place limit %s
"""
BATCH = 500  # events sent at once
PAGE = 5000  # events read at once
WAITS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between attempts to reach a server
CONNECT_SECONDS = 5
TURN = (
    "set lock_timeout = '10s'; set idle_in_transaction_session_timeout = '60s'"  # no one holds up the others
)
IDLE_SECONDS = 60.0  # after which a connection without news is looked at: it may have died quietly
REFUSALS = ("28", "3D", "42")  # classes of SQLSTATE that no waiting mends: who, which database, which rights


class PostgresStore:
    """Events in a table of PostgreSQL, and in files of this machine until (and after) they are there.

    Parameters
    ----------
    address : str
        ``postgresql://[user@]host[:port]/database`` or any other address that libpq knows, without a password: that
        comes from ``~/.pgpass``, PGPASSWORD or a service file.
    run : str
        Which of the team's runs the events are of; kernels that name the same one share their labels.
    folder : path
        Of the files on this machine.
    annotator : str

    Raises
    ------
    LabelError
        If the address cannot be read, names a password, or the server refuses it for good.
    MissingExtraError
        If psycopg is not installed.
    """

    def __init__(self, address: str, run: str, folder: str | os.PathLike[str], annotator: str) -> None:
        self.address = check_address(address)
        try:
            self.run = check_name(run, "run")
        except ValueError as error:
            raise LabelError(f"A log on a server needs the name of its run: {error}.") from error
        self.files = FileStore(folder, annotator)
        self.folder: Path = self.files.folder
        self.place = self.address
        self._courier = _Courier(self.address, self.run)
        self._process = os.getpid()
        self._begin()
        if not self._courier.first.wait(CONNECT_SECONDS + 1):
            self._courier.trouble = f"it has not answered for {CONNECT_SECONDS + 1} s"
        if self._courier.refused:
            self._courier.stop()
            raise LabelError(
                f"The server of the labels, {self.place!r}, refuses: {self._courier.trouble}."
                " Check user, database and rights; passwords belong in ~/.pgpass or PGPASSWORD."
            )

    def _begin(self) -> None:
        self._courier.start()
        self._stop = weakref.finalize(self, self._courier.stop)

    @property
    def doubtful(self) -> bool:
        """Whether the last events that failed may nevertheless be kept."""
        return self.files.doubtful

    @property
    def waiting(self) -> int:
        """Number of events that are on this machine and not on the server yet."""
        return self._courier.waiting

    @property
    def unreachable(self) -> bool:
        """Whether the server does not answer."""
        return bool(self._courier.trouble)

    def append(self, events: Sequence[Event]) -> None:
        """Keep the events on this machine, and have them carried to the server."""
        if (
            self._process != os.getpid()
        ):  # a forked child has no threads, and must not use its parent's connection
            self._process = os.getpid()
            self._stop.detach()
            self._courier = _Courier(self.address, self.run)
            self._begin()
        self.files.append(events)
        self._courier.send(events)

    def read_new(self) -> list[Event]:
        """Return what came from the server or from files of this machine since the last call."""
        found = self.files.read_new()
        self._courier.send(
            found
        )  # perhaps of a kernel that died before they arrived; known ones are not sent
        return [*found, *self._courier.take()]

    def wait(self, seconds: float) -> bool:
        """Wait until the server has told something new."""
        return self._courier.news.wait(seconds)

    def sync(self, seconds: float) -> bool:
        """Wait until all is on the server and what was there is here; False where that did not come to pass."""
        return self._courier.sync(seconds)

    @property
    def problems(self) -> list[str]:
        """What could not be read or sent, and where."""
        return [*self.files.problems, *self._courier.problems]

    def close(self) -> None:
        """Close the session's file, once all has been sent or a moment has passed."""
        self.files.close()
        if self.waiting and not self._courier.trouble:
            self.sync(2.0)


def check_address(address: str) -> str:
    """Return an address of PostgreSQL that can be shown and kept: without a password.

    Raises
    ------
    LabelError
        If it cannot be read, or there is a password in it.
    """
    psycopg = _psycopg()
    try:
        parts = psycopg.conninfo.conninfo_to_dict(address)
    except psycopg.Error as error:
        raise LabelError(
            f"The address of the labels cannot be read ({_first_line(error)});"
            " give postgresql://user@host/database."
        ) from error
    if parts.get("password"):
        raise LabelError(
            "The address of the labels holds a password, which would end up in notebooks. Leave it out, and give it by"
            " ~/.pgpass, PGPASSWORD or a service file."
        )
    return address


def default_folder(address: str, run: str) -> Path:
    """Return where the labels of a run on a server are kept on this machine if no folder is given."""
    from hashlib import sha256

    import pooch

    place = f"{slug(run)}-{sha256(f'{address} {run}'.encode()).hexdigest()[:12]}"
    return Path(pooch.os_cache("radiowidgets")) / "labels" / place


class _Courier:
    """The thread that carries events to the server and back, and what it shares with the others."""

    def __init__(self, address: str, run: str) -> None:
        self.address, self.run = address, run
        self.news = threading.Event()  # set while there is something new in the inbox, or in `trouble`
        self.first = threading.Event()  # set once the server answered, or could not be reached
        self.refused = False
        self.trouble = ""
        self._lock = threading.Condition()
        self._known: set[str] = set()  # ids that are on the server
        self._outbox: dict[str, Event] = {}
        self._inbox: list[Event] = []
        self._bad: list[str] = []
        self._last = 0  # place of the last row read
        self._rounds = 0  # completed exchanges with the server
        self._over = False
        self._near, self._far = socket.socketpair()  # wakes the thread
        self._near.setblocking(False)
        self._thread = threading.Thread(target=self._work, name="radiowidgets-labels", daemon=True)

    # ------------------------------------------------------------ asked by others

    def start(self) -> None:
        self._thread.start()

    def send(self, events: Sequence[Event]) -> None:
        with self._lock:
            fresh = {event.event_id: event for event in events if event.event_id not in self._known}
            self._outbox |= fresh
        if fresh:
            self._wake()

    def take(self) -> list[Event]:
        with self._lock:
            self.news.clear()
            events, self._inbox = self._inbox, []
        return events

    @property
    def waiting(self) -> int:
        with self._lock:
            return len(self._outbox)

    @property
    def problems(self) -> list[str]:
        with self._lock:
            told = self._bad[:MAX_PROBLEMS]
            if self.trouble:
                count = len(self._outbox)
                waits = f"{count} {'label waits' if count == 1 else 'labels wait'} on this machine"
                told = [f"the server of the labels cannot be reached ({self.trouble}); {waits}", *told]
        return told

    def sync(self, seconds: float) -> bool:
        """Wait for an exchange that begins after this call."""
        end = time.monotonic() + seconds
        with self._lock:
            wanted = self._rounds + 2  # the one under way may have begun too early
            while (self._rounds < wanted or self._outbox) and not self._over:
                self._wake()
                if not self._lock.wait(min(0.05, max(end - time.monotonic(), 0))) and time.monotonic() >= end:
                    return False
            return not self._over

    def stop(self) -> None:
        if self.waiting and not self.trouble:
            self.sync(2.0)
        self._over = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full of wake-up calls, or closed: nothing to add
            self._near.send(b"!")

    # ------------------------------------------------------------ the thread

    def _work(self) -> None:
        psycopg = _psycopg()
        failures = 0
        while not self._over:
            try:
                with psycopg.connect(
                    self.address, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name=CHANNEL
                ) as connection:
                    self._prepare(connection)
                    failures = 0
                    while not self._over:
                        self._exchange(connection)
                        self._rest(connection)
            except psycopg.Error as error:
                self._note(error)
                self._pause(WAITS[min(failures, len(WAITS) - 1)])
                failures += 1
        self._far.close()
        self._near.close()

    def _prepare(self, connection: Any) -> None:
        with connection.transaction():
            # Two kernels that begin at once would both try to make the table.
            connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [CHANNEL])
            if connection.execute("select to_regclass('radiowidgets_events')").fetchone()[0] is None:
                connection.execute(TABLE)
        connection.execute(TURN)
        connection.add_notify_handler(
            lambda _: self._wake()
        )  # also of what comes while something else is asked
        connection.execute(f"listen {CHANNEL}")

    def _exchange(self, connection: Any) -> None:
        """Fetch what is new, then send what is not there."""
        self._fetch(connection)
        with self._lock:
            parcel = [event for key, event in self._outbox.items() if key not in self._known]
        for first in range(0, len(parcel), BATCH):
            self._send(connection, parcel[first : first + BATCH])
        with self._lock:
            for key in self._known & self._outbox.keys():
                del self._outbox[key]
            self._rounds += 1
            if self.trouble:
                self.trouble = ""
                self.news.set()
            self._lock.notify_all()
        self.first.set()

    def _fetch(self, connection: Any) -> None:
        rows: list[tuple[int, str, str]] = []
        while len(rows) == PAGE or not rows:
            rows = connection.execute(NEWS, [self.run, self._last, PAGE]).fetchall()
            if not rows:
                return
            for place, key, line in rows:
                try:
                    event = Event.from_line(line.encode())
                except ValueError as error:
                    event = None
                    self._bad.append(f"row {place} of the server: skipped, {error}")
                with self._lock:
                    self._last = place
                    if key not in self._known:
                        self._known.add(key)
                        if event is not None and key not in self._outbox:
                            self._inbox.append(event)
                            self.news.set()

    def _send(self, connection: Any, events: list[Event]) -> None:
        rows = [(self.run, e.event_id, e.annotator, e.to_line().decode().rstrip("\n")) for e in events]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                "insert into radiowidgets_events (run, event_id, annotator, line) values (%s, %s, %s, %s)"
                " on conflict (run, event_id) do nothing",
                rows,
            )
            cursor.execute("select pg_notify(%s, %s)", [CHANNEL, self.run])
        with self._lock:
            self._known |= {event.event_id for event in events}

    def _rest(self, connection: Any) -> None:
        """Sleep until the server or somebody here has news."""
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._far, selectors.EVENT_READ)
            ready = selector.select(IDLE_SECONDS)
        if any(key.fileobj is self._far for key, _ in ready):
            self._far.recv(4096)  # what others notified is read with the next answer of the server

    def _pause(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._far, selectors.EVENT_READ)
            # A call for more work does not hasten a server that is down; one to stop ends the pause.
            end = time.monotonic() + seconds
            while not self._over and (rest := end - time.monotonic()) > 0:
                if selector.select(rest):
                    self._far.recv(4096)

    def _note(self, error: Any) -> None:
        state = getattr(error, "sqlstate", None) or ""
        text = _first_line(error)
        refused = state.startswith(REFUSALS) or "authentication failed" in text or "does not exist" in text
        with self._lock:
            self.refused = refused and not self._rounds
            if not self.trouble:
                self.news.set()
            self.trouble = text
            self._lock.notify_all()
        self.first.set()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError as error:
        raise MissingExtraError(
            "Labels on PostgreSQL need psycopg. Install it with pip install 'radiowidgets[team]'."
        ) from error
    return psycopg

"""Events that wait on the disk, in their order, until somebody has them."""

from __future__ import annotations

import logging
import sqlite3
import threading
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from snow_runtime.app.outputs.damaged_queue import (
    bring_back,
    is_damaged,
    put_aside,
    readable_events,
)
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TABLE = (
    "CREATE TABLE IF NOT EXISTS events "
    "(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, body TEXT NOT NULL)"
)

_INSERT: Final = "INSERT INTO events (id, body) VALUES (?, ?)"
_OLDEST: Final = (
    "SELECT number, id, body FROM events WHERE number > ? AND typeof(id) = 'text' "
    "AND typeof(body) = 'text' ORDER BY number LIMIT 1"
)
_DELETE: Final = (
    "DELETE FROM events WHERE number IN "
    "(SELECT number FROM events WHERE number > ? ORDER BY number LIMIT ?)"
)
_COUNT: Final = "SELECT COUNT(*) FROM events WHERE number > ?"
_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


class Queued(NamedTuple):
    """An event that waits.

    Attributes:
        number: Its place in the order.
        id: An identifier that no other event has.
        body: What it says.
    """

    number: int
    id: str
    body: str


class EventQueue:
    """A bounded queue in a file, which outlives the process; any thread may use it.

    A file that was damaged gives way to a new one, with what can be read of it; it is kept beside
    it as `.damaged`. What was taken out is not given again, even where the disk takes no more.

    Args:
        path: The file, SQLite's; made where there is none.
        most: So many events wait at most; then the oldest give way.

    Raises:
        InputError: The file cannot be used, is something else, or another process uses it.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._lock = threading.Lock()
        self._closed = False
        self._taken = 0  # number of the last event that was taken out
        self._given = 0  # and of the last one that was given
        self._file: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened_or_new(path)
        except (OSError, sqlite3.Error) as error:
            why = "another process uses it" if "locked" in str(error) else str(error)
            msg = (
                f"{path} cannot hold the events that wait for the webhook: {why}. Expected a file "
                "of its own in a folder that this user may write to. Name another with "
                "--webhook-queue."
            )
            raise InputError(msg) from error

    def put(self, body: str) -> int:
        """Keep an event, on the disk when this returns; return how many gave way to it.

        Raises:
            OSError: The disk takes no more.
        """

        def insert(file: sqlite3.Connection) -> int:
            file.execute(_INSERT, (str(uuid.uuid4()), body))
            over = self._count(file) - self._most
            return file.execute(_DELETE, (self._taken, over)).rowcount if over > 0 else 0

        return self._do(insert, 0)

    def oldest(self) -> Queued | None:
        """Return the event that has waited longest; None for none.

        Raises:
            OSError: The disk does not give it.
        """

        def select(file: sqlite3.Connection) -> Queued | None:
            found = file.execute(_OLDEST, (self._taken,)).fetchone()
            if found is None:
                return None
            self._given = max(self._given, found[0])
            return Queued(*found)

        return self._do(select, None)

    def remove(self, event: Queued) -> None:
        """Forget an event and those before it.

        Raises:
            OSError: The disk takes no more. They are not given again before the next start.
        """
        with self._lock:
            self._taken = max(self._taken, event.number)

        def delete(file: sqlite3.Connection) -> None:  # in a new file it has another number
            file.execute("DELETE FROM events WHERE number <= ? OR id = ?", (self._taken, event.id))

        self._do(delete, None)

    def __len__(self) -> int:
        """Return how many wait; 0 once it is closed, or where the disk does not tell."""
        try:
            return self._do(self._count, 0)
        except OSError:
            return 0

    def close(self) -> None:
        """Let go of the file; what waits stays in it."""
        with self._lock:
            found, self._file, self._closed = self._file, None, True
            if found is not None:
                found.close()

    def _count(self, file: sqlite3.Connection) -> int:
        (count,) = file.execute(_COUNT, (self._taken,)).fetchone()
        return int(count)

    def _do(self, work: Callable[[sqlite3.Connection], T], closed: T) -> T:
        """Do something with the file; with a new one where it turns out to be damaged."""
        with self._lock:
            if self._closed:
                return closed
            try:
                if self._file is None:
                    self._file = _opened_or_new(self._path, self._given)
                try:
                    return work(self._file)
                except sqlite3.Error as error:
                    if not is_damaged(self._path, error):
                        raise
                    self._file.close()
                    self._file = None
                    self._file = _new(self._path, error, self._given)
                    return work(self._file)
            except sqlite3.Error as error:
                raise OSError(str(error)) from error


def _opened_or_new(path: Path, given: int = 0) -> sqlite3.Connection:
    try:
        file = _opened(path)
    except sqlite3.Error as error:
        if not is_damaged(path, error):
            raise
        return _new(path, error, given)
    try:
        _number_behind(file, given)
    except BaseException:
        file.close()
        raise
    return file


def _opened(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    file.text_factory = lambda text: text.decode(errors="replace")
    try:
        for statement in (
            "PRAGMA locking_mode=EXCLUSIVE",
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "BEGIN EXCLUSIVE",
            _TABLE,
            "SELECT number, id, body FROM events LIMIT 0",
            "COMMIT",
        ):
            file.execute(statement)
        _check_pages(file)
    except BaseException:
        file.close()
        raise
    return file


def _check_pages(file: sqlite3.Connection) -> None:
    (said,) = file.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        msg = f"database disk image is malformed: {' '.join(said.split())}"
        raise sqlite3.DatabaseError(msg)


def _number_behind(file: sqlite3.Connection, given: int) -> None:
    """Let the next event have a higher number than those that were given, if some were."""
    if not given:
        return
    (found,) = file.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'").fetchone()
    if found is None:
        file.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (given,))
    elif found < given:
        file.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (given,))


def _new(path: Path, error: Exception, given: int = 0) -> sqlite3.Connection:
    """Put a damaged file aside, and make one of what can be read of it.

    Args:
        path: The file.
        error: What was found.
        given: Number of the last event that was given; those of the new file begin behind it.
    """
    aside = put_aside(path)
    events = readable_events(aside)
    file = None
    try:
        file = _opened(path)
        file.execute("BEGIN")
        _number_behind(file, given)
        file.executemany(_INSERT, events)
        file.execute("COMMIT")
    except BaseException:  # or the next one would take the empty file for the queue
        if file is not None:
            file.close()
        bring_back(path, aside)
        raise
    _LOGGER.warning(
        "%s, which holds the events that wait for the webhook, is damaged: %s. It is %s now, and "
        "%d events that could be read of it are posted.",
        path,
        error,
        aside.name,
        len(events),
    )
    return file

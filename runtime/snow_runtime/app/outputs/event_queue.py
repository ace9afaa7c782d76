"""Events that wait on the disk, in their order, until somebody has them."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from typing import TYPE_CHECKING, NamedTuple

from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = (
    "CREATE TABLE IF NOT EXISTS events "
    "(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, body TEXT NOT NULL)"
)

_DELETE = "DELETE FROM events WHERE number IN (SELECT number FROM events ORDER BY number LIMIT ?)"


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

    Args:
        path: The file, SQLite's; made where there is none.
        most: So many events wait at most; then the oldest give way.

    Raises:
        InputError: The file cannot be used, is something else, or another process uses it.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._file: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
            for statement in (
                "PRAGMA locking_mode=EXCLUSIVE",
                "PRAGMA journal_mode=WAL",
                "PRAGMA synchronous=FULL",
                "BEGIN EXCLUSIVE",
                _TABLE,
                "SELECT number, id, body FROM events LIMIT 0",
                "COMMIT",
            ):
                self._file.execute(statement)
        except (OSError, sqlite3.Error) as error:
            self.close()
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
        with self._lock:
            try:
                if self._file is None:
                    return 0
                self._file.execute(
                    "INSERT INTO events (id, body) VALUES (?, ?)", (str(uuid.uuid4()), body)
                )
                over = self._count() - self._most
                return self._file.execute(_DELETE, (over,)).rowcount if over > 0 else 0
            except sqlite3.Error as error:
                raise OSError(str(error)) from error

    def oldest(self) -> Queued | None:
        """Return the event that has waited longest; None for none."""
        with self._lock:
            try:
                if self._file is None:
                    return None
                found = self._file.execute(
                    "SELECT number, id, body FROM events ORDER BY number LIMIT 1"
                ).fetchone()
                return None if found is None else Queued(*found)
            except sqlite3.Error as error:
                raise OSError(str(error)) from error

    def remove(self, number: int) -> None:
        """Forget an event.

        Raises:
            OSError: The disk takes no more.
        """
        with self._lock:
            try:
                if self._file is not None:
                    self._file.execute("DELETE FROM events WHERE number = ?", (number,))
            except sqlite3.Error as error:
                raise OSError(str(error)) from error

    def __len__(self) -> int:
        """Return how many wait; 0 once it is closed, or where the disk does not tell."""
        with self._lock:
            try:
                return self._count()
            except sqlite3.Error:
                return 0

    def close(self) -> None:
        """Let go of the file; what waits stays in it."""
        with self._lock:
            found, self._file = self._file, None
            if found is not None:
                found.close()

    def _count(self) -> int:
        if self._file is None:
            return 0
        return int(self._file.execute("SELECT COUNT(*) FROM events").fetchone()[0])

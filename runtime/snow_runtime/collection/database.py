"""The SQLite file of a collection: opened, checked, and used by one thread at a time.

Its log is written ahead and through to the disk (WAL, synchronous FULL), so that a process that is
killed and a power cut leave the last whole change. What is deleted is overwritten (secure_delete).
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from snow_runtime.closing import Closing
from snow_runtime.collection.schema import APPLICATION_ID, TABLES, VERSION
from snow_runtime.errors import CollectionError
from snow_runtime.file_lock import hold_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snow_runtime.collection.picture_files import PictureFiles

_BUSY_S: Final = 30.0  # so long another process may write
_FULL: Final = 13  # SQLITE_FULL; Python 3.10 does not say
_IN_USE: Final = "Do it again when another program that uses the collection has ended."
_FORBIDDEN: Final = "See that this user may read and write it, and its folder."
_LOST: Final = ("disk I/O error", "unable to open")
_NO_ROOM: Final = "Make room on its disk, or delete pictures with 'snow-deploy collect delete'."
_DAMAGED: Final = (
    "If its disk is full, make room. If it stays so, the file is damaged: move the folder away, "
    "and put a copy of it in its place, or begin anew."
)


class Database(Closing):
    """One connection to the file; several threads and processes may each have theirs.

    Args:
        path: The SQLite file.
        pictures: The files that it tells of. Where there are some it was there before, and is not
            made anew: none would be known, and all would be swept away.
        create: Whether it may be made where there is none.

    Raises:
        CollectionError: There is none, it is empty or gone beside its pictures, no collection's, of
            a newer version, or damaged.
    """

    def __init__(self, path: Path, pictures: PictureFiles, *, create: bool) -> None:
        self.path = path
        self._pictures = pictures
        self._lock = threading.RLock()
        self._closed = False
        self._lost = False  # its disk failed: what is open stays broken when that is back
        if not create and not path.exists():
            msg = (
                f"There is no collection in {path.parent}: expected its file {path.name}. Name the "
                "folder given to 'snow-deploy run --collect', or make one with 'snow-deploy "
                "collect import'."
            )
            raise CollectionError(msg)
        with self._translated():
            self._connection = _connect(path, "rwc")
        try:
            with self._translated():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection; what is read within is of one moment.

        Raises:
            CollectionError: The file cannot be read, or is closed.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection; what is changed within is changed as a whole or not at all.

        No other process writes meanwhile.

        Raises:
            CollectionError: The file cannot be written, or is closed.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def wipe(self) -> None:
        """Leave nothing of what was deleted in the file, nor in its log.

        Raises:
            CollectionError: Another process has been reading for too long.
        """
        with self._lock, self._translated():
            try:
                self._connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", _FULL) != _FULL:
                    raise
                # No room for a second copy. What was deleted has been overwritten all the same.
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            msg = (
                f"{self.path}-wal still holds some of what was deleted, since another program "
                "reads the collection. Delete again when it has ended."
            )
            raise CollectionError(msg)

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def _prepare(self) -> None:
        run = self._connection.execute
        version, application = _header(self._connection)
        if (version, application) == (0, 0):
            with hold_lock(self.path.parent):  # one makes it; changing to WAL does not wait
                self._create()
            version, application = _header(self._connection)
        if application != APPLICATION_ID:
            msg = (
                f"{self.path} is a database of something else, expected a collection of "
                "snow-deploy. Name another folder."
            )
            raise CollectionError(msg)
        if version > VERSION:
            msg = (
                f"{self.path} has the version {version}, expected {VERSION} or lower: a newer "
                "snow-deploy wrote it. Install that one, or name another folder."
            )
            raise CollectionError(msg)
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        run("PRAGMA foreign_keys = ON")

    def _create(self) -> None:
        run = self._connection.execute
        if run("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            return  # another process was quicker, or it is of something else
        if any(self._pictures.found()):
            msg = (
                f"The collection's file {self.path} is empty or gone, and its pictures are there: "
                "expected what it told of them. Put a copy of it in its place, or move the folder "
                "away, and begin anew."
            )
            raise CollectionError(msg)
        run("PRAGMA journal_mode = WAL")
        run("BEGIN IMMEDIATE")
        try:
            for statement in TABLES:
                run(statement)
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {VERSION}")
            run("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            if self._lost:
                self._open_anew()
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _open_anew(self) -> None:
        """Open the file that is there by now; it is not made anew where there is none."""
        self._connection.close()
        self._connection = _connect(self.path, "rw")
        self._prepare()
        self._lost = False

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite itself gives up on a full disk
            self._connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        if self._closed:
            msg = f"The collection in {self.path.parent} is closed. Open it again."
            raise CollectionError(msg)
        try:
            yield
        except sqlite3.Error as error:
            said = str(error)
            self._lost = self._lost or any(each in said for each in _LOST)
            kinds = (
                (("locked",), _IN_USE),
                (("unable to open", "readonly"), _FORBIDDEN),
                (("is full",), _NO_ROOM),
            )
            found = (advice for words, advice in kinds if any(each in said for each in words))
            advice = next(found, _DAMAGED)
            msg = f"The collection's file {self.path} cannot be used: {error}. {advice}"
            raise CollectionError(msg) from error


def _connect(path: Path, mode: Literal["rw", "rwc"]) -> sqlite3.Connection:
    # isolation_level None: transactions are begun here, and nowhere behind our back.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


def is_full(error: BaseException) -> bool:
    """Tell whether an error is that the disk has no room."""
    return isinstance(error.__cause__, sqlite3.Error) and "is full" in str(error.__cause__)


def _header(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the version of the tables and the number of the application."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return version, connection.execute("PRAGMA application_id").fetchone()[0]

"""A queue's file that a power cut or a worn card has damaged: put aside, read as far as it goes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_HEAD: Final = b"SQLite format 3\0"
_IDENTIFIER: Final = re.compile(r"[0-9a-f-]{36}")


def is_damaged(path: Path, error: Exception) -> bool:
    """Tell whether a file that gave an error was a queue once; other files are left alone."""
    if not isinstance(error, sqlite3.Error) or not re.search(
        "malformed|not a database", str(error)
    ):
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_HEAD))
    except OSError:
        return False
    return head in {_HEAD, bytes(len(_HEAD))}  # a page that was never written is all zeros


def put_aside(path: Path) -> Path:
    """Rename a file and its log, so that there is room for a new one; return where it is now.

    Raises:
        OSError: It cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.damaged")
    for end in ("-wal", "-shm", ""):
        beside = path.with_name(path.name + end)
        target = aside.with_name(aside.name + end)
        target.unlink(missing_ok=True)
        if beside.exists():
            beside.rename(target)
    return aside


def bring_back(path: Path, aside: Path) -> None:
    """Undo `put_aside`: what has been made meanwhile goes, and the damaged file is there again.

    Raises:
        OSError: It cannot be renamed.
    """
    for end in ("-wal", "-shm", ""):
        path.with_name(path.name + end).unlink(missing_ok=True)
        beside = aside.with_name(aside.name + end)
        if beside.exists():
            beside.rename(path.with_name(path.name + end))


def readable_events(path: Path) -> list[tuple[str, str]]:
    """Return the identifiers and bodies of the events that can still be read, in their order.

    From the oldest up to the damage, and from the newest back to it.
    """
    found: dict[int, tuple[str, str]] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as file:
            file.text_factory = lambda text: text.decode(errors="replace")
            for number, identifier, body in file.execute(
                f"SELECT number, id, body FROM events ORDER BY number {order}"  # noqa: S608
            ):
                texts = isinstance(identifier, str) and isinstance(body, str)
                if texts and _IDENTIFIER.fullmatch(identifier) and "\ufffd" not in body:
                    found[number] = identifier, body
    return [found[number] for number in sorted(found)]

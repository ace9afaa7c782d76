"""Making room in a collection whose budget is used up.

Each function works within a transaction that its caller holds.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from snow_runtime.collection.deletion import delete_rows
from snow_runtime.collection.options import USUAL_BYTES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_OLDEST: Final = 64
_SIZE: Final = "size_bytes"


def room_of(connection: sqlite3.Connection) -> int:
    """Return how many bytes a collection may take."""
    row = connection.execute("SELECT value FROM numbers WHERE name = ?", (_SIZE,)).fetchone()
    return USUAL_BYTES if row is None else int(row[0])


def give_room(connection: sqlite3.Connection, size_bytes: int) -> None:
    """Remember how many bytes a collection may take."""
    connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (_SIZE, size_bytes))


def make_room(
    connection: sqlite3.Connection, wanted_bytes: int, *, by_deleting: bool
) -> list[str] | None:
    """Delete rows of unlabelled pictures, then of labelled ones, until a picture fits in.

    Args:
        connection: The database's.
        wanted_bytes: What the picture takes.
        by_deleting: Whether others may go for it.

    Returns:
        The SHA-256 of what went; None where it does not fit.
    """
    size_bytes = room_of(connection)
    total = connection.execute("SELECT value FROM numbers WHERE name = 'stored_bytes'")
    excess = total.fetchone()[0] + wanted_bytes - size_bytes
    if wanted_bytes > size_bytes or (excess > 0 and not by_deleting):
        return None
    gone: list[str] = []
    if excess > 0:
        ids = []
        for picture, sha256, stored_bytes in least_wanted(connection):
            ids.append(picture)
            gone.append(sha256)
            excess -= stored_bytes
            if excess <= 0:
                break
        delete_rows(connection, ids)
    return gone


def least_wanted(connection: sqlite3.Connection) -> Iterator[tuple[int, str, int]]:
    """Give id, SHA-256 and bytes of pictures, those first that are missed least.

    Of the oldest without a label that is the one least unlike what was kept before it. Random ones
    go by age alone, or they would be no sample any more. Labelled ones go when no others are left.
    """
    labelled = "EXISTS (SELECT 1 FROM current WHERE picture = id AND label != 'null')"
    columns = "SELECT id, sha256, stored_bytes, reason, novelty FROM pictures WHERE"
    after, oldest = 0, deque[tuple[int, str, int, str, float]]()
    while True:
        if len(oldest) < _OLDEST:
            more = connection.execute(
                f"{columns} NOT {labelled} AND id > ? ORDER BY id LIMIT ?",
                (after, 2 * _OLDEST),
            ).fetchall()
            oldest.extend(more)
            after = more[-1][0] if more else after
        if not oldest:
            break
        window = [row for row in islice(oldest, _OLDEST) if row[3] != "random"]
        row = oldest[0] if oldest[0][3] == "random" else min(window, key=lambda each: each[4])
        oldest.remove(row)
        yield row[:3]
    rows = connection.execute(f"{columns} {labelled} ORDER BY id").fetchall()
    yield from (row[:3] for row in rows)

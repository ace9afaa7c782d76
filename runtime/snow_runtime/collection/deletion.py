"""Deleting pictures' rows from a collection, with all that hangs on them.

Each function works within a transaction that its caller holds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from snow_runtime.collection.journal import count_up

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence


def chosen_to_go(
    connection: sqlite3.Connection,
    ids: Iterable[int] | None = None,
    before: float | None = None,
    camera: str | None = None,
) -> list[tuple[int, str]]:
    """Return id and SHA-256 of pictures; what is not said is any."""
    where: list[str] = ["1"]
    values: list[Any] = []
    if ids is not None:
        where.append("id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([int(each) for each in ids]))
    if before is not None:
        where.append("taken_at < ?")
        values.append(before)
    if camera is not None:
        where.append("camera = ?")
        values.append(camera)
    return connection.execute(
        f"SELECT id, sha256 FROM pictures WHERE {' AND '.join(where)}",  # noqa: S608 - ours
        values,
    ).fetchall()


def delete_rows(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete rows with what hangs on them, and entries of the journal that say no more."""
    wanted = "(SELECT value FROM json_each(?))"
    text = (json.dumps(list(ids)),)
    changed = connection.execute(
        f"SELECT DISTINCT question FROM current WHERE picture IN {wanted}",  # noqa: S608 - ours
        text,
    ).fetchall()
    entries = connection.execute(
        f"SELECT DISTINCT entry FROM marks WHERE picture IN {wanted}",  # noqa: S608 - ours
        text,
    ).fetchall()
    connection.execute(f"DELETE FROM pictures WHERE id IN {wanted}", text)  # noqa: S608 - ours
    connection.executemany(
        "DELETE FROM entries WHERE id = ? AND id NOT IN (SELECT entry FROM marks)", entries
    )
    for (question,) in changed:
        count_up(connection, question)

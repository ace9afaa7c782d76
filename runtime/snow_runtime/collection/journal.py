"""The journal of labels: who labelled which pictures, and what was undone.

Each function works within a transaction that its caller holds.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from snow_runtime.collection.records import UndoneLabels

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from snow_runtime.collection.records import GivenLabel


def to_text(label: GivenLabel) -> str:
    """Return how the tables write a label."""
    return json.dumps(label, ensure_ascii=False)


def from_text(text: str) -> GivenLabel:
    """Return the label that the tables write so."""
    found = json.loads(text)
    return tuple(found) if isinstance(found, list) else found


def add_entry(
    connection: sqlite3.Connection,
    ids: Sequence[int],
    question: str,
    label: GivenLabel,
    person: str,
) -> None:
    """Write that somebody gave pictures a label; they are there, and the label is one."""
    text = to_text(label)
    entry = connection.execute(
        "INSERT INTO entries (question, person, at, label) VALUES (?, ?, ?, ?)",
        (question, person, time.time(), text),
    ).lastrowid
    connection.executemany("INSERT INTO marks VALUES (?, ?)", [(entry, each) for each in ids])
    connection.executemany(
        "INSERT OR REPLACE INTO current VALUES (?, ?, ?)", [(question, each, text) for each in ids]
    )
    count_up(connection, question)


def undo_entry(connection: sqlite3.Connection, question: str, person: str) -> UndoneLabels | None:
    """Take back somebody's last entry that is not undone, and say what it was."""
    row = connection.execute(
        "SELECT id, label, at FROM entries WHERE question = ? AND person = ? AND undone = 0 "
        "ORDER BY id DESC LIMIT 1",
        (question, person),
    ).fetchone()
    if row is None:
        return None
    entry, text, at = row
    ids = connection.execute("SELECT picture FROM marks WHERE entry = ? ORDER BY picture", (entry,))
    found = tuple(each for (each,) in ids.fetchall())
    connection.execute("UPDATE entries SET undone = 1 WHERE id = ?", (entry,))
    for picture in found:
        _recall(connection, question, picture)
    count_up(connection, question)
    return UndoneLabels(entry, found, from_text(text), at)


def labels_in_use(connection: sqlite3.Connection, question: str) -> set[str]:
    """Return the labels that stand in the journal, if only behind newer ones; not undone ones."""
    rows = connection.execute(
        "SELECT DISTINCT label FROM entries JOIN marks ON entry = id "
        "WHERE question = ? AND undone = 0",
        (question,),
    )
    found: set[str] = set()
    for (text,) in rows:
        label = from_text(text)
        found.update((label,) if isinstance(label, str) else label or ())
    return found


def current(connection: sqlite3.Connection, question: str) -> dict[int, GivenLabel]:
    """Return what counts now, by picture in the order of their ids; None where skipped."""
    rows = connection.execute(
        "SELECT picture, label FROM current WHERE question = ? ORDER BY picture", (question,)
    )
    return {picture: from_text(text) for picture, text in rows}


def count_up(connection: sqlite3.Connection, question: str) -> None:
    """Give a question a new revision, a number that no question of the collection has had."""
    connection.execute("UPDATE numbers SET value = value + 1 WHERE name = 'revision'")
    connection.execute(
        "UPDATE questions SET revision = (SELECT value FROM numbers WHERE name = 'revision') "
        "WHERE name = ?",
        (question,),
    )


def _recall(connection: sqlite3.Connection, question: str, picture: int) -> None:
    """Let a picture have the newest label that is not undone, or none."""
    row = connection.execute(
        "SELECT label FROM marks JOIN entries ON id = entry "
        "WHERE picture = ? AND question = ? AND undone = 0 ORDER BY entry DESC LIMIT 1",
        (picture, question),
    ).fetchone()
    if row is None:
        connection.execute(
            "DELETE FROM current WHERE question = ? AND picture = ?", (question, picture)
        )
    else:
        connection.execute(
            "INSERT OR REPLACE INTO current VALUES (?, ?, ?)", (question, picture, row[0])
        )

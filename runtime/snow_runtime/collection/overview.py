"""What a collection holds, for people to look at: its views, and who labelled what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snow_runtime.collection.database import Database


@dataclass(frozen=True)
class CollectedView:
    """A camera's view of which there are pictures.

    Attributes:
        camera: Name of the camera.
        view: Name of the view, "" for the whole picture.
        pictures: How many there are.
    """

    camera: str
    view: str
    pictures: int


def collected_views(database: Database) -> list[CollectedView]:
    """Return the views by camera and name.

    Raises:
        CollectionError: The file cannot be read.
    """
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT camera, view, count(*) FROM pictures GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [CollectedView(*row) for row in rows]


def kept_between(
    database: Database, begin: float, end: float
) -> dict[tuple[str, str], list[tuple[bool, float]]]:
    """Return what cameras gave in a time, by camera and view: whether at random, and when.

    Raises:
        CollectionError: The file cannot be read.
    """
    found: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT camera, view, reason = 'random', taken_at FROM pictures "
            "WHERE taken_at BETWEEN ? AND ? AND reason != 'imported'",
            (begin, end),
        )
        for camera, view, is_random, taken_at in rows:
            found.setdefault((camera, view), []).append((bool(is_random), taken_at))
    return found


def people_of(database: Database, question: str, ids: Iterable[int]) -> dict[int, str]:
    """Return, by picture, who gave it the label that it has now, or passed it over.

    Raises:
        CollectionError: The file cannot be read.
    """
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT picture, person, max(entry) FROM marks JOIN entries ON entries.id = entry "
            "WHERE question = ? AND undone = 0 AND picture IN (SELECT value FROM json_each(?)) "
            "GROUP BY picture",
            (question, json.dumps([int(each) for each in ids])),
        )
        return {picture: person for picture, person, _ in rows}

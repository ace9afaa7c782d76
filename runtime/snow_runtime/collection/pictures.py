"""The pictures' rows of a collection: added, and chosen.

Each function works within a transaction that its caller holds.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.collection.questions import about
from snow_runtime.collection.records import CollectedPicture
from snow_runtime.collection.room import make_room
from snow_runtime.errors import CollectionError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from snow_runtime.collection.picture_files import PictureFiles
    from snow_runtime.collection.records import CollectionQuestion, NewPicture

_ROW_BYTES: Final = 1024  # what a row with its indices takes, roughly
_SHOWN: Final = (
    "id, sha256, pictures.camera, pictures.view, taken_at, reason, source_sha256, model_sha256, "
    "answers, width, height, features_width"
)


@dataclass(frozen=True)
class Chosen:
    """Which pictures are wanted; see :meth:`Collection.pictures`."""

    question: CollectionQuestion | None = None
    labelled: bool | None = None
    reasons: Collection[str] | None = None
    ids: Iterable[int] | None = None
    after: int = 0
    limit: int = 100
    newest_first: bool = False


def add_picture(
    connection: sqlite3.Connection,
    files: PictureFiles,
    picture: NewPicture,
    *,
    by_deleting: bool,
) -> tuple[int | None, list[str]]:
    """Write a picture's file and its row, and delete rows of others until there is room.

    Args:
        connection: The database's.
        files: Where its file goes.
        picture: The picture.
        by_deleting: Whether others may go for it.

    Returns:
        Its id, None where it is not kept; and the SHA-256 of pictures whose rows went.

    Raises:
        CollectionError: It cannot be written, or is no JPEG.
    """
    width, height = size_of_jpeg(picture.jpeg)
    features = None if picture.features is None else np.asarray(picture.features, "<f2")
    answers = json.dumps({name: dict(said) for name, said in picture.answers.items()})
    stored = len(picture.jpeg) + len(answers) + _ROW_BYTES
    stored += 0 if features is None else features.nbytes
    sha256 = hashlib.sha256(picture.jpeg).hexdigest()
    kept = id_of_picture(connection, sha256, picture.camera, picture.view)
    if kept is not None:
        if picture.reason == "random":  # it was drawn, whatever else it was kept for
            connection.execute("UPDATE pictures SET reason = 'random' WHERE id = ?", (kept,))
        return None, []
    gone = make_room(connection, stored, by_deleting=by_deleting)
    if gone is None:
        return None, []
    files.write(picture.jpeg)
    row = {
        "sha256": sha256,
        "camera": picture.camera,
        "view": picture.view,
        "taken_at": picture.taken_at,
        "reason": picture.reason,
        "source_sha256": picture.source_sha256,
        "model_sha256": picture.model_sha256,
        "answers": answers,
        "width": width,
        "height": height,
        "features_width": None if features is None else features.size,
        "novelty": picture.novelty,
        "stored_bytes": stored,
    }
    names = ", ".join(row)
    found = connection.execute(
        f"INSERT INTO pictures ({names}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608 - ours
        tuple(row.values()),
    ).lastrowid
    if features is not None:
        connection.execute("INSERT INTO features VALUES (?, ?)", (found, features.tobytes()))
    return found, gone


def chosen_pictures(connection: sqlite3.Connection, chosen: Chosen) -> list[CollectedPicture]:
    """Return pictures in the order in which they were kept, or the newest first."""
    where: list[str] = ["1"]
    values: list[Any] = []
    if chosen.question is not None:
        condition, given = about(chosen.question)
        where.append(condition)
        values += given
        if chosen.labelled is not None:
            label = "SELECT 1 FROM current WHERE picture = id AND question = ?"
            where.append(
                f"EXISTS ({label} AND label != 'null')"
                if chosen.labelled
                else f"NOT EXISTS ({label})"
            )
            values.append(chosen.question.name)
    if chosen.reasons is not None:
        where.append("reason IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(chosen.reasons)))
    if chosen.ids is not None:
        where.append("id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([int(each) for each in chosen.ids]))
    if chosen.after or not chosen.newest_first:
        where.append("id < ?" if chosen.newest_first else "id > ?")
        values.append(chosen.after)
    order = "DESC" if chosen.newest_first else "ASC"
    rows = connection.execute(
        f"SELECT {_SHOWN} FROM pictures WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT ?",  # noqa: S608 - ours
        (*values, chosen.limit),
    )
    return [CollectedPicture(*(*row[:8], _answers(row[8]), *row[9:])) for row in rows]


def _answers(text: str) -> Any:
    """Read answers; damaged ones are none, and the picture is there all the same."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def existing(
    connection: sqlite3.Connection, ids: Iterable[int], question: CollectionQuestion
) -> list[int]:
    """Return which of some pictures are there, and of a question's view."""
    condition, values = about(question)
    rows = connection.execute(
        f"SELECT id FROM pictures WHERE {condition} "  # noqa: S608 - ours
        "AND id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (*values, json.dumps([int(each) for each in ids])),
    )
    return [each for (each,) in rows]


def stored_features(connection: sqlite3.Connection, ids: Sequence[int]) -> NDArray[np.float16]:
    """Return features, float16 `[M, F]`, in the order of the ids.

    Raises:
        CollectionError: A picture is gone, has none, or as many as another source gives.
    """
    wanted = (json.dumps([int(each) for each in ids]),)
    known = "FROM features WHERE picture IN (SELECT value FROM json_each(?))"
    sizes = dict(connection.execute(f"SELECT picture, length(float16) {known}", wanted))
    lacking = [each for each in ids if each not in sizes or sizes[each] % 2]
    if lacking:
        msg = (
            f"The collection has no features of the pictures {lacking[:5]}: they are gone, "
            "damaged, or were kept without. Leave them out."
        )
        raise CollectionError(msg)
    widths = {sizes[each] // 2 for each in ids}
    if len(widths) > 1:
        msg = (
            f"The pictures have {', '.join(map(str, sorted(widths)))} features, expected the same "
            "number: they are of different sources. Choose pictures of one source_sha256."
        )
        raise CollectionError(msg)
    found = np.empty((len(ids), max(widths, default=0)), np.float16)
    rows: dict[int, list[int]] = {}
    for row, each in enumerate(ids):
        rows.setdefault(each, []).append(row)
    for picture, data in connection.execute(f"SELECT picture, float16 {known}", wanted):
        found[rows[picture]] = np.frombuffer(data, "<f2")  # one at a time: they may be gigabytes
    return found


def sha256_of(connection: sqlite3.Connection, picture: int) -> str:
    """Return the SHA-256 of a picture's file.

    Raises:
        CollectionError: It is gone.
    """
    row = connection.execute("SELECT sha256 FROM pictures WHERE id = ?", (picture,)).fetchone()
    if row is None:
        msg = f"The collection has no picture {picture}: it was deleted. Look for another one."
        raise CollectionError(msg)
    return str(row[0])


def summary_of(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return how many pictures there are, of which views and why, and how many bytes they take."""
    size = connection.execute("SELECT value FROM numbers WHERE name = 'stored_bytes'").fetchone()
    rows = connection.execute(
        "SELECT camera, view, reason, count(*) FROM pictures GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    views: dict[tuple[str, str], dict[str, int]] = {}
    for camera, view, reason, number in rows:
        views.setdefault((camera, view), {})[reason] = number
    return {
        "pictures": sum(number for reasons in views.values() for number in reasons.values()),
        "stored_bytes": size[0],
        "views": [
            {"camera": camera, "view": view, "reasons": reasons}
            for (camera, view), reasons in views.items()
        ],
    }


def id_of_picture(
    connection: sqlite3.Connection, sha256: str, camera: str, view: str
) -> int | None:
    """Return the id of a view's picture with this content; None where it is not kept."""
    row = connection.execute(
        "SELECT id FROM pictures WHERE sha256 = ? AND camera = ? AND view = ?",
        (sha256, camera, view),
    ).fetchone()
    return None if row is None else int(row[0])


def is_kept(connection: sqlite3.Connection, sha256: str) -> bool:
    """Tell whether a row names a file."""
    row = connection.execute("SELECT 1 FROM pictures WHERE sha256 = ? LIMIT 1", (sha256,))
    return row.fetchone() is not None


def size_of_jpeg(jpeg: bytes) -> tuple[int, int]:
    """Return width and height by the file's header.

    Raises:
        CollectionError: It is no JPEG.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        msg = f"A picture cannot be kept: expected a JPEG file, {error}. Encode it as JPEG."
        raise CollectionError(msg) from error

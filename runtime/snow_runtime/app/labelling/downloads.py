"""Labels as files that a browser takes: a table, and an archive with a folder for each class."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.labelling.asked import refuse
from snow_runtime.collection.exchange.outgoing import SEPARATOR, labelled_pictures
from snow_runtime.collection.overview import people_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.exchange.outgoing import LabelledPicture
    from snow_runtime.collection.records import CollectionQuestion

_NO_NAME: Final = frozenset('/\\\0:*?"<>|')
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # ZIP knows no time before


def table_of(collection: Collection, question: CollectionQuestion) -> bytes:
    """Return the labels as CSV in UTF-8: file, label, and where and when each picture was taken.

    Raises:
        HTTPException: There are none.
        CollectionError: The collection cannot be read.
    """
    found = _labelled(collection, question)
    people = people_of(collection.database, question.name, [each.picture.id for each in found])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", question.name, "camera", "view", "time", "sha256", "by"])
    for each in found:
        picture, label = each.picture, SEPARATOR.join(each.labels[question.name])
        place = picture.camera, picture.view, round(picture.taken_at, 3), picture.sha256
        row = [each.file, label, *place, people.get(picture.id, "")]
        table.writerow([_inert(cell) for cell in row])
    return text.getvalue().encode()


def archive_of(collection: Collection, question: CollectionQuestion) -> Iterator[bytes]:
    """Give a ZIP archive piece by piece: a folder for each class, with its pictures.

    Raises:
        HTTPException: There are none, or a class cannot be a folder's name.
        CollectionError: The collection cannot be read.
    """
    wrong = [
        label for label in question.labels if _NO_NAME & set(label) or set(label) <= {".", " "}
    ]
    if question.several or wrong:
        what = "Several classes may be right for a picture"
        if wrong:
            what = f"The class {wrong[0]!r} cannot be a folder's name"
        refuse(f"{what}. Take the table, or 'snow-deploy collect export'.", 409)
    return _pieces(collection, question, _labelled(collection, question))


def _labelled(collection: Collection, question: CollectionQuestion) -> list[LabelledPicture]:
    found = labelled_pictures(collection, [question])
    if not found:
        refuse("No picture has a label yet. Label some first.", 409)
    return found


def _pieces(
    collection: Collection, question: CollectionQuestion, found: Sequence[LabelledPicture]
) -> Iterator[bytes]:
    written = _Written()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for each in found:
            (label,) = each.labels[question.name]
            place = zipfile.ZipInfo(f"{label}/{each.file}", _EARLIEST)
            archive.writestr(place, collection.jpeg(each.picture.id))
            yield written.take()
    yield written.take()


class _Written(io.RawIOBase):
    """A file that is written once, from its begin to its end, and given away in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """Tell that it can be written; nothing else can be done with it."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Give what was written since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _inert(cell: object) -> object:
    """Keep a text from being a formula, which spreadsheets would compute."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@"} else cell

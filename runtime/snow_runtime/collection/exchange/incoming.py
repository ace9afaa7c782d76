"""Labelled pictures of others, put into a collection: folders of classes, and tables."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from snow_runtime.collection.exchange.plain_jpeg import jpeg_of
from snow_runtime.collection.overview import people_of
from snow_runtime.collection.records import CollectionQuestion, NewPicture
from snow_runtime.errors import CollectionError, InputError
from snow_runtime.pictures.picture_files import picture_endings
from snow_runtime.pictures.preprocessing import load_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import GivenLabel

BY_IMPORT: Final = "import"
"""Who gave the labels of an import."""
BY_PUSH: Final = "push"
"""Who gave those of a file of `pull`, unless somebody is named."""
_NOBODY: Final = frozenset({BY_IMPORT, BY_PUSH})
_FILE_COLUMNS: Final = ("fname", "file")
_NO_QUESTIONS: Final = frozenset({"split"})
_BATCH: Final = 16


@dataclass(frozen=True)
class Featuriser:
    """What makes features of pictures.

    Attributes:
        compute: Function that gives the features, float `[B, F]`, of pictures.
        source_sha256: SHA-256 of the source.
    """

    compute: Callable[[Sequence[Image]], NDArray[np.float32]]
    source_sha256: str


@dataclass(frozen=True)
class Incoming:
    """Pictures with their labels by question, as they were found.

    Attributes:
        labels: Labels of each file, by question.
        classes: Classes of each question.
    """

    labels: dict[Path, dict[str, str]]
    classes: dict[str, tuple[str, ...]]


class _Read(NamedTuple):
    path: Path
    image: Image
    jpeg: bytes
    changed_at: float


@dataclass
class ImportReport:
    """What an import did.

    Attributes:
        added: Pictures that are new.
        known: Pictures that were there before; their labels are new.
        labelled: Labels that were given.
        kept: Labels that stay as somebody else has given them.
        twice: Files that have a label in the import, and whose picture has another one in it.
        unreadable: Files that are no pictures, with the reason.
    """

    added: int = 0
    known: int = 0
    labelled: int = 0
    kept: int = 0
    twice: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def labelled_in_folders(folder: Path, question: str) -> Incoming:
    """Find pictures in folders that are named for their class.

    Raises:
        CollectionError: There are none, or the folder cannot be read.
    """
    labels: dict[Path, dict[str, str]] = {}
    try:
        classes = sorted(each for each in folder.iterdir() if each.is_dir())
        for each in classes:
            if not each.name.startswith("."):
                found = sorted(path for path in each.rglob("*") if _is_picture(path))
                labels |= {path: {question: each.name} for path in found}
    except OSError as error:
        msg = f"{folder} cannot be read: {error}. Name a folder with a folder for each class."
        raise CollectionError(msg) from error
    if not labels:
        msg = (
            f"{folder} has no pictures in folders, expected a folder for each class with its "
            "pictures in it. Name another one."
        )
        raise CollectionError(msg)
    return Incoming(labels, {question: _classes(labels, question)})


def labelled_in_table(path: Path) -> Incoming:
    """Find pictures that a CSV file lists, with a column for each question.

    The column of the files is `fname`, as NVIDIA TAO has it, or `file`; the former lie in the
    folder `images` beside the table, or both beside it. An empty cell is no label.

    Raises:
        CollectionError: It cannot be read, or has no such column, or lists a file that is not
            there.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream, strict=True)
            heading, rows = list(table.fieldnames or ()), list(table)
    except (OSError, ValueError, csv.Error) as error:
        msg = f"{path} cannot be read: {error}. Give a CSV file in UTF-8."
        raise CollectionError(msg) from error
    column = next((each for each in _FILE_COLUMNS if each in heading), None)
    asked = [each for each in heading if each not in _FILE_COLUMNS and each not in _NO_QUESTIONS]
    if column is None or not asked or len(set(heading)) < len(heading):
        msg = (
            f"{path} has the columns {', '.join(heading) or 'none'}, expected fname or "
            "file, and one for each question, each once. Correct its first line."
        )
        raise CollectionError(msg)
    labels: dict[Path, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            msg = f"{path}, row {number}, has other columns than the first line. Correct it."
            raise CollectionError(msg)
        given = {name: row[name].strip() for name in asked}
        place = _place_of(path, row[column].strip(), number)
        if place in labels:
            msg = f"{path}, row {number}, lists {place.name} again. Leave one of the rows out."
            raise CollectionError(msg)
        labels[place] = {name: label for name, label in given.items() if label}
    return Incoming(labels, {name: _classes(labels, name) for name in asked})


def import_pictures(
    collection: Collection,
    incoming: Incoming,
    featuriser: Featuriser | None = None,
    camera: str = "",
    view: str = "",
    *,
    overrule: bool = False,
) -> ImportReport:
    """Keep pictures, and label them; a file that is no picture is left out and named.

    A picture that two files of the import give different labels keeps the first one.

    Args:
        collection: Where they are kept.
        incoming: Pictures and labels.
        featuriser: What makes their features; None keeps them without.
        camera: Name of the camera that they are of; "" for none.
        view: Name of its view; "" for the whole picture.
        overrule: Whether labels that somebody else has given give way.

    Raises:
        CollectionError: A question or class cannot be had, or the collection cannot be written.
    """
    _add_questions(collection, incoming, camera, view)
    report = ImportReport()
    labeller = Labeller(collection, BY_IMPORT, report, overrule=overrule)
    given: dict[tuple[int, str], str] = {}
    paths = list(incoming.labels)
    for start in range(0, len(paths), _BATCH):
        pictures = _loaded(paths[start : start + _BATCH], report)
        labels: list[tuple[int, str, str]] = []
        features = None
        if featuriser is not None and pictures:
            features = featuriser.compute([each.image for each in pictures])
        for index, each in enumerate(pictures):
            found = keep_or_find(
                collection,
                NewPicture(
                    each.jpeg,
                    camera,
                    view,
                    each.changed_at,
                    features=None if features is None else _half(features[index]),
                    source_sha256="" if featuriser is None else featuriser.source_sha256,
                ),
                report,
            )
            for question, label in incoming.labels[each.path].items():
                if given.setdefault((found, question), label) == label:
                    labels.append((found, question, label))
                else:
                    report.twice.append(str(each.path))
        labeller.label(labels)  # now: without a label they are the first to go
    return report


class Labeller:
    """Labels pictures, but for those that somebody else has labelled or passed over.

    What came by an import or a file is nobody's, and gives way to whatever comes later.

    Args:
        collection: The collection.
        by: Who gives the labels.
        report: What counts them.
        overrule: Whether what somebody else said gives way.
    """

    def __init__(
        self, collection: Collection, by: str, report: ImportReport, *, overrule: bool
    ) -> None:
        self._collection = collection
        self._by = by
        self._report = report
        self._overrule = overrule
        self._before: dict[str, dict[int, GivenLabel]] = {}

    def label(self, labels: Iterable[tuple[int, str, GivenLabel]]) -> None:
        """Give labels, each to a picture's id for a question.

        Raises:
            CollectionError: There is no such question or label, or they cannot be written.
        """
        ids: dict[str, dict[GivenLabel, list[int]]] = {}
        for picture, question, label in labels:
            ids.setdefault(question, {}).setdefault(label, []).append(picture)
        for question, by_label in ids.items():
            every = [picture for pictures in by_label.values() for picture in pictures]
            people = people_of(self._collection.database, question, every)
            before = self._labels(question)
            for label, pictures in by_label.items():
                free = [
                    each
                    for each in pictures
                    if self._overrule or people.get(each, self._by) in {self._by, *_NOBODY}
                ]
                others = set(pictures).difference(free)
                self._report.kept += sum(not _same(before.get(each), label) for each in others)
                self._report.labelled += self._collection.label(free, question, label, self._by)

    def _labels(self, question: str) -> dict[int, GivenLabel]:
        if question not in self._before:
            self._before[question] = {**self._collection.labels(question)}
        return self._before[question]


def _same(label: GivenLabel, other: GivenLabel) -> bool:
    """Tell whether two labels are one; the order of several that are right says nothing."""
    both = (label, other)
    return len({frozenset(each) if isinstance(each, tuple) else each for each in both}) == 1


def _add_questions(collection: Collection, incoming: Incoming, camera: str, view: str) -> None:
    there = {each.name: each for each in collection.questions()}
    for name, classes in incoming.classes.items():
        if name not in there:
            collection.add_question(CollectionQuestion(name, classes, camera or None, view))
            continue
        question = there[name]
        if question.several or (question.camera or camera, question.view) != (camera, view):
            msg = (
                f"The question {name!r} is about the camera {question.camera or 'any'}, view "
                f"{question.view or 'whole'}, with {'several' if question.several else 'one'} "
                "label a picture, expected that of the import. Give its --camera and --view."
            )
            raise CollectionError(msg)
        collection.add_classes(name, classes)


def keep_or_find(collection: Collection, picture: NewPicture, report: ImportReport) -> int:
    """Keep a picture, or find it where it is kept already; return its id.

    Raises:
        CollectionError: There is no room for it, or it cannot be written.
    """
    found = collection.add(picture, by_deleting=False)
    if found is not None:
        report.added += 1
        return found
    known = collection.find(picture)
    if known is None:
        msg = (
            f"There is no room for a picture: the collection {collection.folder} may take "
            f"{collection.size_bytes} bytes, and what is in it does not give way. Give it more "
            "with --collect-bytes, or delete some, and do it again."
        )
        raise CollectionError(msg)
    report.known += 1
    return known


def _loaded(paths: Sequence[Path], report: ImportReport) -> list[_Read]:
    return [read for path in paths if (read := _read(path, report)) is not None]


def _read(path: Path, report: ImportReport) -> _Read | None:
    try:
        image = load_image(path)
        return _Read(path, image, jpeg_of(path.read_bytes(), image), path.stat().st_mtime)
    except (InputError, OSError) as error:
        report.unreadable.append(str(error))
        return None


def _half(features: NDArray[np.float32]) -> NDArray[np.float16]:
    import numpy as np

    largest = np.finfo(np.float16).max
    return np.clip(features, -largest, largest).astype(np.float16)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in picture_endings() and not path.name.startswith(".")


def _classes(labels: dict[Path, dict[str, str]], question: str) -> tuple[str, ...]:
    return tuple(sorted({given[question] for given in labels.values() if question in given}))


def _place_of(table: Path, name: str, number: int) -> Path:
    within = Path(os.path.normpath(table.parent / name))
    if name and within.is_relative_to(os.path.normpath(table.parent)) and "\0" not in name:
        for folder in (table.parent / "images", table.parent):
            if (folder / name).is_file():
                return folder / name
    msg = (
        f"{table}, row {number}, lists {name!r}, expected a file in {table.parent / 'images'} or "
        f"in {table.parent}. Put it there, or correct the row."
    )
    raise CollectionError(msg)

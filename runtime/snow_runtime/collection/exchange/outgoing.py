"""Labelled pictures of a collection, as other programs read them.

- ``folders``: a folder for each class, as ``imagefolder:`` reads them.
- ``csv``: ``labels.csv`` with the columns ``file`` and one for each question, as ``csv:`` reads it.
- ``tao``: ``labels.csv`` with the columns ``fname`` and one for each task, and ``images``: NVIDIA
  TAO's multitask classification, in which every picture has a label of every task.
- ``label-studio``: ``tasks.json``, as Label Studio imports it, and ``label-config.xml``.
- ``cvat``: ``annotations.xml``, "CVAT for images 1.1", with a tag for each label.

All but the first have the pictures in ``images``.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args
from xml.etree import ElementTree as ET  # writes only

from snow_runtime.collection.exchange.new_folder import new_folder
from snow_runtime.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectedPicture, CollectionQuestion

Format = Literal["folders", "csv", "tao", "label-studio", "cvat"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
SEPARATOR: Final = ";"
"""What stands between the labels of one picture in a table."""
_EVERY: Final = 1 << 60
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledPicture:
    """A picture with its labels.

    Attributes:
        picture: The picture.
        labels: Its labels by question, () where none of several is right.
    """

    picture: CollectedPicture
    labels: dict[str, tuple[str, ...]]

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.picture.id:08d}.jpg"


def labelled_pictures(
    collection: Collection, questions: Sequence[CollectionQuestion]
) -> list[LabelledPicture]:
    """Return the pictures that have a label of a question, in the order in which they were kept."""
    labels: dict[int, dict[str, tuple[str, ...]]] = {}
    for question in questions:
        for picture, label in collection.labels(question.name).items():
            given = (label,) if isinstance(label, str) else label
            labels.setdefault(picture, {})[question.name] = given
    pictures = collection.pictures(ids=labels, limit=_EVERY)
    return [LabelledPicture(each, labels[each.id]) for each in pictures]


def chosen_questions(
    collection: Collection, names: Sequence[str], form: Format | None = None
) -> tuple[CollectionQuestion, ...]:
    """Return the questions of these names, or all; of formats that have one, the only one.

    Raises:
        CollectionError: There is no such question, or none at all, or the format has but one.
    """
    there = {each.name: each for each in collection.questions()}
    missing = [name for name in names if name not in there]
    shown = ", ".join(there) or "none yet"
    if missing or not there:
        msg = f"The collection has no question {', '.join(missing)}, expected some of: {shown}."
        raise CollectionError(msg if missing else "The collection has no question. Add one.")
    found = tuple(there[name] for name in names) if names else tuple(there.values())
    if form in {"folders", "label-studio", "cvat"} and len(found) > 1:
        msg = f"The format {form} has one question, expected a name out of: {shown}. Name it."
        raise CollectionError(msg)
    several = [each.name for each in found if each.several]
    if several and form in {"folders", "tao"}:
        msg = (
            f"The format {form} has one label a picture, and several may be right for "
            f"{', '.join(several)}. Take csv, label-studio or cvat."
        )
        raise CollectionError(msg)
    return found


def export_labels(
    collection: Collection, target: Path, form: Format, names: Sequence[str] = ()
) -> int:
    """Write the labelled pictures into a new folder, as a whole or not at all.

    Args:
        collection: Where they are.
        target: The folder.
        form: The format.
        names: Names of the questions; none for all.

    Returns:
        How many pictures were written.

    Raises:
        CollectionError: There are none, the format cannot say it, or the folder cannot be written.
    """
    questions = chosen_questions(collection, names, form)
    found = labelled_pictures(collection, questions)
    needed = set[str]()  # of what an empty cell would be read as something else
    if form == "tao":
        needed = {each.name for each in questions}
    elif form == "csv":  # as none of the classes
        needed = {each.name for each in questions if each.several}
    every = len(found)
    found = [each for each in found if needed <= each.labels.keys()]
    if form == "csv" and found and len(found) < every:
        _LOGGER.warning(
            "%d pictures are left out: they have no label of %s, and an empty cell would say none "
            "of its classes. Name the other questions alone to have them.",
            every - len(found),
            " and ".join(sorted(needed)),
        )
    if not found:
        asked = ", ".join(each.name for each in questions)
        what = " with a label of each" if needed and len(questions) > 1 else " with a label"
        msg = f"The collection has no picture{what} of {asked}. Label some first."
        raise CollectionError(msg)
    if form == "folders":
        _check_folder_names(questions[0])
    if form in {"csv", "tao"}:
        _check_columns(questions)
    if form == "csv":
        _check_separator(questions)
    with new_folder(target) as folder:
        _WRITERS[form](folder, questions, found)
        for each in found:
            place = folder / "images" / each.file
            if form == "folders":
                place = folder / each.labels[questions[0].name][0] / each.file
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(collection.jpeg(each.picture.id))
    return len(found)


def _check_folder_names(question: CollectionQuestion) -> None:
    for label in question.labels:
        if label in {".", ".."} or any(sign in label for sign in '/\\\0:*?"<>|'):
            msg = f"The class {label!r} cannot be a folder's name. Take another format."
            raise CollectionError(msg)


def _check_columns(questions: Sequence[CollectionQuestion]) -> None:
    """Refuse questions whose columns would be read as something else."""
    wrong = [each.name for each in questions if each.name in {"file", "fname", "split"}]
    if wrong:
        msg = (
            f"A table has columns of its own called file, fname and split, and so is the question "
            f"{wrong[0]}. Take label-studio or cvat."
        )
        raise CollectionError(msg)


def _check_separator(questions: Sequence[CollectionQuestion]) -> None:
    """Refuse classes that a table could not tell from two, where several may be right."""
    for question in questions:
        wrong = [label for label in question.labels if SEPARATOR in label]
        if question.several and wrong:
            msg = (
                f"The class {wrong[0]!r} of {question.name} has a {SEPARATOR!r}, which separates "
                "classes in a table. Take label-studio or cvat."
            )
            raise CollectionError(msg)


def _write_nothing(*_: object) -> None:
    """Write no table: the folders say it."""


def _write_csv(
    folder: Path, questions: Sequence[CollectionQuestion], found: Sequence[LabelledPicture]
) -> None:
    _write_table(folder, questions, found, "file", lambda each: f"images/{each.file}")


def _write_tao(
    folder: Path, questions: Sequence[CollectionQuestion], found: Sequence[LabelledPicture]
) -> None:
    _write_table(folder, questions, found, "fname", lambda each: each.file)


def _write_table(
    folder: Path,
    questions: Sequence[CollectionQuestion],
    found: Sequence[LabelledPicture],
    heading: str,
    name: Callable[[LabelledPicture], str],
) -> None:
    names = [each.name for each in questions]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([heading, *names])
        for each in found:
            cells = [SEPARATOR.join(each.labels.get(question, ())) for question in names]
            table.writerow([name(each), *cells])


def _write_label_studio(
    folder: Path, questions: Sequence[CollectionQuestion], found: Sequence[LabelledPicture]
) -> None:
    (question,) = questions
    tasks = [
        {
            "data": {"image": f"/data/local-files/?d={folder_name(each)}"},
            "meta": {"camera": each.picture.camera, "view": each.picture.view},
            "annotations": [
                {
                    "result": [
                        {
                            "from_name": question.name,
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": list(each.labels[question.name])},
                        }
                    ]
                }
            ],
        }
        for each in found
    ]
    text = json.dumps(tasks, ensure_ascii=False, indent=1)
    (folder / "tasks.json").write_text(text, encoding="utf-8")
    view = ET.Element("View")
    ET.SubElement(view, "Image", name="image", value="$image")
    choice = "multiple" if question.several else "single"
    choices = ET.SubElement(view, "Choices", name=question.name, toName="image", choice=choice)
    for label in question.labels:
        ET.SubElement(choices, "Choice", value=label)
    ET.ElementTree(view).write(folder / "label-config.xml", encoding="utf-8")


def folder_name(each: LabelledPicture) -> str:
    """Return where a picture lies below the folder that Label Studio serves."""
    return f"images/{each.file}"


def _write_cvat(
    folder: Path, questions: Sequence[CollectionQuestion], found: Sequence[LabelledPicture]
) -> None:
    (question,) = questions
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    ET.SubElement(task, "name").text = question.name
    ET.SubElement(task, "size").text = str(len(found))
    ET.SubElement(task, "mode").text = "annotation"
    labels = ET.SubElement(task, "labels")
    for label in question.labels:
        entry = ET.SubElement(labels, "label")
        ET.SubElement(entry, "name").text = label
        ET.SubElement(entry, "type").text = "tag"
    for number, each in enumerate(found):
        image = ET.SubElement(root, "image", id=str(number), name=each.file)
        image.set("width", str(each.picture.width))
        image.set("height", str(each.picture.height))
        for label in each.labels[question.name]:
            ET.SubElement(image, "tag", label=label, source="manual")
    ET.indent(root)
    ET.ElementTree(root).write(folder / "annotations.xml", encoding="utf-8", xml_declaration=True)


_WRITERS: Final[dict[Format, Callable[..., None]]] = {
    "folders": _write_nothing,
    "csv": _write_csv,
    "tao": _write_tao,
    "label-studio": _write_label_studio,
    "cvat": _write_cvat,
}

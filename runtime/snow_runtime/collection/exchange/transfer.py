"""Pulling labelled pictures out of a collection into one file, and pushing them into another."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.collection.exchange.incoming import ImportReport, Labeller, keep_or_find
from snow_runtime.collection.exchange.outgoing import chosen_questions, labelled_pictures
from snow_runtime.collection.exchange.packed import FORMAT, INDEX, KIND, hash_of_index
from snow_runtime.collection.pictures import size_of_jpeg
from snow_runtime.collection.records import NewPicture
from snow_runtime.errors import CollectionError
from snow_runtime.files import atomic_write, writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.exchange.outgoing import LabelledPicture
    from snow_runtime.collection.exchange.packed import PackedFile
    from snow_runtime.collection.records import CollectionQuestion

_BATCH: Final = 16


def pull_pictures(
    collection: Collection, target: Path, names: Sequence[str] = (), *, features: bool = True
) -> tuple[int, str]:
    """Write the labelled pictures into one file, as a whole or not at all.

    Args:
        collection: Where they are.
        target: The file; one that is there is replaced.
        names: Names of the questions; none for all.
        features: Whether features go along.

    Returns:
        How many pictures there are, and the SHA-256 of the content.

    Raises:
        CollectionError: There are none, or the file cannot be written.
    """
    questions = chosen_questions(collection, names)
    found = _once(labelled_pictures(collection, questions))
    if not found:
        asked = ", ".join(each.name for each in questions)
        msg = f"The collection has no labelled picture of {asked}. Label some first."
        raise CollectionError(msg)

    def values_of(
        each: LabelledPicture,
    ) -> bytes | None:  # read twice: all would be a lot of memory
        if not features or each.picture.features_width is None:
            return None
        values: bytes = collection.features([each.picture.id])[0].astype("<f2").tobytes()
        return values

    several = {each.name for each in questions if each.several}
    index: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "questions": [_question_entry(each) for each in questions],
        "pictures": [_picture_entry(each, several, values_of(each)) for each in found],
    }
    index["content_sha256"] = hash_of_index(index)
    with (
        writing(target, CollectionError, "Name a file that this user may write."),
        atomic_write(target) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, INDEX, json.dumps(index, ensure_ascii=False, indent=1).encode())
        for each in found:
            sha256 = each.picture.sha256
            _add(tar, f"pictures/{sha256}.jpg", collection.jpeg(each.picture.id))
            if (values := values_of(each)) is not None:
                _add(tar, f"features/{sha256}.f16", values)
    return len(found), str(index["content_sha256"])


def push_pictures(
    packed: PackedFile, collection: Collection, by: str, *, overrule: bool = False
) -> ImportReport:
    """Keep the pictures of a file, with their labels.

    Args:
        packed: What is in the file.
        collection: Where they are kept.
        by: Who gave the labels.
        overrule: Whether labels that somebody else has given give way.

    Raises:
        CollectionError: A question differs from one of its name, or it cannot be written.
    """
    for _, jpeg, _ in packed.contents():  # before anything is written
        size_of_jpeg(jpeg)
    there = {each.name: each for each in collection.questions()}
    for question in packed.questions:
        mine = there.get(question.name)
        if mine is None:
            collection.add_question(question)
            continue
        about = question.camera, question.view or "", question.several
        if (mine.camera, mine.view, mine.several) != about:
            msg = (
                f"The question {question.name!r} is about another camera or view here, or has "
                "another number of labels, than in the file. Rename one of them."
            )
            raise CollectionError(msg)
        collection.add_classes(question.name, question.labels)
    report = ImportReport()
    labeller = Labeller(collection, by, report, overrule=overrule)
    contents = packed.contents()
    while batch := list(islice(contents, _BATCH)):
        given: list[tuple[int, str, Any]] = []
        for each, jpeg, features in batch:
            kind = each.camera, each.view, each.taken_at, each.reason
            picture = NewPicture(jpeg, *kind, features, each.source_sha256)
            found = keep_or_find(collection, picture, report)
            given += [(found, name, label) for name, label in each.labels.items()]
        labeller.label(given)  # now: without a label they are the first to go
    return report


def _once(found: list[LabelledPicture]) -> list[LabelledPicture]:
    """Leave out a picture that is there again under another camera's name."""
    return list({each.picture.sha256: each for each in reversed(found)}.values())[::-1]


def _question_entry(question: CollectionQuestion) -> dict[str, Any]:
    return {
        "name": question.name,
        "labels": list(question.labels),
        "camera": question.camera,
        "view": question.view or "",
        "several": question.several,
    }


def _picture_entry(
    each: LabelledPicture, several: set[str], features: bytes | None
) -> dict[str, Any]:
    picture = each.picture
    return {
        "sha256": picture.sha256,
        "camera": picture.camera,
        "view": picture.view,
        "taken_at": picture.taken_at,
        "reason": picture.reason,
        "source_sha256": "" if features is None else picture.source_sha256,
        "features_sha256": None if features is None else hashlib.sha256(features).hexdigest(),
        "labels": {
            name: list(labels) if name in several else labels[0]
            for name, labels in each.labels.items()
        },
    }


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(content))

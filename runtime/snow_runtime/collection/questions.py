"""The questions of a collection, and how many pictures each has.

Each function works within a transaction that its caller holds.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from snow_runtime.collection.journal import count_up, from_text, labels_in_use
from snow_runtime.collection.records import CollectionQuestion, LabelCounts
from snow_runtime.errors import CollectionError, ManifestError
from snow_runtime.graph.task_name import check_task_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from snow_runtime.collection.records import GivenLabel


def all_questions(connection: sqlite3.Connection) -> tuple[CollectionQuestion, ...]:
    """Return the questions by name."""
    rows = connection.execute(
        "SELECT name, labels, camera, view, several FROM questions ORDER BY name"
    )
    return tuple(
        CollectionQuestion(name, tuple(json.loads(labels)), camera, view, bool(several))
        for name, labels, camera, view, several in rows
    )


def question_named(connection: sqlite3.Connection, name: str) -> CollectionQuestion:
    """Return a question.

    Raises:
        CollectionError: There is none of this name.
    """
    found = {each.name: each for each in all_questions(connection)}
    if name not in found:
        names = ", ".join(found) or "no question yet"
        msg = f"The collection has no question {name!r}, expected one of: {names}."
        raise CollectionError(msg)
    return found[name]


def check_question(question: CollectionQuestion) -> None:
    """Check that a question can be asked.

    Raises:
        CollectionError: Its name or its labels cannot be used.
    """
    try:
        check_task_name(question.name)
    except ManifestError as error:
        raise CollectionError(str(error)) from error
    name, labels, least = question.name, question.labels, 1 if question.several else 2
    if (
        len(labels) < least
        or len(set(labels)) < len(labels)
        or not all(isinstance(each, str) and each.strip() == each != "" for each in labels)
        or any(_is_no_sign(sign) for each in labels for sign in each)
    ):
        msg = (
            f"The question {name!r} has the classes {list(labels)}, expected {least} different "
            "names or more, without blanks at their ends and signs that cannot be shown. Correct "
            "them."
        )
        raise CollectionError(msg)


def _is_no_sign(sign: str) -> bool:
    """Tell whether a character cannot be written into other programs' files, such as half a one."""
    return unicodedata.category(sign) in {"Cc", "Cs"} or sign in {"\ufffe", "\uffff"}


def insert_question(connection: sqlite3.Connection, question: CollectionQuestion) -> None:
    """Write a question.

    Raises:
        CollectionError: Its name or its labels cannot be used, or the name is taken.
    """
    check_question(question)
    if question.name in {each.name for each in all_questions(connection)}:
        msg = f"The collection has a question {question.name!r} already. Choose another name."
        raise CollectionError(msg)
    connection.execute(
        "INSERT INTO questions VALUES (?, ?, ?, ?, ?, 0)",
        (
            question.name,
            json.dumps(list(question.labels), ensure_ascii=False),
            question.camera,
            question.view or "",
            question.several,
        ),
    )
    count_up(connection, question.name)


def update_labels(connection: sqlite3.Connection, name: str, labels: Sequence[str]) -> None:
    """Give a question other classes.

    Raises:
        CollectionError: There is no such question, the labels cannot be used, or one that pictures
            have would go.
    """
    question = question_named(connection, name)
    check_question(replace(question, labels=tuple(labels)))
    text = json.dumps(list(labels), ensure_ascii=False)
    lost = labels_in_use(connection, name) - set(labels)
    if lost:
        msg = (
            f"The question {name!r} would lose {', '.join(sorted(lost))}, which pictures are "
            "labelled with. Label those otherwise, and undo what they were; or keep the class."
        )
        raise CollectionError(msg)
    connection.execute("UPDATE questions SET labels = ? WHERE name = ?", (text, name))
    count_up(connection, name)


def delete_question(connection: sqlite3.Connection, name: str) -> None:
    """Delete a question with its labels.

    Raises:
        CollectionError: There is none of this name.
    """
    question_named(connection, name)
    connection.execute("DELETE FROM questions WHERE name = ?", (name,))


def check_label(question: CollectionQuestion, label: GivenLabel) -> None:
    """Check that a picture may be given a label.

    Raises:
        CollectionError: It is no class of the question, or one of several classes.
    """
    if label is None:
        return
    given = (label,) if isinstance(label, str) else label
    wrong = [each for each in given if each not in question.labels]
    if wrong or isinstance(label, str) == question.several or len(set(given)) < len(given):
        what = "a tuple of labels" if question.several else "one label"
        msg = (
            f"The label {label!r} is not for the question {question.name!r}, expected {what} out "
            f"of {', '.join(question.labels)}. Choose from these, or add a class."
        )
        raise CollectionError(msg)


def count(connection: sqlite3.Connection, question: CollectionQuestion) -> LabelCounts:
    """Count a question's pictures."""
    where, values = about(question)
    by_label = dict.fromkeys(question.labels, 0)
    pictures = labelled = skipped = random = random_labelled = 0
    rows = connection.execute(
        "SELECT reason = 'random', label, count(*) FROM pictures "  # noqa: S608 - ours
        f"LEFT JOIN current ON picture = id AND question = ? WHERE {where} GROUP BY 1, 2",
        (question.name, *values),
    )
    for is_random, text, number in rows:
        label = None if text is None else from_text(text)
        pictures += number
        random += number * is_random
        skipped += number * (text is not None and label is None)
        if label is not None:
            labelled += number
            random_labelled += number * is_random
            for each in (label,) if isinstance(label, str) else label:
                by_label[each] += number
    return LabelCounts(pictures, labelled, skipped, by_label, random, random_labelled)


def about(question: CollectionQuestion) -> tuple[str, tuple[str, ...]]:
    """Return the condition on a picture's row that it is one of a question's, and its values."""
    if question.camera is None:
        return "pictures.view = ?", (question.view or "",)
    return "pictures.view = ? AND pictures.camera = ?", (question.view or "", question.camera)

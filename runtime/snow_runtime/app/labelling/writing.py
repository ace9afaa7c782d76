"""Labels that somebody gives or takes back, without running over what others did meanwhile."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snow_runtime.app.labelling.asked import LabelChoice, refuse
from snow_runtime.app.labelling.known import in_order
from snow_runtime.collection.overview import people_of
from snow_runtime.errors import CollectionError
from snow_runtime.file_lock import hold_lock
from snow_runtime.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectionQuestion, GivenLabel


@dataclass(frozen=True)
class Given:
    """What became of labels that somebody gave.

    Attributes:
        labelled: How many pictures got theirs.
        entries: How many entries of the journal that made: so many times it is undone.
        conflicts: Pictures that somebody labelled otherwise meanwhile, as plain JSON values; they
            were left so.
    """

    labelled: int
    entries: int
    conflicts: list[dict[str, Any]]


class Writer:
    """Writes labels, one request at a time.

    Args:
        collection: Where to.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._lock = threading.Lock()

    def give(
        self,
        question: CollectionQuestion,
        choices: Sequence[LabelChoice],
        seen: Mapping[int, GivenLabel],
        by: str,
    ) -> Given:
        """Give pictures labels.

        Args:
            question: The question.
            choices: Labels with their pictures.
            seen: Labels that whoever gives them saw on the pictures; those without one are left
                out. A picture that has another one by now stays as it is.
            by: Name of who gives them.

        Raises:
            HTTPException: A label is none of the question's.
            CollectionError: They cannot be written.
        """
        for choice in choices:
            refuse_other_label(question, choice.label)
        with self._alone():
            now = self._collection.labels(question.name)
            conflicts: list[int] = []
            labelled = entries = 0
            for choice in choices:
                label = in_order(question, choice.label)
                free = [
                    each for each in choice.ids if _same(question, now.get(each), seen.get(each))
                ]
                conflicts += [
                    each
                    for each in set(choice.ids) - set(free)
                    if not _same(question, now.get(each), label)
                ]
                if free:
                    done = self._collection.label(free, question.name, label, by)
                    labelled += done
                    entries += done > 0
            return Given(labelled, entries, self._told(question, sorted(conflicts), now))

    def take_back(
        self, question: CollectionQuestion, by: str, entries: int
    ) -> list[dict[str, Any]]:
        """Take back somebody's last entries, and say what they were, as plain JSON values.

        Raises:
            CollectionError: They cannot be written.
        """
        found: list[dict[str, Any]] = []
        with self._lock:
            while len(found) < entries:
                undone = self._collection.undo(question.name, by)
                if undone is None:
                    break
                found.append({"ids": undone.ids, "label": undone.label})
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it no other page of the collection looks and writes, of no process."""
        folder = self._collection.folder
        with self._lock, ExitStack() as stack:
            with writing(folder, CollectionError, "See that its file system has locks."):
                stack.enter_context(hold_lock(folder))
            yield

    def _told(
        self, question: CollectionQuestion, ids: list[int], now: Mapping[int, GivenLabel]
    ) -> list[dict[str, Any]]:
        people = people_of(self._collection.database, question.name, ids) if ids else {}
        return [{"id": each, "label": now.get(each), "by": people.get(each, "")} for each in ids]


def refuse_other_label(question: CollectionQuestion, label: GivenLabel) -> None:
    """Refuse a label that is none of a question's.

    Raises:
        HTTPException: It is none.
    """
    if label is None:
        return
    given = (label,) if isinstance(label, str) else label
    if isinstance(label, str) == question.several or not set(given) <= set(question.labels):
        kind = "a list of some of" if question.several else "one of"
        refuse(f"Give {kind} the labels {', '.join(question.labels)}, or null.")


def _same(question: CollectionQuestion, one: GivenLabel, other: GivenLabel) -> bool:
    return in_order(question, one) == in_order(question, other)

"""What is known of a question's pictures without looking: directions of features, and labels.

Axes: M pictures; N labelled ones; F features; C labels, or sets of labels where several are right.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.learn.suggest.distances import directions, distances, sketched, typical_distance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectedPicture, CollectionQuestion, GivenLabel

NEAREST_OF: Final = 1200
"""Newest labelled pictures that others are compared with."""
_SAMPLED: Final = 300
_KEPT: Final = 4000  # directions: each is 4 KiB at most
_AT_ONCE: Final = 128  # pictures whose features are read: those of a ResNet-50 are 60 kB each


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled pictures of one source.

    Attributes:
        source: SHA-256 of the source that made the features; "" where there are none.
        labels: The C labels that there may be, or sets that there are.
        along: Directions of sketches, float32 `[N, F]`.
        label_of: Place of each one's label, int64 `[N]`.
        typical: Typical distance of two pictures.
    """

    source: str
    labels: tuple[Any, ...]
    along: NDArray[np.float32]
    label_of: NDArray[np.int64]
    typical: float


class Known:
    """Keeps directions, and the labelled pictures of each question until its labels change.

    Args:
        collection: The pictures.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._along: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._labelled: dict[str, tuple[object, Labelled]] = {}
        self._lock = threading.RLock()

    def along(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return directions, float32 `[M, F]`, of pictures that have features of one source.

        Raises:
            CollectionError: One is gone.
        """
        with self._lock:
            lacking = [each for each in ids if each not in self._along]
            if lacking:
                for begin in range(0, len(lacking), _AT_ONCE):
                    some = lacking[begin : begin + _AT_ONCE]
                    found = directions(sketched(self._collection.features(some)))
                    # Each by itself: else one that is kept keeps all of them in memory.
                    self._along.update(
                        (each, row.copy()) for each, row in zip(some, found, strict=True)
                    )
            for each in ids:
                self._along.move_to_end(each)
            rows = [self._along[each] for each in ids]
            while len(self._along) > _KEPT:
                self._along.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def labelled(self, question: CollectionQuestion) -> Labelled:
        """Return the newest labelled pictures of a question.

        Raises:
            CollectionError: The collection cannot be read.
        """
        name = question.name
        newest = self._collection.pictures(name, limit=1, newest_first=True)
        state = (question, self._collection.revision(name), [each.id for each in newest])
        with self._lock:
            kept = self._labelled.get(name)
            if kept is None or kept[0] != state:
                kept = (state, self._look(question))
                self._labelled[name] = kept
            return kept[1]

    def _look(self, question: CollectionQuestion) -> Labelled:
        newest = self._collection.pictures(question.name, limit=_SAMPLED, newest_first=True)
        source = newest_source(newest)
        sample = self.along([each.id for each in newest if fits(each, source)])
        typical = typical_distance(distances(sample, sample))
        pictures = self._collection.pictures(
            question.name, labelled=True, limit=NEAREST_OF, newest_first=True
        )
        given = self._collection.labels(question.name)
        ids = [each.id for each in pictures if fits(each, source) and each.id in given]
        said = [in_order(question, given[each]) for each in ids]
        labels = _labels_of(question, said)
        places = {label: place for place, label in enumerate(labels)}
        label_of = np.array([places[each] for each in said], np.int64)
        return Labelled(source, labels, self.along(ids), label_of, typical)


def newest_source(pictures: Iterable[CollectedPicture]) -> str:
    """Return which source made the features of the first picture that has some; "" for none."""
    return next((each.source_sha256 for each in pictures if each.features_width), "")


def fits(picture: CollectedPicture, source: str) -> bool:
    """Tell whether a picture has features of a source."""
    return bool(picture.features_width) and picture.source_sha256 == source


def in_order(question: CollectionQuestion, label: GivenLabel) -> GivenLabel:
    """Return a set of labels in the question's order; any other label as it is."""
    if isinstance(label, tuple):
        return tuple(each for each in question.labels if each in label)
    return label


def _labels_of(question: CollectionQuestion, given: Iterable[Any]) -> tuple[Any, ...]:
    """Return the labels; of several that may be right, none, each alone, and the sets given."""
    if question.several:
        return tuple(sorted({(), *((label,) for label in question.labels), *given}))
    return question.labels

"""In which order a question's pictures are shown.

Axes: M pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from snow_runtime.app.labelling.known import fits
from snow_runtime.app.labelling.suggested import suggest
from snow_runtime.learn.suggest.alike import NEAR, groups_alike
from snow_runtime.learn.suggest.distances import distances
from snow_runtime.learn.suggest.next_useful import most_useful_first
from snow_runtime.learn.suggest.vote import doubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_runtime.app.labelling.known import Known
    from snow_runtime.app.labelling.live_readout import LiveReadouts
    from snow_runtime.collection.collection import Collection
    from snow_runtime.collection.records import CollectedPicture, CollectionQuestion, LabelCounts

Show = Literal["open", "labelled", "skipped", "all"]
Sort = Literal["useful", "alike", "newest", "oldest"]
MOST: Final = 10_000
"""Pictures in one order."""
COMPARED: Final = 1200
"""Newest pictures that are compared with each other; the rest follows after them."""
_CHOSEN: Final = 200  # one by one; after so many labels it is sorted anew


@dataclass(frozen=True)
class PictureOrder:
    """Pictures in their order.

    Attributes:
        groups: Numbers of pictures, those of a group together; each alone where none are sought.
        left_out: How many more there are.
        without_features: How many of them cannot be compared.
        revision: The question's revision when it was looked at.
        pictures: How many pictures the question had then, with a label or without.
    """

    groups: list[list[int]]
    left_out: int
    without_features: int
    revision: int
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "groups": self.groups,
            "left_out": self.left_out,
            "without_features": self.without_features,
            "revision": self.revision,
            "pictures": self.pictures,
        }


class Orders:
    """Sorts pictures.

    Args:
        collection: The pictures.
        known: What is known of them.
        readouts: What the live readouts say.
    """

    def __init__(self, collection: Collection, known: Known, readouts: LiveReadouts) -> None:
        self._collection = collection
        self._known = known
        self._readouts = readouts

    def find(self, question: CollectionQuestion, show: Show, sort: Sort) -> PictureOrder:
        """Sort a question's pictures.

        Raises:
            CollectionError: The collection cannot be read.
        """
        revision = self._collection.revision(question.name)
        counts = self._collection.counts(question.name)  # first: later pictures are new ones
        pictures = self._shown(question, show, oldest=sort == "oldest")
        left_out = max(0, _count(counts, show) - len(pictures))
        if sort not in {"useful", "alike"}:
            return PictureOrder(
                [[each.id] for each in pictures], left_out, 0, revision, counts.pictures
            )
        source = self._known.labelled(question).source
        comparable = [each for each in pictures if fits(each, source)]
        first, ids = comparable[:COMPARED], {each.id for each in comparable[:COMPARED]}
        groups = self._useful(first, question) if sort == "useful" else self._alike(first, question)
        groups += [[each.id] for each in comparable[COMPARED:]]
        groups += [[each.id] for each in pictures if not fits(each, source) and each.id not in ids]
        unlike = len(pictures) - len(comparable)
        return PictureOrder(groups, left_out, unlike, revision, counts.pictures)

    def _shown(
        self, question: CollectionQuestion, show: Show, *, oldest: bool
    ) -> list[CollectedPicture]:
        ids = self._collection.skipped(question.name) if show == "skipped" else None
        labelled = {"open": False, "labelled": True}.get(show)
        return self._collection.pictures(
            question.name, labelled=labelled, ids=ids, limit=MOST, newest_first=not oldest
        )

    def _useful(
        self, pictures: Sequence[CollectedPicture], question: CollectionQuestion
    ) -> list[list[int]]:
        along = self._known.along([each.id for each in pictures])
        labelled = self._known.labelled(question)
        nearest = np.full(len(pictures), np.inf, np.float32)
        if len(labelled.along) and len(pictures):
            nearest = distances(along, labelled.along).min(1)
        said = suggest(pictures, question, self._known, self._readouts)
        order = most_useful_first(doubt(said.shares), distances(along, along), nearest, _CHOSEN)
        return [[pictures[place].id] for place in order]

    def _alike(
        self, pictures: Sequence[CollectedPicture], question: CollectionQuestion
    ) -> list[list[int]]:
        along = self._known.along([each.id for each in pictures])
        radius = NEAR * self._known.labelled(question).typical
        found = groups_alike(distances(along, along), radius)
        return [[pictures[place].id for place in group] for group in found]


def _count(counts: LabelCounts, show: Show) -> int:
    return {
        "open": counts.pictures - counts.labelled - counts.skipped,
        "labelled": counts.labelled,
        "skipped": counts.skipped,
        "all": counts.pictures,
    }[show]

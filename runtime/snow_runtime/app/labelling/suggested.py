"""Which label a picture may have: what the model says, what the nearest labelled pictures say.

Axes: M pictures; C labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.app.labelling.known import fits
from snow_runtime.learn.suggest.distances import distances
from snow_runtime.learn.suggest.vote import mean_opinion, neighbours_say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.app.labelling.known import Known, Labelled
    from snow_runtime.app.labelling.live_readout import LiveReadouts
    from snow_runtime.collection.records import CollectedPicture, CollectionQuestion


@dataclass(frozen=True, eq=False)
class Suggested:
    """What is said of pictures.

    Attributes:
        labels: The C labels.
        shares: How likely each is, float32 `[M, C]`; rows sum to one.
        neighbours: The same by the nearest labelled pictures alone.
        model: The same by the model alone, NaN where it says nothing; None where it never does.
    """

    labels: tuple[Any, ...]
    shares: NDArray[np.float32]
    neighbours: NDArray[np.float32]
    model: NDArray[np.float32] | None

    def to_dict(self, row: int) -> dict[str, Any] | None:
        """Return what is said of one picture, as plain JSON values; None for nothing at all."""
        if not self.labels or np.ptp(self.shares[row]) < 1e-3 < len(self.labels) - 1:
            return None
        found = {**_best(self.labels, self.shares[row])}
        if np.ptp(self.neighbours[row]) >= 1e-3:
            found["neighbours"] = _best(self.labels, self.neighbours[row])
        if self.model is not None and not np.isnan(self.model[row]).any():
            found["model"] = _best(self.labels, self.model[row])
        return found


def suggest(
    pictures: Sequence[CollectedPicture],
    question: CollectionQuestion,
    known: Known,
    readouts: LiveReadouts,
) -> Suggested:
    """Say which label each of some pictures may have.

    Raises:
        CollectionError: The collection cannot be read.
    """
    labelled = known.labelled(question)
    rows = [row for row, each in enumerate(pictures) if fits(each, labelled.source)]
    along = known.along([pictures[row].id for row in rows])
    size = len(labelled.labels)
    neighbours = np.full((len(pictures), size), 1 / max(size, 1), np.float32)
    if rows and size and len(labelled.label_of):
        neighbours[rows] = neighbours_say(
            distances(along, labelled.along), labelled.label_of, size, labelled.typical
        )
    model = None
    if not question.several:
        model = _model_says(pictures, question, labelled, readouts)
    return Suggested(labelled.labels, mean_opinion(neighbours, model), neighbours, model)


def _model_says(
    pictures: Sequence[CollectedPicture],
    question: CollectionQuestion,
    labelled: Labelled,
    readouts: LiveReadouts,
) -> NDArray[np.float32] | None:
    """Return the live readout's probabilities; without one, those of when the picture was kept."""
    live = readouts.say(question, pictures, labelled.source)
    if live is not None:
        return live
    found = np.full((len(pictures), len(question.labels)), np.nan, np.float32)
    for row, each in enumerate(pictures):
        _answer(found[row], question.labels, each.answers.get(question.name, {}))
    return None if np.isnan(found).all() else found


def _answer(row: NDArray[np.float32], labels: tuple[str, ...], answer: Any) -> None:
    """Spread over the others what an answer's label leaves; one that is unknown says nothing."""
    label, probability = answer.get("label"), answer.get("probability")
    if label not in labels or "unknown" in answer or len(labels) < 2:
        return
    if isinstance(probability, int | float) and math.isfinite(probability):
        sure = min(max(float(probability), 0.0), 1.0)
        row[:] = (1 - sure) / (len(labels) - 1)
        row[labels.index(label)] = sure


def _best(labels: tuple[Any, ...], shares: NDArray[np.float32]) -> dict[str, Any]:
    best = int(shares.argmax())
    return {"label": labels[best], "sure": round(float(shares[best]), 4)}

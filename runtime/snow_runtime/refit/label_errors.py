"""Labels that are likely wrong, by confident learning on answers of cross-validation.

C. Northcutt, L. Jiang, I. Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels,
Journal of Artificial Intelligence Research 70 (2021): a picture is confidently of a class where its
probability is at least the mean one of that class's own pictures. It is suspected where the
likeliest of the classes that it is confidently of is not its label. Axes: M pictures; C labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.refit.evidence import HeldOutEvidence


@dataclass(frozen=True)
class LikelyError:
    """A label that is likely wrong.

    Attributes:
        id: Number of the picture.
        label: The label that it has; where several may be right, the one in doubt.
        suggested: What it likely shows.
        probability: Probability of the given label by fits that had no part of the picture.
    """

    id: int
    label: str
    suggested: str
    probability: float


def likely_errors(evidence: HeldOutEvidence) -> tuple[LikelyError, ...]:
    """Give the labels that are likely wrong, the likeliest first."""
    values = evidence.probabilities()
    if not evidence.several:
        rows = suspected(values, np.asarray(evidence.targets, np.int64))
        found = [
            (margin, LikelyError(int(evidence.ids[row]), evidence.labels[given], *other))
            for row, best, margin in rows
            for given in (int(evidence.targets[row]),)
            for other in ((evidence.labels[best], float(values[row, given])),)
        ]
    else:
        found = []
        for column, label in enumerate(evidence.labels):
            pair = np.stack([1 - values[:, column], values[:, column]], axis=1)
            names = (f"not {label}", label)
            targets = evidence.targets[:, column].astype(np.int64)
            for row, best, margin in suspected(pair, targets):
                given = int(targets[row])
                share = float(pair[row, given])
                error = LikelyError(int(evidence.ids[row]), names[given], names[best], share)
                found.append((margin, error))
    return tuple(each for _, each in sorted(found, key=lambda pair: (pair[0], pair[1].id)))


def suspected(
    values: NDArray[np.float64], targets: NDArray[np.int64]
) -> list[tuple[int, int, float]]:
    """Find the pictures off the diagonal of the confident joint.

    Args:
        values: Probabilities of each picture while it was held out, float64 `[M, C]`.
        targets: int64 `[M]`, the labels given.

    Returns:
        Of each such picture its row, the class that it is confidently of, and its margin: the
        probability of its label less that of this class, the lower the likelier an error.
    """
    classes = values.shape[1]
    own = values[np.arange(len(values)), targets]
    counts = np.bincount(targets, minlength=classes)
    sums = np.bincount(targets, own, minlength=classes)
    bounds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(values >= bounds, values, -1.0)
    best = confident.argmax(axis=1)
    there = confident[np.arange(len(values)), best] >= 0
    rows = np.flatnonzero(there & (best != targets))
    return [
        (row, int(best[row]), float(own[row] - values[row, best[row]])) for row in rows.tolist()
    ]

"""Whether a new readout is worse than the old one, on pictures that neither was fitted on.

Both answer the same labelled pictures: one that a readout was fitted on by the fit that held it
out, any other one by the readout itself. What counts are the moments lost (the old one was right)
and won; the tests are those of the gate (ADR 13). Axes: M pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.paired_tests import Counts, lower_bound, p_value_above, upper_bound
from snow_runtime.refit.evidence import wrong_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.readout.file import ReadoutFile
    from snow_runtime.refit.evidence import HeldOutEvidence

LEVEL: Final = 0.2
"""So often at most is a readout that is as good held back. Holding back is cheap: it can be taken
by hand, and the next labels make another one. A readout that is worse and goes live is dear."""
_ENDS: Final = 0.025


@dataclass(frozen=True)
class VersionComparison:
    """An old readout and a new one on the same pictures.

    Attributes:
        pictures: How many both answered.
        moments: How many moments these are of; each counts once.
        lost: How many of these the old one is better on; parts of one where its pictures differ.
        won: How many the new one is better on.
        drop: Share of the moments that is lost on balance, -1 to 1.
        low: Lower end of the drop's interval of 95 %.
        high: Upper end.
        p_worse: p-value of the new one being no worse: it is worse where that is small.
    """

    pictures: int
    moments: int
    lost: float
    won: float
    drop: float
    low: float
    high: float
    p_worse: float

    @property
    def is_worse(self) -> bool:
        """Whether the new one loses more than chance explains."""
        return self.p_worse < LEVEL

    @property
    def text(self) -> str:
        """Say it in a sentence."""
        if not self.pictures:
            return "no picture is new to both of them, so nothing was compared"
        return (
            f"it loses {self.lost:g} and wins {self.won:g} of {self.moments} moments "
            f"({self.pictures} pictures), a drop of {100 * self.low:.0f} to {100 * self.high:.0f} "
            f"points (p = {self.p_worse:.2g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**self.__dict__, "worse": self.is_worse}


def compare_versions(
    before: NDArray[np.int64], now: NDArray[np.int64], moments: NDArray[np.int64]
) -> VersionComparison:
    """Compare two readouts picture by picture.

    Args:
        before: int64 `[M]`, how many labels of each the old one answers wrongly.
        now: int64 `[M]`, likewise the new one.
        moments: int64 `[M]`, which pictures tell much the same.
    """
    if not len(before):
        return VersionComparison(0, 0, 0.0, 0.0, 0.0, -1.0, 1.0, 1.0)
    place = np.unique(moments, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(place)
    lost, won = (
        float((np.bincount(place, rows.astype(np.float64)) / sizes).sum())
        for rows in (now > before, now < before)
    )
    counts = Counts(len(sizes), lost, won)
    return VersionComparison(
        len(before),
        len(sizes),
        round(lost, 3),
        round(won, 3),
        (lost - won) / len(sizes),
        lower_bound(counts, _ENDS),
        upper_bound(counts, _ENDS),
        p_value_above(counts, 0.0),
    )


@dataclass(frozen=True, eq=False)
class Judged:
    """Labelled pictures as they are now.

    Attributes:
        ids: int64 `[M]`, their numbers.
        features: `[M, F]`.
        labels: The C labels.
        targets: int64 `[M]`, or bool `[M, C]` where several may be right.
        moments: int64 `[M]`, which of them tell much the same.
    """

    ids: NDArray[np.int64]
    features: NDArray[np.floating[Any]]
    labels: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.bool_]
    moments: NDArray[np.int64]


def wrong_by(
    readout: ReadoutFile, evidence: HeldOutEvidence, judged: Judged
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count what a readout answers wrongly of pictures that it was not fitted on.

    Returns:
        int64 `[M]`, the labels of each picture that are wrong; bool `[M]`, which ones it may be
        judged by: not those that it has not seen themselves, but of whose moment it has.
    """
    known = {number: row for row, number in enumerate(evidence.ids.tolist())}
    place = np.array([known.get(number, -1) for number in judged.ids.tolist()], np.int64)
    seen = place >= 0
    logits = np.empty((len(place), len(readout.labels)), np.float32)
    logits[seen] = evidence.logits[place[seen]]
    if not seen.all():
        logits[~seen] = readout.logits(np.asarray(judged.features[~seen], np.float32))
    fair = seen | ~np.isin(judged.moments, judged.moments[seen])
    return wrong_labels(_in_labels(logits, readout.labels, judged), judged.targets), fair


def _in_labels(
    logits: NDArray[np.float32], given: Sequence[str], judged: Judged
) -> NDArray[np.float32]:
    """Put logits `[M, D]` in the order of the labels now; one that is not known is never said."""
    found = np.full((len(logits), len(judged.labels)), -np.inf, np.float32)
    for column, label in enumerate(judged.labels):
        if label in given:
            found[:, column] = logits[:, given.index(label)]
    gone = [column for column, label in enumerate(given) if label not in judged.labels]
    if gone and judged.targets.ndim == 1:  # what is no label any more is a wrong answer
        others = logits[:, gone].max(axis=1) > found.max(axis=1)
        rows = np.flatnonzero(others)
        found[rows] = 0.0
        found[rows, np.asarray(judged.targets)[rows]] = -1.0
    return found

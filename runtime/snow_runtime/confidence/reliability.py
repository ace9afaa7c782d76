"""Whether probabilities mean what they say: calibration error, Brier score and reliability.

Axes: M pictures; C labels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.confidence.temperature import Targets

BINS: Final = 15
"""As in Guo et al. (2017)."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of about the same probability.

    Attributes:
        low: Their probability is above this,
        high: and no more than this.
        answers: How many there are.
        confidence: Mean probability.
        accuracy: Share of them that is right.
    """

    low: float
    high: float
    answers: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """How well probabilities and shares of right answers agree.

    Where one label is right an answer is a picture's most probable label. Where several may be, it
    is one for each picture and label, its probability that of the label.

    Attributes:
        answers: How many were looked at.
        calibration_error: Expected calibration error in bins of equal width (Naeini et al., 2015):
            the mean distance between probability and share of right answers, 0 to 1.
        brier: Brier score (1950): the mean square distance to what is right, added up over the
            labels of a picture, 0 to 2; where several may be right of each label, 0 to 1.
        bins: Bins that have answers, from the lowest.
    """

    answers: int
    calibration_error: float
    brier: float
    bins: tuple[ReliabilityBin, ...]

    def metrics(self) -> dict[str, float]:
        """Return the two figures by name."""
        return {"calibration_error": self.calibration_error, "brier": self.brier}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def measure_reliability(
    probabilities: NDArray[np.floating[Any]], targets: Targets, bins: int = BINS
) -> Reliability:
    """Compare probabilities with what is right.

    Args:
        probabilities: `[M, C]`, each in [0, 1]; M is 1 or more.
        targets: int64 `[M]`, the right label of each; or bool `[M, C]` where several may be right.
        bins: Number of bins of equal width.
    """
    values = np.asarray(probabilities, np.float64)
    if targets.ndim == 2:
        confidence, right = values.ravel(), targets.ravel()
        brier = float(np.square(values - targets).mean())
    else:
        confidence, right = values.max(axis=1), values.argmax(axis=1) == targets
        wanted = np.zeros_like(values)
        wanted[np.arange(len(values)), targets] = 1
        brier = float(np.square(values - wanted).sum(axis=1).mean())
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)
    found = []
    for number in np.unique(place):
        inside = place == number
        found.append(
            ReliabilityBin(
                float(edges[number]),
                float(edges[number + 1]),
                int(inside.sum()),
                float(confidence[inside].mean()),
                float(right[inside].mean()),
            )
        )
    error = sum(each.answers * abs(each.confidence - each.accuracy) for each in found)
    return Reliability(len(confidence), error / len(confidence), brier, tuple(found))

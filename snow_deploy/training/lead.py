"""How far one network is ahead of another on the same pictures, and between which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from snow_runtime.paired_tests import Counts, lower_bound

ERROR: Final = 0.025
"""On either side: together an interval of 95 %."""


@dataclass(frozen=True)
class Lead:
    """How much larger one's accuracy is.

    Attributes:
        pictures: Both answered.
        mean: Difference of the accuracies, -1 to 1.
        low: Lower bound of it.
        high: Upper bound.
    """

    pictures: int
    mean: float
    low: float
    high: float

    def text(self) -> str:
        """Write it as `+0.012 (-0.010 to +0.034)`."""
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def lead_of(pictures: int, won: float, lost: float) -> Lead:
    """Bound a lead. Which of the two is called first makes no difference but the sign.

    Args:
        pictures: Number that both answered.
        won: Pictures on which the one is better.
        lost: Pictures on which the other is.
    """
    ahead, behind = Counts(pictures, won, lost), Counts(pictures, lost, won)
    mean = (won - lost) / pictures
    return Lead(pictures, mean, lower_bound(ahead, ERROR), -lower_bound(behind, ERROR))

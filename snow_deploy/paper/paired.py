"""How far SNOW is ahead of a scheme on the same pictures, and between which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_calibration.paired_tests import Counts, lower_bound, upper_bound
from snow_deploy.training.answers import read_answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.paper.accuracies import Reached
    from snow_deploy.paper.study import Study
    from snow_deploy.training.answers import Answers

ERROR: Final = 0.025
"""On either side: together an interval of 95 %."""


@dataclass(frozen=True)
class Lead:
    """How much larger SNOW's accuracy is.

    Attributes:
        pictures: Both answered.
        mean: Difference of the accuracies, the mean over the seeds, -1 to 1.
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


def lead(study: Study, snow: Sequence[Reached], other: Sequence[Reached]) -> Lead | None:
    """Compare two contenders picture by picture, a seed of one with the same seed of the other.

    The pictures of different seeds are the same ones, so the seeds are not counted as more
    pictures: the bounds are those of one run whose pictures are lost and won at the mean rates,
    and are wider than what many seeds would allow, never narrower.

    Args:
        study: Its store holds the runs.
        snow: SNOW's runs by seed.
        other: The other contender's, by the same seeds.

    Returns:
        None where a run's answers were not kept, or are to other pictures.
    """
    lost = won = pictures = 0
    for mine, theirs in zip(snow, other, strict=True):
        first, second = _answers(study, mine), _answers(study, theirs)
        if first is None or second is None or pictures not in {0, len(first.index)}:
            return None
        same = (
            np.array_equal(first.index, second.index),
            np.array_equal(first.target, second.target),
        )
        if not all(same):
            return None
        pictures = len(first.index)
        right, rights = first.right(), second.right()
        lost += int((right & ~rights).sum())
        won += int((~right & rights).sum())
    seeds = len(snow)
    counts = Counts(pictures, lost / seeds, won / seeds)
    mean = (counts.lost - counts.won) / pictures
    return Lead(pictures, mean, lower_bound(counts, ERROR), upper_bound(counts, ERROR))


def _answers(study: Study, reached: Reached) -> Answers | None:
    return None if reached.run is None else read_answers(study.store.run_path(reached.run))

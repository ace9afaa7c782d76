"""How far SNOW is ahead of a scheme on the same pictures, and between which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_calibration.paired_tests import Counts, lower_bound
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
    and are wider than what many seeds would allow, never narrower. Which of the two is called
    first makes no difference but the sign.

    Args:
        study: Its store holds the runs.
        snow: SNOW's runs by seed.
        other: The other contender's, by the same seeds.

    Returns:
        None where a run's answers were not kept, or are to other pictures.
    """
    lost = won = 0
    asked: Answers | None = None
    for mine, theirs in zip(snow, other, strict=True):
        first, second = _answers(study, mine), _answers(study, theirs)
        if first is None or second is None:
            return None
        asked = asked or first
        if not (_same_pictures(asked, first) and _same_pictures(asked, second)):
            return None
        right, rights = first.right(), second.right()
        lost += int((right & ~rights).sum())
        won += int((~right & rights).sum())
    if asked is None:
        return None
    seeds, pictures = len(snow), len(asked.index)
    ahead = Counts(pictures, lost / seeds, won / seeds)
    behind = Counts(pictures, won / seeds, lost / seeds)
    mean = (ahead.lost - ahead.won) / pictures
    return Lead(pictures, mean, lower_bound(ahead, ERROR), -lower_bound(behind, ERROR))


def _same_pictures(one: Answers, two: Answers) -> bool:
    same_index = np.array_equal(one.index, two.index)
    return same_index and np.array_equal(one.target, two.target)


def _answers(study: Study, reached: Reached) -> Answers | None:
    return None if reached.run is None else read_answers(study.store.run_path(reached.run))

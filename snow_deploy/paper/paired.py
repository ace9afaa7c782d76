"""How far SNOW is ahead of a scheme on the same pictures, and between which bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.training.answers import read_answers
from snow_deploy.training.lead import Lead, lead_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.paper.accuracies import Reached
    from snow_deploy.paper.study import Study
    from snow_deploy.training.answers import Answers


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
    won = lost = 0
    asked: Answers | None = None
    for mine, theirs in zip(snow, other, strict=True):
        first, second = _answers(study, mine), _answers(study, theirs)
        if first is None or second is None:
            return None
        asked = asked or first
        if not (_same_pictures(asked, first) and _same_pictures(asked, second)):
            return None
        right, rights = first.right(), second.right()
        won += int((right & ~rights).sum())
        lost += int((~right & rights).sum())
    if asked is None:
        return None
    return lead_of(len(asked.index), won / len(snow), lost / len(snow))


def _same_pictures(one: Answers, two: Answers) -> bool:
    same_index = np.array_equal(one.index, two.index)
    return same_index and np.array_equal(one.target, two.target)


def _answers(study: Study, reached: Reached) -> Answers | None:
    return None if reached.run is None else read_answers(study.store.run_path(reached.run))

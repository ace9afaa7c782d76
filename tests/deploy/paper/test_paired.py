"""How far one scheme is ahead of another on the same pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_deploy.paper.accuracies import Reached
from snow_deploy.paper.paired import lead
from snow_deploy.training.answers import Answers

if TYPE_CHECKING:
    from snow_deploy.paper.study import Study
    from snow_deploy.training.lead import Lead

PICTURES = 200


def answers(seed: int, share: float) -> Answers:
    """Return answers to all pictures, of which about a share is right."""
    random = np.random.default_rng(seed)
    target = np.random.default_rng(99).integers(0, 2, PICTURES)
    first = np.where(random.random(PICTURES) < share, target, 1 - target)
    return Answers(np.arange(PICTURES), target, np.stack([first, 1 - first], 1))


def kept(study: Study, name: str, each: Answers) -> Reached:
    each.write(study.store.run_path(name))
    return Reached(each.accuracy(), None, name)


@pytest.fixture
def pair(study: Study) -> tuple[list[Reached], list[Reached]]:
    return (
        [kept(study, f"a{seed}", answers(seed, 0.9)) for seed in (0, 1)],
        [kept(study, f"b{seed}", answers(10 + seed, 0.8)) for seed in (0, 1)],
    )


def measured(study: Study, pair: tuple[list[Reached], list[Reached]]) -> Lead:
    found = lead(study, *pair)
    assert found is not None
    return found


def test_the_lead_is_the_difference_of_the_mean_accuracies(
    study: Study, pair: tuple[list[Reached], list[Reached]]
) -> None:
    one, two = (np.mean([each.accuracy for each in several]) for several in pair)

    found = measured(study, pair)

    assert found.mean == pytest.approx(one - two)
    assert found.low < found.mean < found.high
    assert found.pictures == PICTURES


def test_it_is_the_same_whichever_is_called_first(
    study: Study, pair: tuple[list[Reached], list[Reached]]
) -> None:
    found, turned = measured(study, pair), measured(study, (pair[1], pair[0]))

    assert (turned.mean, turned.low, turned.high) == pytest.approx(
        (-found.mean, -found.high, -found.low)
    )


def test_answers_to_other_pictures_are_not_compared(
    study: Study, pair: tuple[list[Reached], list[Reached]]
) -> None:
    """Of a pair, of another seed's pair, or to fewer, as one could not be read."""
    skips = replace(answers(1, 0.9), index=np.arange(PICTURES) + 1)
    fewer = answers(1, 0.9)
    fewer = Answers(fewer.index[1:], fewer.target[1:], fewer.ranked[1:])
    for other in (skips, fewer):
        kept(study, "a1", other)
        assert lead(study, *pair) is None
    kept(study, "a1", skips)
    kept(study, "b1", replace(answers(11, 0.8), index=skips.index))
    assert lead(study, *pair) is None

"""How many of the last hours have to look strange before chance is no explanation any more.

A task's bound of familiarity is an order statistic of its held-out training pictures: of m of them
the share `kept` lies within. If the frames of a camera were like those, the share of them beyond it
would be a draw of a Beta distribution, Beta(m + 1 - r, r) with r = ceil((m + 1) kept), whatever the
features (S. Wilks, Determination of sample sizes for setting tolerance limits, Annals of
Mathematical Statistics 12, 1941). To count the new sample's values beyond the old sample's order
statistic is the two-sample exceedance test (P. Nelson, Tables for a precedence life test,
Technometrics 5, 1963; N. Balakrishnan, H. Ng, Precedence-Type Tests and Applications, Wiley 2006).

Frames of one camera are not independent, so that not they are counted but blocks of many minutes: a
block is strange where more than half of its frames are beyond the bound. By Markov's inequality
that is at most twice as likely as that one frame is, however the frames of a block hang together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from snow_runtime.readout.import_learn import import_learn

WRONG: Final = 0.05
"""Added to the share beyond the bound, which was found on rightly answered pictures alone."""
_GRID: Final = 400


@dataclass(frozen=True)
class Bound:
    """What a bound was found on.

    Attributes:
        held_out: m, how many held-out pictures.
        kept: Share of them within it, 0 to 1.
        added: Share beyond it that is added to what they show.
    """

    held_out: int
    kept: float
    added: float = WRONG


def fewest_strange(bound: Bound, blocks: int, looks: int, error: float) -> int | None:
    """Say how many blocks of the last ones have to be strange for an alarm.

    Args:
        bound: What the bound was found on.
        blocks: How many last blocks are looked at together.
        looks: How often that is, in the time that `error` is about.
        error: Largest probability of an alarm in that time, while all is as it was.

    Returns:
        The number; None where not even all of them would do.
    """
    for fewest in range(1, blocks + 1):
        if false_alarms(bound, (blocks, fewest), looks) <= error:
            return fewest
    return None


def false_alarms(bound: Bound, rule: tuple[int, int], looks: int) -> float:
    """Bound the probability of one alarm or more while all is as it was.

    Blocks are taken to be independent, looks are not (Bonferroni).

    Args:
        bound: What the bound was found on.
        rule: How many last blocks are looked at, and how many of them have to be strange.
        looks: How often.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    special = import_learn("scipy.special")
    rank = min(bound.held_out, math.ceil((bound.held_out + 1) * bound.kept))
    grid = (np.arange(_GRID) + 0.5) / _GRID
    beyond = special.betaincinv(bound.held_out + 1 - rank, rank, grid) + bound.added
    blocks, fewest = rule
    chance = special.bdtrc(fewest - 1, blocks, np.minimum(1, 2 * beyond))
    return float(np.minimum(1, looks * chance).mean())

"""What counts of answers lost and won say of a drop: tests and bounds for paired proportions.

Two networks answer the same M pictures. `lost` were right before and are wrong now, `won` the
other way round; the others tell nothing of the drop, (lost - won) / M. All shares are 0 to 1.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17 (1998) 891-908: the score, and its interval.
    P. Chang, R. Liu, T. Hou, X. Yan, G. Shan, Continuity corrected score confidence interval for
    the difference in proportions in paired data, Journal of Applied Statistics 51 (2024).
    Q. McNemar, Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 12 (1947) 153-157; exact, by the binomial distribution.
    C. Clopper, E. Pearson, The use of confidence or fiducial limits illustrated in the case of the
    binomial, Biometrika 26 (1934) 404-413.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_CORRECTION: Final = 0.5
"""Of an answer, against whoever claims that the drop is smaller: never claimed too easily then."""

_CORRECTION_ABOVE: Final = 1.0
"""The same where it is claimed to be larger: rare losses are skewed towards many."""

_NORMAL: Final = NormalDist()
_STEPS: Final = 60  # of a bisection, which leaves 1e-18


class Counts(NamedTuple):
    """Answers to the same pictures, before and after.

    Attributes:
        pictures: How many there are, M.
        lost: Pictures that were right before and wrong after.
        won: Pictures that were wrong before and right after.

    The numbers need not be whole, so that rates can be tried on other numbers of pictures.
    """

    pictures: float
    lost: float
    won: float

    def scaled(self, pictures: float) -> Counts:
        """Return as many pictures at the same rates."""
        factor = pictures / self.pictures
        return Counts(pictures, self.lost * factor, self.won * factor)


def p_value_below(counts: Counts, drop: float) -> float:
    """Return the p-value of a drop of at least `drop`: where it is small, the drop is smaller."""
    return 0.0 if drop >= 1 else _NORMAL.cdf(_score(counts, drop, _CORRECTION))


def p_value_above(counts: Counts, drop: float) -> float:
    """Return the p-value of a drop of at most `drop`: where it is small, the drop is larger.

    With few answers lost the score errs more often than it says, so that the binomial tail has to
    agree with it, which is exact where none are won. Together they err no more often than is said.
    """
    if drop >= 1:
        return 1.0
    value = _NORMAL.cdf(-_score(counts, drop, -_CORRECTION_ABOVE))
    if drop <= 0:
        return value
    return max(value, _as_many(counts.lost - counts.won, counts.pictures, drop))


def upper_bound(counts: Counts, error: float) -> float:
    """Return an upper bound of the drop, which it exceeds with probability `error` at most."""
    return _turn(lambda drop: p_value_below(counts, drop) < error, counts, 1.0)


def lower_bound(counts: Counts, error: float) -> float:
    """Return a lower bound of the drop, below which it is with probability `error` at most."""
    return _turn(lambda drop: p_value_above(counts, drop) < error, counts, -1.0)


def mcnemar(lost: int, won: int) -> float:
    """Return the exact two-sided p-value of no difference: lost and won are equally frequent."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(lost, won), lost + won, 0.5)))


def rarer(seen: int, pictures: int, share: float) -> float:
    """Return the p-value of something being as frequent as `share`, seen so often or less."""
    from scipy.special import bdtr

    return float(bdtr(seen, pictures, share)) if share < 1 else 0.0


def most_frequent(seen: float, pictures: float, error: float) -> float:
    """Return the upper bound of Clopper and Pearson of how frequent something is."""
    from scipy.special import betaincinv

    return 1.0 if seen >= pictures else float(betaincinv(seen + 1, pictures - seen, 1 - error))


def _turn(shown: Callable[[float], bool], counts: Counts, end: float) -> float:
    """Return the drop nearest to the one seen, on the way to `end`, beyond which it is shown."""
    near, far = (counts.lost - counts.won) / counts.pictures, end
    for _ in range(_STEPS):
        middle = (near + far) / 2
        near, far = (near, middle) if shown(middle) else (middle, far)
    return far


def _as_many(seen: float, pictures: float, share: float) -> float:
    """Return the p-value of something being as rare as `share`, seen so often or more.

    As an incomplete beta function, for numbers that need not be whole.
    """
    from scipy.special import betainc

    return float(betainc(seen, pictures - seen + 1, share)) if seen > 0 else 1.0


def _score(counts: Counts, drop: float, correction: float) -> float:
    """Return Tango's score of the counts if the drop were `drop`, in (-1, 1).

    The share of answers won that is likeliest under that drop is the larger root of a quadratic.
    """
    pictures, lost, won = counts
    linear = (2 * pictures - lost + won) * drop - lost - won
    product = 8 * pictures * won * drop * (1 - drop)
    likeliest = (math.sqrt(max(linear * linear + product, 0)) - linear) / (4 * pictures)
    likeliest = max(likeliest, 0.0, -drop)
    variance = pictures * (2 * likeliest + drop * (1 - drop))
    distance = lost - won - pictures * drop + correction
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)

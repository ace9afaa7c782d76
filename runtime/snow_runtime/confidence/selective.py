"""The least probability from which on a stated share of the answers is right.

Answers below it are withheld as unsure: selective classification (Geifman & El-Yaniv, Selective
classification for deep neural networks, NeurIPS 2017), with a bound that holds for finitely many
pictures. Axes: M pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.confidence.temperature import Targets

ERROR: Final = 0.1
"""In so many cases the share may be below what is stated: the bound holds at 90 %."""
_COVERAGES: Final = (1.0, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


@dataclass(frozen=True)
class Selected:
    """A least probability, and what it does to the pictures that it was found on.

    Attributes:
        least_probability: Answers that are less certain are withheld; 0 withholds none.
        given: Share of the pictures that are answered, 0 to 1.
        right: Share of right answers among those.
    """

    least_probability: float
    given: float
    right: float


def certainties(
    probabilities: NDArray[np.floating[Any]], *, several: bool = False
) -> NDArray[np.float64]:
    """Return how certain each answer is, float64 `[M]`: what a least probability is compared with.

    It is the most probable label's probability; where several may be right, that of the least
    certain of the decisions about the labels, yes or no.
    """
    values = np.asarray(probabilities, np.float64)
    if several:
        return np.asarray(np.maximum(values, 1 - values).min(axis=1))
    return np.asarray(values.max(axis=1))


def right_answers(probabilities: NDArray[np.floating[Any]], targets: Targets) -> NDArray[np.bool_]:
    """Tell which answers are right, bool `[M]`; of several labels every one has to be."""
    if targets.ndim == 2:
        return np.asarray(((probabilities >= 0.5) == targets).all(axis=1))
    return np.asarray(probabilities.argmax(axis=1) == targets)


def least_probability(
    certainty: NDArray[np.float64],
    right: NDArray[np.bool_],
    share: float,
    error: float = ERROR,
) -> Selected | None:
    """Find the lowest bound that is shown to leave a share of right answers.

    A few shares of pictures to answer are tried. Of each the exact binomial bound (Clopper &
    Pearson) of the answers' accuracy counts, with the error divided among all that are tried. A
    larger share so never gives a lower bound.

    Args:
        certainty: float64 `[M]`, of answers about pictures that were not trained on.
        right: bool `[M]`, which of them are right.
        share: Share of right answers, in (0, 1), that those given are to have.
        error: In how many cases, 0 to 1, the true share may be lower.

    Returns:
        None where no bound shows it: there are too few pictures, or too many wrong ones among the
        surest.

    Raises:
        ValueError: `share` is not in (0, 1).
    """
    if not 0 < share < 1:
        msg = f"Cannot show a share of {share} right answers: expected a number between 0 and 1."
        raise ValueError(msg)
    count = len(certainty)
    ordered = np.sort(certainty)
    for coverage in _COVERAGES:
        kept = math.ceil(coverage * count)
        bound = 0.0 if kept == count else float(ordered[count - kept])
        given = certainty >= bound
        wrong = int((given & ~right).sum())
        if _tail(wrong, int(given.sum()), 1 - share) <= error / len(_COVERAGES):
            return Selected(bound, float(given.mean()), float(right[given].mean()))
    return None


def _tail(wrong: int, count: int, rate: float) -> float:
    """Return the probability of so few wrong ones of `count` at this rate: P(X <= wrong)."""
    if wrong >= count:
        return 1.0
    if rate == 1:  # 1 less a share that rounds to nothing
        return 0.0
    terms = [
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(rate)
        + (count - k) * math.log1p(-rate)
        for k in range(wrong + 1)
    ]
    return min(1.0, math.fsum(math.exp(term) for term in terms))

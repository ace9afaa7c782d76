"""Between which bounds an accuracy is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snow_deploy.training.lead import ERROR
from snow_runtime.paired_tests import most_frequent

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGMAS: Final = 1.96  # standard errors to either side of an interval of 95 %


def accuracy_interval(right: NDArray[np.float32]) -> tuple[float, float]:
    """Bound an accuracy on both sides, together at 95 %.

    Where every picture is right or wrong as a whole, by Clopper and Pearson; else, of several
    labels a picture, by the normal distribution of the pictures' means.

    Args:
        right: float32 [P], the share of each picture's labels that is right.
    """
    count = len(right)
    if np.isin(right, (0, 1)).all():
        yes = int(right.sum())
        return 1 - most_frequent(count - yes, count, ERROR), most_frequent(yes, count, ERROR)
    mean, error = float(right.mean()), float(right.std()) / count**0.5
    return max(0.0, mean - _SIGMAS * error), min(1.0, mean + _SIGMAS * error)

"""The temperature of a task: the one number that its logits are divided by.

Guo, Pleiss, Sun & Weinberger, On calibration of modern neural networks, ICML 2017, section 4.2.
Axes: M pictures; C labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from snow_runtime.confidence.probabilities import each_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Targets: TypeAlias = NDArray[np.int64] | NDArray[np.bool_]

LOWEST: Final = 0.05
HIGHEST: Final = 20.0
"""A temperature is looked for between these; what would be beyond is taken for chance."""
FEWEST_PICTURES: Final = 16
"""So few say less than no temperature at all."""
_HALVINGS: Final = 60
_DIGITS: Final = 6


def fit_temperature(logits: NDArray[np.float32], targets: Targets) -> float:
    """Find the temperature whose probabilities are the likeliest, on pictures not trained on.

    The loss is convex in the temperature's inverse, so its slope is halved to 0. As in Platt's
    scaling (1999) what is right counts as (M + 1)/(M + 2) sure, not as wholly sure: else pictures
    that are all answered rightly would make every answer certain.

    Args:
        logits: float32 `[M, C]`, finite.
        targets: int64 `[M]`, the label of each; or bool `[M, C]` where several may be right, and
            each label is a question of its own.

    Returns:
        The temperature; above 1 where the logits are too sure. 1 of fewer pictures than
        `FEWEST_PICTURES`, and where none changes anything, as of a task with one label.
    """
    if len(logits) < FEWEST_PICTURES:
        return 1.0
    values = logits.astype(np.float64)
    return _likeliest(values, _softened(values, targets), several=targets.ndim == 2)


def match_temperature(
    logits: NDArray[np.float32], reference: NDArray[np.float32], *, several: bool = False
) -> float:
    """Find the temperature at which one graph's probabilities are closest to another's.

    It needs no labels: the least cross-entropy is taken to what the other graph says, which has a
    temperature of its own already.

    Args:
        logits: float32 `[M, C]`, such as those of an INT8 graph.
        reference: float32 `[M, C]`, the other's logits over its temperature.
        several: Whether each label is a question of its own.
    """
    wanted = each_row(reference.astype(np.float64), several=several)
    return _likeliest(logits.astype(np.float64), wanted, several=several)


def _likeliest(values: NDArray[np.float64], wanted: NDArray[np.float64], *, several: bool) -> float:
    if not (values.any() if several else np.ptp(values, axis=1).any()):
        return 1.0  # every temperature gives the same probabilities
    low, high = math.log(1 / HIGHEST), math.log(1 / LOWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(values, wanted, math.exp(middle), several=several) < 0:
            low = middle
        else:
            high = middle
    return float(f"{math.exp(-(low + high) / 2):.{_DIGITS}g}")


def _softened(logits: NDArray[np.float64], targets: Targets) -> NDArray[np.float64]:
    """Return what is wanted of each probability, `[M, C]`."""
    count, labels = logits.shape
    doubt = 1 / (count + 2)
    if targets.ndim == 2:
        return np.asarray(np.where(targets, 1 - doubt, doubt))
    wanted = np.full(logits.shape, doubt / labels)
    wanted[np.arange(count), targets] += 1 - doubt
    return wanted


def _slope(
    logits: NDArray[np.float64], wanted: NDArray[np.float64], inverse: float, *, several: bool
) -> float:
    """Return how the cross-entropy changes with the temperature's inverse."""
    found = each_row(logits * inverse, several=several)
    return float(((found - wanted) * logits).sum(axis=1).mean())

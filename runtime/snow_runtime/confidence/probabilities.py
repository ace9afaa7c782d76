"""Logits to probabilities.

Axes: B pictures of a batch; C labels of a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.multilabel import Labelling

_NOT_FINITE: Final = (
    "The graph computed logits that are NaN or infinite, expected finite ones. Export it again in "
    "fp32; if that cures it, the numbers inside are too large for its precision."
)


def to_probabilities(
    logits: NDArray[np.float32], answers: Labelling, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Turn a task's logits `[B, C]` into probabilities `[B, C]`: see `softmax` and `sigmoid`.

    Args:
        logits: float32 `[B, C]`.
        answers: How many labels may be right.
        temperature: What the logits are divided by first; above 0. It changes how sure an answer
            is, never which one it is.

    Raises:
        GraphError: A logit is NaN or infinite, so that there are no probabilities.
    """
    scaled = logits if temperature == 1 else logits / np.float32(temperature)
    return softmax(scaled) if answers == "one" else sigmoid(scaled)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits into probabilities along the last axis, without overflow for any finite logits.

    Args:
        logits: float32 `[B, C]`.

    Returns:
        float32 `[B, C]`, each row in [0, 1] and summing to 1.

    Raises:
        GraphError: A logit is NaN or infinite, so that there are no probabilities.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    if not np.isfinite(probabilities).all():
        raise GraphError(_NOT_FINITE)
    return np.asarray(probabilities, np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn each logit into a probability of its own, without overflow for any finite logit.

    Args:
        logits: float32 `[B, C]`.

    Returns:
        float32 `[B, C]`, each in [0, 1].

    Raises:
        GraphError: A logit is NaN or infinite, so that there is no probability.
    """
    if not np.isfinite(logits).all():
        raise GraphError(_NOT_FINITE)
    shrunk = np.exp(-np.abs(logits))  # at most 1; it underflows to 0 where the logit is far off
    return np.asarray(np.where(logits >= 0, 1, shrunk) / (1 + shrunk), np.float32)


def each_row(logits: NDArray[Any], *, several: bool = False) -> NDArray[Any]:
    """Return the softmax of each row, or with `several` the sigmoid of each logit.

    In the precision of the logits, which are not looked at: fits compute with it.

    Args:
        logits: float32 or float64 `[B, C]`, finite.
        several: Whether several labels may be right.
    """
    if several:
        return np.asarray(np.exp(-np.logaddexp(0, -logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))

"""From a histogram of magnitudes to the largest one that INT8 should hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ThresholdMethod = Literal["entropy", "percentile", "minmax", "mse"]

BINS: Final = 2048
LEVELS: Final = 127
"""The largest INT8 value; -128 is not used, so that zero lies in the middle."""
PERCENTILE: Final = 99.99
_STEP: Final = 8  # bins between two candidates


def threshold(counts: NDArray[np.int64], largest: float, method: ThresholdMethod) -> float:
    """Choose the magnitude beyond which values are clipped.

    Args:
        counts: [BINS]; how many values lie in each of BINS equal steps from 0 to `largest`.
        largest: The largest magnitude seen, > 0.
        method: `minmax` clips nothing; `percentile` clips one value in 10,000; `mse` makes the
            mean squared error of quantisation smallest; `entropy` the Kullback-Leibler
            divergence (S. Migacz, "8-bit inference with TensorRT", GTC 2017).

    Returns:
        The threshold, in (0, largest].
    """
    if method == "minmax":
        return largest
    weights = _without_zeros(counts)
    if method == "percentile":
        upto = np.cumsum(weights)
        kept = int(np.searchsorted(upto, upto[-1] * PERCENTILE / 100)) + 1
    elif method == "mse":
        kept = _least_error(weights)
    else:
        kept = _least_divergence(weights)
    return largest * min(kept, len(counts)) / len(counts)


def _without_zeros(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the first step like the second: the zeros of a ReLU fit every scale."""
    weights = counts.astype(np.float64)
    weights[0] = min(weights[0], weights[1])
    return weights if weights.any() else np.ones_like(weights)


def _candidates(bins: int) -> range:
    return range(LEVELS + 1, bins + 1, _STEP)


def _least_error(counts: NDArray[np.float64]) -> int:
    centres = np.arange(len(counts)) + 0.5
    errors = []
    for kept in _candidates(len(counts)):
        step = kept / LEVELS
        rounded = np.rint(centres / step).clip(0, LEVELS) * step
        errors.append(float((counts * (centres - rounded) ** 2).sum()))
    return _candidates(len(counts))[int(np.argmin(errors))]


def _least_divergence(counts: NDArray[np.float64]) -> int:
    divergences = [_divergence(counts, kept) for kept in _candidates(len(counts))]
    return _candidates(len(counts))[int(np.argmin(divergences))]


def _divergence(counts: NDArray[np.float64], kept: int) -> float:
    """Return KL(P || Q): P clips the tail into its last bin, Q spreads each level over its bins."""
    inside = counts[:kept]
    clipped = inside.copy()
    clipped[-1] += counts[kept:].sum()
    level = np.arange(kept) * (LEVELS + 1) // kept
    filled = inside > 0
    total = np.bincount(level, inside, LEVELS + 1)
    spread = np.bincount(level, filled, LEVELS + 1)
    quantised = np.where(filled, (total / np.maximum(spread, 1))[level], 0)
    if not quantised.any():
        return float("inf")
    expected, seen = clipped / clipped.sum(), quantised / quantised.sum()
    if (seen[expected > 0] == 0).any():  # the clipped tail fell on an empty bin
        seen = np.where(seen > 0, seen, 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(expected > 0, expected * np.log(expected / seen), 0)
    return float(terms.sum())

"""How far pictures lie from each other in pooled features.

The distance is one minus the cosine: how bright or busy a picture is scales all of its features and
says little of what it shows. What is near depends on the network and on the cameras, so every other
module here measures by the typical distance.

Axes: M and N pictures; F features.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLED: Final = 500
_SKETCHED: Final = 1024
_LEAST: Final = 1e-6  # what float16 features leave of the distance of a picture from itself


def sketched(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Give features in fewer numbers that keep how far pictures lie from each other.

    Each of them is the sum of some features with signs drawn once and for all (M. Charikar,
    K. Chen, M. Farach-Colton, Finding frequent items in data streams, ICALP 2002); squared
    distances keep to some 5 %.

    Args:
        features: Pooled features `[M, F]`; what is not finite counts as 0.

    Returns:
        float32 `[M, F]`, or `[M, 1024]` where there are more.
    """
    found = np.nan_to_num(np.asarray(features, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    width = found.shape[1]
    if width <= _SKETCHED:
        return found
    order, signs, starts = _sums_of(width)
    return np.add.reduceat(found[:, order] * signs, starts, axis=1)


@cache
def _sums_of(width: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Give an order of so many features, their signs in it, and where each sum begins."""
    rng = np.random.default_rng(0)
    signs = rng.integers(0, 2, width).astype(np.float32) * 2 - 1
    return rng.permutation(width), signs, np.arange(_SKETCHED) * width // _SKETCHED


def directions(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale features to length one.

    Args:
        features: Pooled features `[M, F]`; what is not finite counts as 0.

    Returns:
        float32 `[M, F]`; a picture without any feature stays 0.
    """
    found = np.nan_to_num(np.asarray(features, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distances between directions `[M, F]` and `[N, F]`, float32 `[M, N]` in [0, 2]."""
    return np.asarray(np.clip(1 - one @ other.T, 0, 2), np.float32)


def typical_distance(between: NDArray[np.float32]) -> float:
    """Return the median distance of two pictures.

    Args:
        between: Distances `[M, M]` of pictures from each other; of many, some hundreds are looked
            at, evenly spread.

    Returns:
        Distance above 0; that of unlike pictures, 1, where there are not two.
    """
    if len(between) < 2:
        return 1.0
    chosen = np.unique(np.linspace(0, len(between) - 1, min(len(between), _SAMPLED)).astype(int))
    part = between[np.ix_(chosen, chosen)]
    return max(float(np.median(part[np.triu_indices(len(chosen), 1)])), _LEAST)

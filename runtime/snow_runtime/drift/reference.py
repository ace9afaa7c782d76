"""What a question's training pictures look like, where they are at hand: how far apart they are.

A frame's distance is that to the third nearest training picture, in the source's features as
familiarity has them. It is compared with the distances of training pictures to the others; those of
one moment do not count as neighbours.

Axes: N pictures; F features; K features that are looked at.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.confidence.familiarity import last_of_each_width, normed_features
from snow_runtime.drift.exceedance import Bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.graph.features_entry import TapEntry

FEWEST: Final = 16
"""Moments; fewer say too little of what is usual."""
_MOST: Final = 400
_KEPT: Final = 0.9
_NEIGHBOUR: Final = 3
_FLOOR: Final = 0.3  # of the mean deviation, added to each: what hardly varies stays quiet


class Reference:
    """Training pictures that frames are compared with.

    Args:
        features: `[N, F]`, of the training pictures.
        moments: int64 `[N]`, which of them tell much the same.
        taps: Whose features they are.

    Attributes:
        bound: What the bound was found on.
    """

    def __init__(
        self,
        features: NDArray[np.floating[Any]],
        moments: NDArray[np.int64],
        taps: Sequence[TapEntry],
    ) -> None:
        if len(features) > _MOST:
            rows = np.linspace(0, len(features) - 1, _MOST).astype(np.int64)
            features, moments = features[rows], moments[rows]
        self._taps = taps
        self._chosen = last_of_each_width(taps)
        normed = normed_features(features, taps, self._chosen)
        deviation = normed.std(axis=0)
        self._centre = normed.mean(axis=0)
        self._scale = deviation + _FLOOR * max(float(deviation.mean()), 1e-9)
        self._rows = (normed - self._centre) / self._scale
        self._squares = np.einsum("nk,nk->n", self._rows, self._rows)
        apart = self._distances(self._rows)
        apart[moments[:, np.newaxis] == moments[np.newaxis]] = np.inf
        own = np.sort(_near(apart))
        rank = min(len(own), math.ceil((len(own) + 1) * _KEPT))
        self._limit = max(float(own[rank - 1]), 1e-9)
        self.bound = Bound(len(np.unique(moments)), _KEPT, 0.0)

    def unlikeness(self, features: NDArray[np.float32]) -> float:
        """Say how unlike them a frame with features float32 `[F]` is: above 1 beyond the bound."""
        normed = normed_features(features[np.newaxis], self._taps, self._chosen)
        found = _near(self._distances((normed - self._centre) / self._scale))
        return float(found[0]) / self._limit

    def _distances(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give distances `[M, N]` of rows `[M, K]` from the training pictures."""
        squares = np.einsum("mk,mk->m", rows, rows)[:, np.newaxis] + self._squares
        return np.asarray(np.sqrt(np.maximum(squares - 2 * rows @ self._rows.T, 0)), np.float64)


def _near(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the third smallest of each row."""
    place = min(_NEIGHBOUR, distances.shape[1]) - 1
    return np.partition(distances, place, axis=1)[:, place]


def reference_of(
    features: NDArray[np.floating[Any]], moments: NDArray[np.int64], taps: Sequence[TapEntry]
) -> Reference | None:
    """Give a reference; None where the pictures are of too few moments."""
    return None if len(np.unique(moments)) < FEWEST else Reference(features, moments, taps)

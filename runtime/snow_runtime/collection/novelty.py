"""How unlike the pictures kept before a picture is, by a sketch of its features.

A sketch is a fixed random choice of the features, each measured in units of how much it has varied
of late. Of a view the latest sketches kept are remembered. So it takes a fraction of a millisecond
a picture and some tens of kilobytes a view, however many features there are.

Axes: K sketches kept; D features of a sketch; F features of the source.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEPT: Final = 64  # K
_SIZE: Final = 64  # D
_FOLLOW: Final = 1 / 200  # how fast figures of late forget
_LEAST_SEEN: Final = 30  # before it is known what is usual
_UNUSUAL: Final = 2.0  # standard deviations beyond what is usual


class Novelty:
    """Remembers the latest pictures kept of one view."""

    def __init__(self) -> None:
        self._begin(0)

    def look(self, features: NDArray[np.floating[Any]]) -> float:
        """Give how far a picture is from the nearest one kept, 1 being usual; inf where none is.

        Args:
            features: Float `[F]`; another F than before begins anew.
        """
        sketch = self._sketch(features)
        if not np.isfinite(sketch).all():  # nothing to compare with, ever
            return 0.0
        self._seen += 1
        follow = max(_FOLLOW, 1 / self._seen)
        self._mean += follow * (sketch - self._mean)
        self._square += follow * (sketch * sketch - self._square)
        kept = self._kept[: min(self._count, _KEPT)]
        if not len(kept):
            return math.inf
        variance = self._square - self._mean * self._mean
        apart = (kept - sketch) / np.sqrt(np.maximum(variance, 1e-12))
        found = math.sqrt(float(np.einsum("kd,kd->k", apart, apart).min()) / len(sketch))
        self._usual += follow * (found - self._usual)
        self._usual_square += follow * (found * found - self._usual_square)
        return found / self._usual if self._usual > 0 else 0.0

    def unusual(self, found: float) -> bool:
        """Tell whether what `look` gave is more than what is seen now and then."""
        if self._seen < _LEAST_SEEN or self._usual <= 0:
            return False
        spread = math.sqrt(max(0.0, self._usual_square - self._usual**2)) / self._usual
        return found > 1 + max(_UNUSUAL * spread, 0.1)

    def keep(self, features: NDArray[np.floating[Any]]) -> None:
        """Remember a picture; the one remembered for the longest gives way."""
        sketch = self._sketch(features)
        if np.isfinite(sketch).all():
            self._kept[self._count % _KEPT] = sketch
            self._count += 1

    def _sketch(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        if len(features) != self._width:
            self._begin(len(features))
        return features[self._chosen].astype(np.float32)

    def _begin(self, width: int) -> None:
        self._width, size = width, min(_SIZE, width)
        self._chosen = np.random.default_rng(0).choice(width, size, replace=False)
        self._kept = np.zeros((_KEPT, size), np.float32)  # [K, D]
        self._count = self._seen = 0
        self._mean, self._square = np.zeros((2, size), np.float32)  # [D] each
        self._usual = self._usual_square = 0.0

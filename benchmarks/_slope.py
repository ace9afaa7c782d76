"""Whether something grows: the slope of a line through measurements, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_SURE = 1.96  # standard errors, for 95 of 100


@dataclass(frozen=True)
class Slope:
    """A slope with its interval of 95 %; infinite where nothing is known.

    Attributes:
        value: The slope.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def slope_of(times: Sequence[float], values: Sequence[float], parts: int = 30) -> Slope:
    """Fit a line by least squares through the medians of equal parts of a series.

    Medians of parts hardly depend on each other, as neighbouring measurements do.

    Args:
        times: When, ascending.
        values: What was measured.
        parts: How many parts, fewer of a short series.
    """
    pieces = min(parts, len(times))
    if pieces < 3:
        return Slope(0.0, -math.inf, math.inf)
    x, y = (
        np.array([np.median(part) for part in np.array_split(np.asarray(each, float), pieces)])
        for each in (times, values)
    )
    centred = x - x.mean()
    spread = float((centred**2).sum())
    slope = float((centred * y).sum()) / spread
    rest = y - y.mean() - slope * centred
    error = _SURE * math.sqrt(float((rest**2).sum()) / (pieces - 2) / spread)
    return Slope(slope, slope - error, slope + error)

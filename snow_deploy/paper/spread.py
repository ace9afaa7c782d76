"""Mean and spread over seeds."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return statistics.fmean(values)


def spread(values: Sequence[float]) -> float | None:
    """Return the sample's standard deviation; None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None

"""From times to figures: percentiles, and the ratio of two contenders with its interval.

Nothing here measures: the same times and seed give the same figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 1000
LEAST_ROUNDS: Final = 6
"""With fewer rounds than these, resampling them says little: there is no interval then."""


@dataclass(frozen=True)
class Summary:
    """What many times come to, in milliseconds.

    Attributes:
        p50_ms: The median.
        p90_ms: 90th percentile: nine of ten are at most as long; between two times, interpolated
            linearly.
        p99_ms: The same for 99 of 100; of fewer than 100 times, nearly the longest.
        mean_ms: The arithmetic mean.
        least_ms: The shortest.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    least_ms: float

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """A contender's median over another one's.

    Attributes:
        value: The ratio; below 1 where the contender is the faster one.
        low: Lower end of the interval; None where there were too few rounds for one.
        high: Its upper end.
        confidence: The share of such intervals that hold the true ratio, nearly.
    """

    value: float
    low: float | None
    high: float | None
    confidence: float = CONFIDENCE

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def summarise(times_ms: NDArray[np.float64]) -> Summary | None:
    """Summarise times; None where there are none, or where one is NaN, so not known.

    Args:
        times_ms: Times, `[N]`.
    """
    if len(times_ms) == 0 or np.isnan(times_ms).any():
        return None
    p50, p90, p99 = (float(value) for value in np.percentile(times_ms, (50, 90, 99)))
    return Summary(p50, p90, p99, float(times_ms.mean()), float(times_ms.min()))


def frames_per_s(latency_ms: NDArray[np.float64], batch: int) -> float | None:
    """Return how many pictures a caller gets answered a second who waits for each batch.

    Args:
        latency_ms: Latency of each call, `[N]`.
        batch: Pictures of a call.
    """
    total_ms = float(latency_ms.sum())
    return 1e3 * batch * len(latency_ms) / total_ms if total_ms > 0 else None


def ratio_of_medians(
    rounds: Sequence[NDArray[np.float64]],
    base: Sequence[NDArray[np.float64]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ratio:
    """Compare two contenders that took turns.

    The interval is the percentile bootstrap over rounds (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapters 8.5 and 13): whole rounds are drawn with replacement, both
    contenders' together. Calls of one turn resemble each other, and both have their turns while
    the machine is in the same state; drawing single calls would take them for independent ones
    and give too narrow an interval.

    Args:
        rounds: The contender's times, an array `[N]` a round; N may differ.
        base: The other one's, of the same rounds.
        seed: Seed of the draws.
        resamples: How many times rounds are drawn.

    Raises:
        ValueError: There are no times, or not the same number of rounds.
    """
    if len(rounds) != len(base) or not any(map(len, rounds)) or not any(map(len, base)):
        msg = (
            f"Cannot compare {len(rounds)} rounds with {len(base)}: expected as many of both, with "
            "times in them."
        )
        raise ValueError(msg)
    value = _median(rounds) / _median(base)
    if len(rounds) < LEAST_ROUNDS:
        return Ratio(value, None, None)
    draws = np.random.default_rng(seed).integers(0, len(rounds), (resamples, len(rounds)))
    ratios = [
        _median([rounds[index] for index in draw]) / _median([base[index] for index in draw])
        for draw in draws
    ]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(ratios, (tail, 100 - tail))
    return Ratio(value, float(low), float(high))


def _median(rounds: Sequence[NDArray[np.float64]]) -> float:
    return float(np.median(np.concatenate(rounds)))

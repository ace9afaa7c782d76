"""A budget of so many pictures in any hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOUR_S: Final = 3600.0


class HourlyBudget:
    """Tokens that come evenly; a few may wait, for moments when much happens.

    Args:
        hourly: Tokens in any hour, at most; 1 or more, also a fraction.
        burst: Share of them that may wait, in (0, 1); at least one token may.
    """

    def __init__(self, hourly: float, burst: float) -> None:
        self._most = max(1.0, hourly * burst)
        # In an hour those that waited can go, and those that come: together no more than `hourly`.
        # Where that is one alone, it comes every two hours.
        self._per_s = max(hourly - self._most, 0.5) / _HOUR_S
        self._left = self._most
        self._looked_s: float | None = None

    def has_one(self, now_s: float) -> bool:
        """Tell whether there is a token.

        Args:
            now_s: Monotonic time in seconds.
        """
        if self._looked_s is not None:
            self._left = min(self._most, self._left + (now_s - self._looked_s) * self._per_s)
        self._looked_s = now_s
        return self._left >= 1

    def replay(self, now_s: float, ages_s: Iterable[float]) -> None:
        """Take what was taken before, by another process; none was asked yet.

        Args:
            now_s: Monotonic time in seconds.
            ages_s: How long ago each was taken, in seconds.
        """
        for age_s in sorted(ages_s, reverse=True):
            self.has_one(now_s - age_s)
            self.take()
        # Where more was taken than is allowed now, an hour makes up for it.
        self._left = max(self._left, 1 - self._per_s * _HOUR_S)

    def take(self) -> None:
        """Take one that is there."""
        self._left -= 1

"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_LONGEST_EXPONENT = 64  # a float's exponent has room for it, whatever the factor


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow by a factor up to a bound, less a random share.

    The random share keeps the cameras of a site from coming back all at once after a power cut.

    Attributes:
        first_s: The delay after the first failure, in seconds.
        longest_s: The bound, in seconds.
        factor: What each delay is multiplied by for the next; at most 16.
        jitter: The largest share that is taken off, 0 to 1.

    Raises:
        ValueError: A value is out of its range.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (
            0 < self.first_s <= self.longest_s < float("inf")
            and 1 <= self.factor <= 16
            and 0 <= self.jitter <= 1
        ):
            msg = (
                f"Cannot wait as {self} says: expected 0 < first_s <= longest_s, a factor of 1 to "
                "16 and a jitter of 0 to 1. Change what is out of its range."
            )
            raise ValueError(msg)

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Draw the delay after failure number ``attempt``, counted from 0, in seconds."""
        grown = self.first_s * self.factor ** min(attempt, _LONGEST_EXPONENT)
        return min(grown, self.longest_s) * (1 - self.jitter * rng.random())

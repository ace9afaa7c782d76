"""The time, as cameras read it; a test gives one of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on two clocks.

    Attributes:
        monotonic_s: Seconds of the clock that never jumps: for ages and differences.
        unix_s: Seconds since 1970: for logs, and to compare with other machines.
    """

    monotonic_s: float
    unix_s: float


class Clock:
    """The system's clocks, and waiting between attempts to connect."""

    def now(self) -> Instant:
        """Read both clocks."""
        return Instant(self.monotonic_s(), time.time())

    def monotonic_s(self) -> float:
        """Read the clock that never jumps, in seconds."""
        return time.monotonic()

    def pause(self, stop: threading.Event, seconds: float) -> bool:
        """Wait between two attempts to connect.

        Args:
            stop: Event that ends the wait early.
            seconds: How long at most.

        Returns:
            Whether ``stop`` is set.
        """
        return stop.wait(seconds)


SYSTEM_CLOCK = Clock()

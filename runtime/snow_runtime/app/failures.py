"""A model that fails now and then, and one that fails for good."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from snow_runtime.app.throttled_logger import ThrottledLogger
from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST: Final = 10  # failures in a row, however long they took


class Failures:
    """Counts failures in a row, and gives up when there is nothing else for long enough.

    A process that ends with an error is started again by whoever watches over it; one that fails
    at every frame and goes on is not.

    Args:
        patience_s: How long failures may follow one another, in seconds.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, patience_s: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._faults = ThrottledLogger(logging.getLogger(__name__), clock=clock)
        self._count = 0
        self._since_s = 0.0

    def failed(self, error: Exception, frames: int) -> None:
        """Note one.

        Raises:
            GraphError: There has been nothing else for too long.
        """
        if self._count == 0:
            self._since_s = self._clock()
        self._count += 1
        self._faults.warning(f"a batch of {frames} frames was left out: {error}")
        lasted_s = self._clock() - self._since_s
        if self._count >= _LEAST and lasted_s >= self._patience_s:
            msg = (
                f"The model has failed {self._count} times in a row for {lasted_s:.0f} s, expected "
                f"answers. The last time: {error}"
            )
            raise GraphError(msg) from error

    def succeeded(self) -> None:
        """Note that it works."""
        self._count = 0

"""Warnings and errors about what goes on going wrong: the first at once, then one a minute."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ThrottledLogger:
    """Logs a warning, unless it has done so within the last minute; then it counts.

    Args:
        logger: Logger to write to.
        every_s: How long to be quiet after a warning, in seconds.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        logger: logging.Logger,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next_s: float | None = None
        self._kept_back = 0

    def warning(self, message: str) -> None:
        """Log it, with how many were kept back since the last one."""
        self._log(logging.WARNING, message)

    def error(self, message: str, error: Exception) -> None:
        """Log what went wrong likewise, and where."""
        self._log(logging.ERROR, message, error)

    def _log(self, level: int, message: str, error: Exception | None = None) -> None:
        now = self._clock()
        with self._lock:
            if self._next_s is not None and now < self._next_s:
                self._kept_back += 1
                return
            more, self._kept_back = self._kept_back, 0
            self._next_s = now + self._every_s
        more_text = f" ({more} more since the last time)" * bool(more)
        self._logger.log(level, "%s%s", message, more_text, exc_info=error)

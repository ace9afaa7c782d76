"""TensorRT's log: one logger a process, for TensorRT ignores every further one."""

from __future__ import annotations

import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

from contextlib import contextmanager

_LOGGER = logging.getLogger("snow_runtime.tensorrt")
_ONE_AT_A_TIME = threading.RLock()


class Log:
    """What TensorRT said during one piece of work.

    Attributes:
        logger: Logger to be handed to TensorRT.
        errors: Its errors.
        layers: Lines that list compiled layers.
    """

    def __init__(self, logger: Any) -> None:
        self.logger = logger
        self.errors: list[str] = []
        self.layers: list[str] = []

    @property
    def last_error(self) -> str:
        """The last error as a sentence."""
        return f"{self.errors[-1].strip().rstrip('.')}." if self.errors else "it gives no reason."

    def hear(self, message: str, *, error: bool) -> None:
        """Take in one message."""
        if error:
            self.errors.append(message)
        if "LayerType: " in message:
            self.layers += message.splitlines()


def collect_log(module: Any) -> AbstractContextManager[Log]:
    """Collect what TensorRT says within a `with` block; other threads wait for their turn."""
    return _listening(_logger(module))


@contextmanager
def _listening(logger: Any) -> Iterator[Log]:
    with _ONE_AT_A_TIME:
        before, logger.log_to = logger.log_to, Log(logger)
        try:
            yield logger.log_to
        finally:
            logger.log_to = before


@cache
def _logger(module: Any) -> Any:
    """Make the process's one logger for a library, which must not die before it."""
    severity = module.ILogger.Severity

    class Logger(module.ILogger):  # type: ignore[misc] # the base is untyped
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.log_to: Log | None = None

        def log(self, level: Any, msg: str) -> None:
            error = level <= severity.ERROR
            if self.log_to is not None:
                self.log_to.hear(msg, error=error)
            _LOGGER.debug("%s", msg)

    return Logger()

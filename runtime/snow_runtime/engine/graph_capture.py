"""Whether an engine's work is captured in CUDA graphs."""

from __future__ import annotations

import logging
import threading

_LOGGER = logging.getLogger(__name__)


class GraphCapture:
    """Whether CUDA graphs are captured; off for good when the engine refuses once.

    Args:
        wanted: Whether they are, to begin with.

    Attributes:
        wanted: Whether they still are.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted
        self._lock = threading.Lock()

    def refuse(self, reason: object) -> None:
        """Capture no more, and say so the first time."""
        with self._lock:
            first, self.wanted = self.wanted, False
        if first:
            _LOGGER.warning(
                "The engine runs without CUDA graphs, layer by layer, which is slower where "
                "layers are small: %s",
                reason,
            )

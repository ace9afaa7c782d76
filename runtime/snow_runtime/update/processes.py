"""Processes that end with the one that began them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG: Final = 1
FROM_OUTSIDE: Final = (signal.SIGTERM, signal.SIGINT)
"""Signals by which people and service managers end a process: no fault of it."""


def ends_with_parent(by: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """Return what a child calls before it begins, for Linux to end it with its parent.

    Args:
        by: Signal that it gets.
    """
    if not sys.platform.startswith("linux"):
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)

    return ask

"""Whether the terminal that a command was started from is still there."""

from __future__ import annotations

import os
from typing import Final

_TERMINAL: Final = "/dev/tty"


class Terminal:
    """The terminal of this process, and whether somebody has closed it.

    A shell that ends sends SIGHUP, as a person does who wants a model loaded anew: they differ in
    whether the terminal is there. A process that never had one, such as a service, lost none.
    """

    def __init__(self) -> None:
        self._had_one = _is_there()

    def was_closed(self) -> bool:
        """Tell whether this process had a terminal, and has it no more."""
        return self._had_one and not _is_there()

    def forget(self) -> None:
        """From now on take this process for one that never had a terminal."""
        self._had_one = False


def _is_there() -> bool:
    try:
        descriptor = os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:  # ENXIO: this session has none; EIO: it was hung up
        return False
    os.close(descriptor)
    return True

"""Who has a file open to write to it, as far as Linux lets this user see."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_PROCESSES: Final = Path("/proc")
_STANDARD: Final = {1: "standard output", 2: "standard error"}


def other_writer(descriptor: int, ours: Collection[int]) -> str | None:
    """Name somebody who writes to the file of a descriptor too.

    Args:
        descriptor: Descriptor of the file.
        ours: Descriptors of this process that may lead to it.

    Returns:
        `standard output` or `standard error` of this process, or `process N`; None for nobody.
    """
    wanted = _identity(descriptor)
    for number, name in _STANDARD.items():
        if _identity(number) == wanted:
            return name
    own = os.getpid()
    for process in (own, *_others(own)):
        for opened in _descriptors(process):
            with suppress(OSError, ValueError):  # it was closed, or has ended
                if process == own and opened in ours:
                    continue
                found = os.stat(_PROCESSES / f"{process}/fd/{opened}")  # noqa: PTH116 - it follows
                if (found.st_dev, found.st_ino) == wanted and _is_written(process, opened):
                    # Of ours it is what standard error leads to: the rest is known.
                    return "standard error" if process == own else f"process {process}"
    return None


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:  # it is closed
        return None
    return found.st_dev, found.st_ino


def _others(own: int) -> list[int]:
    with suppress(OSError):
        names = [entry.name for entry in _PROCESSES.iterdir()]
        return [int(name) for name in names if name.isdecimal() and int(name) != own]
    return []  # there is no /proc here


def _descriptors(process: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROCESSES / f"{process}/fd")]  # noqa: PTH208
    except OSError:  # another user's, or it has ended
        return []


def _is_written(process: int, descriptor: int) -> bool:
    """Tell whether a descriptor was opened to write."""
    facts = (_PROCESSES / f"{process}/fdinfo/{descriptor}").read_text()
    flags = next(line for line in facts.splitlines() if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY

"""Locks between processes, on files and folders; the system releases them with their holder."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL_S: Final = 0.01


@contextmanager
def hold_lock(path: Path, when_taken: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a folder, or of a file, which is made where there is none.

    A folder needs no right to write, and nothing is left in it.

    Args:
        path: The folder or file.
        when_taken: Callback, called once where another holds the lock, before the waiting for it
            begins; what it raises ends the waiting.

    Raises:
        OSError: It cannot be opened, or its file system has no locks.
    """
    from filelock import lock_descriptor

    flags = os.O_RDONLY if path.is_dir() else os.O_CREAT | os.O_RDWR
    descriptor = os.open(path, flags, 0o666)
    try:
        if not try_lock(descriptor):
            if when_taken is not None:
                when_taken()
            lock_descriptor(descriptor, poll_interval=_POLL_S)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file or folder until it is closed; return whether it was free.

    Raises:
        OSError: Its file system has no locks.
    """
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)

"""What glibc does with memory that is freed: torch's CPU tensors come from its heap."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIM_THRESHOLD: Final = -1  # malloc.h: M_TRIM_THRESHOLD
_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD
_LARGEST: Final = 2**31 - 1  # of a C int
_NEVER: Final = -1  # mallopt(3): trims nothing
_OWNERS_SETTINGS: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, instead of giving it back and taking it anew every step.

    A training step allocates the same large tensors over and over; each one that was given back
    is page faults and zeroing the next time. It holds for the whole process and can't be undone,
    so it is for commands to call, not for libraries.

    Returns:
        Whether it was set: not without glibc, and not where the environment sets one of these
        thresholds already.
    """
    if any(name in os.environ for name in _OWNERS_SETTINGS):
        return False
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def give_back_freed_memory() -> None:
    """Return what was freed to the system, once, so that what comes next is seen to take it."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """Find a function of glibc; other C libraries lack it, or have an empty shell of it."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # there is no such handle on Windows
        return None
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    return getattr(library, name, None)

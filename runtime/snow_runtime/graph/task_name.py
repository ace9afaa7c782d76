"""What a task may be called."""

from __future__ import annotations

import re
import reprlib
from typing import Final

from snow_runtime.errors import ManifestError

_TAKEN: Final = {"image": "the graph's input", "input": "what prepares it inside the graph"}
_TASK_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def check_task_name(name: str, *, allow_source: bool = False) -> str:
    """Give back ``name`` if a task may be called so: it names files, outputs and options.

    Args:
        name: A lower-case letter, then up to 63 of ``a-z 0-9 _ -``; not ``image``, the input.
        allow_source: Whether ``source`` may be used, which is kept for the source's own head.

    Raises:
        ManifestError: It may not.
    """
    if not _TASK_NAME.fullmatch(name):
        msg = (
            f"A task cannot be called {reprlib.repr(name)}: expected a lower-case letter, then up "
            "to 63 lower-case letters, digits, '_' or '-'. Choose another name."
        )
        raise ManifestError(msg)
    if name in _TAKEN or (name == "source" and not allow_source):
        meaning = _TAKEN.get(name, "the source's own head")
        msg = (
            f"A task cannot be called {name!r}: expected a name of its own, and that one stands "
            f"for {meaning}. Choose another name."
        )
        raise ManifestError(msg)
    return name

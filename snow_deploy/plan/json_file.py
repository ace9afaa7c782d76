"""JSON documents that other commands wrote, which may have been cut off, edited or mistaken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

# OverflowError: an infinite number of pictures; RecursionError: brackets without end.
WRONG: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What is raised where a document is not what it should be."""


def read_json(path: Path) -> Any:
    """Read a document, in UTF-8 or as Windows' shells write what commands print.

    Raises:
        OSError, ValueError, RecursionError: It cannot be read.
    """
    return json.loads(path.read_bytes())


def reason_of(error: Exception) -> str:
    """Say in a few words what is wrong, without the document."""
    if isinstance(error, OSError):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"{error.reason} at byte {error.start}"
    if isinstance(error, RecursionError):
        return "lists or tables lie too deep within each other"
    return f"{error!r} in it"

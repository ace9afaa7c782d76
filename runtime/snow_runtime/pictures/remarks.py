"""What is odd about a picture that can be used all the same, logged once for each kind.

A folder of ten thousand such pictures shall not give ten thousand lines.
"""

from __future__ import annotations

import logging
from typing import Final, Literal, NamedTuple

_LOGGER = logging.getLogger(__name__)

RemarkKind = Literal["range", "transparent"]

INFO_KEY: Final = "snow_runtime.remark"
"""Where :func:`snow_runtime.pictures.preprocessing.load_image` leaves one in a picture's `info`."""

_told: set[str] = set()
_quiet = False


class Remark(NamedTuple):
    """Something odd about a picture.

    Attributes:
        kind: Kind of the remark; one of each kind is logged.
        text: What is odd, and what to do.
    """

    kind: RemarkKind
    text: str


def tell_once(remark: Remark) -> None:
    """Log a warning, unless this process has logged one of its kind."""
    if _quiet or remark.kind in _told:
        return
    _told.add(remark.kind)
    _LOGGER.warning("%s (Told once; other pictures may be alike.)", remark.text)


def be_quiet() -> None:
    """Tell nothing in this process: another one does, which loads pictures through it."""
    global _quiet  # noqa: PLW0603 - of a whole process
    _quiet = True

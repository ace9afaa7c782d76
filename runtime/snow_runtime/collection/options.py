"""How much a collection keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_GIB: Final = 1 << 30


@dataclass(frozen=True)
class CollectionOptions:
    """How much is kept.

    Attributes:
        size_bytes: Bytes of pictures and features together, at most.
    """

    size_bytes: int = 2 * _GIB

"""How much a collection keeps, and of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from snow_runtime.errors import InputError

_GIB: Final = 1 << 30


@dataclass(frozen=True)
class CollectionOptions:
    """How much is kept.

    Attributes:
        size_bytes: Bytes of pictures and features together, at most.
        hourly: Pictures of each view of a camera in any hour, at most; half of them random ones.
        random_share: Share of all frames that is drawn at random, in [0, 1], whatever the answers
            are; where that is more than half of `hourly`, an even sample of them is kept.
        features: Whether pictures are kept with their features, which fitting needs.

    Raises:
        InputError: A number is out of its range.
    """

    size_bytes: int = 2 * _GIB
    hourly: int = 60
    random_share: float = 0.01
    features: bool = True

    def __post_init__(self) -> None:
        if self.size_bytes < 1 or self.hourly < 2 or not 0 <= self.random_share <= 1:
            msg = (
                f"A collection of {self.size_bytes} bytes that takes {self.hourly} pictures an "
                f"hour and {self.random_share} of all at random, expected a byte or more, 2 "
                "pictures or more, and a share between 0 and 1. Correct the numbers."
            )
            raise InputError(msg)

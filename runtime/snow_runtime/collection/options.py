"""How much a collection keeps, and of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from snow_runtime.errors import InputError

USUAL_BYTES: Final = 2 * 10**9
"""Room of a collection that was never given another."""


@dataclass(frozen=True)
class CollectionOptions:
    """How much is kept.

    Attributes:
        size_bytes: Bytes of pictures and features together, at most; the collection remembers it.
            None: as it was, or two gigabytes.
        hourly: Pictures of each view of a camera in any hour, at most; half of them random ones.
        random_share: Share of all frames that is drawn at random, in [0, 1], whatever the answers
            are; where that is more than half of `hourly`, an even sample of them is kept.
        features: Whether pictures are kept with their features, which fitting needs.

    Raises:
        InputError: A number is out of its range.
    """

    size_bytes: int | None = None
    hourly: int = 60
    random_share: float = 0.01
    features: bool = True

    def __post_init__(self) -> None:
        size_bytes = USUAL_BYTES if self.size_bytes is None else self.size_bytes
        if size_bytes < 1 or self.hourly < 2 or not 0 <= self.random_share <= 1:
            msg = (
                f"A collection of {size_bytes} bytes that takes {self.hourly} pictures an "
                f"hour and {self.random_share} of all at random, expected a byte or more, 2 "
                "pictures or more, and a share between 0 and 1. Correct the numbers."
            )
            raise InputError(msg)

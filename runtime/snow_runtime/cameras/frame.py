"""A picture that a camera took, as applications get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snow_runtime.cameras.clock import SYSTEM_CLOCK, Clock, Instant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one camera; no other reader gets it, and nobody writes to it later.

    Attributes:
        image: uint8 `[H, W, 3]`, blue first, 0 to 255; the caller's own.
        number: Number of the picture, counted from 0 by the camera, those that were dropped too: a
            gap between two frames is the number of pictures between them that nobody saw. It goes
            on across reconnections.
        captured_at: Time when the picture was here in full. How long the camera and the network
            took before cannot be known.
        camera: The camera's name.
        fresh_s: The age from which on it says nothing about the present, in seconds; None where
            every frame counts, however old.
    """

    image: NDArray[np.uint8] = field(repr=False)
    number: int
    captured_at: Instant
    camera: str
    clock: Clock = field(default=SYSTEM_CLOCK, repr=False)
    fresh_s: float | None = field(default=None, repr=False)

    @property
    def age_ms(self) -> float:
        """Milliseconds since the picture was here in full, as of now."""
        return (self.clock.monotonic_s() - self.captured_at.monotonic_s) * 1000

    @property
    def stale(self) -> bool:
        """Whether it is too old to be shown as the present."""
        return self.fresh_s is not None and self.age_ms > 1000 * self.fresh_s

"""What a camera's threads are told of it: how it is reached, and what may take how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from snow_runtime.cameras.clock import Clock
    from snow_runtime.cameras.options import CameraOptions
    from snow_runtime.cameras.sources.source import CameraSource


@dataclass(frozen=True)
class CameraSetup:
    """How one camera is read.

    Attributes:
        name: Name of the camera.
        make_source: Function that makes a source for each connection; called in a thread that reads
            it.
        live: Whether it is a camera: it never takes the same picture twice, and is connected again
            when a connection ends. A file may, and is not.
        options: Time limits and bounds.
        clock: The time.
        redact: Function that takes secrets out of an error's text.
        rng: Generator of the jitter of the delays between attempts.
    """

    name: str
    make_source: Callable[[], CameraSource]
    live: bool
    options: CameraOptions
    clock: Clock
    redact: Callable[[str], str]
    rng: random.Random

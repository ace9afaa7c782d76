"""A task that is asked about a view, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snow_runtime.app.questions.view import CameraView
from snow_runtime.errors import InputError


@dataclass(frozen=True)
class Question:
    """What is asked of one camera.

    Attributes:
        name: Name; one camera has it once.
        task: Name of the task that answers it.
        camera: Name of the camera.
        view: The part of the picture that it is about.
        seconds: Least time between two times that it is asked, in seconds; 0 for each frame.
        motion: Share of the view that has to have changed since it was asked last, in (0, 1]; None
            asks without.
        hold_s: Time for which it is asked on after something moved, in seconds, so that enough
            answers come for a state.

    Raises:
        InputError: A number is out of its range.
    """

    name: str
    task: str
    camera: str
    view: CameraView = CameraView()  # noqa: RUF009 - frozen
    seconds: float = 0.0
    motion: float | None = None
    hold_s: float = 5.0

    def __post_init__(self) -> None:
        wrong = not 0 <= self.seconds < math.inf or not 0 <= self.hold_s < math.inf
        if wrong or (self.motion is not None and not 0 < self.motion <= 1):
            msg = (
                f"The question {self.name} is asked every {self.seconds} s, for {self.hold_s} s "
                f"after a motion of {self.motion}, expected times of 0 or more, and a share above "
                "0 and up to 1. Correct the numbers."
            )
            raise InputError(msg)

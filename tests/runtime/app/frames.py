"""Cameras and models for the loop's tests, of plain Python."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_runtime.app.answers import FrameAnswer, TaskAnswer
from snow_runtime.cameras import Frame
from snow_runtime.cameras.clock import Instant
from snow_runtime.errors import GraphError, InputError
from snow_runtime.results import Result, TaskResult

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = ("pizza", "soup", "tea")


def frame_of(camera: str = "door", number: int = 0, value: int = 7) -> Frame:
    now = Instant(time.monotonic(), 1_700_000_000.5)
    return Frame(np.full((6, 8, 3), value, np.uint8), number, now, camera)


def answer_of(camera: str = "door", number: int = 0) -> FrameAnswer:
    return FrameAnswer(
        camera, number, 1_700_000_000.5, 12.34, 5.678, {"food": TaskAnswer("soup", 0.75)}
    )


class Cameras:
    """A group that gives prepared lists of frames, then has ended."""

    def __init__(self, *batches: Sequence[Frame]) -> None:
        self.batches = list(batches)

    @property
    def ended(self) -> bool:
        return not self.batches

    def wait(self, timeout_s: float, at_most: int | None = None) -> list[Frame]:
        assert timeout_s > 0
        if not self.batches:
            return []
        batch = list(self.batches[0])
        taken, left = batch[:at_most], batch[len(batch[:at_most]) :]
        self.batches[:1] = [left] if left else []
        return taken


class Model:
    """Answers with the first pixel's value: pizza below 100, else soup."""

    tasks = ("food", "birds")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def prepare(self, images: Sequence[Any], colour: str) -> list[int]:
        assert colour == "bgr"
        values = [int(image[0, 0, 0]) for image in images]
        if 254 in values:
            msg = "a picture that cannot be prepared"
            raise InputError(msg)
        return values

    def answer(self, values: list[int]) -> list[Result]:
        self.batches.append(len(values))
        if 255 in values:
            msg = "a batch that fails"
            raise GraphError(msg)
        return [Result([self._answer(name, value) for name in self.tasks], 5.0) for value in values]

    @staticmethod
    def _answer(name: str, value: int) -> TaskResult:
        probabilities = [0.7, 0.2, 0.1] if value < 100 else [0.1, 0.9, 0.0]
        return TaskResult(name, LABELS, np.array(probabilities, np.float32))

"""What can be looked at while the loop runs: the newest picture and answer of each camera."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from snow_runtime.app.states.log import StateLog

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.cameras import Frame


class LatestFrames:
    """The newest of each camera; the loop writes, any thread reads.

    Args:
        changes: Log of states; a new one by default.

    Attributes:
        changes: That log.
        hidden: Names of the tasks that are switched off for all cameras.
        off: Cameras and tasks, two by two, that are switched off.
    """

    def __init__(self, changes: StateLog | None = None) -> None:
        self.changes = StateLog() if changes is None else changes
        self._lock = threading.Lock()
        self._pictures: dict[str, NDArray[np.uint8]] = {}
        self._answers: dict[str, FrameAnswer] = {}
        self._shown: dict[str, int] = {}  # numbers of the pictures' frames
        self.hidden: frozenset[str] = frozenset()
        self.off: frozenset[tuple[str, str]] = frozenset()

    def go_on_from(self, before: LatestFrames | None, cameras: Collection[str]) -> None:
        """Take over what is switched off.

        Args:
            before: Where it was switched off.
            cameras: Names of the cameras that there are now.
        """
        if before is not None:
            with self._lock:
                self.hidden = before.hidden
                self.off = frozenset(each for each in before.off if each[0] in cameras)

    def put(self, frame: Frame, answer: FrameAnswer, idle: Collection[str] = ()) -> None:
        """Take the place of what the camera showed before.

        Args:
            frame: The frame.
            answer: The answers about it.
            idle: Questions that did not have to be asked about it: their last answers stay.
        """
        with self._lock:
            self._show(frame)
            before = self._answers.get(frame.camera)
            kept = {} if before is None else before.tasks
            stay = {name: kept[name] for name in idle if name in kept and name not in answer.tasks}
            if stay:
                answer = replace(answer, tasks={**answer.tasks, **stay})
            self._answers[frame.camera] = answer

    def show(self, frame: Frame) -> None:
        """Take the place of the picture alone: nothing was asked about it."""
        with self._lock:
            self._show(frame)

    def _show(self, frame: Frame) -> None:
        """Show a frame, unless a newer one is shown: its answer may have taken its time."""
        if frame.number >= self._shown.get(frame.camera, -1):
            self._shown[frame.camera] = frame.number
            self._pictures[frame.camera] = frame.image

    def switch(self, task: str, *, on: bool) -> None:
        """Show a task's answers, or hide them from all outputs."""
        with self._lock:
            self.hidden = self.hidden - {task} if on else self.hidden | {task}
            if on:
                self.off = frozenset(each for each in self.off if each[1] != task)

    def switch_of(self, camera: str, task: str, *, on: bool) -> None:
        """Show a task's answers about one camera, or hide them from all outputs."""
        with self._lock:
            self.off = self.off - {(camera, task)} if on else self.off | {(camera, task)}

    def shows(self, camera: str, task: str) -> bool:
        """Tell whether a task's answers about a camera are shown."""
        return task not in self.hidden and (camera, task) not in self.off

    def picture(self, camera: str) -> NDArray[np.uint8] | None:
        """Return the newest picture, uint8 `[H, W, 3]`, blue first; nobody writes to it."""
        with self._lock:
            return self._pictures.get(camera)

    def newest(self) -> dict[str, FrameAnswer]:
        """Return by camera its newest answer."""
        with self._lock:
            return dict(self._answers)

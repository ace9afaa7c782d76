"""What can be looked at while the loop runs: the newest picture and answers of each camera."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.app.answers import Answer
    from snow_runtime.cameras import Frame

_HISTORY: Final = 120


class Live:
    """The newest of each camera; the loop writes, any thread reads.

    Attributes:
        hidden: Names of the tasks that are switched off.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pictures: dict[str, NDArray[np.uint8]] = {}
        self._history: dict[str, deque[Answer]] = {}
        self._version = 0
        self.hidden: frozenset[str] = frozenset()

    def put(self, frame: Frame, answer: Answer) -> None:
        """Take the place of what the camera showed before."""
        with self._changed:
            self._pictures[frame.camera] = frame.image
            self._history.setdefault(frame.camera, deque(maxlen=_HISTORY)).append(answer)
            self._version += 1
            self._changed.notify_all()

    def switch(self, task: str, *, on: bool) -> None:
        """Show a task's answers, or hide them from all outputs."""
        with self._changed:
            self.hidden = self.hidden - {task} if on else self.hidden | {task}

    def picture(self, camera: str) -> NDArray[np.uint8] | None:
        """Return the newest picture, uint8 `[H, W, 3]`, blue first; nobody writes to it."""
        with self._changed:
            return self._pictures.get(camera)

    def wait(self, version: int, timeout_s: float) -> int:
        """Wait until something is newer than `version`; return what is the newest."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout_s)
            return self._version

    def newest(self) -> dict[str, Answer]:
        """Return by camera its newest answer."""
        with self._changed:
            return {camera: history[-1] for camera, history in self._history.items()}

    def answers(self) -> dict[str, list[dict[str, Any]]]:
        """Return by camera its latest answers as plain values, the oldest first."""
        with self._changed:
            return {
                camera: [answer.to_dict() for answer in history]
                for camera, history in self._history.items()
            }

"""Where a camera's thread leaves frames and readers fetch them: each frame once."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_runtime.cameras.frame import Frame


class Mailbox:
    """A bounded queue of frames between threads.

    Args:
        capacity: How many frames may wait.
        overwrite: Whether a new frame takes the place of the oldest when all are taken; else its
            thread waits.
        dropped: Callback that gets the number of frames thrown away.
        fresh_s: Frames that have waited for longer, in seconds, are thrown away; None keeps them.
    """

    def __init__(
        self,
        capacity: int,
        *,
        overwrite: bool,
        dropped: Callable[[int], None],
        fresh_s: float | None = None,
    ) -> None:
        self._frames: deque[Frame] = deque()
        self._capacity = capacity
        self._overwrite = overwrite
        self._dropped = dropped
        self.fresh_s = fresh_s
        self._finished = False
        self._changed = threading.Condition()
        self._listeners: list[threading.Event] = []

    @property
    def finished(self) -> bool:
        """Whether no frame waits and none will come."""
        with self._changed:
            return self._finished and not self._frames

    def put(self, frame: Frame, cancelled: threading.Event) -> None:
        """Leave a frame; wait for room if frames are not to be overwritten.

        Args:
            frame: The frame.
            cancelled: Event: once it is set and :meth:`wake` called, the frame is thrown away
                instead.
        """
        with self._changed:
            while not self._overwrite and len(self._frames) >= self._capacity:
                if cancelled.is_set() or self._finished:
                    break
                self._changed.wait()
            if cancelled.is_set() or self._finished:
                self._dropped(1)
                return
            if len(self._frames) >= self._capacity:
                self._frames.popleft()
                self._dropped(1)
            self._frames.append(frame)
            self._tell()

    def take(self, timeout_s: float | None) -> Frame | None:
        """Fetch the oldest frame that waits.

        Args:
            timeout_s: How long to wait for one; None: until one comes or none will.

        Returns:
            The oldest frame; None if none came in time, or none will come any more.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                self._throw_away_stale()
                if self._frames:
                    frame = self._frames.popleft()
                    self._changed.notify_all()  # a thread may wait for room
                    return frame
                left = None if deadline is None else deadline - time.monotonic()
                if self._finished or (left is not None and left <= 0):
                    return None
                self._changed.wait(left)

    def finish(self, *, discard: bool = False) -> None:
        """Let no more frames in; with ``discard``, throw away those that wait."""
        with self._changed:
            self._finished = True
            if discard:
                self._dropped(len(self._frames))
                self._frames.clear()
            self._tell()

    def wake(self) -> None:
        """Let every waiting thread look again."""
        with self._changed:
            self._changed.notify_all()

    def listen(self, event: threading.Event) -> None:
        """Set ``event`` whenever a frame is left, and when no more will come."""
        with self._changed:
            self._listeners.append(event)
            if self._frames or self._finished:
                event.set()

    def unlisten(self, event: threading.Event) -> None:
        """Leave ``event`` alone from now on."""
        with self._changed:
            if event in self._listeners:
                self._listeners.remove(event)

    def _tell(self) -> None:
        self._changed.notify_all()
        for event in self._listeners:
            event.set()

    def _throw_away_stale(self) -> None:
        if self.fresh_s is None:
            return
        while self._frames and self._frames[0].age_ms > self.fresh_s * 1000:
            self._frames.popleft()
            self._dropped(1)

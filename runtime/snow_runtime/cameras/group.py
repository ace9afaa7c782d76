"""Several cameras that one model serves."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from snow_runtime.closing import Closing
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snow_runtime.cameras.camera import Camera
    from snow_runtime.cameras.frame import Frame


class CameraGroup(Closing):
    """Waits for several cameras at once, and gives the frames that wait together.

    While a model works on one batch, the cameras' next frames arrive; they make the next batch.
    One thread reads a group. As a context manager it closes its cameras.

    Args:
        cameras: The cameras, each with a name of its own.

    Attributes:
        cameras: The group's cameras.

    Raises:
        ValueError: There are none, or two have the same name.
    """

    def __init__(self, cameras: Iterable[Camera]) -> None:
        self.cameras = tuple(cameras)
        names = [camera.name for camera in self.cameras]
        if not names or len(set(names)) < len(names):
            msg = (
                f"Cannot group the cameras {names}: expected at least one, and no name twice. Name "
                "them: open_camera(uri, name=…)."
            )
            raise ValueError(msg)
        self._first = 0
        self._event = threading.Event()
        for camera in self.cameras:
            camera.listen(self._event)

    @property
    def ended(self) -> bool:
        """Whether no camera has a frame or will have one."""
        return all(camera.ended for camera in self.cameras)

    def wait(self, timeout_s: float | None = 1.0, at_most: int | None = None) -> list[Frame]:
        """Wait until any camera has a frame, and give one of each camera that has one.

        Args:
            timeout_s: How long to wait, in seconds; None: until a frame comes or none will.
            at_most: The largest batch. The turn to be asked first passes on behind the last camera
                that gave a frame, so that each gets its turn.

        Returns:
            The frames, at most one a camera, in the order of asking; none if none came in time or
            none will come. A camera that failed is left out: its status tells why.

        Raises:
            ValueError: ``at_most`` is below 1.
        """
        if at_most is not None and at_most < 1:
            msg = f"Cannot wait for at most {at_most} frames: expected 1 or more."
            raise ValueError(msg)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._event.clear()
            if frames := self._collect(at_most or len(self.cameras)):
                return frames
            left = None if deadline is None else deadline - time.monotonic()
            if self.ended or (left is not None and left <= 0):
                return []
            self._event.wait(left)

    def __iter__(self) -> Iterator[list[Frame]]:
        """Give batches until every camera has ended or was closed.

        Raises:
            CameraError: No camera is left, and some failed.
        """
        while frames := self.wait(None):
            yield frames
        failed = [camera for camera in self.cameras if camera.status.state == "failed"]
        if failed:
            msg = (
                f"{len(failed)} of {len(self.cameras)} cameras failed, expected all to go on or "
                f"end: {' '.join(str(camera.status.error) for camera in failed)}"
            )
            raise CameraError(msg)

    def close(self) -> None:
        """Close all cameras, at the same time."""
        for camera in self.cameras:
            camera.ask_to_stop()
        for camera in self.cameras:
            camera.close()
            camera.unlisten(self._event)

    def _collect(self, at_most: int) -> list[Frame]:
        frames: list[Frame] = []
        count, first = len(self.cameras), self._first
        for turn in range(count):
            place = (first + turn) % count
            frame = self.cameras[place].poll()
            if frame is not None:
                frames.append(frame)
                self._first = (place + 1) % count
            if len(frames) == at_most:
                break
        return frames

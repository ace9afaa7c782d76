"""Pictures that OpenCV captures: V4L2 devices and GStreamer pipelines."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.cameras.sources.import_opencv import load_cv2
from snow_runtime.cameras.sources.source import CameraPicture, LostError, as_bgr

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.errors import CameraError

_USUAL_FPS: Final = 25.0  # where a camera does not say
_MOST_FPS: Final = 1000.0
_BACKLOG_S: Final = 3.0  # the most that a pipeline can have kept


@dataclass(frozen=True, slots=True)
class Capture:
    """What OpenCV is to open.

    Attributes:
        target: A device's path, or a pipeline.
        text: The same as it may be shown.
        backend: OpenCV's name of the library that is to read it, such as ``CAP_V4L2``.
        settings: Values by OpenCV's names, set once it is open; a device may choose others.
        device: The device's file, whose end is the device's.
        newest: Whether old pictures are of no use.
    """

    target: str = field(repr=False)
    text: str
    backend: str
    settings: Mapping[str, float] = field(default_factory=dict)
    device: Path | None = None
    newest: bool = True


class CaptureSource:
    """Reads what OpenCV's ``VideoCapture`` can open.

    Args:
        capture: What to open, and how.
        gstreamer: Whether that needs GStreamer.

    Raises:
        MissingDependencyError: OpenCV is not installed, or lacks GStreamer.
    """

    def __init__(self, capture: Capture, *, gstreamer: bool = False) -> None:
        self._cv2: Any = load_cv2(gstreamer=gstreamer)
        self._what = capture
        self._capture: Any = None
        self._identity: tuple[int, int, int] | None = None
        self._fps = 0.0

    @property
    def interval_s(self) -> float:
        """0: a camera has a pace of its own."""
        return 0.0

    def open(self) -> None:
        """Open the device or the pipeline.

        Raises:
            LostError: It is not there or does not answer.
        """
        self._identity = self._identify()
        self._capture = self._cv2.VideoCapture()
        try:
            opened = self._capture.open(self._what.target, *self._how())
        except self._cv2.error:
            opened = False
        if not opened:
            msg = "OpenCV cannot open it"
            raise self._closed(msg)
        for name, value in self._what.settings.items():
            self._capture.set(getattr(self._cv2, name), value)
        fps = self._capture.get(self._cv2.CAP_PROP_FPS)
        self._fps = fps if 0 < fps <= _MOST_FPS else _USUAL_FPS
        if self._what.newest and self._what.device is None:
            self._skip_backlog()

    def read(self) -> CameraPicture:
        """Wait for the next picture.

        Raises:
            BadPictureError: What was decoded is no picture.
            LostError: A camera sends nothing more, or its device is gone.
        """
        if self._identify() != self._identity:
            msg = (
                f"The device {self._what.text!r} is gone or was replaced, expected it to stay. "
                "Plug it in again, and look at its cable and its power."
            )
            raise LostError(msg)
        image = self._next()
        if image is None:
            msg = "no more pictures come from it"
            raise self._closed(msg)
        return CameraPicture(image)

    def interrupt(self) -> None:
        """Do nothing: OpenCV crashes if a capture is closed while another thread reads from it."""

    def close(self) -> None:
        """Close the device or the pipeline."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _how(self) -> tuple[Any, ...]:
        """Give the backend, where this OpenCV has it."""
        cv2, backend = self._cv2, getattr(self._cv2, self._what.backend)
        return (backend if cv2.videoio_registry.hasBackend(backend) else cv2.CAP_ANY,)

    def _identify(self) -> tuple[int, int, int] | None:
        """Tell a device file from another of the same name: a camera plugged in again."""
        if self._what.device is None:
            return None
        try:
            status = self._what.device.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_rdev

    def _skip_backlog(self) -> None:
        """Pass over what was captured while the pipeline was being made.

        It comes as fast as it is asked for. The first picture that has to be waited for is new.
        """
        started = time.monotonic()
        for _ in range(int(self._fps * _BACKLOG_S)):
            before = time.monotonic()
            if not self._capture.grab() or before - started > _BACKLOG_S:
                return
            if time.monotonic() - before > 0.5 / self._fps:
                return

    def _next(self) -> NDArray[np.uint8] | None:
        try:
            there, image = self._capture.read()
        except self._cv2.error:
            there = False
        if not there:
            return None
        return as_bgr(image, f"The camera {self._what.text!r}")

    def _closed(self, seen: str) -> CameraError:
        if self._what.device is not None:
            if not self._what.device.exists():
                seen = "there is no such device"
            return LostError(
                f"The device {self._what.text!r} gives no pictures: {seen}, expected a camera that "
                "nobody else uses. Run 'snow-deploy doctor --need camera'."
            )
        return LostError(
            f"The camera {self._what.text!r} gives no pictures: {seen}, expected a stream. Look at "
            "the camera and its cable."
        )

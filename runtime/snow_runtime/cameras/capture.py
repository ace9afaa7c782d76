"""Pictures that OpenCV captures: video files, RTSP, V4L2 devices and GStreamer pipelines."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.cameras.opencv import load_cv2
from snow_runtime.cameras.source import BadPictureError, LostError, Picture, as_bgr
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_LOGGER = logging.getLogger(__name__)
_USUAL_FPS: Final = 25.0  # where a file does not say
_MOST_FPS: Final = 1000.0
_BACKLOG_S: Final = 3.0  # the most that a server can have sent ahead


@dataclass(frozen=True, slots=True)
class Capture:
    """What OpenCV is to open.

    Attributes:
        target: a path, an address or a pipeline.
        text: the same as it may be shown.
        backend: OpenCV's name of the library that is to read it, such as ``CAP_FFMPEG``.
        live: whether it is a camera: its end is an outage then.
        parameters: values by OpenCV's names, needed to open it. Names that this OpenCV does not
            know are left out.
        settings: values by OpenCV's names, set once it is open; a device may choose others.
        device: the device's file, whose end is the device's.
        newest: whether old pictures are of no use.
    """

    target: str = field(repr=False)
    text: str
    backend: str
    live: bool
    parameters: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)
    device: Path | None = None
    newest: bool = True


class CaptureSource:
    """Reads what OpenCV's ``VideoCapture`` can open.

    Args:
        capture: what to open, and how.
        gstreamer: whether that needs GStreamer.

    Raises:
        MissingDependencyError: OpenCV is not installed, or lacks GStreamer.
    """

    def __init__(self, capture: Capture, *, gstreamer: bool = False) -> None:
        self._cv2: Any = load_cv2(gstreamer=gstreamer)
        self._what = capture
        self._capture: Any = None
        self._identity: tuple[int, int, int] | None = None
        self._fps = 0.0
        self._count = 0
        self._ahead: NDArray[np.uint8] | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between pictures for a file that is to run as a camera would; else 0."""
        return 1 / self._fps if self._fps and self._what.newest and not self._what.live else 0.0

    def open(self) -> None:
        """Open the file, the device or the connection.

        Raises:
            LostError: a camera is not there or does not answer.
            CameraError: a file is none that can be decoded.
        """
        self._identity = self._identify()
        self._capture = self._cv2.VideoCapture()
        try:
            opened = self._capture.open(self._what.target, *self._how())
        except self._cv2.error:  # its text holds the address
            opened = False
        if not opened:
            raise self._closed("OpenCV cannot open it")
        for name, value in self._what.settings.items():
            self._capture.set(getattr(self._cv2, name), value)
        fps = self._capture.get(self._cv2.CAP_PROP_FPS)
        self._fps = fps if 0 < fps <= _MOST_FPS else _USUAL_FPS
        if self._what.live and self._what.newest and self._what.device is None:
            self._skip_backlog()

    def read(self) -> Picture | None:
        """Wait for the next picture; None at the end of a file.

        Raises:
            BadPictureError: what was decoded is no picture, or the cut end of a file.
            LostError: a camera sends nothing more, or its device is gone.
            CameraError: a file holds no picture that can be decoded.
        """
        if self._identify() != self._identity:
            raise LostError(
                f"The device {self._what.text!r} is gone or was replaced, expected it to stay. "
                "Plug it in again, and look at its cable and its power."
            )
        if self._what.live:
            image = self._next()
            if image is None:
                raise self._closed("no more pictures come from it")
            return Picture(image)
        return self._read_file()

    def interrupt(self) -> None:
        """Do nothing: OpenCV crashes if a capture is closed while another thread reads from it."""

    def close(self) -> None:
        """Close the file, the device or the connection."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _how(self) -> tuple[Any, ...]:
        """Give the backend, and the parameters that it knows."""
        cv2, backend = self._cv2, getattr(self._cv2, self._what.backend)
        if not cv2.videoio_registry.hasBackend(backend):  # Jetson's OpenCV may lack FFmpeg
            return (cv2.CAP_ANY,)
        known = [(k, v) for k, v in self._what.parameters.items() if hasattr(cv2, k)]
        return backend, [value for key, number in known for value in (getattr(cv2, key), number)]

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
        """Pass over what was sent while the connection was being made, up to a second of pictures.

        FFmpeg looks at the stream for about a second before it is open, and gives what it saw then
        as fast as it is asked. The first picture that has to be waited for is a new one.
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
        self._count += 1
        return as_bgr(image, f"The camera {self._what.text!r}")

    def _read_file(self) -> Picture | None:
        """Read one picture ahead: the last of a file that was cut short is cut itself."""
        if not self._count:
            self._ahead = self._next()
        image = self._ahead
        if image is None and not self._count:
            raise self._closed("it holds no picture that can be decoded")
        if image is None:
            return None
        self._ahead = self._next()
        if self._ahead is None and self._cut_short():
            raise BadPictureError(
                f"The last picture of the video {self._what.text!r} is left out: the file was cut "
                "short, expected a complete one. Copy it again."
            )
        return Picture(image)

    def _cut_short(self) -> bool:
        """Whether a file ended well before it should; some formats only estimate where."""
        expected = int(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT))
        if self._count + max(2, expected // 50) >= expected:
            return False
        _LOGGER.warning(
            "The video %r was cut short: it ended after %d of %d pictures.",
            self._what.text,
            self._count,
            expected,
        )
        return True

    def _closed(self, seen: str) -> CameraError:
        if self._what.device is not None:
            if not self._what.device.exists():
                seen = "there is no such device"
            return LostError(
                f"The device {self._what.text!r} gives no pictures: {seen}, expected a camera that "
                "nobody else uses. Run 'snow-deploy doctor --need camera'."
            )
        if self._what.live:
            return LostError(
                f"The camera {self._what.text!r} gives no pictures: {seen}, expected a stream. "
                "Look at its address, user and password, at the camera and at the network."
            )
        return CameraError(
            f"Cannot read the video {self._what.text!r}: {seen}, expected a complete video file. "
            "Play it with another program, or convert it."
        )

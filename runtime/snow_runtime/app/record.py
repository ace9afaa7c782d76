"""Recording what a camera saw, with the answers in a file of the same name beside it."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

    from snow_runtime.app.answers import Answer
    from snow_runtime.cameras import Frame

_LOGGER = logging.getLogger(__name__)
SPARE_BYTES: Final = 64 << 20
"""Recording stops while less than this is free: a full disk harms more than a gap."""
_LOOK_EVERY: Final = 30  # frames


class Recorder:
    """Appends frames as JPEG pictures to `NAME.mjpeg`, and answers to `NAME.jsonl`.

    Motion JPEG can be played up to the last whole picture, also after a power cut.

    Args:
        path: The `.mjpeg` file; an existing one is gone on with.
        count: Is told `recording_lost` for each frame that was not written.
        quality: Of JPEG, 1 to 100.
        free_bytes: Gives the free space of a folder.

    Raises:
        InputError: The file cannot be opened.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(
        self,
        path: Path,
        count: Callable[[str], None],
        quality: int = 85,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        try:
            import cv2
        except ImportError as error:
            raise MissingDependencyError(
                "Recording needs OpenCV, which is not installed; run: "
                "pip install 'snow-deploy[camera]'"
            ) from error
        self._cv2 = cv2
        self._path = path
        self._count = count
        self._quality = [int(cv2.IMWRITE_JPEG_QUALITY), quality]
        self._free_bytes = free_bytes or _free_bytes
        self._seen = 0
        self._paused = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._pictures = _open(path)
            self._answers = _open(path.with_suffix(".jsonl"))
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error}. Give another --record, or free space."
            ) from error

    def put(self, frame: Frame, answer: Answer) -> None:
        """Write a frame and its answer; count it as lost where that fails."""
        if self._seen % _LOOK_EVERY == 0:
            self._paused = self._free_bytes(self._path.parent) < SPARE_BYTES
        self._seen += 1
        if self._paused or not self._write(frame, answer):
            self._count("recording_lost")

    def close(self) -> None:
        """Put everything on the disk."""
        for stream in (self._pictures, self._answers):
            with suppress(OSError):
                os.fsync(stream.fileno())
            with suppress(OSError):
                stream.close()

    def _write(self, frame: Frame, answer: Answer) -> bool:
        made, jpeg = self._cv2.imencode(".jpg", frame.image, self._quality)
        if not made:
            return False
        ends = [(stream, stream.seek(0, os.SEEK_END)) for stream in (self._pictures, self._answers)]
        line = json.dumps({**answer.to_dict(), "offset": ends[0][1]}) + "\n"
        try:
            _append(self._pictures, jpeg.tobytes())
            _append(self._answers, line.encode())
        except OSError as error:
            self._paused = True
            _LOGGER.warning("%s is not gone on with for now: %s", self._path, error)
            for stream, end in ends:  # no half picture stays, and no half line
                with suppress(OSError):
                    stream.truncate(end)
            return False
        return True


def _open(path: Path) -> FileIO:
    """Open a file to append to, unbuffered: what a full disk refused must not be tried again."""
    return path.open("ab", buffering=0)


def _append(stream: FileIO, content: bytes) -> None:
    """Write all of it; a nearly full disk takes a part only at first."""
    left = memoryview(content)
    while left:
        left = left[stream.write(left) :]


def _free_bytes(folder: Path) -> int:
    try:
        found: Any = os.statvfs(folder)
    except OSError:
        return 0
    return int(found.f_bavail * found.f_frsize)

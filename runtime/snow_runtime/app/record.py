"""Recording what a camera saw, with the answers in a file of the same name beside it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

    from snow_runtime.app.answers import Answer
    from snow_runtime.cameras import Frame

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
            self._pictures: IO[bytes] = path.open("ab")
            self._answers: IO[str] = path.with_suffix(".jsonl").open("a", encoding="utf-8")
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
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(OSError):
                stream.close()

    def _write(self, frame: Frame, answer: Answer) -> bool:
        made, jpeg = self._cv2.imencode(".jpg", frame.image, self._quality)
        if not made:
            return False
        begins = self._pictures.tell()
        try:
            self._pictures.write(jpeg.tobytes())
            self._pictures.flush()
            self._answers.write(json.dumps({**answer.to_dict(), "offset": begins}) + "\n")
            self._answers.flush()
        except OSError:
            self._paused = True
            with suppress(OSError):  # no half picture stays
                self._pictures.truncate(begins)
                self._pictures.seek(begins)
            return False
        return True


def _free_bytes(folder: Path) -> int:
    try:
        found: Any = os.statvfs(folder)
    except OSError:
        return 0
    return int(found.f_bavail * found.f_frsize)

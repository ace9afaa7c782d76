"""Recording what a camera saw, with the answers in a file of the same name beside it."""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from snow_runtime.app.outputs.mjpeg_with_jsonl import MjpegWithJsonl
from snow_runtime.app.throttled_logger import ThrottledLogger
from snow_runtime.errors import InputError, MissingDependencyError
from snow_runtime.files import free_bytes as free_bytes_of
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from snow_runtime.app.answers import FrameAnswer
    from snow_runtime.cameras import Frame
    from snow_runtime.collection.masks import Masking

_LOGGER = logging.getLogger(__name__)
SPARE_BYTES: Final = 64 << 20
"""Recording stops while less than this is free: a full disk harms more than a gap."""
_LOOK_EVERY: Final = 30  # frames
_WAITING: Final = 4  # frames, each of some megabytes
_PATIENCE_S: Final = 0.5
_END_S: Final = 0.8
_OTHER_KINDS: Final = re.compile(
    r"\.(mp4|m4v|mkv|webm|avi|mov|ts|flv|wmv|mpe?g|mjpg|h26[45]|hevc|gif|jpe?g|png|jsonl?|csv|txt|"
    r"log|onnx|engine)",
    re.IGNORECASE,
)


def recording_path(given: Path, camera: str | None) -> Path:
    """Name the pictures' file of a recording: `NAME.mjpeg`, or `NAME-CAMERA.mjpeg`.

    Args:
        given: `NAME` or `NAME.mjpeg`, with its folder.
        camera: The camera's name where several are recorded, else None.

    Raises:
        InputError: It names a file of another kind.
    """
    if _OTHER_KINDS.fullmatch(given.suffix):
        msg = (
            f"--record {given} asks for a {given.suffix} file, and recordings are Motion JPEG. "
            f"Give --record {given.with_suffix('.mjpeg')}; its answers go to a .jsonl beside it."
        )
        raise InputError(msg)
    name = given.stem if given.suffix.lower() == ".mjpeg" else given.name
    return given.with_name(f"{name}{'' if camera is None else f'-{camera}'}.mjpeg")


def _mount_of(folder: Path) -> Path:
    """Return where the disk is mounted that a folder lies on."""
    there = folder.resolve()
    return next(each for each in (there, *there.parents) if os.path.ismount(each))


class Recorder:
    """Appends frames as JPEG pictures to `NAME.mjpeg`, and answers to `NAME.jsonl`.

    Motion JPEG can be played up to the last whole picture, also after a power cut. A thread
    encodes and writes. A disk that is slow holds whoever calls up for half a second; as long as
    nothing is written after that, frames are lost at once, and also while faces are looked for.

    Args:
        path: The `.mjpeg` file; an existing one is gone on with.
        count: Callback that gets `recording_lost` for each frame that was not written.
        quality: JPEG quality, 1 to 100.
        free_bytes: Function that gives the free space of a folder.
        camera: Name of the camera whose frames they are; a file with another camera's is refused.
            None takes any.
        masking: What is blacked out first; None for nothing. A frame that cannot be masked is not
            written.

    Raises:
        InputError: The file cannot be opened, is no plain file, or is not this camera's alone.
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(
        self,
        path: Path,
        count: Callable[[str], None],
        quality: int = 85,
        free_bytes: Callable[[Path], int] | None = None,
        camera: str | None = None,
        *,
        masking: Masking | None = None,
    ) -> None:
        try:
            import cv2
        except ImportError as error:
            msg = f"Recording needs OpenCV, which is not installed; run: {pip_install('camera')}"
            raise MissingDependencyError(msg) from error
        self._cv2 = cv2
        self._path = path
        self._camera = camera
        self._count = count
        self._masking = masking
        self._quality = [int(cv2.IMWRITE_JPEG_QUALITY), quality]
        self._free_bytes = free_bytes_of if free_bytes is None else free_bytes
        self._seen = 0
        self._paused = self._stalled = False
        self._faults = ThrottledLogger(_LOGGER)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files: MjpegWithJsonl | None = MjpegWithJsonl(path, camera)
            self._mount = _mount_of(path.parent)
        except OSError as error:
            msg = f"{path} cannot be recorded to: {error}. Give another --record, or free space."
            raise InputError(msg) from error
        self._waiting: queue.Queue[tuple[Frame, FrameAnswer] | None] = queue.Queue(_WAITING)
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def put(self, frame: Frame, answer: FrameAnswer) -> None:
        """Leave a frame and its answer to be written; count it as lost where the disk is slow."""
        try:
            slow = self._stalled or (self._masking is not None and self._masking.find is not None)
            self._waiting.put((frame, answer), timeout=0 if slow else _PATIENCE_S)
            self._stalled = False
        except queue.Full:
            self._stalled = True
            self._count("recording_lost")

    @property
    def keeps_in(self) -> str | None:
        """Name of the file that pictures go to now; None while none are kept."""
        return None if self._paused or self._stalled else self._path.name

    def close(self) -> None:
        """Put everything on the disk, as far as that takes less than a second."""
        ends = time.monotonic() + _END_S
        with suppress(queue.Full):
            self._waiting.put(None, timeout=_END_S)
        self._thread.join(max(0.0, ends - time.monotonic()))
        if self._thread.is_alive():  # the disk hangs; nothing can end the thread
            self._ending = True
            for _ in range(self._waiting.qsize()):
                self._count("recording_lost")
            _LOGGER.warning("%s was left unfinished: the disk does not answer", self._path)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None and not self._ending:
            if not self._keep(*item):
                self._count("recording_lost")
        if self._files is not None:
            self._files.close()

    def _keep(self, frame: Frame, answer: FrameAnswer) -> bool:
        try:
            looks = self._seen % _LOOK_EVERY == 0
            self._seen += 1
            if looks:
                self._begin_anew_if_gone()
                full = self._free_bytes(self._path.parent) < SPARE_BYTES
                self._pause("the disk is full" if full else None)
            if self._paused or self._files is None:
                return False
            image = self._masked(frame)
            if image is None:
                return False
            made, jpeg = self._cv2.imencode(".jpg", image, self._quality)
            if made:
                self._files.append(jpeg.tobytes(), answer.to_dict())
        except OSError as error:
            self._pause(str(error))
            return False
        except self._cv2.error as error:
            self._faults.warning(f"a frame of {frame.camera} cannot be recorded: {error}")
            return False
        return bool(made)

    def _begin_anew_if_gone(self) -> None:
        """Begin new files where somebody has taken these away: they would grow unseen.

        Raises:
            OSError: They cannot be made.
        """
        if self._files is not None and self._files.are_gone():
            _LOGGER.warning("%s was taken away", self._path)
            self._files.close()
            self._files = None
        if self._files is None:
            if not os.path.ismount(self._mount):  # it would fill another disk
                msg = f"nothing is mounted at {self._mount}"
                raise OSError(msg)
            self._files = MjpegWithJsonl(self._path, self._camera)

    def _masked(self, frame: Frame) -> NDArray[np.uint8] | None:
        """Return the picture with what must not be seen in black; None where that fails."""
        if self._masking is None:
            return frame.image
        try:
            return self._masking.masked(frame.image, frame.camera)
        except Exception as error:  # noqa: BLE001 - a mask that fails must not store what it hides
            self._faults.warning(f"a frame of {frame.camera} cannot be masked: {error}")
            return None

    def _pause(self, reason: str | None) -> None:
        """Pause for a reason, or go on without one; say so when that changes."""
        paused = reason is not None
        if paused and not self._paused:
            _LOGGER.warning("recording to %s pauses: %s", self._path, reason)
        elif self._paused and not paused:
            _LOGGER.warning("recording to %s goes on", self._path)
        self._paused = paused

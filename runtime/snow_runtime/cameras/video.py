"""Video that FFmpeg decodes, through PyAV: files and RTSP cameras.

Nothing is handed out that FFmpeg knows to be damaged: neither a picture in whose data it met an
error, nor one that is built on such a picture. A picture that was coded wrongly without breaking a
rule of its format cannot be told from a right one.

Axes: H, W height and width of the picture.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.cameras.pyav import describe, load_av
from snow_runtime.cameras.source import BadPictureError, LostError, Picture, RefusedError
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

_LOGGER = logging.getLogger(__name__)
_USUAL_FPS: Final = 25.0  # where a file does not say
_MOST_FPS: Final = 1000.0
_BACKLOG_S: Final = 3.0  # the most that a server can have sent ahead
_WIDEST_PIXEL: Final = 8.0  # a pixel's width over its height, or the other way; else it is no ratio


@dataclass(frozen=True, slots=True)
class Video:
    """What FFmpeg is to open.

    Attributes:
        target: a path or an address.
        text: the same as it may be shown.
        live: whether it is a camera: its end is an outage then.
        newest: whether old pictures are of no use.
        open_timeout_s: how long opening may take, in seconds.
        stall_s: how long the next picture may take, in seconds.
        options: FFmpeg's, by name.
    """

    target: str = field(repr=False)
    text: str
    live: bool
    newest: bool
    open_timeout_s: float
    stall_s: float
    options: Mapping[str, str] = field(default_factory=dict)


class VideoSource:
    """Reads a video file or a stream.

    A picture whose size differs from the one before comes in its own size. Pixels that are not
    square are made so, by widening. A picture that a phone marked as turned is turned.

    Args:
        video: what to open, and how.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """

    def __init__(self, video: Video) -> None:
        self._av: Any = load_av()
        self._what = video
        self._container: Any = None
        self._packets: Iterator[Any] = iter(())
        self._decoded: deque[Any] = deque()  # frames, and in their order the errors between them
        self._pending: Picture | None = None
        self._fps = 0.0
        self._waited_s = 0.0  # for the last packet to come
        self._expected = 0
        self._count = 0
        self._broken = False  # since an error, until a picture that needs no other one

    @property
    def interval_s(self) -> float:
        """Seconds between pictures for a file that is to run as a camera would; else 0."""
        return 1 / self._fps if self._fps and self._what.newest and not self._what.live else 0.0

    def open(self) -> None:
        """Open the file or the connection.

        Raises:
            LostError: a camera is not there or does not answer.
            RefusedError: it refuses user and password.
            CameraError: a file is none that can be decoded.
        """
        what = self._what
        try:
            self._container = self._av.open(
                what.target,
                options=dict(what.options),
                metadata_errors="replace",
                timeout=(what.open_timeout_s, what.stall_s),
            )
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from None  # its text holds the address
        streams = self._container.streams.video
        if not streams:
            raise self._failed("it holds no video")
        stream = streams[0]
        # An error in the data is to be told, not to be covered up.
        stream.codec_context.options = {"err_detect": "explode"}
        if what.newest:
            stream.codec_context.thread_count = 1  # each further one holds back a picture
        else:
            stream.thread_type = "AUTO"
        self._expected = stream.frames  # 0 where the file does not tell
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        self._fps = fps if 0 < fps <= _MOST_FPS else _USUAL_FPS
        self._packets = self._container.demux(stream)
        if what.live and what.newest:
            self._skip_backlog()

    def read(self) -> Picture | None:
        """Wait for the next picture; None at the end of a file.

        Raises:
            BadPictureError: it is damaged, or built on a damaged one, or the file was cut short.
            LostError: a camera sends nothing more.
            CameraError: a file holds no picture that can be decoded.
        """
        if self._pending is not None:
            picture, self._pending = self._pending, None
            return picture
        frame = self._next()
        if frame is not None:
            self._count += 1
            return Picture(self._upright(frame))
        if self._what.live:
            raise self._failed("no more pictures come from it")
        if not self._count:
            raise self._failed("it holds no picture that can be decoded")
        self._tell_if_cut_short()
        return None

    def interrupt(self) -> None:
        """Do nothing: a container must not be closed while another thread reads from it."""

    def close(self) -> None:
        """Close the file or the connection."""
        if self._container is not None:
            self._decoded.clear()
            self._packets = iter(())
            with suppress(self._av.error.FFmpegError):
                self._container.close()
            self._container = None

    def _next(self) -> Any:
        """Give the next frame that is whole, None at the end."""
        while not self._decoded:
            before = time.monotonic()
            try:
                packet = next(self._packets, None)
                self._waited_s = time.monotonic() - before
            except self._av.error.EOFError:
                packet = None
            except self._av.error.FFmpegError as error:
                return self._cut(error)
            if packet is None:
                return None
            self._decode(packet)
        frame = self._decoded.popleft()
        if frame is None:
            self._broken = True
        elif frame.key_frame and not frame.is_corrupt:
            self._broken = False
        if self._broken or frame.is_corrupt:
            self._broken = True
            raise BadPictureError(
                f"A picture of {self._what.text!r} is left out: its data is damaged, or it is "
                "built on a picture whose data was. Look at the network, or copy the file again."
            )
        return frame

    def _decode(self, packet: Any) -> None:
        try:
            self._decoded.extend(packet.decode())
        except self._av.error.EOFError:  # the last packet is empty, and ends the decoder
            return
        except self._av.error.FFmpegError:
            self._decoded.append(None)

    def _cut(self, error: Exception) -> None:
        """Tell how a connection or a file ended before its end."""
        if self._what.live or not self._count:
            raise self._failed(error) from None
        self._packets = iter(())
        _LOGGER.warning(
            "The video %r was cut short after %d pictures: %s.",
            self._what.text,
            self._count,
            describe(error),
        )

    def _tell_if_cut_short(self) -> None:
        """Warn of a file that ended well before the end that its own index gives."""
        if self._count + max(2, self._expected // 50) < self._expected:
            _LOGGER.warning(
                "The video %r was cut short, or is damaged: %d of %d pictures are whole.",
                self._what.text,
                self._count,
                self._expected,
            )
        self._expected = 0  # once is enough

    def _skip_backlog(self) -> None:
        """Pass over what was sent while the connection was being made, up to some seconds of it.

        FFmpeg looks at the stream for about a second before it is open, and gives what it saw then
        as fast as it is asked. The first picture that has to be waited for is a new one.
        """
        started = time.monotonic()
        while time.monotonic() - started < _BACKLOG_S:
            self._pending = None
            try:
                self._pending = self.read()
            except BadPictureError:
                continue
            if self._waited_s > 0.5 / self._fps:
                return

    def _upright(self, frame: Any) -> NDArray[np.uint8]:
        """Convert a frame to uint8 `[H, W, 3]`, blue first, with square pixels, not turned."""
        import numpy as np

        width, height = _square(frame.width, frame.height, self._pixel_ratio())
        bgr = frame.to_ndarray(format="bgr24", width=width, height=height)
        turns = round(frame.rotation / 90) % 4
        upright: NDArray[np.uint8] = np.ascontiguousarray(np.rot90(bgr, turns) if turns else bgr)
        return upright

    def _pixel_ratio(self) -> float:
        """Give a pixel's width over its height, as the decoder has it now or else the file."""
        stream = self._container.streams.video[0]
        return float(stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio or 1)

    def _failed(self, seen: Exception | str) -> CameraError:
        text = seen if isinstance(seen, str) else describe(seen)
        if not self._what.live:
            return CameraError(
                f"Cannot read the video {self._what.text!r}: {text}, expected a complete video "
                "file. Play it with another program, or convert it."
            )
        code = self._code(seen)
        if code in (401, 403):
            return RefusedError(
                f"The camera {self._what.text!r} refuses access ({text}), expected user and "
                "password to be right. Correct them; signs such as @ and # are written %40 and "
                "%23.",
                password=code == 401,
                code=code,
            )
        if code == 404:
            text += ": it has no such stream"
        return LostError(
            f"The camera {self._what.text!r} gives no pictures: {text}, expected a stream. Look at "
            "its address, at the camera and at the network.",
            code=code,
        )

    def _code(self, seen: Exception | str) -> int | None:
        """Give what an RTSP server answered, as far as FFmpeg tells."""
        error = self._av.error
        told = {
            error.HTTPBadRequestError: 400,
            error.HTTPUnauthorizedError: 401,
            error.HTTPForbiddenError: 403,
            error.HTTPNotFoundError: 404,
            error.HTTPServerError: 500,
        }
        return next((code for kind, code in told.items() if isinstance(seen, kind)), None)


def _square(width: int, height: int, ratio: float) -> tuple[int, int]:
    """Give the size that shows a picture in square pixels, without losing any."""
    if not 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL:
        return width, height
    if ratio >= 1:
        return round(width * ratio), height
    return width, round(height / ratio)

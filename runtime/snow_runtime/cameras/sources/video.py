"""Video that FFmpeg decodes, through PyAV: files and RTSP cameras.

Nothing is handed out that FFmpeg knows to be damaged: neither a picture in whose data it met an
error, nor one that is built on such a picture. A picture that was coded wrongly without breaking a
rule of its format looks like a right one.

Axes: H, W height and width of the picture.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.cameras.sources.import_pyav import describe_av_error, load_av
from snow_runtime.cameras.sources.source import BadPictureError, CameraPicture
from snow_runtime.cameras.sources.upright import MOST_PIXELS, square_size, turned
from snow_runtime.cameras.sources.video_damage import Damage
from snow_runtime.cameras.sources.video_failure import Video, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_LOGGER = logging.getLogger(__name__)
_USUAL_FPS: Final = 25.0  # where a file does not say
_MOST_FPS: Final = 1000.0
_BACKLOG_S: Final = 3.0  # the most that a server can have sent ahead
_BUILT_ON_OTHERS: Final = (2, 3)  # AV_PICTURE_TYPE_P and _B


class VideoSource:
    """Reads a video file or a stream.

    A picture whose size differs from the one before comes in its own size. Pixels that are not
    square are made so, by widening. A picture that a phone marked as turned or mirrored is so.

    Args:
        video: What to open, and how.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """

    def __init__(self, video: Video) -> None:
        self._av: Any = load_av()
        self._what = video
        self._container: Any = None
        self._stream: Any = None
        self._packets: Iterator[Any] = iter(())
        self._decoded: deque[Any] = deque()  # frames, and None for each packet with an error
        self._converter: Any = self._av.video.reformatter.VideoReformatter()
        self._matrices: dict[int, bytes | None] = {}
        self._damage = Damage()
        self._number = 0  # of the last packet
        self._pending: CameraPicture | None = None
        self._fps = 0.0
        self._waited_s = 0.0  # for the last packet to come
        self._expected = 0
        self._count = 0

    @property
    def interval_s(self) -> float:
        """Seconds between pictures for a file that is to run as a camera would; else 0."""
        return 1 / self._fps if self._fps and self._what.newest and not self._what.live else 0.0

    def open(self) -> None:
        """Open the file or the connection.

        Raises:
            LostError: A camera is not there or does not answer.
            RefusedError: It refuses user and password.
            CameraError: A file is none that can be decoded.
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
            raise failure(self._av, self._what, error) from None  # its text holds the address
        # Not the first: that may be the picture on a cover.
        self._stream = stream = self._container.streams.best("video")
        if stream is None:
            msg = "it holds no video"
            raise failure(self._av, self._what, msg)
        if stream.codec_context is None:
            msg = "its video is coded in a way that is not known here"
            raise failure(self._av, self._what, msg)
        # An error in the data is to be reported, not to be covered up.
        most = {"max_pixels": str(MOST_PIXELS)}  # a header can claim any size
        stream.codec_context.options = {"err_detect": "explode", **most}
        # One thread: several, each with a picture or a part of one, do not tell all errors, and
        # lose pictures that are whole.
        stream.codec_context.thread_count = 1
        stream.codec_context.copy_opaque = True  # from a packet to its picture
        self._expected = stream.frames  # 0 where the file does not tell
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        self._fps = fps if 0 < fps <= _MOST_FPS else _USUAL_FPS
        self._packets = self._container.demux(stream)
        if what.live and what.newest:
            self._skip_backlog()

    def read(self) -> CameraPicture | None:
        """Wait for the next picture; None at the end of a file.

        Raises:
            BadPictureError: It is damaged, or built on a damaged one, or the file was cut short.
            LostError: A camera sends nothing more.
            CameraError: A file holds no picture that can be decoded.
        """
        if self._pending is not None:
            picture, self._pending = self._pending, None
            return picture
        frame = self._next()
        if frame is not None:
            self._count += 1
            return CameraPicture(self._upright(frame))
        if self._what.live:
            msg = "no more pictures come from it"
            raise failure(self._av, self._what, msg)
        if not self._count:
            msg = (
                f"it holds no picture that can be decoded, of {MOST_PIXELS // 1_000_000} "
                "megapixels at most"
            )
            raise failure(self._av, self._what, msg)
        self._tell_if_cut_short()
        return None

    def interrupt(self) -> None:
        """Do nothing: a container must not be closed while another thread reads from it."""

    def close(self) -> None:
        """Close the file or the connection."""
        if self._container is not None:
            self._decoded.clear()
            self._packets, self._stream = iter(()), None
            with suppress(self._av.error.FFmpegError):
                self._container.close()
            self._container = None

    def _next(self) -> Any:
        """Give the next frame that is whole, None at the end."""
        while True:
            while not self._decoded:
                packet = self._next_packet()
                if packet is not None:
                    self._decode(packet)
                elif missing := self._damage.missing():
                    self._decoded.extend([None] * missing)
                else:
                    return None
            frame = self._decoded.popleft()
            if frame is not None:
                number = frame.opaque[0] if frame.opaque else self._number
                # Where a stream is refreshed bit by bit, "key" is where that begins.
                key = frame.key_frame and frame.pict_type not in _BUILT_ON_OTHERS
                if key and (missing := self._damage.missing(number)):
                    self._decoded.extendleft([frame, *[None] * missing])
                    continue
                if not self._damage.spoils(number, key=key, corrupt=frame.is_corrupt):
                    return frame
                if self._damage.is_told(number):
                    continue
            msg = (
                f"A picture of {self._what.text!r} is left out: its data is damaged, or it is "
                "built on a picture whose data was. Look at the network, or copy the file again."
            )
            raise BadPictureError(msg)

    def _next_packet(self) -> Any:
        before = time.monotonic()
        try:
            packet = next(self._packets, None)
            self._waited_s = time.monotonic() - before
        except self._av.error.EOFError:
            return None
        except self._av.error.FFmpegError as error:
            return self._cut(error)
        return packet

    def _decode(self, packet: Any) -> None:
        self._number += 1
        packet.opaque = [self._number]  # PyAV keeps it by its identity, which small numbers share
        if packet.size:  # the last one is empty, and ends the decoder
            self._damage.sent(self._number)
        try:
            self._decoded.extend(packet.decode())
        except self._av.error.EOFError:
            return
        except self._av.error.FFmpegError:
            self._damage.met(self._number)
            self._decoded.append(None)

    def _cut(self, error: Exception) -> None:
        """Tell how a connection or a file ended before its end."""
        if self._what.live or not self._count:
            raise failure(self._av, self._what, error) from None
        self._packets = iter(())
        _LOGGER.warning(
            "The video %r was cut short after %d pictures: %s.",
            self._what.text,
            self._count,
            describe_av_error(error),
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

        width, height = square_size(frame.width, frame.height, self._pixel_ratio())
        # Of its own each frame would make a converter, with threads.
        bgr = self._converter.reformat(frame, width, height, "bgr24").to_ndarray()
        return np.ascontiguousarray(turned(bgr, self._matrix(frame)))

    def _matrix(self, frame: Any) -> bytes | None:
        """Look how a frame is to be shown, once for each angle.

        A frame whose side data was looked at stays until Python's garbage collector finds it.
        """
        angle = getattr(frame, "rotation", 0)  # older versions of PyAV do not tell
        if angle not in self._matrices:
            found = frame.side_data.get("DISPLAYMATRIX")
            self._matrices[angle] = None if found is None else bytes(found)
        return self._matrices[angle]

    def _pixel_ratio(self) -> float:
        """Give a pixel's width over its height, as the decoder has it now or else the file."""
        stream = self._stream
        return float(stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio or 1)

"""MJPEG over HTTP: one JPEG picture after the other in an answer that never ends."""

from __future__ import annotations

import time
from email.message import Message
from typing import TYPE_CHECKING, Final

from snow_runtime.cameras.sources.http.messages import other_kind
from snow_runtime.cameras.sources.http.stream import HttpStream
from snow_runtime.cameras.sources.jpeg_cutter import JpegCutter
from snow_runtime.cameras.sources.jpeg_decoder import DamagedJpegError, JpegDecoder
from snow_runtime.cameras.sources.source import BadPictureError, CameraPicture, LostError
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from snow_runtime.cameras.clock import Clock, Instant
    from snow_runtime.cameras.options import CameraOptions
    from snow_runtime.cameras.uri import Address

_CHUNK_BYTES: Final = 1 << 16
_CATCH_UP_S: Final = 0.1  # the longest that old pictures are passed over without showing one
_TELLING_BYTES: Final = 16  # of the beginning, which tell other kinds of video


class MjpegSource:
    """Reads ``http://`` and ``https://`` streams.

    Args:
        address: The address, with user and password if the camera asks for them.
        options: The time limits, and what a camera's certificate must be.
        clock: Clock that stamps the pictures when their last byte is here.
        newest: Whether pictures may be passed over when newer ones are here already. They are
            not decoded, so that a slow decoder never lags.

    Raises:
        CameraError: The address has no host or a wrong port.
        MissingDependencyError: `requests` or simplejpeg is not installed.
    """

    interval_s = 0.0

    def __init__(
        self, address: Address, options: CameraOptions, clock: Clock, *, newest: bool
    ) -> None:
        self._decoder = JpegDecoder()
        self._text = address.text
        self._stream = HttpStream(address, options)
        self._clock = clock
        self._newest = newest
        self._cutter = JpegCutter()
        self._counted_bad = 0
        self._beginning: bytes | None = b""
        self._ready: list[tuple[bytes, Instant]] = []
        self._end: LostError | None = None  # of the stream, behind the pictures that are ready

    def open(self) -> None:
        """Connect, and see whether the answer is a stream.

        Raises:
            LostError: Nobody answers, or not with pictures.
            RefusedError: The camera refuses access.
            CameraError: The answer is another kind of video.
        """
        message = Message()
        message["Content-Type"] = self._stream.open()
        self._check_kind(message.get_content_type())
        if message.get_content_maintype() == "text" and message["Content-Type"]:
            msg = (
                f"The camera {self._text!r} answered with {message.get_content_type()!r}, expected "
                "'multipart/x-mixed-replace'. Look for the address of its MJPEG stream."
            )
            raise LostError(msg)
        boundary = message.get_boundary()
        self._cutter = JpegCutter(boundary.encode("utf-8", "replace") if boundary else None)

    def read(self) -> CameraPicture:
        """Wait for the next picture, or in mode ``newest`` for the newest of those here.

        Raises:
            BadPictureError: A picture was damaged.
            LostError: The stream ended, or nothing came in time.
            CameraError: The answer is another kind of video.
        """
        give_up = time.monotonic() + _CATCH_UP_S
        while True:
            self._tell_bad()
            if self._ready and not self._more(give_up):
                break
            self._receive()
        skipped = len(self._ready) - 1 if self._newest else 0
        jpeg, at = self._ready[skipped]
        del self._ready[: skipped + 1]
        try:
            image = self._decoder.decode(jpeg)
        except DamagedJpegError as error:
            msg = (
                f"The camera {self._text!r} sent a picture that is damaged: {error}, expected a "
                "whole JPEG. Look at the network between."
            )
            raise BadPictureError(
                msg,
                skipped=skipped,
            ) from None
        return CameraPicture(image, at=at, skipped=skipped, coded=jpeg)

    def interrupt(self) -> None:
        """Cut the connection, so that whoever waits for bytes stops waiting."""
        self._stream.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _tell_bad(self) -> None:
        if self._cutter.bad > self._counted_bad:
            self._counted_bad += 1
            msg = (
                f"The camera {self._text!r} sent a picture that is damaged or cut short, expected "
                "a whole JPEG. Look at the network between."
            )
            raise BadPictureError(msg)

    def _more(self, give_up: float) -> bool:
        """Whether newer bytes are here already, and it is not too late to take them."""
        if not self._newest or self._end is not None or time.monotonic() > give_up:
            return False
        return self._stream.waiting()

    def _receive(self) -> None:
        """Take the next bytes; at the end, first let the pictures out that came before it."""
        if self._end is not None:
            raise self._end
        try:
            data = self._stream.read(_CHUNK_BYTES)
        except LostError as error:
            self._end = error
            return
        if not data:
            self._end = LostError(
                f"The camera {self._text!r} ended the stream, expected it to go on. Look "
                "whether the address is one of a stream, not of a single picture."
            )
            return
        self._check_beginning(data)
        self._ready += [(jpeg, self._clock.now()) for jpeg in self._cutter.feed(data)]

    def _check_beginning(self, data: bytes) -> None:
        if self._beginning is None:
            return
        self._beginning += data[:_TELLING_BYTES]
        self._check_kind("", self._beginning)
        if len(self._beginning) >= _TELLING_BYTES:
            self._beginning = None

    def _check_kind(self, content_type: str, beginning: bytes = b"") -> None:
        kind = other_kind(content_type, beginning)
        if kind is not None:
            msg = (
                f"Cannot read the camera {self._text!r}: it is {kind}, expected MJPEG, which is "
                "what is read over HTTP. Take the camera's rtsp:// or MJPEG address, or download a "
                "file and give its path."
            )
            raise CameraError(msg)

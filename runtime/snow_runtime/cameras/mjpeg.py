"""MJPEG over HTTP: one JPEG picture after the other in an answer that never ends."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import ssl
import time
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from snow_runtime.cameras.jpeg import JpegCutter
from snow_runtime.cameras.opencv import load_cv2
from snow_runtime.cameras.source import (
    BadPictureError,
    LostError,
    Picture,
    RefusedError,
    as_bgr,
)
from snow_runtime.cameras.uri import hide
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from snow_runtime.cameras.clock import Clock, Instant
    from snow_runtime.cameras.options import CameraOptions
    from snow_runtime.cameras.uri import Address

_CHUNK_BYTES: Final = 1 << 16
_CATCH_UP_S: Final = 0.1  # the longest that old pictures are passed over without showing one
_REFUSED: Final = (http.client.UNAUTHORIZED, http.client.FORBIDDEN)


class MjpegSource:
    """Reads ``http://`` and ``https://`` streams, with basic authentication.

    Args:
        address: the address, with user and password if the camera asks for them.
        options: the time limits.
        clock: stamps the pictures when their last byte is here.
        newest: whether pictures may be passed over when newer ones are here already. They are
            not decoded, so that a slow decoder never lags.

    Raises:
        CameraError: the address has no host or a wrong port.
        MissingDependencyError: OpenCV, which decodes the pictures, is not installed.
    """

    interval_s = 0.0

    def __init__(
        self, address: Address, options: CameraOptions, clock: Clock, *, newest: bool
    ) -> None:
        self._cv2: Any = load_cv2()
        self._text = address.text
        self._parts = _split(address)
        self._options = options
        self._clock = clock
        self._newest = newest
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._cutter = JpegCutter()
        self._counted_bad = 0
        self._interrupted = False
        self._ready: list[tuple[bytes, Instant]] = []

    def open(self) -> None:
        """Connect, and see whether the answer is a stream.

        Raises:
            LostError: nobody answers, or not with pictures.
            RefusedError: the camera refuses access.
        """
        host, port, timeout = self._parts.hostname, self._parts.port, self._options.open_timeout_s
        if self._parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(host or "", port, timeout=timeout)
        else:
            self._connection = http.client.HTTPConnection(host or "", port, timeout=timeout)
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            if self._interrupted:  # before there was anything to cut
                self.interrupt()
            self._connection.request("GET", _path(self._parts), headers=_headers(self._parts))
            self._response = self._connection.getresponse()
            self._check(self._response)
            self._socket.settimeout(self._options.stall_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost("cannot be opened", error) from None  # its text may hold the password

    def read(self) -> Picture:
        """Wait for the next picture, or in mode ``newest`` for the newest of those here.

        Raises:
            BadPictureError: a picture was damaged.
            LostError: the stream ended, or nothing came in time.
        """
        give_up = time.monotonic() + _CATCH_UP_S
        while True:
            self._tell_bad()
            if self._ready and not self._more(give_up):
                break
            pictures = self._cutter.feed(self._receive())
            self._ready += [(jpeg, self._clock.now()) for jpeg in pictures]
        skipped = len(self._ready) - 1 if self._newest else 0
        jpeg, at = self._ready[skipped]
        del self._ready[: skipped + 1]
        return Picture(self._decode(jpeg), at=at, skipped=skipped)

    def interrupt(self) -> None:
        """Cut the connection, so that whoever waits for bytes stops waiting."""
        self._interrupted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which takes the connection apart under the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()
        if self._socket is not None:  # the response may have kept it open
            self._socket.close()

    def _tell_bad(self) -> None:
        if self._cutter.bad > self._counted_bad:
            self._counted_bad += 1
            raise BadPictureError(
                f"The camera {self._text!r} sent a picture that is damaged or cut short, expected "
                "a whole JPEG. Look at the network between."
            )

    def _more(self, give_up: float) -> bool:
        """Whether newer bytes are here already, and it is not too late to take them."""
        connected = self._socket
        if not self._newest or connected is None or time.monotonic() > give_up:
            return False
        if isinstance(connected, ssl.SSLSocket) and connected.pending():
            return True
        poll = select.poll()  # select() fails for file descriptors above 1023
        poll.register(connected, select.POLLIN)
        return bool(poll.poll(0))

    def _receive(self) -> bytes:
        if self._response is None:
            raise LostError(f"The camera {self._text!r} is not open, expected it to be. Open it.")
        try:
            data = self._response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost("sends no more", error) from None
        if not data:
            raise LostError(
                f"The camera {self._text!r} ended the stream, expected it to go on. Look whether "
                "the address is one of a stream, not of a single picture."
            )
        return data

    def _decode(self, jpeg: bytes) -> Any:
        import numpy as np

        try:
            image = self._cv2.imdecode(np.frombuffer(jpeg, np.uint8), self._cv2.IMREAD_COLOR)
        except self._cv2.error as error:
            raise BadPictureError(
                f"The camera {self._text!r} sent a picture that OpenCV cannot decode: {error}. "
                "Expected a whole JPEG; look at the network between."
            ) from error
        return as_bgr(image, f"The camera {self._text!r}")

    def _check(self, response: http.client.HTTPResponse) -> None:
        """See whether the answer is a stream, and learn its boundary."""
        if response.status in _REFUSED:
            asked = response.getheader("WWW-Authenticate", "").partition(" ")[0] or "nothing"
            raise RefusedError(
                f"The camera {self._text!r} refuses access: it answered {response.status} and asks "
                f"for {asked[:40]!r}, expected 200. Give a user and password as in "
                "'http://USER:PASSWORD@HOST/…'; only Basic is known here, so allow that in the "
                "camera's settings.",
                password=response.status == http.client.UNAUTHORIZED,
            )
        if response.status != http.client.OK:
            moved = response.getheader("Location")
            raise LostError(
                f"The camera {self._text!r} answered {response.status}, expected 200. "
                + (f"Give {hide(moved)!r}, to where it points." if moved else "Check the address.")
            )
        message = Message()
        message["Content-Type"] = response.getheader("Content-Type", "")
        if message.get_content_maintype() == "text" and message["Content-Type"]:
            raise LostError(
                f"The camera {self._text!r} answered with {message.get_content_type()!r}, expected "
                "'multipart/x-mixed-replace'. Look for the address of its MJPEG stream."
            )
        boundary = message.get_boundary()
        self._cutter = JpegCutter(boundary.encode("utf-8", "replace") if boundary else None)

    def _lost(self, what: str, error: Exception) -> LostError:
        if isinstance(error, ssl.SSLCertVerificationError):
            advice = "Name the camera's own certificate in the environment variable SSL_CERT_FILE"
        else:
            advice = "Look at the camera and the network"
        seen = "nothing came in time" if isinstance(error, TimeoutError) else _text(error)
        return LostError(
            f"The camera {self._text!r} {what}: {seen}, expected a stream of pictures. {advice}."
        )


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _split(address: Address) -> SplitResult:
    try:
        parts = urlsplit(address.target)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(ord(letter) < 33 or ord(letter) == 127 for letter in address.target):
        raise CameraError(
            f"Cannot open the camera {address.text!r}: there is no host in it, or a port or a "
            "character that cannot be, expected 'http://HOST:PORT/PATH'. Write signs such as / "
            "and # in a password as %2F and %23."
        )
    return parts


def _path(parts: SplitResult) -> str:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return path if path.isascii() else _quoted(path)


def _quoted(path: str) -> str:
    return "".join(
        letter if letter.isascii() else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in path
    )


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"Accept": "multipart/x-mixed-replace, image/jpeg, */*", "User-Agent": "snow-deploy"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return headers

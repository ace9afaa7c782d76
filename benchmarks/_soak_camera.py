"""A camera over HTTP whose colour changes, and that goes away when it is told to."""

from __future__ import annotations

import io
import socketserver
import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from benchmarks._colour_graph import COLOURS

if TYPE_CHECKING:
    from typing_extensions import Self

_FRAME_S: Final = 0.1
_COLOUR_S: Final = 2.5
_HEAD: Final = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


class FlappingCamera(socketserver.ThreadingTCPServer):
    """Serves Motion JPEG; the colours take turns.

    Attributes:
        away: Whether connections are cut, and none is answered.
        hangs: Whether connections stay, and nothing is sent.
        still: Whether the colour stays.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Viewer)
        self.away = self.hangs = self.still = False
        self._colour = 0
        self._noise = np.random.default_rng(0)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.away = True
        self.shutdown()
        self.server_close()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}/video"

    def picture(self) -> bytes:
        """Make a JPEG of the present colour, no two of the same bytes."""
        if not self.still:
            self._colour = int(time.monotonic() / _COLOUR_S) % len(COLOURS)
        image = self._noise.integers(0, 40, (48, 64, 3), dtype=np.uint8)
        image[..., self._colour] += 200
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG")
        return stream.getvalue()


class _Viewer(socketserver.BaseRequestHandler):
    """One connection."""

    server: FlappingCamera

    def handle(self) -> None:
        try:
            self.request.recv(4096)
            if self.server.away:
                return
            self.request.sendall(_HEAD)
            while not self.server.away:
                if not self.server.hangs:
                    jpeg = self.server.picture()
                    part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    self.request.sendall(part.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                time.sleep(_FRAME_S)
        except OSError:  # the other side has left
            return

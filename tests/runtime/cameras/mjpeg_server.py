"""A small MJPEG server that can do all that a bad camera does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from tests.runtime.cameras.pictures import jpeg

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

BOUNDARY = b"frame"
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
    b"Connection: close\r\n\r\n"
)


def part(data: bytes) -> bytes:
    header = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
    return header + data + b"\r\n"


class Client:
    """One connection, seen from the server."""

    def __init__(self, server: MjpegServer, connection: socket.socket, request: bytes) -> None:
        self.server = server
        self.connection = connection
        self.request = request

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def pause(self, seconds: float) -> bool:
        """Wait; give whether to go on."""
        return not self.server.stopped.wait(seconds)

    def stay(self) -> None:
        """Keep the connection open without a word."""
        self.server.stopped.wait()

    def stream(self, *, fps: float = 100, width: int = 256) -> None:
        self.send(HEAD)
        while self.pause(1 / fps):
            self.send(part(jpeg(self.server.next_number(), width)))


class MjpegServer:
    """Serves each connection with ``behave`` in a thread; may be changed at any time."""

    def __init__(
        self,
        behave: Callable[[Client], None] = Client.stream,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.behave = behave
        self._context = context
        self.requests: list[bytes] = []
        self.stopped = threading.Event()
        self._number = 0
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="mjpeg server", daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}/video"

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def kill(self) -> None:
        """Close everything at once."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=[connection], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            request = b""
            while b"\r\n\r\n" not in request:
                data = connection.recv(4096)
                if not data:
                    return
                request += data
            self.requests.append(request)
            self.behave(Client(self, connection, request))
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

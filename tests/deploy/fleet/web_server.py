"""A web server on this machine that cuts, slows, forges and forgets, as it is told to."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self


@dataclass
class Faults:
    """What the server does wrong.

    Attributes:
        cut_after: Bytes of a blob after which the connection is cut; None for no cut.
        forge: What of a path is sent changed.
        absent: What of a path is not there.
        ranges: Whether it knows of ranges.
        pause_s: Seconds before each answer.
    """

    cut_after: int | None = None
    forge: str = "\0"
    absent: str = "\0"
    ranges: bool = True
    pause_s: float = 0.0


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, *_: Any) -> None:
        pass


@dataclass
class WebServer:
    """Serves a folder on the loopback interface.

    Attributes:
        folder: The folder.
        faults: What it does wrong.
        asked: The paths that were asked for, with the ranges.
        sent_bytes: Bytes of files that were sent.
    """

    folder: Path
    faults: Faults = field(default_factory=Faults)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent_bytes: int = 0
    login: str | None = None

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        arguments = {"poll_interval": 0.01}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=arguments)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        given = request.headers.get("Range", "")
        self.asked.append((request.path, given))
        time.sleep(self.faults.pause_s)
        path = self.folder / request.path.lstrip("/")
        refused = self.login is not None and request.headers.get("Authorization") != self.login
        if refused or not path.is_file() or self.faults.absent in request.path:
            request.send_response(HTTPStatus.UNAUTHORIZED if refused else HTTPStatus.NOT_FOUND)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        content = path.read_bytes()
        if self.faults.forge in request.path:
            content = content[:-1] + bytes([content[-1] ^ 1])
        begin = int(given.removeprefix("bytes=").rstrip("-")) if given and self.faults.ranges else 0
        request.send_response(HTTPStatus.PARTIAL_CONTENT if begin else HTTPStatus.OK)
        if begin:
            whole = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", whole)
        rest = content[begin:]
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        cut = self.faults.cut_after
        if cut is not None and "/blobs/" in request.path and len(rest) > cut:
            rest = rest[:cut]
            request.close_connection = True
        request.wfile.write(rest)
        self.sent_bytes += len(rest)

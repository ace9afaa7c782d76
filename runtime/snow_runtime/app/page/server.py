"""Serves the page from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from snow_runtime.app.page.access import Guard, checked_token, is_loopback
from snow_runtime.app.page.board import Board
from snow_runtime.app.page.connection import Client, Site, serve
from snow_runtime.app.page.events import Events
from snow_runtime.app.page.limits import Limits
from snow_runtime.app.page.pictures import Pictures
from snow_runtime.app.page.routes import Routes
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from snow_runtime.app.live import Live
    from snow_runtime.app.page.board import Cameras, Tasks
    from snow_runtime.app.stats import Stats

_SEND_BYTES: Final = 128 << 10
"""So much waits for a slow client in the system: more would only be older."""
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_STOP_S: Final = 5.0
_LAST_PORT: Final = 65535


class PageServer:
    """The page, from :meth:`start` to :meth:`stop`.

    Args:
        live: The newest pictures and answers; its switches are the page's.
        stats: Counts and latencies.
        cameras: Gives by camera its `state`, `since_s` (seconds in that state), `error`, `frames`,
            `drops`, `reconnections`, `bad_frames` and `connected`, and for `/metrics` also
            `repeats`, `abandoned` and `lost_s`; called by the page's thread.
        tasks: Gives the names of the model's tasks, which may change; called by the page's thread.
        host: The address to serve; any but this machine's own needs a token.
        port: 0 for one that is free.
        token: What viewers have to know; see :func:`new_token`.
        limits: What viewers may take.
        hung_after_s: When no frame was answered for so long, while a camera gave frames,
            `/healthz` answers 503.

    Raises:
        InputError: The token is missing or unfit, or there is no such port.
    """

    def __init__(
        self,
        live: Live,
        stats: Stats,
        cameras: Cameras,
        tasks: Tasks,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        limits: Limits | None = None,
        hung_after_s: float = 60.0,
    ) -> None:
        if not 0 <= port <= _LAST_PORT:
            raise InputError(
                f"There is no port {port}, expected 0 to {_LAST_PORT}. Give one of them; 0 takes "
                "one that is free."
            )
        self._token = checked_token(host, token)
        self._live = live
        self._board = Board(live, stats, cameras, tasks, hung_after_s=hung_after_s)
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._clients: dict[asyncio.Task[None], Client] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The page's address, without the token."""
        host = _reachable(self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/"

    @property
    def entry_url(self) -> str:
        """The address to open first, with the token if there is one: for the terminal only."""
        return self.url if self._token is None else f"{self.url}?token={self._token}"

    def start(self) -> None:
        """Listen, and serve from another thread.

        Raises:
            InputError: The address cannot be had.
            Exception: Whatever else kept the thread from serving.
        """
        if self._thread is not None:
            return
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="snow-page", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join(_STOP_S)
            self._thread = self._loop = None
            raise self._failure

    def stop(self) -> None:
        """Let go of all viewers and end the thread; may be called twice."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        self._thread = self._loop = None
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(self._stopping.set)
        thread.join(_STOP_S)

    def _run(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._serve(listener))
        except Exception as error:
            if self._ready.is_set():
                raise
            self._failure = error  # for whoever starts
        finally:
            listener.close()
            self._ready.set()  # a start that failed does not wait for ever

    async def _serve(self, listener: socket.socket) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._clients.clear()
        pictures = Pictures(self._live)
        events = Events(self._board, self._limits)
        guard = Guard(self._token, is_loopback(self._host), self._port)
        site = Site(guard, Routes(self._board, pictures), events, self._limits)
        server = await asyncio.start_server(
            partial(self._accept, site), sock=listener, limit=self._limits.head_bytes
        )
        looking = asyncio.create_task(events.run())
        self._ready.set()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            await _end([looking, *self._clients])
            pictures.close()

    def _accept(
        self, site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(self._clients) >= self._limits.connections and not self._make_room():
            writer.write(_BUSY)
            writer.close()
            return
        client = Client(reader, writer)
        task = asyncio.get_running_loop().create_task(serve(site, client))
        self._clients[task] = client
        task.add_done_callback(lambda done: self._clients.pop(done, None))

    def _make_room(self) -> bool:
        idle = [
            (client.idle_since_s, number, client)
            for number, client in enumerate(self._clients.values())
            if client.idle_since_s is not None
        ]
        if not idle:
            return False
        *_, longest = min(idle)
        longest.drop()
        return True


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: before Python 3.12, `wait_for` may swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            host or "0.0.0.0",  # noqa: S104 - it was asked for, and has a token
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _refused(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise _refused(host, port, error) from error
    return listener


def _refused(host: str, port: int, error: Exception) -> InputError:
    return InputError(
        f"The page cannot be served at {host}:{port}: {error}. Give another port (0 takes one that "
        "is free), or end what listens there."
    )


def _reachable(host: str) -> str:
    """Give an address to open where all of this machine's addresses are served."""
    if host not in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only the way there is looked up
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])

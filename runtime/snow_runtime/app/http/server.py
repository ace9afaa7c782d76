"""An ASGI application that is served from a thread of its own."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from snow_runtime.app.http.connection import Connection
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import ASGIApp

    from snow_runtime.app.http.limits import Limits

_SEND_BYTES: Final = 128 << 10  # wait for a slow client in the system: more would only be older
_STOP_S: Final = 5.0


class HttpServer(uvicorn.Server):
    """Serves an application until it is stopped; handles no signals, logs no requests.

    Args:
        app: The application that answers.
        listener: Where clients come from, of :func:`listening_socket`; closed at the end.
        limits: What clients may take.
        beside: What the thread does besides, until it is cancelled at the end.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        limits: Limits,
        beside: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        protocol: Any = partial(Connection, app=app, limits=limits)
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,  # logging is the application's own
            workers=1,  # whatever $WEB_CONCURRENCY says
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=math.ceil(limits.request_s),
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        super().__init__(config)
        self._beside = beside
        self._serving: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="snow-http", daemon=True
        )

    def start(self) -> None:
        """Return when clients are served.

        Raises:
            Exception: Whatever keeps the thread from that.
        """
        self._thread.start()
        try:
            self._serving.result()
        except BaseException:
            self._thread.join(_STOP_S)
            raise

    def stop(self) -> None:
        """Let go of all clients and end the thread."""
        self.should_exit = True
        self._thread.join(_STOP_S)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell that clients are served."""
        await super().startup(sockets=sockets)
        self._serving.set_result(None)

    def _run(self, listener: socket.socket) -> None:
        with listener:
            try:
                asyncio.run(self._serve_beside(listener))
            except BaseException as error:
                if self._serving.done():
                    raise
                self._serving.set_exception(error)  # for whoever starts it

    async def _serve_beside(self, listener: socket.socket) -> None:
        beside = asyncio.create_task(self._beside())
        try:
            await self.serve(sockets=[listener])
        finally:
            beside.cancel()


def listening_socket(host: str, port: int) -> socket.socket:
    """Listen at an address; port 0 takes one that is free.

    Raises:
        InputError: It cannot be had.
    """
    every = "0.0.0.0"  # noqa: S104 - it was asked for, and has a token
    try:
        family, *_, (name, _, *scope) = socket.getaddrinfo(
            host or every, None, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
            listener.bind((name, port, *scope))
            listener.listen()
        except (OSError, OverflowError):  # the latter: there is no such port
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        msg = (
            f"The page cannot be served at {host}:{port}: {error}. Give an address of this machine "
            "with --host, and another port (0 takes one that is free), or end what listens there."
        )
        raise InputError(msg) from error
    return listener


def reachable(host: str) -> str:
    """Give an address to open where all of this machine's addresses are served."""
    if host not in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only the way there is looked up
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])

"""Serves the page from a thread of its own."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from snow_runtime.app.board import Board
from snow_runtime.app.page.access import Access
from snow_runtime.app.page.connection import Connection
from snow_runtime.app.page.limits import Limits
from snow_runtime.app.page.site import Site
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from snow_runtime.app.board import Cameras, Tasks
    from snow_runtime.app.live import Live
    from snow_runtime.app.stats import Stats

_SEND_BYTES: Final = 128 << 10  # wait for a slow client in the system: more would only be older
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
        allowed_hosts: Names, or NAME:PORT, by which a proxy before the page is reached.
        limits: What viewers may take.
        hung_after_s: When no frame was answered for so long, while a camera gave frames or none
            has ever given one, `/healthz` answers 503.

    Raises:
        InputError: The token is missing or unfit, a name is none, or there is no such port.
    """

    def __init__(  # noqa: PLR0913 - its options
        self,
        live: Live,
        stats: Stats,
        cameras: Cameras,
        tasks: Tasks,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
        limits: Limits | None = None,
        hung_after_s: float = 60.0,
    ) -> None:
        if not 0 <= port <= _LAST_PORT:
            raise InputError(
                f"There is no port {port}, expected 0 to {_LAST_PORT}. Give one of them; 0 takes "
                "one that is free."
            )
        self._access = Access(host, token, tuple(allowed_hosts))
        self._live = live
        self._board = Board(live, stats, cameras, tasks, hung_after_s=hung_after_s)
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._served: tuple[_Server, threading.Thread] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The page's address, without the token."""
        host = _reachable(self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/"

    @property
    def entry_url(self) -> str:
        """The address to open first, with the token if there is one: for the terminal only."""
        token = self._access.token
        return self.url if token is None else f"{self.url}?token={token}"

    def start(self) -> None:
        """Listen, and serve from another thread.

        Raises:
            InputError: The address cannot be had.
            Exception: Whatever else kept the thread from serving.
        """
        if self._served is not None:
            return
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        try:
            site = Site(self._board, self._live, self._limits, self._access, self._port)
            server = _Server(site, self._limits)
            thread = threading.Thread(
                target=server.run_in_thread, args=(listener,), name="snow-page", daemon=True
            )
            thread.start()
            server.serving.result()
        except BaseException:
            listener.close()
            raise
        self._served = server, thread

    def stop(self) -> None:
        """Let go of all viewers and end the thread; may be called twice."""
        if self._served is not None:
            (server, thread), self._served = self._served, None
            server.should_exit = True
            thread.join(_STOP_S)


class _Server(uvicorn.Server):
    """Tells when it serves, or what keeps it from that."""

    def __init__(self, site: Site, limits: Limits) -> None:
        protocol: Any = partial(Connection, app=site, limits=limits)
        config = uvicorn.Config(
            site,
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
        self._site = site
        self.serving: Future[None] = Future()

    def run_in_thread(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._serve_site(listener))
        except BaseException as error:
            if self.serving.done():
                raise
            self.serving.set_exception(error)  # for whoever starts it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.serving.set_result(None)

    async def _serve_site(self, listener: socket.socket) -> None:
        looking = asyncio.create_task(self._site.events.run())
        try:
            await self.serve(sockets=[listener])
        finally:
            looking.cancel()
            self._site.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except (OSError, ValueError) as error:  # ValueError: no host could have such a name
        raise InputError(
            f"The page cannot be served at {host}:{port}: {error}. Give another port (0 takes one "
            "that is free), or end what listens there."
        ) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
    return listener


def _reachable(host: str) -> str:
    """Give an address to open where all of this machine's addresses are served."""
    if host not in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only the way there is looked up
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])

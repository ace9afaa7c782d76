"""Serves the labelling page alone: of a collection without cameras and without a model."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from snow_runtime.app.http.limits import Limits
from snow_runtime.app.http.server import HttpServer, listening_socket, reachable
from snow_runtime.app.page.access import Access, Guard
from snow_runtime.app.page.protection import protecting
from snow_runtime.app.page.site import to_labelling
from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send
    from typing_extensions import Self

    from snow_runtime.app.labelling.labelling import Labelling


class LabellingServer:
    """The labelling page, from :meth:`start` to :meth:`stop`.

    Args:
        labelling: The page.
        host: The address to serve; any but this machine's own needs a token.
        port: Port to serve on; 0 for one that is free.
        token: What people have to know; see :func:`~snow_runtime.app.page.new_token`.
        allowed_hosts: Names, or NAME:PORT, by which a proxy before the page is reached.
        limits: What people may take.

    Raises:
        InputError: The token is missing or unfit, or a name is none.
    """

    def __init__(
        self,
        labelling: Labelling,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self._access = Access(host, token, tuple(allowed_hosts))
        self._labelling = labelling
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._served: HttpServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The page's address, without the token."""
        host = reachable(self._host)
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
        listener = listening_socket(self._host, self._port)
        self._port = listener.getsockname()[1]
        try:
            site = LabellingSite(self._labelling, self._access, self._port)
            server = HttpServer(site, listener, self._limits, _rest)
            server.start()
        except BaseException:
            listener.close()
            raise
        self._served = server

    def stop(self) -> None:
        """Let go of everybody and end the thread; may be called twice."""
        if self._served is not None:
            server, self._served = self._served, None
            server.stop()


class LabellingSite:
    """Answers all requests, by the same rules as the live page.

    Args:
        labelling: The page.
        access: What lets people in.
        port: The port that is served.
    """

    def __init__(self, labelling: Labelling, access: Access, port: int) -> None:
        self._faults = ThrottledLogger(logging.getLogger(__name__))
        self._app = Starlette(
            routes=[
                Route("/", to_labelling),
                Route("/label", to_labelling),
                Mount("/label", labelling),
            ],
            middleware=[Middleware(Guard, access=access, port=port)],
            exception_handlers={Exception: _broken},
        )
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with the headers that protect the page."""
        try:
            await self._app(scope, receive, protecting(send))
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - it is logged, and answered by `_broken`
            self._faults.error("the labelling page could not answer", error)


async def _broken(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("The page has an error; the log says which.\n", 500)


async def _rest() -> None:
    await asyncio.Event().wait()  # nothing is to be done beside

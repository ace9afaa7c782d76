"""A site as an ASGI application: who may ask, which headers protect it, what becomes of faults."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from snow_runtime.app.http.access import Access, Guard
from snow_runtime.app.http.protection import protecting
from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send


class ProtectedSite:
    """Answers all requests of those whom it lets in.

    Args:
        name: What faults call it, such as ``the page``.
        routes: What answers which address.
        access: What lets a client in.
        port: The port that is served.
    """

    def __init__(self, name: str, routes: Sequence[BaseRoute], access: Access, port: int) -> None:
        self._name = name
        self._faults = ThrottledLogger(logging.getLogger(__name__))
        self._app = Starlette(
            routes=routes,
            middleware=[Middleware(Guard, access=access, port=port)],
            exception_handlers={Exception: _broken},
        )
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with the headers that protect the site."""
        try:
            await self._app(scope, receive, protecting(send))
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - it is logged, and answered by `_broken`
            first = "/" + scope["path"].split("/")[1]
            self._faults.error(f"{self._name} could not answer {scope['method']} {first!r}", error)

    async def run(self) -> None:
        """Do what is to be done beside answering, until cancelled: nothing."""
        await asyncio.Event().wait()

    def close(self) -> None:
        """Let go of what answers needed: nothing."""


async def _broken(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("The page has an error; the log says which.\n", 500)

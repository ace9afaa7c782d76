"""One client's connection: requests in, answers out, until one of the two has had enough."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from snow_runtime.app.page.wire import RequestError, Response, read_request

if TYPE_CHECKING:
    from snow_runtime.app.page.access import Guard
    from snow_runtime.app.page.events import Events
    from snow_runtime.app.page.limits import Limits
    from snow_runtime.app.page.routes import Routes
    from snow_runtime.app.page.wire import Request

_LOGGER = logging.getLogger(__name__)
_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 1 << 20
_BROKEN: Final = Response(
    b"The page has an error; the log says which.\n", status=HTTPStatus.INTERNAL_SERVER_ERROR
)


@dataclass(frozen=True)
class Site:
    """All that a connection needs to answer.

    Attributes:
        guard: says who may ask.
        routes: answer.
        events: are followed.
        limits: of what one client may take.
    """

    guard: Guard
    routes: Routes
    events: Events
    limits: Limits


@dataclass
class Client:
    """Who holds a connection.

    Attributes:
        reader: from it.
        writer: to it.
        idle_since_s: when it began to ask for nothing, on the monotonic clock; None while it gets
            an answer.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since_s: float | None = field(default_factory=time.monotonic)

    def drop(self) -> None:
        """Close the connection; whoever serves it finds that the client has left."""
        self.idle_since_s = None
        self.writer.transport.abort()


async def serve(site: Site, client: Client) -> None:
    """Answer a client until it leaves, is too slow, or asks for what cannot be read."""
    client.writer.transport.set_write_buffer_limits(0)  # drained is: the system has taken all
    try:
        going_on = True
        while going_on:
            client.idle_since_s = time.monotonic()
            going_on = await _exchange(site, client)
    except (OSError, asyncio.TimeoutError):
        pass  # it has left, or takes nothing any more
    finally:
        client.drop()


async def _exchange(site: Site, client: Client) -> bool:
    try:
        request = await read_request(client.reader, site.limits)
    except RequestError as error:
        client.idle_since_s = None
        await _send(site, client, error.response().encode(keep_alive=False))
        await _linger(client)
        return False
    if request is None:
        return False
    client.idle_since_s = None
    response = await _answer(site, request, client)
    if response is None:
        return False
    keep_alive = request.keep_alive and request.method in ("GET", "POST")
    if request.method == "HEAD":
        response = replace(response, body=b"")
    await _send(site, client, response.encode(keep_alive=keep_alive))
    return keep_alive


async def _answer(site: Site, request: Request, client: Client) -> Response | None:
    """Answer; None where events were followed to their end."""
    try:
        refused = site.guard.check(request)
        if refused is not None:
            return refused
        if (request.method, request.path) == ("GET", ("events",)):
            await site.events.follow(client.writer)
            return None
        return await site.routes.answer(request)
    except RequestError as error:
        return error.response()
    except (OSError, asyncio.TimeoutError):
        raise
    except Exception:
        _LOGGER.exception("the page could not answer %s /%s", request.method, request.path[0])
        return _BROKEN


async def _send(site: Site, client: Client, data: bytes) -> None:
    client.writer.write(data)
    await asyncio.wait_for(client.writer.drain(), site.limits.write_s)


async def _linger(client: Client) -> None:
    """Take what the client still sends: a connection that is closed on it loses our answer."""

    async def take() -> None:
        taken = 0
        while taken < _LINGER_BYTES and (data := await client.reader.read(1 << 16)):
            taken += len(data)

    client.writer.write_eof()
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(take(), _LINGER_S)

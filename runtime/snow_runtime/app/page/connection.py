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
    from collections.abc import Callable

    from snow_runtime.app.page.access import Guard
    from snow_runtime.app.page.events import Events
    from snow_runtime.app.page.limits import Limits
    from snow_runtime.app.page.routes import Routes
    from snow_runtime.app.page.wire import Request

_LOGGER = logging.getLogger(__name__)
_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 1 << 20
_FAULT_S: Final = 60.0
_BROKEN: Final = Response(
    b"The page has an error; the log says which.\n", status=HTTPStatus.INTERNAL_SERVER_ERROR
)


class Faults:
    """Logs what could not be answered, once a minute: whoever asks could fill the disk with it.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet_until_s = float("-inf")
        self._untold = 0

    def log(self, request: Request, error: Exception) -> None:
        """Log what came of a request."""
        now = self._clock()
        if now < self._quiet_until_s:
            self._untold += 1
            return
        _LOGGER.error(
            "the page could not answer %s %r; %d more since such an error was logged last",
            request.method,
            f"/{request.path[0]}",
            self._untold,
            exc_info=error,
        )
        self._quiet_until_s, self._untold = now + _FAULT_S, 0


@dataclass(frozen=True)
class Site:
    """All that a connection needs to answer.

    Attributes:
        guard: says who may ask.
        routes: answer.
        events: are followed.
        limits: of what one client may take.
        faults: log what went wrong.
    """

    guard: Guard
    routes: Routes
    events: Events
    limits: Limits
    faults: Faults = field(default_factory=Faults)


@dataclass
class Client:
    """Who holds a connection.

    Attributes:
        reader: from it.
        writer: to it.
        idle_since_s: when it began to ask for nothing, on the monotonic clock; None while it gets
            an answer, minus infinity once it has all that it will get: it is the first to go.
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
        client.idle_since_s = float("-inf")
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
    except Exception as error:  # noqa: BLE001 - it is logged
        site.faults.log(request, error)
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

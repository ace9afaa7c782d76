"""What one client's connection may take; uvicorn itself waits for slow clients for ever."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp

    from snow_runtime.app.http.limits import Limits

_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.ERROR)  # what strangers send is not worth a line each
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connection(H11Protocol):
    """HTTP/1.1 with a client that has deadlines, and leaves when others need its place.

    Args:
        app: The application that answers; what uvicorn would put around it, and logs addresses, is
            left out.
        limits: What a client may take.
        uvicorn: What uvicorn gives to its protocols.

    Attributes:
        waits_since_s: Time when it began to wait for a request, on the monotonic clock.
    """

    def __init__(self, *, app: ASGIApp, limits: Limits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.app = cast("Any", app)
        self.logger = _LOGGER
        self.access_log = False  # an address may hold the token
        self._limits = limits
        self.waits_since_s = 0.0
        self._ended = False
        self._reads: asyncio.TimerHandle | None = None
        self._writes: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a client if there is a place."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # written is: the system has taken all
        self._await_request()
        if len(self.connections) > self._limits.connections and not self._make_room():
            transport.write(_BUSY)
            transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Stay for the answer where the client has asked and closes its end, as `nc` does."""
        self._ended = True
        return not self.idle and self.conn.their_state is not h11.SEND_BODY

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        self._await_request()
        super().on_response_complete()
        if self._ended and self.idle:
            self.transport.close()

    def pause_writing(self) -> None:
        """Give the client a while to take what was written."""
        super().pause_writing()
        self._writes = self.loop.call_later(self._limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that it has."""
        super().resume_writing()
        _cancel(self._writes)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        super().connection_lost(exc)
        _cancel(self._reads)
        _cancel(self._writes)

    def shutdown(self) -> None:
        """Let go of the client, whatever is under way."""
        self.transport.abort()

    def _await_request(self) -> None:
        self.waits_since_s = time.monotonic()
        _cancel(self._reads)
        self._reads = self.loop.call_later(self._limits.request_s, self._late)

    def _late(self) -> None:
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:  # else it is being answered
            self.transport.close()

    def _make_room(self) -> bool:
        """Drop who has asked for nothing for the longest time; tell whether there is anybody."""
        others = cast("set[Connection]", self.connections) - {self}
        idle = [other for other in others if other.idle]
        if idle:
            min(idle, key=lambda other: other.waits_since_s).transport.abort()
        return bool(idle)

    @property
    def idle(self) -> bool:
        """Whether the client asks for nothing, and could."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self.transport.is_closing()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

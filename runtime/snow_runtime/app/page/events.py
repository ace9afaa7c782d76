"""Server-sent events: the state of everything, made once for all viewers, five times a second."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from snow_runtime.app.dashboard import Dashboard

_TICK_S: Final = 0.2
# The second one tells nginx to hand on each event at once.
HEADERS: Final = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}


class Events:
    """Sends what the board says to all who follow; who is slow misses some, and holds up nobody."""

    def __init__(self, board: Dashboard, most_viewers: int) -> None:
        self._board = board
        self._most = most_viewers
        self._viewers: set[_Followed] = set()
        self._newest = b""
        self._state: dict[str, Any] = {}
        self._setup: dict[str, Any] = {}
        self._news = asyncio.Event()
        self._faults = ThrottledLogger(logging.getLogger(__name__))

    async def run(self) -> None:
        """Go on looking until cancelled."""
        while True:
            try:
                self._board.look()
                if self._viewers:
                    self._publish()
            except Exception as error:  # noqa: BLE001 - the page outlives what it looks at
                self._faults.error("the page cannot tell the state", error)
            await asyncio.sleep(_TICK_S)

    def follow(self) -> StreamingResponse:
        """Send a viewer the last minute, and from then on what is so, until it leaves.

        Raises:
            HTTPException: Too many look already.
        """
        if len(self._viewers) >= self._most:
            why = f"{self._most} viewers look already, and no more are served. Close one."
            raise HTTPException(503, why, {"Retry-After": "5"})
        return _Followed(self._tell(), self._viewers)

    async def _tell(self) -> AsyncIterator[bytes]:
        yield _event("history", self._board.history())
        told = _Told(setup=None, number=0)
        yield _event("state", {**self._board.state(), **self._new_to(told, self._board.setup())})
        while True:  # cancelled when the viewer leaves
            await self._news.wait()
            new = self._new_to(told, self._setup)
            yield _event("state", {**self._state, **new}) if new else self._newest

    def _new_to(self, told: _Told, setup: dict[str, Any]) -> dict[str, Any]:
        """Give what does not change all the time, as far as a viewer was not told it yet."""
        new: dict[str, Any] = {}
        first = told.setup is None
        if setup != told.setup:
            new["setup"] = told.setup = setup
        changes = self._board.changes(told.number)
        if changes:
            told.number = changes[-1]["number"]
        if changes or first:
            new["changes"] = {"all": first, "events": changes}
        return new

    def _publish(self) -> None:
        self._state, self._setup = self._board.state(), self._board.setup()
        self._newest = _event("state", self._state)
        news, self._news = self._news, asyncio.Event()
        news.set()


@dataclass
class _Told:
    """What a viewer knows: what is asked, and the number of the last change."""

    setup: dict[str, Any] | None
    number: int


class _Followed(StreamingResponse):
    """Events on their way to one of the viewers."""

    def __init__(self, events: AsyncIterator[bytes], viewers: set[_Followed]) -> None:
        super().__init__(events, headers=HEADERS)
        self._viewers = viewers
        viewers.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._viewers.discard(self)


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()

"""Server-sent events: the state of everything, made once for all viewers, five times a second."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.app.page.wire import RequestError, Response

if TYPE_CHECKING:
    from snow_runtime.app.page.board import Board
    from snow_runtime.app.page.limits import Limits

_LOGGER = logging.getLogger(__name__)
_TICK_S: Final = 0.2
_PAUSE_S: Final = 2.0  # after an error, which would come five times a second


class Events:
    """Sends the state to all who follow it; who is slow misses some, and holds up nobody.

    Args:
        board: What there is to say.
        limits: How many may follow, and how slow they may be.
    """

    def __init__(self, board: Board, limits: Limits) -> None:
        self._board = board
        self._limits = limits
        self._viewers = 0
        self._newest = b""
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Go on looking until cancelled."""
        while True:
            try:
                self._board.look()
                if self._viewers:
                    self._publish()
            except Exception:  # the page outlives what it looks at
                _LOGGER.exception("the page cannot tell the state")
                await asyncio.sleep(_PAUSE_S)
            await asyncio.sleep(_TICK_S)

    async def follow(self, writer: asyncio.StreamWriter) -> None:
        """Send a viewer the last minute, and from then on the state, until it leaves.

        Raises:
            RequestError: Too many look already.
            asyncio.TimeoutError: It takes nothing any more.
            ConnectionError: It has left.
        """
        if self._viewers >= self._limits.viewers:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._viewers} viewers look already, and no more are served. Close one.",
                {"Retry-After": "5"},
            )
        self._viewers += 1
        try:
            head = Response(content_type="text/event-stream")
            await self._send(writer, head.encode(keep_alive=False, endless=True))
            await self._send(writer, _event("history", self._board.history()))
            await self._send(writer, _event("state", self._board.state()))
            while True:
                await self._news.wait()
                await self._send(writer, self._newest)
        finally:
            self._viewers -= 1

    def _publish(self) -> None:
        self._newest = _event("state", self._board.state())
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await asyncio.wait_for(writer.drain(), self._limits.write_s)


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()

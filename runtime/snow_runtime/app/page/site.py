"""The page as an ASGI application: from a request to its answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from snow_runtime.app.http.mounting import mounted
from snow_runtime.app.http.protected_site import ProtectedSite
from snow_runtime.app.http.request_parts import json_object, width_of
from snow_runtime.app.http.served_files import ServedFiles
from snow_runtime.app.page.events import HEADERS, Events
from snow_runtime.app.previews import Previews

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from snow_runtime.app.dashboard import Dashboard
    from snow_runtime.app.http.access import Access
    from snow_runtime.app.http.limits import Limits

STATIC: Final = Path(__file__).parent / "static"
_PICTURE_WIDTH: Final = 640
_NO_LINK: Final = b"<!-- link to the labelling page -->"
_LINK: Final = b'<a class="labelling" href="label/">Label pictures</a>'


class Site(ProtectedSite):
    """Answers all requests.

    Args:
        board: What is told of cameras and answers.
        limits: What viewers may take.
        access: What lets a viewer in.
        port: The port that is served.
        labelling: The labelling page, for what lies below `/label`; None where there is none.
    """

    def __init__(
        self,
        board: Dashboard,
        limits: Limits,
        access: Access,
        port: int,
        *,
        labelling: ASGIApp | None = None,
    ) -> None:
        self._events = Events(board, limits.viewers)
        self._board = board
        self._most_bytes = limits.body_bytes
        self._pictures = Previews(board.live)
        files = ServedFiles(STATIC, "page.html")
        below: list[BaseRoute] = []
        if labelling is not None:
            below = mounted("label", labelling)
            files.write_in(_NO_LINK, _LINK)
        routes = [
            *files.routes(),
            Route("/events", self._follow),
            Route("/frame/{camera:path}.jpg", self._picture),
            Route("/metrics", self._metrics),
            Route("/healthz", self._health),
            Route("/tasks/{task:path}", self._switch, methods=["POST"]),
            *below,
        ]
        super().__init__("the page", routes, access, port)

    async def run(self) -> None:
        """Look at the board and tell those who follow, until cancelled."""
        await self._events.run()

    def close(self) -> None:
        """End the thread that makes pictures."""
        self._pictures.close()

    async def _follow(self, request: Request) -> Response:
        return Response(headers=HEADERS) if request.method == "HEAD" else self._events.follow()

    async def _picture(self, request: Request) -> Response:
        width = width_of(request, _PICTURE_WIDTH)
        jpeg = await self._pictures.newest(request.path_params["camera"], width)
        if jpeg is None:
            raise HTTPException(404, "No such camera has given a picture.")
        headers = {"ETag": jpeg.tag}
        if request.headers.get("if-none-match") == jpeg.tag:
            return Response(status_code=304, headers=headers)
        return Response(jpeg.data, headers=headers, media_type="image/jpeg")

    async def _metrics(self, request: Request) -> Response:
        content, media_type = self._board.metrics(request.headers.get("accept", ""))
        return Response(content, media_type=media_type)

    async def _health(self, _request: Request) -> Response:
        trouble, idle_s = self._board.health()
        text = f"{trouble or 'ok'}\n{idle_s:.1f} s since the last answer or the start\n"
        return PlainTextResponse(text, 503 if trouble else 200)

    async def _switch(self, request: Request) -> Response:
        wanted = '{"on": true} or {"on": false}'
        value = await json_object(request, self._most_bytes, wanted=wanted)
        if not isinstance(value.get("on"), bool):
            raise HTTPException(400, f"Send {wanted}.")
        task = request.path_params["task"]
        if not self._board.switch(task, on=value["on"]):
            raise HTTPException(404, "The model has no such task.")
        return JSONResponse({"task": task, "on": value["on"]})

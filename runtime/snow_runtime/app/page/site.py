"""The page as an ASGI application: from a request to its answer."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from snow_runtime.app.page.access import STATIC, Access, Guard
from snow_runtime.app.page.events import HEADERS, Events
from snow_runtime.app.page.protection import protecting
from snow_runtime.app.previews import Previews
from snow_runtime.app.throttled_logger import ThrottledLogger

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from snow_runtime.app.dashboard import Dashboard
    from snow_runtime.app.http.limits import Limits
    from snow_runtime.app.latest_frames import LatestFrames

_TYPES: Final = {"css": "text/css", "html": "text/html", "js": "text/javascript"}
_SVG: Final = "image/svg+xml"
_PICTURE_WIDTH: Final = 640
_NO_LINK: Final = b"<!-- link to the labelling page -->"
_LINK: Final = b'<a class="labelling" href="label/">Label pictures</a>'


class Site:
    """Answers all requests.

    Args:
        board: What is told of cameras and answers.
        live: Where pictures come from.
        limits: What viewers may take.
        access: What lets a viewer in.
        port: The port that is served.
        labelling: The labelling page, for what lies below `/label`; None where there is none.

    Attributes:
        events: Events, whose loop is to be run.
    """

    def __init__(
        self,
        board: Dashboard,
        live: LatestFrames,
        limits: Limits,
        access: Access,
        port: int,
        *,
        labelling: ASGIApp | None = None,
    ) -> None:
        self.events = Events(board, limits.viewers)
        self._board = board
        self._most_bytes = limits.body_bytes
        self._pictures = Previews(live)
        self._files = {path.name: path.read_bytes() for path in STATIC.iterdir()}
        self._faults = ThrottledLogger(logging.getLogger(__name__))
        below: list[BaseRoute] = []
        if labelling is not None:
            below = [Route("/label", to_labelling), Mount("/label", labelling)]
            page = self._files["page.html"]
            self._files["page.html"] = page.replace(_NO_LINK, _LINK)
        self._app = Starlette(
            routes=[
                Route("/", self._file),
                Route("/static/{name}", self._file),
                Route("/events", self._follow),
                Route("/frame/{camera:path}.jpg", self._picture),
                Route("/metrics", self._metrics),
                Route("/healthz", self._health),
                Route("/tasks/{task:path}", self._switch, methods=["POST"]),
                *below,
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
            first = "/" + scope["path"].split("/")[1]
            self._faults.error(f"the page could not answer {scope['method']} {first!r}", error)

    def close(self) -> None:
        """End the thread that makes pictures."""
        self._pictures.close()

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("name", "page.html")
        if name not in self._files:
            raise HTTPException(404)
        kind = _TYPES.get(name.rpartition(".")[2], _SVG)
        return Response(self._files[name], media_type=kind)

    async def _follow(self, request: Request) -> Response:
        return Response(headers=HEADERS) if request.method == "HEAD" else self.events.follow()

    async def _picture(self, request: Request) -> Response:
        width = request.query_params.get("width", str(_PICTURE_WIDTH))
        if not (width.isascii() and width.isdigit() and len(width) <= 6):
            raise HTTPException(400, "The width is not a number of pixels.")
        jpeg = await self._pictures.newest(request.path_params["camera"], int(width))
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
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what no form of another site can send
            raise HTTPException(415, "Send application/json.")
        try:
            value = json.loads(await self._body(request))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("on"), bool):
            raise HTTPException(400, 'Send {"on": true} or {"on": false}.')
        task = request.path_params["task"]
        if not self._board.switch(task, on=value["on"]):
            raise HTTPException(404, "The model has no such task.")
        return JSONResponse({"task": task, "on": value["on"]})

    async def _body(self, request: Request) -> bytes:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > self._most_bytes:
                raise HTTPException(413, f"At most {self._most_bytes} bytes of a body are taken.")
        return body


async def to_labelling(_request: Request) -> Response:
    """Lead to the labelling page, wherever a proxy has put the whole."""
    return Response(status_code=307, headers={"Location": "label/"})


async def _broken(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("The page has an error; the log says which.\n", 500)

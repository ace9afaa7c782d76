"""From a request to its answer."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snow_runtime.app.page.wire import RequestError, Response

if TYPE_CHECKING:
    from snow_runtime.app.page.board import Board
    from snow_runtime.app.page.pictures import Pictures
    from snow_runtime.app.page.wire import Request

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PICTURE_WIDTH: Final = 640
_HUNG: Final = HTTPStatus.SERVICE_UNAVAILABLE


class Routes:
    """Answers everything but the events.

    Args:
        board: What there is to say.
        pictures: What there is to see.
    """

    def __init__(self, board: Board, pictures: Pictures) -> None:
        self._board = board
        self._pictures = pictures
        self._files = {
            path.name: Response(path.read_bytes(), _TYPES[path.suffix])
            for path in _STATIC.iterdir()
            if path.suffix in _TYPES
        }

    async def answer(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            RequestError: There is no such thing, or the request is not as it must be.
        """
        match request.method, request.path:
            case "GET", ("",):
                return self._files["page.html"]
            case "GET", ("static", name) if name in self._files:
                return self._files[name]
            case "GET", ("frame", name) if name.endswith(".jpg"):
                return await self._picture(request, name.removesuffix(".jpg"))
            case "GET", ("metrics",):
                text = self._board.metrics()
                return Response(text.encode(), "text/plain; version=0.0.4; charset=utf-8")
            case "GET", ("healthz",):
                return self._health()
            case "POST", ("tasks", name):
                return self._switch(request, name)
            case "GET" | "POST", _:
                raise RequestError(HTTPStatus.NOT_FOUND, "There is nothing here.")
        raise RequestError(
            HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and POST are answered.", {"Allow": "GET, POST"}
        )

    def _health(self) -> Response:
        well, idle_s = self._board.health()
        text = (
            f"{'ok' if well else 'no answers'}\n{idle_s:.1f} s since the last answer or the start\n"
        )
        code = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(text.encode(), status=code)

    async def _picture(self, request: Request, camera: str) -> Response:
        width = request.query.get("width", str(_PICTURE_WIDTH))
        if not (width.isascii() and width.isdigit() and len(width) <= 6):
            raise RequestError(HTTPStatus.BAD_REQUEST, "The width is not a number of pixels.")
        jpeg = await self._pictures.newest(camera, int(width))
        if jpeg is None:
            raise RequestError(HTTPStatus.NOT_FOUND, "No such camera has given a picture.")
        headers = {"ETag": jpeg.tag}
        if request.headers.get("if-none-match") == jpeg.tag:
            return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(jpeg.data, "image/jpeg", headers=headers)

    def _switch(self, request: Request, task: str) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what no form of another site can send
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
        try:
            value = json.loads(request.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get("on"), bool):
            raise RequestError(HTTPStatus.BAD_REQUEST, 'Send {"on": true} or {"on": false}.')
        if not self._board.switch(task, on=value["on"]):
            raise RequestError(HTTPStatus.NOT_FOUND, "The model has no such task.")
        body = json.dumps({"task": task, "on": value["on"]}) + "\n"
        return Response(body.encode(), "application/json")

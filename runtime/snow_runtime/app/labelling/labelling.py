"""The labelling page as an ASGI application, to be mounted below ``/label``."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from snow_runtime.app.http.request_parts import json_object, width_of
from snow_runtime.app.http.served_files import ServedFiles
from snow_runtime.app.labelling import asked
from snow_runtime.app.labelling.asked import refuse
from snow_runtime.app.labelling.downloads import archive_of, table_of
from snow_runtime.app.labelling.known import Known
from snow_runtime.app.labelling.live_readout import LiveReadouts
from snow_runtime.app.labelling.model_tab import ModelTab
from snow_runtime.app.labelling.orders import Orders
from snow_runtime.app.labelling.overview import Overview
from snow_runtime.app.labelling.thumbnails import Thumbnails, width_for
from snow_runtime.app.labelling.writing import Writer
from snow_runtime.app.throttled_logger import ThrottledLogger
from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from snow_runtime.app.labelling.refitting import Refitting
    from snow_runtime.collection.collection import Collection

STATIC: Final = Path(__file__).parent / "static"
_WIDTH: Final = 320
# A browser may keep a picture, and asks each time whether it may show it.
_ASK_AGAIN: Final = "private, no-cache"


class Labelling:
    """Answers the requests of the labelling page.

    Args:
        collection: The pictures, questions and labels.
        refit: What fits readouts after labels have changed; None where nothing does.
        views: Function that gives cameras and views, by their names, of which there may be pictures
            later.
    """

    def __init__(
        self,
        collection: Collection,
        refit: Refitting | None = None,
        views: Callable[[], Iterable[tuple[str, str]]] = tuple,
    ) -> None:
        self._collection = collection
        self._refit = refit
        known, readouts = Known(collection), LiveReadouts(collection, refit)
        self._overview = Overview(collection, views, known, readouts, refits=refit is not None)
        self._orders = Orders(collection, known, readouts)
        self._writer = Writer(collection)
        self._model = None if refit is None else ModelTab(refit)
        self._thumbnails = Thumbnails()
        self._faults = ThrottledLogger(logging.getLogger(__name__))
        self._app = Starlette(
            routes=[
                *ServedFiles(STATIC, "label.html").routes(),
                Route("/picture/{id:int}.jpg", self._picture),
                Route("/export", self._export),
                Route("/api/state", self._state),
                Route("/api/order", self._order),
                Route("/api/pictures", self._pictures),
                Route("/api/model", self._look),
                Route("/api/labels", self._posted(self._label), methods=["POST"]),
                Route("/api/undo", self._posted(self._undo), methods=["POST"]),
                Route("/api/questions", self._posted(self._ask), methods=["POST"]),
                Route("/api/classes", self._posted(self._classes), methods=["POST"]),
                Route("/api/model/{what}", self._posted(self._act), methods=["POST"]),
            ],
            exception_handlers={SnowError: self._broken},
        )
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)

    # What blocks is `def`, not `async def`: Starlette then runs it in a thread of its pool.

    def _picture(self, request: Request) -> Response:
        width = width_of(request, _WIDTH)
        number = request.path_params["id"]
        found = self._overview.picture(number)
        wide = width_for(width)
        tag = f'"{found.sha256[:24]}-{wide}"'
        headers = {"ETag": tag, "Cache-Control": _ASK_AGAIN}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        read = functools.partial(self._collection.jpeg, number)
        try:
            data = self._thumbnails.get(found.sha256, wide, read)
        except OSError as error:
            why = f"The picture {number} cannot be decoded: {error}. Delete it."
            refuse(why, 503)
        return Response(data, headers=headers, media_type="image/jpeg")

    def _export(self, request: Request) -> Response:
        question = self._overview.question(request.query_params.get("question"))
        kind = request.query_params.get("kind")
        if kind not in {"csv", "folders"}:
            refuse("Take csv or folders.")
        name = f"{question.name}.{'csv' if kind == 'csv' else 'zip'}"
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
        if kind == "csv":
            table = table_of(self._collection, question)
            return Response(table, headers=headers, media_type="text/csv")
        pieces = archive_of(self._collection, question)
        return StreamingResponse(pieces, headers=headers, media_type="application/zip")

    def _state(self, request: Request) -> Response:
        by = request.query_params.get("by")
        return JSONResponse(self._overview.state(asked.person_of({"by": by}) if by else None))

    def _order(self, request: Request) -> Response:
        given = request.query_params
        question = self._overview.question(given.get("question"))
        show, sort = given.get("show", "open"), given.get("sort", "useful")
        if show not in {"open", "labelled", "skipped", "all"}:
            refuse("Show open, labelled, skipped or all.")
        if sort not in {"useful", "alike", "newest", "oldest"}:
            refuse("Sort by useful, alike, newest or oldest.")
        return JSONResponse(self._orders.find(question, show, sort).to_dict())  # type: ignore[arg-type]

    def _pictures(self, request: Request) -> Response:
        question = self._overview.question(request.query_params.get("question"))
        ids = asked.ids_in(request.query_params.get("ids", ""))
        return JSONResponse(self._overview.pictures(question, ids))

    def _look(self, request: Request) -> Response:
        question = self._overview.question(request.query_params.get("question"))
        if self._model is None:
            refuse("Nothing fits readouts here.", 404)
        return JSONResponse(self._model.look(question.name))

    def _label(self, given: dict[str, Any]) -> dict[str, Any]:
        question = self._overview.question(given.get("question"))
        by = asked.person_of(given)
        choices, seen = asked.choices_of(given.get("choices")), asked.seen_of(given.get("seen"))
        done = self._writer.give(question, choices, seen, by)
        if done.labelled and self._refit is not None:
            self._refit.request(question.name)
        return {**vars(done), "revision": self._collection.revision(question.name)}

    def _undo(self, given: dict[str, Any]) -> dict[str, Any]:
        question = self._overview.question(given.get("question"))
        by = asked.person_of(given)
        entries = asked.number_of(given, "entries", least=1, most=asked.MOST_LABELLED)
        undone = self._writer.take_back(question, by, entries)
        if undone and self._refit is not None:
            self._refit.request(question.name)
        return {"undone": undone, "revision": self._collection.revision(question.name)}

    def _ask(self, given: dict[str, Any]) -> dict[str, Any]:
        self._overview.add_question(given)
        return {"name": given["name"]}

    def _classes(self, given: dict[str, Any]) -> dict[str, Any]:
        question = self._overview.question(given.get("question"))
        self._overview.add_classes(question, given.get("labels"))
        return {"name": question.name}

    def _posted(
        self, act: Callable[..., dict[str, Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return what reads a JSON object, has a thread act on it, and answers."""

        async def answer(request: Request) -> Response:
            given = await json_object(request, asked.BODY_BYTES)
            given.update(request.path_params)
            return JSONResponse(await run_in_threadpool(act, given))

        return answer

    def _act(self, given: dict[str, Any]) -> dict[str, Any]:
        question = self._overview.question(given.get("question"))
        if self._model is None:
            refuse("Nothing fits readouts here.", 404)
        self._model.act(given["what"], question.name, given)
        return {"done": given["what"]}

    def _broken(self, _request: Request, error: Exception) -> Response:
        self._faults.error("the labelling page cannot answer", error)
        return PlainTextResponse(f"{error}\n", 503, {"Retry-After": "5"})

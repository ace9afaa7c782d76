"""The files of a page: what it has of its own, and what all pages share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

SHARED: Final = Path(__file__).parent / "static"
"""Folder of the files that all pages share."""
_TYPES: Final = {"css": "text/css", "html": "text/html", "js": "text/javascript"}
_SVG: Final = "image/svg+xml"


class ServedFiles:
    """Files that are read once, and served at ``/`` and below ``/static``.

    Args:
        folder: Folder of the page's own files.
        page: Name of the file that is served at ``/``.
    """

    def __init__(self, folder: Path, page: str) -> None:
        self._page = page
        self._files = {
            path.name: path.read_bytes() for each in (SHARED, folder) for path in each.iterdir()
        }

    def write_in(self, mark: bytes, text: bytes) -> None:
        """Put a text where the page has a mark."""
        self._files[self._page] = self._files[self._page].replace(mark, text)

    def routes(self) -> list[Route]:
        """Return what answers with the files."""
        return [Route("/", self._answer), Route("/static/{name}", self._answer)]

    async def _answer(self, request: Request) -> Response:
        name = request.path_params.get("name", self._page)
        if name not in self._files:
            raise HTTPException(404)
        kind = _TYPES.get(name.rpartition(".")[2], _SVG)
        return Response(self._files[name], media_type=kind)

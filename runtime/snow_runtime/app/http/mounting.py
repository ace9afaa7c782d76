"""An application that is served below a path of a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp


def mounted(name: str, app: ASGIApp, *also_at: str) -> list[BaseRoute]:
    """Return what serves an application below ``/NAME/``, wherever a proxy has put the whole.

    Args:
        name: Name of the path.
        app: The application.
        also_at: Other paths that lead there.
    """

    async def lead(_request: Request) -> Response:
        return Response(status_code=307, headers={"Location": f"{name}/"})

    leading = [Route(path, lead) for path in (f"/{name}", *also_at)]
    return [*leading, Mount(f"/{name}", app)]

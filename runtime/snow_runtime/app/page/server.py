"""Serves the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.app.http.site_server import SiteServer
from snow_runtime.app.page.site import Site

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from snow_runtime.app.dashboard import Dashboard
    from snow_runtime.app.http.access import Access
    from snow_runtime.app.http.options import ServingOptions


class PageServer(SiteServer):
    """The live page, from :meth:`start` to :meth:`stop`.

    Args:
        board: What is told of cameras and answers; the page's thread looks at it.
        serving: Where the page is served, and to whom.
        labelling: The labelling page, served below ``/label``; None serves none.

    Raises:
        InputError: The token is missing or unfit, or a name is none.
    """

    def __init__(
        self,
        board: Dashboard,
        serving: ServingOptions | None = None,
        labelling: ASGIApp | None = None,
    ) -> None:
        super().__init__(serving)
        self._board = board
        self._labelling = labelling

    def _make_site(self, access: Access, port: int) -> Site:
        return Site(self._board, self._serving.limits, access, port, labelling=self._labelling)

"""Serves the labelling page alone: of a collection without cameras and without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.app.http.mounting import mounted
from snow_runtime.app.http.protected_site import ProtectedSite
from snow_runtime.app.http.site_server import SiteServer

if TYPE_CHECKING:
    from snow_runtime.app.http.access import Access
    from snow_runtime.app.http.options import ServingOptions
    from snow_runtime.app.labelling.labelling import Labelling


class LabellingServer(SiteServer):
    """The labelling page, from :meth:`start` to :meth:`stop`.

    Args:
        labelling: The page.
        serving: Where it is served, and to whom.

    Raises:
        InputError: The token is missing or unfit, or a name is none.
    """

    def __init__(self, labelling: Labelling, serving: ServingOptions | None = None) -> None:
        super().__init__(serving)
        self._labelling = labelling

    def _make_site(self, access: Access, port: int) -> ProtectedSite:
        return labelling_site(self._labelling, access, port)


def labelling_site(labelling: Labelling, access: Access, port: int) -> ProtectedSite:
    """Return what answers where the labelling page is served alone.

    Args:
        labelling: The page.
        access: What lets people in.
        port: The port that is served.
    """
    routes = mounted("label", labelling, "/")
    return ProtectedSite("the labelling page", routes, access, port)

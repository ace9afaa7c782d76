"""Serves a site from a thread of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from snow_runtime.app.http.access import Access
from snow_runtime.app.http.options import ServingOptions
from snow_runtime.app.http.server import HttpServer, listening_socket, reachable

if TYPE_CHECKING:
    from typing_extensions import Self

    from snow_runtime.app.http.protected_site import ProtectedSite


class SiteServer(ABC):
    """A site, from :meth:`start` to :meth:`stop`.

    Args:
        serving: Where it is served, and to whom.

    Raises:
        InputError: The token is missing or unfit, or a name is none.
    """

    def __init__(self, serving: ServingOptions | None = None) -> None:
        self._serving = serving = serving or ServingOptions()
        self._access = Access(serving.host, serving.token, serving.allowed_hosts)
        self._port = serving.port
        self._served: tuple[HttpServer, ProtectedSite] | None = None

    @abstractmethod
    def _make_site(self, access: Access, port: int) -> ProtectedSite:
        """Return what answers the requests.

        Args:
            access: What lets a client in.
            port: The port that is served.
        """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The site's address, without the token."""
        host = reachable(self._serving.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/"

    @property
    def entry_url(self) -> str:
        """The address to open first, with the token if there is one: for the terminal only."""
        token = self._access.token
        return self.url if token is None else f"{self.url}?token={token}"

    def start(self) -> None:
        """Listen, and serve from another thread.

        Raises:
            InputError: The address cannot be had.
            Exception: Whatever else kept the thread from serving.
        """
        if self._served is not None:
            return
        listener = listening_socket(self._serving.host, self._port)
        self._port = listener.getsockname()[1]
        try:
            site = self._make_site(self._access, self._port)
            server = HttpServer(site, listener, self._serving.limits, site.run)
            server.start()
        except BaseException:
            listener.close()
            raise
        self._served = server, site

    def stop(self) -> None:
        """Let go of all clients and end the thread; may be called twice."""
        if self._served is not None:
            (server, site), self._served = self._served, None
            server.stop()
            site.close()

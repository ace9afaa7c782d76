"""Serves the page from a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime.app.dashboard import Dashboard
from snow_runtime.app.http.limits import Limits
from snow_runtime.app.http.server import HttpServer, listening_socket, reachable
from snow_runtime.app.page.access import Access
from snow_runtime.app.page.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp
    from typing_extensions import Self

    from snow_runtime.app.dashboard import Cameras, Setup, Tasks
    from snow_runtime.app.latest_frames import LatestFrames
    from snow_runtime.app.stats import Stats


class PageServer:
    """The page, from :meth:`start` to :meth:`stop`.

    Args:
        live: The newest pictures and answers; its switches are the page's.
        stats: Counts and latencies.
        cameras: Function that gives by camera its `state`, `since_s` (seconds in that state),
            `error`, `frames`, `drops`, `reconnections`, `bad_frames` and `connected`, and for
            `/metrics` also `repeats`, `abandoned` and `lost_s`; called by the page's thread.
        tasks: Function that gives the names of the model's tasks, which may change; called by the
            page's thread.
        host: The address to serve; any but this machine's own needs a token.
        port: Port to serve on; 0 for one that is free.
        token: What viewers have to know; see :func:`new_token`.
        allowed_hosts: Names, or NAME:PORT, by which a proxy before the page is reached.
        limits: What viewers may take.
        labelling: The labelling page, served below `/label`; None serves none.
        hung_after_s: Time without an answer, while a camera gave frames or none has ever given one,
            after which `/healthz` answers 503.
        setup: Function that gives what is asked of the cameras, called by the page's thread; None
            shows each task at each camera.

    Raises:
        InputError: The token is missing or unfit, or a name is none.
    """

    def __init__(  # noqa: PLR0913 - its options
        self,
        live: LatestFrames,
        stats: Stats,
        cameras: Cameras,
        tasks: Tasks,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
        limits: Limits | None = None,
        labelling: ASGIApp | None = None,
        setup: Setup | None = None,
        hung_after_s: float = 60.0,
    ) -> None:
        self._access = Access(host, token, tuple(allowed_hosts))
        self._live = live
        self._board = Dashboard(live, stats, cameras, tasks, hung_after_s=hung_after_s, setup=setup)
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._labelling = labelling
        self._served: tuple[HttpServer, Site] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The page's address, without the token."""
        host = reachable(self._host)
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
        listener = listening_socket(self._host, self._port)
        self._port = listener.getsockname()[1]
        try:
            site = Site(
                self._board,
                self._live,
                self._limits,
                self._access,
                self._port,
                labelling=self._labelling,
            )
            server = HttpServer(site, listener, self._limits, site.events.run)
            server.start()
        except BaseException:
            listener.close()
            raise
        self._served = server, site

    def stop(self) -> None:
        """Let go of all viewers and end the thread; may be called twice."""
        if self._served is not None:
            (server, site), self._served = self._served, None
            server.stop()
            site.close()

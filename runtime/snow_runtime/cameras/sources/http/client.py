"""`requests`, set up for one camera."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth, HTTPDigestAuth
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from requests import PreparedRequest, Response

    from snow_runtime.cameras.options import CameraOptions
    from snow_runtime.cameras.sources.http.address import Login, Target

_ASKING: Final = threading.local()
_SCHEME: Final = re.compile(r"(?:^|,)\s*(basic|digest)\s", re.IGNORECASE)
_UNAUTHORIZED: Final = 401


class CameraAuth(HTTPDigestAuth):
    """Answers the camera's challenge, by Digest where it knows that and else by Basic.

    Nothing is sent before it asks: a camera that knows Digest never gets the password itself. Some
    refuse without saying what they know; Basic is what they mean.

    Args:
        login: Login of the camera.
    """

    def __init__(self, login: Login) -> None:
        super().__init__(login.user, login.password)
        self._basic = HTTPBasicAuth(login.user.encode(), login.password.encode())

    def handle_401(self, r: Response, **kwargs: Any) -> Response:
        """Ask again with user and password, once."""
        if r.status_code != _UNAUTHORIZED or "Authorization" in r.request.headers:
            return r
        asked = r.headers.get("WWW-Authenticate", "")
        known = {found.lower() for found in _SCHEME.findall(asked)}
        if asked and not known:
            return r
        r.raw.close()  # its text, which may be long, is of no interest
        if "digest" in known:
            try:
                return super().handle_401(r, **kwargs)
            except KeyError:  # a challenge without a realm or a nonce
                return r
        again = r.request.copy()
        self._basic(again)
        answer: Response = r.connection.send(again, **kwargs)
        answer.history.append(r)
        return answer

    def build_digest_header(self, method: str, url: str) -> str | None:
        """Write the header; a user's name goes out as UTF-8, which http.client cannot do."""
        header = super().build_digest_header(method, url)
        return header and header.encode().decode("latin-1")


class DirectAdapter(HTTPAdapter):
    """A new connection to one target for each request, and nothing between; closed with this.

    Args:
        target: Target to connect to.
        options: What its certificate must be.
        connected: Callback that gets each socket, once it is connected.
    """

    def __init__(
        self, target: Target, options: CameraOptions, connected: Callable[[socket.socket], None]
    ) -> None:
        super().__init__(max_retries=Retry(0, read=False))
        self._target = target
        self._options = options
        self._connected = connected
        self._pools: list[HTTPConnectionPool] = []

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        """Make the connection's pool; of its host alone, and with no proxy."""
        del request, verify, proxies, cert
        host, port = self._target.host, self._target.port
        host = f"[{host}]" if ":" in host else host
        pool = (
            HTTPSConnectionPool(host, port, **_tls(self._options))
            if self._target.scheme == "https"
            else HTTPConnectionPool(host, port)
        )
        telling: Any = partial(_telling(pool.ConnectionCls), told=self._connected)
        pool.ConnectionCls = telling
        self._pools.append(pool)
        return pool

    def close(self) -> None:
        """Close the connections.

        What a pool holds is never forgotten unless it is closed: urllib3 keeps it in a finaliser,
        and a connection leads back to the pool.
        """
        for pool in self._pools:
            pool.close()
        self._pools.clear()
        super().close()

    def cert_verify(self, *_: Any) -> None:
        """Leave the pool as it is: `requests` would trust its own list of authorities."""


@contextmanager
def unlogged() -> Iterator[None]:
    """Within it, urllib3 logs nothing of this thread: paths hold tokens."""
    _ASKING.now = True
    try:
        yield
    finally:
        _ASKING.now = False


def _is_of_others(_record: logging.LogRecord) -> bool:
    return not getattr(_ASKING, "now", False)


logging.getLogger("urllib3.connectionpool").addFilter(_is_of_others)


def _tls(options: CameraOptions) -> dict[str, Any]:
    """Give how a certificate is checked: by its fingerprint alone, or by authority and name."""
    if options.tls_fingerprint is not None:
        return {"cert_reqs": "CERT_NONE", "assert_fingerprint": options.tls_fingerprint}
    return {"ssl_context": ssl.create_default_context(), "server_hostname": options.tls_host}


@cache
def _telling(base: Any) -> Any:
    """Make a class of connections that tell of their sockets; one for all, not one for each."""

    class Telling(base):  # type: ignore[misc]
        def __init__(
            self, *given: Any, told: Callable[[socket.socket], None], **options: Any
        ) -> None:
            super().__init__(*given, **options)
            self._told = told

        def connect(self) -> None:
            super().connect()
            self._told(self.sock)

    return Telling

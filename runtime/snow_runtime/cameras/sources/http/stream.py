"""One answer over HTTP or HTTPS, byte by byte as it comes."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from snow_runtime.cameras.redaction import redact_uri
from snow_runtime.cameras.sources.http.address import split, target_of
from snow_runtime.cameras.sources.http.messages import (
    cause_of,
    certificate_advice,
    is_about_certificate,
    refused,
    unexpected,
    words_of,
)
from snow_runtime.cameras.sources.source import LostError
from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    import requests

    from snow_runtime.cameras.options import CameraOptions
    from snow_runtime.cameras.sources.http.address import Target
    from snow_runtime.cameras.uri import Address

_MOST_HOPS: Final = 5
_OK: Final = 200
_REFUSALS: Final = (401, 403)
_HEADERS: Final = {
    "Accept": "multipart/x-mixed-replace, image/jpeg, */*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "snow-deploy",
}


class HttpStream:
    """One request, and its answer.

    The connection, TLS, Basic and Digest are `requests`' and urllib3's. Redirections are followed
    here: the user named one host, and no other gets a request or a password.

    Args:
        address: The address, with user and password if the camera asks for them.
        options: The time limits, and what its certificate must be.

    Raises:
        CameraError: The address has no host or a wrong port.
        MissingDependencyError: `requests` is not installed.
    """

    def __init__(self, address: Address, options: CameraOptions) -> None:
        self._text = address.text
        self._target, self._login = split(address)
        self._here = self._target  # or where that points
        self._options = options
        self._session = _new_session()
        self._socket: socket.socket | None = None
        self._answer: Any = None
        self._interrupted = False

    def open(self) -> str:
        """Ask, and give the answer's Content-Type.

        Raises:
            LostError: Nobody answers, or with something else than 200.
            RefusedError: The camera refuses access.
        """
        import requests
        import urllib3

        errors = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
        try:
            answer = self._ask_until_there()
            if self._socket is not None:
                self._socket.settimeout(self._options.stall_s)
        except errors as error:
            msg = "cannot be opened"
            raise self._lost(msg, error) from None  # its text may hold the password
        self._answer = answer.raw
        return str(answer.headers.get("Content-Type", ""))

    def read(self, most_bytes: int) -> bytes:
        """Wait for the next bytes; none at the end.

        Raises:
            LostError: The connection is gone, or nothing came in time.
        """
        import urllib3

        if self._answer is None:
            msg = f"The camera {self._text!r} is not open, expected it to be. Open it."
            raise LostError(msg)
        try:
            data: bytes = self._answer.read1(most_bytes, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            msg = "sends no more"
            raise self._lost(msg, error) from None
        return data

    def waiting(self) -> bool:
        """Whether bytes are here already, or the end is."""
        connected = self._socket
        if connected is None:
            return False
        if isinstance(connected, ssl.SSLSocket) and connected.pending():
            return True
        poll = select.poll()  # select() fails for file descriptors above 1023
        poll.register(connected, select.POLLIN)
        return bool(poll.poll(0))

    def interrupt(self) -> None:
        """Cut the connection, so that whoever waits for bytes stops waiting."""
        self._interrupted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which takes the connection apart under the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, and leave nothing that leads back here and would be kept by it."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()
        self._session.close()
        self._session.adapters.clear()
        if self._socket is not None:  # the answer may have kept it open
            self._socket.close()

    def _ask_until_there(self) -> requests.Response:
        """Ask, and go where the answer points."""
        for _ in range(_MOST_HOPS):
            answer = self._ask(self._here)
            code = answer.status_code
            if code == _OK:
                return answer
            answer.raw.close()
            if code in _REFUSALS:
                asked = answer.headers.get("WWW-Authenticate", "")
                raise refused(self._text, code, asked, known=self._login is not None)
            if not answer.is_redirect:
                raise unexpected(self._text, code)
            moved = urljoin(self._here.url, answer.headers["Location"])
            there = _target_within(self._here, moved)
            if there is None:
                raise unexpected(
                    self._text, code, f"give {redact_uri(moved)!r}, to where it points"
                )
            self._here = there
        raise unexpected(self._text, code, "it points on and on")

    def _ask(self, target: Target) -> requests.Response:
        from snow_runtime.cameras.sources.http.client import CameraAuth, DirectAdapter, unlogged

        self._session.mount(
            f"{target.scheme}://", DirectAdapter(target, self._options, self._connected)
        )
        with unlogged():
            return self._session.get(
                target.url,
                auth=None if self._login is None else CameraAuth(self._login),
                headers={**_HEADERS, "Host": target.name},
                allow_redirects=False,
                stream=True,
                timeout=self._options.open_timeout_s,
            )

    def _connected(self, connected: socket.socket) -> None:
        self._socket = connected
        if self._interrupted:  # before there was anything to cut
            self.interrupt()

    def _lost(self, what: str, error: Exception) -> LostError:
        cause = cause_of(error)
        advice = "Look at the camera and the network"
        if is_about_certificate(cause) and not self._interrupted:
            advice = certificate_advice(self._here)
        if self._here is not self._target:
            what = f"points to {redact_uri(self._here.url)!r}, which {what}"
        return LostError(
            f"The camera {self._text!r} {what}: {words_of(cause)}, expected a stream of pictures. "
            f"{advice}."
        )


def _new_session() -> requests.Session:
    try:
        import requests
    except ImportError as error:
        msg = (
            f"requests reads this camera and cannot be imported: {error}. Install it: "
            f"{pip_install('camera')} (on Jetson, beside its own OpenCV: pip install "
            "requests)."
        )
        raise MissingDependencyError(msg) from error
    session = requests.Session()
    session.trust_env = False  # no proxies, and no passwords from ~/.netrc
    return session


def _target_within(here: Target, moved: str) -> Target | None:
    """Give where a redirection leads, if it stays with the host and does not give up TLS."""
    try:
        there = target_of(urlsplit(moved))
    except ValueError:
        return None
    if there is None or there.host != here.host.partition("%")[0]:
        return None
    if here.scheme == "https" and there.scheme == "http":
        return None
    return replace(there, host=here.host)  # with its zone

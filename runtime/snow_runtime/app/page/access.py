"""Who may see the page and use its switches."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from snow_runtime.app.page.wire import RequestError, Response
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from snow_runtime.app.page.wire import Request

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_OPEN: Final = frozenset({("healthz",)})  # says nothing but whether there are answers
_ENTER: Final = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=./">
<title>snow-deploy</title><p><a href="./">Go on to the page</a></p></html>
"""
_ASK: Final = b"""<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>snow-deploy</title>
<h1>This page needs its token</h1>
<p>Open the address that <code>snow-deploy run</code> printed when it started last. It ends with
<code>?token=</code> and a secret word.</p></html>
"""


def new_token() -> str:
    """Make a token that nobody can guess, for :class:`PageServer`."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Tell whether an address or a name reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Guard:
    """Lets requests in.

    Attributes:
        token: what a client has to know; None for nothing.
        loopback: whether only this machine is served; then no other name of it is accepted,
            since a foreign site may let its own name point here (DNS rebinding).
        port: names the cookie: a browser sends the cookies of a host to all its ports.
    """

    token: str | None = field(repr=False)
    loopback: bool
    port: int

    def check(self, request: Request) -> Response | None:
        """Look at who asks.

        Returns:
            What to answer at once; None where the request may go on.

        Raises:
            RequestError: It may not.
        """
        self._check_site(request)
        if request.path in _OPEN:
            return None
        if self.token is not None and request.path == ("",) and "token" in request.query:
            return self._enter(request, self.token)
        if self.token is not None and not self._knows(request, self.token):
            if request.path == ("",):
                return Response(_ASK, "text/html; charset=utf-8", HTTPStatus.UNAUTHORIZED)
            raise _unauthorized()
        return None

    def _check_site(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if self.loopback and not is_loopback(_name(host)):
            raise RequestError(
                HTTPStatus.FORBIDDEN,
                "The page is served to this machine only, as localhost or 127.0.0.1, and was "
                "asked for by another name.",
            )
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin")
        foreign = site not in ("none", "same-origin") and request.path != ("",)
        if request.method not in ("GET", "HEAD"):
            foreign |= origin is not None and _site(origin) != host.lower()
        if foreign:
            raise RequestError(HTTPStatus.FORBIDDEN, "Another site asked for this.")

    def _enter(self, request: Request, token: str) -> Response:
        """Trade the token of an address for a cookie, and take it out of the address."""
        if not _equal(request.query["token"], token):
            return Response(_ASK, "text/html; charset=utf-8", HTTPStatus.UNAUTHORIZED)
        cookie = f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Strict"
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # A browser that follows a link of another site withholds strict cookies along all
            # redirections; it sends them when a page of ours goes on.
            return Response(_ENTER, "text/html; charset=utf-8", headers={"Set-Cookie": cookie})
        headers = {"Set-Cookie": cookie, "Location": "./"}
        return Response(status=HTTPStatus.SEE_OTHER, headers=headers)

    def _knows(self, request: Request, token: str) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), token):
            return True
        cookies = (pair.partition("=") for pair in request.headers.get("cookie", "").split(";"))
        return any(
            name.strip() == self._cookie and _equal(value.strip(), token)
            for name, _, value in cookies
        )

    @property
    def _cookie(self) -> str:
        return f"snow-page-{self.port}"


def checked_token(host: str, token: str | None) -> str | None:
    """Refuse a page that anybody could open, and a token that a cookie cannot carry.

    Raises:
        InputError: There is no token and others than this machine are served, or it is unfit.
    """
    if token is None and not is_loopback(host):
        raise InputError(
            f"The page would be open to everybody who reaches {host or 'this machine'}: it has no "
            "token, expected one for every address but 127.0.0.1. Give a token, or serve "
            "127.0.0.1."
        )
    if token is not None and not _TOKEN.fullmatch(token):
        raise InputError(
            f"The page's token is unfit: {len(token)} characters were given, expected 16 to 256 "
            "letters, digits or any of . _ ~ -. Leave it out and a good one is made."
        )
    return token


def _name(host: str) -> str:
    """Take the port off a Host header."""
    return re.sub(r":\d*$", "", host)


def _site(origin: str) -> str | None:
    """Give the host and port of an Origin header; None where it is malformed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _unauthorized() -> RequestError:
    return RequestError(
        HTTPStatus.UNAUTHORIZED,
        "The token is missing or wrong. Open the address that `snow-deploy run` printed, or send "
        "the header Authorization: Bearer TOKEN.",
        {"WWW-Authenticate": "Bearer"},
    )

"""Who may see a page and use what can be pressed there."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from snow_runtime.app.http.served_files import SHARED
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)(:\d{1,5})?")
_PORTS: Final = {"http": 80, "https": 443}
_ASK: Final = (SHARED / "token.html").read_text("utf-8")
_ENTER: Final = (SHARED / "enter.html").read_text("utf-8")
_OPEN: Final = "/healthz"  # says nothing but whether there are answers
_UNAUTHORIZED: Final = (
    "The token is missing or wrong. Open the address that `snow-deploy` printed, or send the "
    "header Authorization: Bearer TOKEN.\n"
)


@dataclass(frozen=True)
class Access:
    """What lets a client in.

    Attributes:
        address: Address that is served; any but this machine's own needs a token.
        token: What a client has to know; None for nothing.
        hosts: Other names that the page is reached by, through a proxy: NAME, or NAME:PORT.

    Raises:
        InputError: The token is missing or unfit, or a name is none.
    """

    address: str
    token: str | None = field(repr=False)
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a page that anybody could open, and a token that a cookie cannot carry."""
        if self.token is None and not is_loopback(self.address):
            msg = (
                f"The page would be open to everybody who reaches {self.address or 'this machine'}:"
                " it has no token, expected one for every address but 127.0.0.1. Give a token, or "
                "serve 127.0.0.1."
            )
            raise InputError(msg)
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            msg = (
                f"The page's token is unfit: {len(self.token)} characters were given, expected 16 "
                "to 256 letters, digits or any of . _ ~ -. Leave it out and a good one is made."
            )
            raise InputError(msg)
        for host in self.hosts:
            if not _HOST.fullmatch(host.lower()):
                msg = (
                    f"{host!r} is no name by which the page could be reached, expected NAME or "
                    "NAME:PORT, what a browser shows between https:// and the next slash. Give "
                    "each name by itself; there are no wildcards."
                )
                raise InputError(msg)


class Guard:
    """ASGI middleware that lets requests in, or answers them itself.

    Args:
        app: What is guarded.
        access: What lets a client in.
        port: Names the cookie: a browser sends the cookies of a host to all its ports.
    """

    def __init__(self, app: ASGIApp, access: Access, port: int) -> None:
        self._app = app
        self._token = access.token
        self._cookie = f"snow-page-{port}"
        self._hosts = frozenset(host.lower() for host in access.hosts)
        # Where only this machine is served, a foreign site may let its own name point here (DNS
        # rebinding): no other name than these is accepted.
        self._names = {_name(host) for host in self._hosts} if is_loopback(access.address) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        request = Request(scope)
        app: ASGIApp = self._app
        if scope["path"] != _OPEN:
            app = self._refuse_site(request) or self._ask_token(request) or app
        await app(scope, receive, send)

    def _refuse_site(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").lower()  # empty: HTTP/1.0, which no browser speaks
        origin = request.headers.get("origin", "").lower()
        if host and not self._knows_name(_name(host)):
            why = "Only this machine is served, as localhost or 127.0.0.1; another name was asked."
            return _forbidden(why, host)
        if request.method not in {"GET", "HEAD"} and origin and not self._ours(origin, host):
            return _forbidden("Another site asked for this.", origin.partition("://")[2])
        site = request.headers.get("sec-fetch-site", "none")
        if site not in {"none", "same-origin"} and request.scope["path"] != "/":
            return PlainTextResponse("Another site asked for this.\n", 403)
        return None

    def _knows_name(self, name: str) -> bool:
        return self._names is None or name in self._names or is_loopback(name)

    def _ours(self, origin: str, host: str) -> bool:
        """Tell whether an Origin header names the site that a Host header does, or a known one."""
        try:
            parts = urlsplit(origin)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            return False
        name = _name(parts.netloc)
        sites = {parts.netloc, f"{name}:{port}"}
        return host in sites or not self._hosts.isdisjoint({*sites, name})

    def _ask_token(self, request: Request) -> Response | None:
        at_page = request.scope["path"] == "/"
        if self._token is None:
            return None
        if at_page and "token" in request.query_params:
            if _equal(request.query_params["token"], self._token):
                return self._enter(request, self._token)
        elif self._knows(request, self._token):
            return None
        if at_page:
            return HTMLResponse(_ASK, 401)
        return PlainTextResponse(_UNAUTHORIZED, 401, {"WWW-Authenticate": "Bearer"})

    def _enter(self, request: Request, token: str) -> Response:
        """Trade the token of an address for a cookie, and take it out of the address."""
        response = Response(status_code=303, headers={"Location": "./"})
        if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            # A browser that follows a link of another site withholds strict cookies along all
            # redirections; it sends them when a page of ours goes on.
            response = HTMLResponse(_ENTER)
        secure = request.headers.get("x-forwarded-proto", "").lower().startswith("https")
        # Without a path, it is for where the browser sees the page: a proxy may have moved it.
        response.set_cookie(
            self._cookie, token, path=None, secure=secure, httponly=True, samesite="strict"
        )
        return response

    def _knows(self, request: Request, token: str) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), token):
            return True
        cookies = (part.partition("=") for part in request.headers.get("cookie", "").split(";"))
        return any(
            name.strip() == self._cookie and _equal(value.strip(), token)
            for name, _, value in cookies  # an older one may be there too, of another path
        )


def new_token() -> str:
    """Make a token that nobody can guess, for :class:`Access`."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Tell whether an address or a name reaches this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Take the port off a Host header."""
    return re.sub(r":\d*$", "", host)


def _forbidden(why: str, site: str) -> Response:
    """Say so, and tell whoever runs a proxy what is missing."""
    given = site if _HOST.fullmatch(site) else "NAME"
    advice = f"If this is the page behind a proxy, start it with --allowed-host {given}."
    return PlainTextResponse(f"{why} {advice}\n", 403)


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())

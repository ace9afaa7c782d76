"""HTTP/1.1 as far as the page needs it: strict about what comes in, short about what goes out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from snow_runtime.errors import SnowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_runtime.app.page.limits import Limits

_END: Final = b"\r\n\r\n"
_LINE: Final = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ONCE: Final = frozenset(
    {"authorization", "content-length", "content-type", "host", "origin", "transfer-encoding"}
)
_ALWAYS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RequestError(SnowError):
    """A request is not answered as it wished.

    Args:
        status: of HTTP.
        message: what to tell who asked.
        headers: to send with it.
    """

    def __init__(
        self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Say it in plain text."""
        return Response(f"{self}\n".encode(), status=self.status, headers=self.headers)


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Attributes:
        method: in capitals.
        path: its parts between the slashes, decoded; `("",)` is the page itself.
        query: decoded; the last one of several equals.
        headers: by name in small letters.
        body: what was posted.
        keep_alive: whether the client may ask again on this connection.
    """

    method: str
    path: tuple[str, ...]
    query: dict[str, str] = field(default_factory=dict, repr=False)  # it may hold the token
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""
    keep_alive: bool = True


@dataclass(frozen=True)
class Response:
    """What a client gets; the headers that protect the page come by themselves."""

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, *, keep_alive: bool, endless: bool = False) -> bytes:
        """Write it for the wire; an endless one ends with its connection."""
        sized = not endless and self.status is not HTTPStatus.NOT_MODIFIED
        headers = {
            "Date": formatdate(usegmt=True),
            "Content-Type": self.content_type,
            **({"Content-Length": str(len(self.body))} if sized else {}),
            "Connection": "keep-alive" if keep_alive else "close",
            **_ALWAYS,
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode("ascii") + _END + self.body


async def read_request(reader: asyncio.StreamReader, limits: Limits) -> Request | None:
    """Wait for the next request.

    Returns:
        The request; None where the client has gone, or asked for nothing in `idle_s`.

    Raises:
        RequestError: It is malformed, too large or too slow.
    """
    try:
        first = await asyncio.wait_for(reader.readexactly(1), limits.idle_s)
    except (asyncio.IncompleteReadError, asyncio.TimeoutError):
        return None
    try:
        return await asyncio.wait_for(_read(first, reader, limits), limits.request_s)
    except asyncio.IncompleteReadError:
        return None
    except asyncio.TimeoutError as error:
        raise RequestError(
            HTTPStatus.REQUEST_TIMEOUT, f"The request was not here within {limits.request_s:g} s."
        ) from error


async def _read(first: bytes, reader: asyncio.StreamReader, limits: Limits) -> Request:
    try:
        head = first + await reader.readuntil(_END)
    except asyncio.LimitOverrunError as error:
        raise RequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The request's headers are larger than {limits.head_bytes} bytes.",
        ) from error
    line, *rows = head[: -len(_END)].decode("latin-1").split("\r\n")
    headers = _headers(rows)
    found = _LINE.fullmatch(line)
    if found is None:
        raise _malformed("its first line is not one of HTTP/1.1")
    method, target, minor = found.groups()
    if minor == "1" and not headers.get("host"):
        raise _malformed("it has no Host")
    path, _, query = target.partition("?")
    try:
        pairs = dict(parse_qsl(query, max_num_fields=16))
    except ValueError as error:
        raise _malformed("its query has too many fields") from error
    return Request(
        method,
        tuple(unquote(part) for part in path.split("/")[1:]),
        pairs,
        headers,
        await _body(headers, reader, limits),
        keep_alive=minor == "1" and "close" not in headers.get("connection", "").lower(),
    )


def _headers(rows: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for row in rows:
        name, colon, value = row.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise _malformed("a header is not NAME: VALUE")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise _malformed("a header is there twice")
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers


async def _body(headers: Mapping[str, str], reader: asyncio.StreamReader, limits: Limits) -> bytes:
    if "transfer-encoding" in headers:
        raise RequestError(
            HTTPStatus.LENGTH_REQUIRED, "Send the body in one piece, with its Content-Length."
        )
    text = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise _malformed("its Content-Length is no number")
    if int(text) > limits.body_bytes:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has {int(text)} bytes, at most {limits.body_bytes} are taken.",
        )
    return await reader.readexactly(int(text))


def _malformed(why: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, f"The request is malformed: {why}.")

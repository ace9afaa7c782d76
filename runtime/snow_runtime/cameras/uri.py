"""A camera's address in parts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

from snow_runtime.cameras.redaction import LOCAL_SCHEMES, SCHEME, redact_uri
from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE: Final = re.compile(r"(?P<host>\[[^\]\s]+\]|[^:\[\]\s]+)(?::(?P<port>[0-9]{0,5}))?")


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A camera's address in parts.

    Attributes:
        scheme: Lower-case; ``path`` for a plain path.
        target: Name within a local scheme, unquoted; else the whole address.
        query: The values by key, of a local scheme only.
        text: The address as it may be shown.
    """

    scheme: str
    target: str
    query: Mapping[str, str]
    text: str

    def __repr__(self) -> str:
        return f"Address({self.text!r})"


def parse(uri: str) -> Address:
    """Take an address apart: ``SCHEME://…``, ``file:PATH``, ``folder:PATH`` or a plain path.

    Raises:
        CameraError: It is empty, or a query says something twice or without a value.
    """
    if not uri.strip() or "\0" in uri:
        msg = (
            f"Cannot open the camera {redact_uri(uri)!r}: that is no address, expected one such as "
            "'rtsp://host/stream', 'v4l2:///dev/video0' or the path of a video. Give one."
        )
        raise CameraError(msg)
    match = SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    if match is None or not (match[2] or scheme in LOCAL_SCHEMES):
        return Address("path", uri, {}, redact_uri(uri))
    if scheme not in LOCAL_SCHEMES:
        return Address(scheme, uri, {}, redact_uri(uri))
    target, _, query = uri[match.end() :].partition("?")
    return Address(scheme, unquote(target), _parse_query(uri, query), redact_uri(uri))


def _parse_query(uri: str, query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or key in values:
            msg = (
                f"Cannot open the camera {redact_uri(uri)!r}: its query has a key twice or without "
                "a value, expected ?KEY=VALUE&… with each key once. Correct the address."
            )
            raise CameraError(msg)
        values[unquote_plus(key)] = unquote_plus(value)
    return values


def parse_numeric_query(
    address: Address, allowed: Mapping[str, tuple[float, float, float]], *words: str
) -> dict[str, float]:
    """Read an address's query as numbers.

    Args:
        address: The address.
        allowed: Table by key: the default, the least and the greatest value. A default that is an
            int allows whole numbers only.
        words: Further keys, which are no numbers and left out here.

    Raises:
        CameraError: A key is not known, or a value is no number of its range.
    """
    if unknown := sorted(set(address.query) - set(allowed) - set(words)):
        known = ", ".join([*allowed, *words])
        msg = (
            f"Cannot open the camera {address.text!r}: it asks for {', '.join(unknown)}, expected "
            f"only {known or 'no query'}. Correct the address."
        )
        raise CameraError(msg)
    return {
        key: _number(address, key, default, (least, greatest))
        for key, (default, least, greatest) in allowed.items()
    }


def _number(address: Address, key: str, default: float, limits: tuple[float, float]) -> float:
    if key not in address.query:
        return default
    kind = int if isinstance(default, int) else float
    try:
        value = kind(address.query[key])
    except ValueError:
        value = math.nan
    if not limits[0] <= value <= limits[1]:
        msg = (
            f"Cannot open the camera {address.text!r}: its {key} is {address.query[key]!r}, "
            f"expected {'a whole' if kind is int else 'a'} number from {limits[0]:g} to "
            f"{limits[1]:g}. Correct the address."
        )
        raise CameraError(msg)
    return value


def refuse_unescaped(address: Address) -> None:
    """Refuse a network address with a sign that ends the password too early.

    Raises:
        CameraError: A `#` stands in it, or a `/` or `?` in its password.
    """
    authority, *rest = re.split(r"[/?#]", address.target.partition("://")[2], maxsplit=1)
    port = "" if "@" in authority or "]" in authority else authority.partition(":")[2]
    ended = bool(rest) and "@" in rest[0] and port != "" and not port.isdecimal()
    if "#" in address.target or ended:
        msg = (
            f"Cannot open the camera {address.text!r}: a sign in its password or path ends the "
            "address too early, expected #, /, ? and @ in them to be written %23, %2F, %3F and "
            "%40. Correct the address."
        )
        raise CameraError(msg)


def rtsp_target(address: Address) -> str:
    """Write an RTSP address as FFmpeg reads it: its scheme in lower case, a zone as `%eth0`.

    Raises:
        CameraError: There is no host in it, or a port that cannot be.
    """
    authority = re.split(r"[/?#]", address.target.partition("://")[2], maxsplit=1)[0]
    user_info, at_sign, place = authority.rpartition("@")
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found["port"] or 1) < 1 << 16:
        msg = (
            f"Cannot open the camera {address.text!r}: there is no host in it, or a port that "
            "cannot be, expected 'rtsp://HOST:554/PATH'. Correct the address."
        )
        raise CameraError(msg)
    rest = address.target.partition("://")[2][len(authority) :]
    host = found["host"].replace("%25", "%", 1) if found["host"].startswith("[") else found["host"]
    port = found[0][len(found["host"]) :]
    return f"{address.scheme}://{user_info}{at_sign}{host}{port}{rest}"

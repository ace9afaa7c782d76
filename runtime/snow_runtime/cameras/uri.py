"""A camera's address: its parts, and how to show it without its secrets.

Whatever shows an address, in a message, a log or a repr, shows ``hide(uri)``. It errs on the side
of hiding too much: with an ``@`` behind the host, which may belong to a password that holds a
``/``, all is hidden. A secret that is a plain part of the path cannot be told from a name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK: Final = "***"

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", re.ASCII)
# Forms of one word after the colon, for paths; `c:video.mp4` and `host:554` are none.
_LOCAL: Final = ("file", "folder", "v4l2", "csi", "synthetic")
# Query keys whose values may be shown, if they look as harmless as they sound.
_HARMLESS_KEYS: Final = frozenset(
    ("width", "height", "fps", "seed", "flip", "fourcc", "channel", "subtype", "stream", "codec")
)
_HARMLESS_VALUE: Final = re.compile(r"-?[0-9]{1,5}(?:[.x][0-9]{1,5})?|MJPG|YUYV|h26[45]|main|sub")
_PLACE: Final = re.compile(r"(?P<host>\[[^\]\s]+\]|[^:\[\]\s]+)(?::(?P<port>[0-9]{0,5}))?")
_PATH_SIGN: Final = re.compile(r"[/?#]")
_SHORTEST_SECRET: Final = 4  # a shorter one is part of many words; it is hidden in the URI only


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A camera's address in parts.

    Attributes:
        scheme: lower-case; ``path`` for a plain path.
        target: for a local scheme what it names, unquoted; else the whole address.
        query: the values by key, of a local scheme only.
        text: the address as it may be shown.
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
        CameraError: it is empty, or a query says something twice or without a value.
    """
    if not uri.strip() or "\0" in uri:
        raise CameraError(
            f"Cannot open the camera {hide(uri)!r}: that is no address, expected one such as "
            "'rtsp://host/stream', 'v4l2:///dev/video0' or the path of a video. Give one."
        )
    match = _SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    if match is None or not (match[2] or scheme in _LOCAL):
        return Address("path", uri, {}, hide(uri))
    if scheme not in _LOCAL:
        return Address(scheme, uri, {}, hide(uri))
    target, _, query = uri[match.end() :].partition("?")
    return Address(scheme, unquote(target), _parse_query(uri, query), hide(uri))


def _parse_query(uri: str, query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals or key in values:
            raise CameraError(
                f"Cannot open the camera {hide(uri)!r}: its query gives a key twice or without a "
                "value, expected ?KEY=VALUE&… with each key once. Correct the address."
            )
        values[unquote_plus(key)] = unquote_plus(value)
    return values


def numbers(
    address: Address, allowed: Mapping[str, tuple[float, float, float]], *words: str
) -> dict[str, float]:
    """Read an address's query as numbers.

    Args:
        address: the address.
        allowed: by key, the default, the least and the greatest value. A default that is an int
            allows whole numbers only.
        words: further keys, which are no numbers and left out here.

    Raises:
        CameraError: a key is not known, or a value is no number of its range.
    """
    if unknown := sorted(set(address.query) - set(allowed) - set(words)):
        known = ", ".join([*allowed, *words])
        raise CameraError(
            f"Cannot open the camera {address.text!r}: it asks for {', '.join(unknown)}, expected "
            f"only {known or 'no query'}. Correct the address."
        )
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
        raise CameraError(
            f"Cannot open the camera {address.text!r}: its {key} is {address.query[key]!r}, "
            f"expected {'a whole' if kind is int else 'a'} number from {limits[0]:g} to "
            f"{limits[1]:g}. Correct the address."
        )
    return value


def refuse_unescaped(address: Address) -> None:
    """Refuse a network address with a sign that ends the password too early.

    Raises:
        CameraError: a `#` stands in it, or a `/` or `?` in its password.
    """
    authority, *rest = re.split(r"[/?#]", address.target.partition("://")[2], maxsplit=1)
    port = "" if "@" in authority or "]" in authority else authority.partition(":")[2]
    ended = bool(rest) and "@" in rest[0] and port != "" and not port.isdecimal()
    if "#" in address.target or ended:
        raise CameraError(
            f"Cannot open the camera {address.text!r}: a sign in its password or path ends the "
            "address too early, expected #, /, ? and @ in them to be written %23, %2F, %3F and "
            "%40. Correct the address."
        )


def rtsp_target(address: Address) -> str:
    """Write an RTSP address as FFmpeg reads it: its scheme in lower case, a zone as `%eth0`.

    Raises:
        CameraError: there is no host in it, or a port that cannot be.
    """
    authority = re.split(r"[/?#]", address.target.partition("://")[2], maxsplit=1)[0]
    user_info, at_sign, place = authority.rpartition("@")
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found["port"] or 1) < 1 << 16:
        raise CameraError(
            f"Cannot open the camera {address.text!r}: there is no host in it, or a port that "
            "cannot be, expected 'rtsp://HOST:554/PATH'. Correct the address."
        )
    rest = address.target.partition("://")[2][len(authority) :]
    host = found["host"].replace("%25", "%", 1) if found["host"].startswith("[") else found["host"]
    port = found[0][len(found["host"]) :]
    return f"{address.scheme}://{user_info}{at_sign}{host}{port}{rest}"


def hide(uri: str) -> str:
    """Give an address as it may be shown: without user and password, tokens and other secrets.

    Of a query only known harmless values are left, such as ``width=640``.
    """
    parts = _take_apart(uri)
    shown = parts.start
    if parts.user_info is not None:
        shown += f"{MASK}@" if parts.path else MASK
    path, query = parts.path, parts.query
    if parts.networked and ("=" in path or parts.fragment is not None):
        # Some recorders take user and password in the path; a `#` is one that was not escaped.
        return f"{shown}{path.partition('/')[0]}/{MASK}"
    shown += path
    if query is not None:
        shown += "?" + "&".join(_hide_pair(pair) for pair in query.split("&"))
    return shown if parts.fragment is None else f"{shown}#{MASK}"


def scrub(text: str, uri: str) -> str:
    """Take the secrets of an address out of a text that a library wrote.

    Args:
        text: the text, which may quote the address whole or in parts.
        uri: the address, in full.
    """
    text = text.replace(uri, hide(uri))
    for secret in sorted(_secrets(_take_apart(uri)), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


@dataclass(frozen=True, slots=True)
class _Parts:
    """An address in parts; None for what is not there."""

    start: str
    user_info: str | None
    path: str
    query: str | None
    fragment: str | None
    networked: bool


def _take_apart(uri: str) -> _Parts:
    """Split an address. With an ``@`` behind the host nothing is certain: all is the user then."""
    match = _SCHEME.match(uri)
    local = match is not None and match[1].lower() in _LOCAL
    if match is not None and (match[2] or local):
        start, rest = match[0], uri[match.end() :]
        networked = not local
    else:  # a plain path, or an address whose scheme was forgotten: `user:password@host`
        start, rest = "", uri
        networked = ":" in uri.partition("@")[0] and "@" in uri
    user_info, at_sign, after = rest.rpartition("@") if networked else ("", "", rest)
    if _PATH_SIGN.search(user_info):
        user_info, after = rest, ""
    body, hash_sign, fragment = after.partition("#")
    path, question_mark, query = body.partition("?")
    return _Parts(
        start,
        user_info if at_sign else None,
        path,
        query if question_mark else None,
        fragment if hash_sign else None,
        networked,
    )


def _hide_pair(pair: str) -> str:
    key, _, value = pair.partition("=")
    harmless = key in _HARMLESS_KEYS and _HARMLESS_VALUE.fullmatch(value)
    return pair if harmless or not pair else MASK


def _secrets(parts: _Parts) -> set[str]:
    """Collect what :func:`hide` hides, as it stands in the address and unquoted."""
    hidden = [parts.fragment or ""]
    if parts.user_info is not None:
        hidden += [parts.user_info, parts.user_info.partition(":")[2]]
    _, _, rest = parts.path.partition("/")
    if parts.networked and ("=" in rest or parts.fragment is not None):
        hidden += [rest, rest.partition("=")[2], parts.query or ""]
    for pair in (parts.query or "").split("&"):
        if _hide_pair(pair) != pair:
            hidden += [pair, pair.partition("=")[2]]
    texts = {text for part in hidden for text in (part, unquote(part), unquote_plus(part))}
    found = {text for text in texts if len(text) >= _SHORTEST_SECRET}
    return found if parts.user_info is None else {*found, f"{parts.user_info}@"}

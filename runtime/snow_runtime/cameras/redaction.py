"""A camera's address as it may be shown: without its secrets.

Whatever shows an address, in a message, a log or a repr, shows ``redact_uri(uri)``. It errs on the
side of hiding too much: with an ``@`` behind the host, which may belong to a password that holds a
``/``, all is hidden. A secret that is a plain part of the path looks like a name, and is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, unquote_plus

MASK: Final = "***"

SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", re.ASCII)
# Forms of one word after the colon, for paths; `c:video.mp4` and `host:554` are none.
LOCAL_SCHEMES: Final = ("file", "folder", "v4l2", "csi", "synthetic")
# Query keys whose values may be shown, if they look as harmless as they sound.
_HARMLESS_KEYS: Final = frozenset(
    ("width", "height", "fps", "seed", "flip", "fourcc", "channel", "subtype", "stream", "codec")
)
_HARMLESS_VALUE: Final = re.compile(r"-?[0-9]{1,5}(?:[.x][0-9]{1,5})?|MJPG|YUYV|h26[45]|main|sub")
_PATH_SIGN: Final = re.compile(r"[/?#]")
_SHORTEST_SECRET: Final = 4  # a shorter one is part of many words; it is hidden in the URI only


def redact_uri(uri: str) -> str:
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


def redact_text(text: str, uri: str) -> str:
    """Take the secrets of an address out of a text that a library wrote.

    Args:
        text: The text, which may quote the address whole or in parts.
        uri: The address, in full.
    """
    text = text.replace(uri, redact_uri(uri))
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
    match = SCHEME.match(uri)
    local = match is not None and match[1].lower() in LOCAL_SCHEMES
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
    """Collect what :func:`redact_uri` hides, as it stands in the address and unquoted."""
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

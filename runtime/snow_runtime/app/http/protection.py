"""Headers that keep what other sites send out of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Message, Send

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PROTECTION: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_CACHE: Final = b"cache-control"


def protecting(send: Send) -> Send:
    """Add the headers to what is sent; only what says how it may be kept is kept anywhere."""

    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message["headers"]
            kept = any(name.lower() == _CACHE for name, _ in given)
            cache = () if kept else ((_CACHE, b"no-store"),)
            message = {**message, "headers": [*given, *cache, *_PROTECTION]}
        await send(message)

    return protected

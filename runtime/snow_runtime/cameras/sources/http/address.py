"""Where a request to a camera goes, and with which user and password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from snow_runtime.errors import CameraError

if TYPE_CHECKING:
    from snow_runtime.cameras.uri import Address


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: ``http`` or ``https``.
        host: A name or an address; of an IPv6 address with its zone, such as ``fe80::1%eth0``.
        port: The port.
        url: The whole, without user, password and zone.
    """

    scheme: str
    host: str
    port: int
    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """The host and the port as a ``Host`` header has them; a zone is this machine's alone."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """A user and a password."""

    user: str
    password: str


def split(address: Address) -> tuple[Target, Login | None]:
    """Take a camera's address apart.

    Raises:
        CameraError: There is no host in it, or a port or a character that cannot be.
    """
    spoilt = any(ord(letter) < 33 or ord(letter) == 127 for letter in address.target)
    try:
        parts = urlsplit(address.target)
        target = None if spoilt else target_of(parts)
    except ValueError:
        target = None
    if target is None:
        msg = (
            f"Cannot open the camera {address.text!r}: there is no host in it, or a port or a "
            "character that cannot be, expected 'http://HOST:PORT/PATH'. Write signs such as / "
            "and # in a password as %2F and %23."
        )
        raise CameraError(msg)
    if parts.username is None:
        return target, None
    return target, Login(unquote(parts.username), unquote(parts.password or ""))


def target_of(parts: SplitResult) -> Target | None:
    """Give where a URL leads; None if it is no usable ``http`` or ``https`` URL.

    Raises:
        ValueError: Its port is none.
    """
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        return None
    # RFC 6874 writes a zone as `%25eth0`, people as `%eth0`.
    address, zone_sign, zone = parts.hostname.replace("%25", "%", 1).partition("%")
    shown = f"[{address}]" if ":" in address else address
    port = parts.port or (443 if parts.scheme == "https" else 80)
    place = shown if parts.port is None else f"{shown}:{port}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, address + zone_sign + zone, port, f"{parts.scheme}://{place}{path}")

"""Where a site is served, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from snow_runtime.app.http.limits import Limits


@dataclass(frozen=True)
class ServingOptions:
    """Where a site is served, and to whom.

    Attributes:
        host: Address to serve; any but this machine's own needs a token.
        port: Port to serve on; 0 for one that is free.
        token: What clients have to know; see :func:`~snow_runtime.app.http.access.new_token`.
        allowed_hosts: Names, or NAME:PORT, by which a proxy before the site is reached.
        limits: What clients may take.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

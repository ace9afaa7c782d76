"""Where events are posted to, and one attempt to do so."""

from __future__ import annotations

import http.client
import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from snow_runtime._version import __version__
from snow_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIMEOUT_S: Final = 10.0
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class WebhookTarget:
    """An address, and how to speak to it.

    Attributes:
        host: A name or an IP address.
        port: Port of the host.
        path: Path and query.
        headers: Headers that go with each event.
        context: What TLS needs; None where none is spoken.
    """

    host: str
    port: int
    path: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    context: ssl.SSLContext | None = None

    @staticmethod
    def parse(
        url: str, headers: Sequence[str] = (), authorities: Path | None = None
    ) -> WebhookTarget:
        """Take an address and headers apart.

        Args:
            url: `http://host[:port]/path` or `https://…`.
            headers: Headers as `NAME: VALUE`.
            authorities: A file of the certificates to trust, PEM; None for the system's.

        Raises:
            InputError: One is not of that form, or the certificates cannot be used.
        """
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname and parts.hostname.encode("idna"))
            usable = usable and parts.scheme in {"http", "https"} and parts.port != 0
            usable = usable and not parts.fragment and re.fullmatch(r"[!-~]+", url) is not None
            login = parts.username is not None
        except ValueError:  # its text may hold a secret
            usable, login = False, False
        if not usable or login:
            msg = (
                "The webhook's address is not one, expected http://host[:port]/path or https:// "
                "without a user, a '#' or blanks. Give --webhook in that form; a login goes into "
                "--webhook-header."
            )
            raise InputError(msg)
        secure = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        found = tuple(_header(each) for each in headers)
        return WebhookTarget(
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            path,
            found,
            _context(authorities, secure=secure),
        )

    @property
    def where(self) -> str:
        """The host and its port, without anything that may be secret."""
        return f"{self.host}:{self.port}"

    def post(self, body: str, identifier: str) -> tuple[int, str | None]:
        """Post an event; return the status that was answered, and the `Retry-After` header.

        Raises:
            OSError: There was no answer, or none of HTTP.
        """
        connection = (
            http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)
            if self.context is None
            else http.client.HTTPSConnection(
                self.host, self.port, timeout=_TIMEOUT_S, context=self.context
            )
        )
        headers = {
            "User-Agent": f"snow-deploy/{__version__}",
            "Content-Type": "application/json",
            "X-Event-Id": identifier,
            **dict(self.headers),
        }
        try:
            connection.request("POST", self.path, body.encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Retry-After")
        except http.client.HTTPException as error:
            msg = f"no answer in HTTP: {type(error).__name__}"
            raise OSError(msg) from error
        finally:
            connection.close()


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        colon = ""
    if not colon or not _NAME.fullmatch(name) or not re.fullmatch(r"[^\0-\x08\n-\x1f\x7f]+", value):
        msg = (
            "A header of the webhook is not one, expected NAME: VALUE, as in 'Authorization: "
            "Bearer {env:HOOK_TOKEN}'. Give --webhook-header in that form."
        )
        raise InputError(msg)
    return name, value


def _context(authorities: Path | None, *, secure: bool) -> ssl.SSLContext | None:
    if not secure:
        if authorities is not None:
            msg = (
                "--webhook-ca is for an address that begins with https://, and this one does not. "
                "Correct the address, or leave it out."
            )
            raise InputError(msg)
        return None
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:  # an SSLError is one too
        msg = (
            f"The certificates for the webhook, {authorities}, cannot be used: {error}. Expected "
            "a PEM file that this user may read."
        )
        raise InputError(msg) from error

"""Where a model is served, and how to ask there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from snow_runtime.errors import InputError
from snow_runtime.secret_references import resolve_secrets

if TYPE_CHECKING:
    import os
    from urllib.parse import SplitResult

_SCHEMES: Final = ("grpc", "grpcs")
_PORT: Final = 8001  # Triton's
_LONGEST_S: Final = 86_400.0
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")
_FORM: Final = "expected grpc://HOST[:PORT]/MODEL[/VERSION], or grpcs:// for TLS"
# What an address may say after its question mark, and which option that is.
_QUERY: Final = {
    "timeout": "timeout_s",
    "ca": "ca",
    "cert": "certificate",
    "key": "key",
    "tls-host": "tls_host",
    "token": "token",
}


@dataclass(frozen=True)
class RemoteOptions:
    """How a server is asked.

    Attributes:
        timeout_s: How long a call may take, connecting included, in seconds.
        ca: File of the certificates (PEM) to trust of a `grpcs://` server; None for gRPC's own.
        certificate: File of this client's certificate (PEM), for servers that ask for one.
        key: File of the certificate's key (PEM).
        tls_host: Name that the server's certificate is for; None for the address's.
        token: Sent as `authorization: Bearer TOKEN`, for a proxy in front of the server; it may
            name its place, `{env:NAME}` or `{file:PATH}`.

    Raises:
        InputError: `timeout_s` is no number of seconds.
    """

    timeout_s: float = 10.0
    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    tls_host: str | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= _LONGEST_S:
            msg = (
                f"The time-out is {self.timeout_s} s, expected more than 0 and at most "
                f"{_LONGEST_S:g}. Change it."
            )
            raise InputError(msg)


@dataclass(frozen=True)
class RemoteAddress:
    """Where a model is served.

    Attributes:
        target: Host and port, as gRPC has them.
        model: Name of the model.
        version: Its version; None for the newest that is served when it is opened.
        tls: Whether the connection is encrypted.
        options: How it is asked.
    """

    target: str
    model: str
    version: str | None
    tls: bool
    options: RemoteOptions

    def __str__(self) -> str:
        """Give the address for people: what stands after its question mark may be secret."""
        version = "" if self.version is None else f"/{self.version}"
        return f"grpc{'s' * self.tls}://{self.target}/{self.model}{version}"


def is_remote(text: str) -> bool:
    """Tell whether this is the address of a server's model, and no file."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in _SCHEMES


def shown_place(place: str | os.PathLike[str]) -> str:
    """Name a file or a server's model for people: without what may be secret in an address."""
    text = str(place)
    return text.partition("?")[0] if is_remote(text) else text


def parse_remote(text: str, options: RemoteOptions | None = None) -> RemoteAddress:
    """Read an address, and the secrets that it names.

    Args:
        text: `grpc://HOST[:PORT]/MODEL[/VERSION][?timeout=S&ca=FILE&…]`.
        options: How to ask, where the address does not say otherwise.

    Raises:
        InputError: It is none, or a secret that it names is not there.
    """
    if not is_remote(text):
        msg = f"{_shown(text)} is no address of a server's model: {_FORM}."
        raise InputError(msg)
    try:
        parts = urlsplit(resolve_secrets(text, escape=True))
        host, port = parts.hostname, parts.port or _PORT
    except ValueError as error:
        msg = f"{_shown(text)} cannot be read: {error}; {_FORM}."
        raise InputError(msg) from error
    names = [unquote(part) for part in parts.path.split("/")[1:]]
    if parts.username is not None or parts.fragment or not host or not _good(names):
        msg = (
            f"{_shown(text)} cannot be read: {_FORM}. A version is a number from 1 on, and a token "
            "stands after the question mark: ?token={env:NAME}."
        )
        raise InputError(msg)
    tls = parts.scheme.lower() == "grpcs"
    asked = _asked(text, parts, options or RemoteOptions())
    _check_tls(text, asked, tls=tls)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return RemoteAddress(target, names[0], names[1] if len(names) > 1 else None, tls, asked)


def _good(names: list[str]) -> bool:
    version = names[1:]
    return 0 < len(names) <= 2 and bool(names[0]) and all(map(_VERSION.fullmatch, version))


def _asked(text: str, parts: SplitResult, options: RemoteOptions) -> RemoteOptions:
    """Put what stands after the question mark in the place of other options."""
    given: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _QUERY or _QUERY[name] in given or not value:
            msg = (
                f"{_shown(text)} says {name!r} after its question mark, expected each of "
                f"{', '.join(_QUERY)} once at most, with a value. Correct it."
            )
            raise InputError(msg)
        given[_QUERY[name]] = value
    if "timeout_s" in given:
        try:
            given["timeout_s"] = float(given["timeout_s"])
        except ValueError as error:
            msg = f"{_shown(text)} has a time-out that is no number of seconds. Correct it."
            raise InputError(msg) from error
    asked = replace(options, **given)
    if asked.token is not None:
        token = resolve_secrets(asked.token, escape=False)
        if not re.fullmatch(r"[!-~]+", token):
            msg = (
                f"The token for {_shown(text)} has a blank or another sign in it that no header "
                "takes, expected letters, digits and signs of ASCII. Correct it where it lies."
            )
            raise InputError(msg)
        asked = replace(asked, token=token)
    return asked


def _check_tls(text: str, asked: RemoteOptions, *, tls: bool) -> None:
    """Refuse what has a meaning with TLS only: a token would be read by everybody on the way."""
    wanted = (asked.ca, asked.certificate, asked.key, asked.tls_host, asked.token)
    if not tls and any(each is not None for each in wanted):
        msg = (
            f"{_shown(text)} has no TLS, and a certificate or a token is given. Write grpcs://, "
            "or leave it out."
        )
        raise InputError(msg)
    if (asked.certificate is None) != (asked.key is None):
        msg = f"{_shown(text)} has one of cert and key, expected both or neither. Give the other."
        raise InputError(msg)


def _shown(text: str) -> str:
    """Quote an address without what may be secret in it."""
    before = text.partition("?")[0]
    scheme, mark, rest = before.partition("://")
    authority, slash, path = rest.partition("/")
    return repr(f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}")

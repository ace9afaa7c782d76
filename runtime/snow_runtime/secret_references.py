"""Secrets that an address names instead of holding: `{env:NAME}` and `{file:PATH}`.

What stands on a command line can be read by every user of the machine. Neither form means anything
to a shell, so neither is replaced before the command begins.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

from snow_runtime.errors import InputError

_REFERENCE: Final = re.compile(r"\{(env|file):([^{}\0]*)\}")
# As recorders have it in paths, and cloud cameras in queries.
_SECRET_VALUE: Final = re.compile(
    r"(?:pass(?:word|wd)?|pwd|token|secret|api_?key|auth|signature)=[^&]", re.IGNORECASE
)
_SECRET_HEADER: Final = re.compile(r"auth|token|key|secret|cookie|pass", re.IGNORECASE)
_MOST_BYTES: Final = 64 << 10  # a token or a password; not a file named by mistake


def resolve_secrets(text: str, *, escape: bool) -> str:
    """Put secrets in the places of their references.

    Args:
        text: An address such as `rtsp://admin:{file:/run/secrets/door}@host/stream`, or a secret
            alone.
        escape: Whether a secret becomes part of an address: then `@`, `/` and other signs in it
            are written as `%40` and `%2F`. One that is the whole address stays as it is.

    Raises:
        InputError: A variable or file is not there, empty, or holds more than one line.
    """
    escape = escape and not is_reference(text)

    def secret(reference: re.Match[str]) -> str:
        found = _read(*reference.groups())
        return quote(found, safe="") if escape else found

    return _REFERENCE.sub(secret, text)


def is_reference(text: str) -> bool:
    """Tell whether a text is the reference of a secret, and nothing else."""
    return _REFERENCE.fullmatch(text) is not None


def stand_in(text: str) -> str | None:
    """Put a sign that any part of an address may be in the places of references.

    Returns:
        The address, to look at what is around its secrets; None where all of it is one.
    """
    return None if is_reference(text) else _REFERENCE.sub("1", text)


def quote_around(text: str) -> str:
    """Write signs as `%40` that mean something in an address, but for those of references."""
    found, end = "", 0
    for reference in _REFERENCE.finditer(text):
        found += quote(text[end : reference.start()], safe="") + reference[0]
        end = reference.end()
    return found + quote(text[end:], safe="")


def holds_password(address: str) -> bool:
    """Tell whether a password or token stands in an address itself, rather than a reference."""
    networked = _REFERENCE.sub("", address).partition("://")[2]
    authority = networked.partition("/")[0]
    user_info, at_sign, _ = authority.rpartition("@")
    return bool((at_sign and user_info.partition(":")[2]) or _SECRET_VALUE.search(networked))


def holds_secret(header: str) -> bool:
    """Tell whether a secret stands in a header, `NAME: VALUE`, itself, rather than a reference."""
    name, _, value = header.partition(":")
    return bool(_SECRET_HEADER.search(name)) and not _REFERENCE.search(value)


def _read(kind: str, name: str) -> str:
    if kind == "env":
        found, what = os.environ.get(name), f"the environment variable {name}"
        if found is None:
            msg = (
                f"{{env:{name}}} names a variable that is not set. Set {name} for this command, "
                "or correct the name."
            )
            raise InputError(msg)
    else:
        found, what = _read_file(name), f"the file {name}"
    secret = found.removesuffix("\n").removesuffix("\r")
    if not secret or re.search(r"[\0\r\n]", secret):
        seen = "has several lines" if secret else "is empty"
        msg = f"{what} is to hold a secret, and it {seen}, expected one line. Correct it."
        raise InputError(msg)
    return secret


def _read_file(name: str) -> str:
    try:
        with Path(name).open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            msg = (
                f"The file {name} is to hold a secret, and it is larger than 64 KiB, expected one "
                "line. Name another."
            )
            raise InputError(msg)
        return content.decode()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a NUL in the name
        why = "it is no text in UTF-8" if isinstance(error, ValueError) else error
        msg = (
            f"{{file:{name}}} names a file that cannot be read: {why}. Correct the path, or let "
            "this user read it."
        )
        raise InputError(msg) from error

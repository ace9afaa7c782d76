"""Secrets in a configuration that is to be published, where others can read it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.fleet.errors import PublishError
from snow_runtime.secret_references import holds_password, holds_secret, is_reference

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECRET_KEYS: Final = frozenset({"password", "token", "secret"})


def refuse_secrets(path: Path) -> None:
    """Look whether a configuration file may be read by everybody.

    Raises:
        PublishError: It cannot be read, is no TOML, or holds a password or token itself.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} is no configuration file: {error}. 'snow-deploy config check' says more."
        raise PublishError(msg) from error
    found = [
        where
        for where, text in _texts((), data)
        if holds_password(text) or _header(text) or _own(where, text)
    ]
    if found:
        msg = (
            f"{path} holds a secret in {', '.join(found)}, and what is published can be read by "
            "others. Write {env:NAME} or {file:PATH} in its place, and set it on each box."
        )
        raise PublishError(msg)


def _header(text: str) -> bool:
    """Tell whether a text is a header, `NAME: VALUE`, that holds a secret."""
    return ": " in text and "://" not in text and holds_secret(text)


def _own(where: str, text: str) -> bool:
    """Tell whether a text stands under a key that is for a secret, and is no reference to one."""
    key = where.rpartition(".")[2]
    return key in _SECRET_KEYS and not is_reference(text)


def _texts(where: tuple[str, ...], data: Any) -> Iterator[tuple[str, str]]:
    """Yield each text of a document, and the key that it stands under."""
    if isinstance(data, str):
        yield ".".join(where), data
    elif isinstance(data, dict):
        for key, each in data.items():
            yield from _texts((*where, str(key)), each)
    elif isinstance(data, list):
        for each in data:
            yield from _texts(where, each)

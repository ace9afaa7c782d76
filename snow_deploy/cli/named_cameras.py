"""Cameras on the command line of `snow-deploy run`: NAME=URI, and options of one camera."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_runtime.cameras import CameraOptions

_NAMED: Final = re.compile(r"([\w-]+)=(?=.)")
# What can only be meant as a name: an address has a colon or a slash before its first `=`.
_MEANT_AS_NAME: Final = re.compile(r"[^=:/?#]*=")
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|/|\.{1,2}/")


def named_cameras(given: Sequence[str]) -> list[tuple[str, str]]:
    """Take names and addresses apart; a camera without a name gets a number.

    Raises:
        click.UsageError: Two have one name, or what was meant as a name cannot be one.
    """
    found = []
    for number, text in enumerate(given):
        name = _NAMED.match(text)
        if name is None and _is_meant_as_name(text):
            msg = (
                f"A camera cannot be named {text.partition('=')[0]!r}: expected letters, digits, "
                "_ and - alone, since the name goes into metrics, topics and addresses. Give "
                "another: NAME=URI."
            )
            raise click.UsageError(msg)
        found.append((name[1], text[name.end() :]) if name else (f"camera{number}", text))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        msg = f"Two cameras have one name: {', '.join(names)}. Give each another: NAME=URI."
        raise click.UsageError(msg)
    return found


def name_before(text: str) -> str:
    """Return the name before an address with its sign, as `door=`; nothing where there is none."""
    found = _NAMED.match(text)
    return found[0] if found else ""


def refuse_nameless(given: Sequence[str]) -> None:
    """Refuse to record several cameras of which one is known by its place on the line only.

    Raises:
        click.UsageError: One of several has no name.
    """
    if len(given) > 1 and any(_NAMED.match(text) is None for text in given):
        msg = "--record names files after cameras: give each a name, as in --camera door=URI."
        raise click.UsageError(msg)


def _is_meant_as_name(text: str) -> bool:
    """Tell whether what stands before the first `=` is meant as a name, and the rest is there."""
    found = _MEANT_AS_NAME.match(text)
    if found is None or os.path.lexists(text):
        return False
    rest = text[found.end() :]
    return _ADDRESS.match(rest) is not None or os.path.lexists(rest)


def options_by_camera(
    names: Sequence[str], fingerprints: Sequence[str], hosts: Sequence[str]
) -> dict[str, CameraOptions]:
    """Give each camera's options.

    Args:
        names: The cameras'.
        fingerprints: `--tls-fingerprint`, each VALUE or NAME=VALUE.
        hosts: `--tls-host`, likewise.

    Raises:
        click.UsageError: A value belongs to no camera, or is none.
    """
    from snow_runtime.cameras import CameraOptions

    by_option: Mapping[str, Mapping[str, str]] = {
        "tls_fingerprint": _by_name(names, fingerprints, "--tls-fingerprint"),
        "tls_host": _by_name(names, hosts, "--tls-host"),
    }
    found = {}
    for name in names:
        values: dict[str, Any] = {
            option: values[name] for option, values in by_option.items() if name in values
        }
        try:
            found[name] = CameraOptions(**values)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    return found


def _by_name(names: Sequence[str], given: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if not equals and len(names) == 1:
            name = names[0]
        if name not in names or not value:
            msg = (
                f"{option} {text} is for no camera, expected NAME=VALUE with a name of "
                f"{', '.join(names)}."
            )
            raise click.UsageError(msg)
        found[name] = value
    return found

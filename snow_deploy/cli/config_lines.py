"""In which line of a TOML file a key stands; the reader of TOML does not tell."""

from __future__ import annotations

import re
import sys
from typing import Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_NAME: Final = r"""(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_NAMES: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER: Final = re.compile(rf"\s*\[\[?\s*({_NAMES})\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(rf"\s*({_NAMES})\s*=")
_PART: Final = re.compile(_NAME)
_LONG_TEXT: Final = re.compile(r'"""|' + "'''")


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the lines of keys and tables, by their place in the file; the first line is 1.

    A table that is written in one line with its key has the key's line alone.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    within = False  # a text of several lines
    for number, line in enumerate(text.split("\n"), 1):
        marks = len(_LONG_TEXT.findall(line))
        if within:
            within = marks % 2 == 0
            continue
        within = marks % 2 == 1
        if (header := _HEADER.match(line)) is not None:
            table = _parts(header[1])
            found.setdefault(table, number)
        elif (key := _KEY.match(line)) is not None:
            found.setdefault((*table, *_parts(key[1])), number)
    return found


def line_of(lines: dict[tuple[str, ...], int], where: tuple[str, ...]) -> int | None:
    """Return the line of a key, or of the nearest table around it; None where none is known."""
    for end in range(len(where), 0, -1):
        if where[:end] in lines:
            return lines[where[:end]]
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(_name(part) for part in _PART.findall(dotted))


def _name(part: str) -> str:
    """Take the quotes off a name, and its escapes."""
    if not part.startswith('"'):
        return part.strip("'")
    try:
        return str(next(iter(tomllib.loads(f"{part} = 0"))))
    except tomllib.TOMLDecodeError:  # a text of several lines that is none of TOML's
        return part.strip('"')

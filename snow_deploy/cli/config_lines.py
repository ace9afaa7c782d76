"""In which line of a TOML file a key stands; the reader of TOML does not tell."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_HEADER: Final = re.compile(r"\s*\[\[?\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
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
        if (header := _HEADER.match(line)) is not None and "=" not in header[1]:
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
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))

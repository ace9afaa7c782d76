"""Patterns of braces and wildcards that name several inputs at once."""

from __future__ import annotations

import fnmatch
from typing import Final

from snow_runtime.score.errors import ScoreError
from snow_runtime.score.import_score import import_score

_SIGNS: Final = "*?["


def braces(pattern: str) -> list[str]:
    """Expand `{000..012}` and `{a,b}`, as a shell does.

    Raises:
        ScoreError: A brace is not closed.
    """
    if "{" not in pattern:
        return [pattern]
    expansion = import_score("braceexpand")
    try:
        return list(expansion.braceexpand(pattern))
    except ValueError as error:
        msg = f"{pattern} has a brace that is not closed: {error}. Write {{000..012}} or {{a,b}}."
        raise ScoreError(msg) from error


def has_wildcards(pattern: str) -> bool:
    """Tell whether a path, or a piece of one, stands for several."""
    return any(sign in pattern for sign in _SIGNS)


def fixed_folder(pattern: str) -> str:
    """Return the folder that a pattern names before its first wildcard."""
    fixed = []
    for piece in pattern.split("/"):
        if has_wildcards(piece):
            break
        fixed.append(piece)
    return "/".join(fixed)


def matches(path: str, pattern: str) -> bool:
    """Compare piece by piece: a wildcard does not reach over a slash, `**` does."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(path, pattern.replace("**/", "*"))
    pieces, wanted = path.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(map(fnmatch.fnmatchcase, pieces, wanted))

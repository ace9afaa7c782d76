"""Plain text for the terminal: aligned columns and short numbers."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HASH_DIGITS = 12


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Align rows of cells: the first `left` columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    for row in rows:
        cells = [
            cell.ljust(width) if position < left else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield "  ".join(cells).rstrip()


def million(count: int) -> str:
    """Write a number of parameters."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def billion(count: int | None) -> str:
    """Write a number of multiply-adds; `?` where it is not known."""
    if count is None:
        return "?"
    if count < 1_000_000:
        return f"{count:,}"
    return f"{count / 1e9:.3f} G" if count >= 100_000_000 else f"{count / 1e6:.2f} M"


def megabytes(size_bytes: int) -> str:
    """Write a size, in units of a million bytes."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes:,} B"


def short_hash(digest: str | None) -> str:
    """Write the beginning of a hash, as much as tells two apart."""
    return "-" if digest is None else digest[:_HASH_DIGITS]


def one_line(text: str) -> str:
    """Write a text of any origin on one line: line breaks and other controls as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def shortened(texts: Sequence[str], limit: int) -> str:
    """List texts up to about `limit` characters, and say how many are left out."""
    shown = [one_line(text) for text in texts]
    while len(shown) > 1 and len(", ".join(shown)) > limit:
        shown.pop()
    left = len(texts) - len(shown)
    first = ", ".join(shown)
    if len(first) > limit:
        first = f"{first[: limit - 1]}…"
    return f"{first}, … ({left} more)" if left else first

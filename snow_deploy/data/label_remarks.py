"""Labels that look like a mistake: two that are hardly two, and words for a missing answer."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NO_ANSWER: Final = frozenset(
    {
        *("", "nan", "none", "null", "nil", "nat", "na", "n/a", "n.a.", "#n/a", "<na>", "#null!"),
        *("undefined", "missing", "?", "-", "--", "–", "—", "."),
    }
)
"""What spreadsheets, databases and programs write where there is no answer, folded."""


def folded(text: str) -> str:
    """Return a text without what is hard to see.

    Capitals become small, every form of a character its plainest, runs of blanks one blank;
    blanks at the ends and characters without width go.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    shown = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")
    return " ".join(shown.split())


def alike(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of different labels that fold to the same text."""
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(folded(label), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def label_remarks(labels: Sequence[str]) -> tuple[str, ...]:
    """Say which labels look like a mistake, a sentence each."""
    found = [
        f"the labels {' and '.join(map(quoted, group))} count as {len(group)} classes, "
        "and differ in capitals, blanks or their Unicode form only: if they are one, write them "
        "alike"
        for group in alike(labels)
    ]
    found += [
        f'the label "{label}" is a class like the others, and looks like a missing answer: if it '
        "is one, leave those pictures out"
        for label in labels
        if folded(label) in _NO_ANSWER
    ]
    return tuple(found)


def quoted(label: str) -> str:
    """Quote a label, with escapes for what would look the same as something else."""
    plain = unicodedata.normalize("NFC", label) == label and label.isprintable()
    return f'"{label}"' if plain else ascii(label)

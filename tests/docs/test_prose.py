"""The guide is written in short sentences."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import ROOT, documents

if TYPE_CHECKING:
    from pathlib import Path

MEDIAN = 14  # words
FEWEST = 3  # of a sentence: less is a label
_LEFT_OUT = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^[ ]*```(?:.|\n)*?^[ ]*```",  # code
        r"<!--(?:.|\n)*?-->",
        r"^[ ]*\|.*$",  # tables
        r"^#+ .*$",
        r"^[ ]*(?:!!!|\?\?\?\+?|===).*$",  # heads of admonitions and tabs
        r"!\[[^\]]*\]\([^)]*\)",  # pictures
        r"</?[a-z][^>]*>",
    )
)
_ITEM = re.compile(r"^[ ]*(?:[-*+]|\d+\.)[ ]+", re.MULTILINE)
_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[^\W\d_a-z]|[`\"'(\[*\d])")


def sentences(text: str) -> list[str]:
    """Take a Markdown text's sentences; of a list without sentences its items."""
    for pattern in _LEFT_OUT:
        text = pattern.sub("\n\n", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`+[^`]+`+", "`code`", text)
    paragraphs = re.split(r"\n\s*\n", _ITEM.sub("\n\n", text))
    found = [part for paragraph in paragraphs for part in _END.split(" ".join(paragraph.split()))]
    return [part for part in found if length(part) >= FEWEST]


def length(sentence: str) -> int:
    """Count the words: what has a letter or a digit in it."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def test_words_are_counted_outside_code_and_tables() -> None:
    text = """# A heading that is not counted

One two three. Four `five six` [seven eight](nine.md) ten! Is it
so, e.g. here: Yes it is.

- An item of five words
- Another one. And one more.

| a | table of many words |
|---|---|

```sh
a command of many words
```
<!-- a remark of many words -->
"""

    assert [length(sentence) for sentence in sentences(text)] == [3, 5, 8, 5, 3]


@pytest.mark.parametrize("document", documents(), ids=str)
def test_half_of_the_sentences_are_short(document: Path) -> None:
    found = sentences((ROOT / document).read_text(encoding="utf-8"))
    longest = sorted(found, key=length)[-3:]

    assert median(map(length, found)) <= MEDIAN, f"the longest: {longest}"

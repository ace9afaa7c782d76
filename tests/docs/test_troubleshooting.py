"""The messages that the guide explains are those that the code says."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests.docs.blocks import GUIDE, ROOT

PAGE = ROOT / GUIDE / "troubleshooting.md"
SOURCES = ("snow_deploy", "export", "calibration", "runtime")
GAP = "\N{HORIZONTAL ELLIPSIS}"  # of what differs from one message to the next


def messages() -> list[str]:
    """Return the messages of the page's tables, as they stand there."""
    text = PAGE.read_text(encoding="utf-8").partition("## No error, but wrong")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def said(node: ast.expr) -> str:
    """Return a text of the code with a gap for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(said, node.values))
    return GAP


@functools.cache
def texts() -> tuple[str, ...]:
    """Return every text that stands in the code."""
    found = set()
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Constant, ast.JoinedStr)):
                    found.add(said(node))
    return tuple(found)


@pytest.mark.parametrize("message", messages())
def test_a_message_of_the_page_is_one_of_the_code(message: str) -> None:
    pieces = [piece.strip() for piece in message.split(GAP)]
    in_this_order = re.compile(".*".join(map(re.escape, filter(None, pieces))), re.DOTALL)
    assert any(in_this_order.search(text) for text in texts()), message

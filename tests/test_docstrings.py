"""Docstrings that stand by themselves: their entries, and the files that they name."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("snow_deploy", "export", "calibration", "runtime")
SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
SECTIONS = re.compile(r"\n(?:Args|Attributes):\n(.*?)(?=\n\S|\Z)", re.DOTALL)
ENTRY = re.compile(r"^    ([*\w]+): (.+)", re.MULTILINE)
NO_NOUN = re.compile(
    r"(?i)(of|by|from|as given|as for|see|likewise|told|hears?|gives|makes|draws|takes|tells|runs"
    r"|has|holds|to be|is told|is called)\b"
)


def documented(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and (
            not node.name.startswith("_") or node.name == "__init__"
        ):
            yield node
            yield from documented(node.body)


def entries(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and text of each entry of the public names of a module."""
    for node in documented(ast.parse(text).body):
        for section in SECTIONS.findall(ast.get_docstring(node) or ""):
            for name, entry in ENTRY.findall(section):
                yield node.lineno, name, entry


def test_every_entry_is_a_noun_phrase() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}: {entry}"
        for path in SOURCES
        for line, name, entry in entries(path.read_text())
        if NO_NOUN.match(entry)
    ]
    assert found == []

    bad = 'def f(x):\n    """F.\n\n    Args:\n        x: Told of it.\n        y: A sum.\n    """\n'
    assert [entry for *_, entry in entries(bad) if NO_NOUN.match(entry)] == ["Told of it."]


def test_a_docstring_names_only_files_that_are_there() -> None:
    there = {path.name for path in SOURCES} | {path.name for path in (ROOT / "tests").rglob("*.py")}
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in SOURCES
        for text in [ast.get_docstring(ast.parse(path.read_text())) or ""]
        for name in re.findall(r"\b(\w+\.py)\b", text)
    }
    assert len(named) > 50
    assert {each for each in named if each[1] not in there} == set()

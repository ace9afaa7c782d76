"""Each row of the threat table names tests that there are."""

from __future__ import annotations

import ast
import re

from tests.docs.blocks import ROOT

_PAGE = ROOT / "docs" / "reference" / "updates.md"


def test_each_threat_has_a_test() -> None:
    section = _PAGE.read_text(encoding="utf-8").partition("## Threats")[2]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    tests = {
        node.name
        for part in ("deploy/fleet", "runtime/update", "runtime/app")
        for path in (ROOT / "tests" / part).rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named or row.rstrip(" |").endswith("| the same"), row
        assert {*named} <= tests, row

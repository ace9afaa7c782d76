"""The matrix of architectures: what is walked again, and how its page tells red from refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import architectures
from benchmarks._architecture_list import ARCHITECTURES
from benchmarks._architecture_table import SAMPLES, write_page
from benchmarks.architectures import Row, main

if TYPE_CHECKING:
    from pathlib import Path

GREEN = Row(
    *("resnet18", "ResNet", 64, 16, 8, True, 1.22, "fused", 4e-6, 1.0, 0, "fp16"),
    fp16=[41, 41],
    int8=[40, 41],
)
RED = Row("timm:dla34", "DLA", 64, 36, 12, trained=True, failed="exports", why="no rule")
REFUSED = Row("timm:levit_128s", "LeViT", 224, failed="reads", why="it has attention blocks (x)")


def test_there_are_at_least_sixty_of_each_a_name_and_a_size() -> None:
    assert len(ARCHITECTURES) >= 60
    assert {size % 32 for _, size in ARCHITECTURES.values()} == {0}


def test_the_page_counts_and_says_why() -> None:
    page = write_page([asdict(row) for row in (GREEN, RED, REFUSED)], ["alexnet"])
    assert "Not walked yet by this version: `alexnet`." in page
    assert "**1 of 3 go the whole way.** 1 are refused" in page
    assert "**This page is a draft.** 1 of the 4 networks on the list have no line yet" in page
    assert "a draft" not in write_page([asdict(GREEN)])
    assert f"statistics are those of {SAMPLES} random pictures" in page
    assert "(`least_share=0`)" in page
    lines = {line.split(" | ")[1]: line for line in page.splitlines() if line.startswith("| ")}
    assert lines["resnet18"].endswith("| 4e-06, fused | 100.00%, 0 | 41 of 41 | 40 of 41 |")
    assert "**no** (exports)" in lines["timm:dla34"]
    assert "**refused**" in lines["timm:levit_128s"]
    assert "- `timm:dla34`: no rule" in page


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def walk(name: str, folder: Path) -> Row:
        assert folder.is_dir()
        names.append(name)
        return Row(name, *ARCHITECTURES[name])

    monkeypatch.setattr(architectures, "walk", walk)
    return names


def test_what_has_a_line_is_not_walked_again(walked: list[str], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    lines: list[dict[str, Any]] = [
        asdict(GREEN),
        *[{"begun": "alexnet"}] * 2,  # ended the process twice
        {"begun": "timm:dla34"},
    ]
    rows.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    wanted = "resnet18,alexnet,timm:dla34,densenet121"
    page = tmp_path / "page.md"

    assert main(["--only", wanted, "--rows", str(rows), "--page", str(page)]) == 0
    assert main(["--only", wanted, "--rows", str(rows)]) == 0

    assert walked == ["timm:dla34", "densenet121"]
    assert "the process ended, twice" in page.read_text(encoding="utf-8")


def test_a_step_that_fails_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_row: Row) -> Any:
        msg = "no such thing"
        raise KeyError(msg)

    monkeypatch.setattr(architectures, "_source", fail)
    row = architectures.walk("resnet18", tmp_path)
    assert (row.failed, row.why) == ("reads", "KeyError: 'no such thing'")

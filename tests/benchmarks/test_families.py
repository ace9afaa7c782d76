"""The matrix of families: what it says of one; `make release-check` takes one the whole way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.families import FAMILIES, HEADINGS, Row, table, walk

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_step_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.families._TRAINING", ("--epochs", "none"))

    row = walk("squeezenet1_1", tmp_path)

    (note,) = row.notes
    assert note.startswith("train: ")
    assert "'none'" in note
    assert row.verify == row.int8 == ""


def test_the_table_is_markdown() -> None:
    row = Row("ResNet", "resnet18", 64, "fused", notes=["one", "two"])
    head, rule, line = table([row])

    assert head.count("|") == rule.count("|") == line.count("|") == len(HEADINGS) + 1
    assert line.endswith("| one; two |")


def test_every_family_has_a_network_of_torchvision() -> None:
    import torchvision

    assert set(FAMILIES) <= set(torchvision.models.list_models())
    assert len({family for family, _ in FAMILIES.values()}) == len(FAMILIES)

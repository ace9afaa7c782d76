"""A few families of networks the whole way, as the matrix walks all of them."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

import pytest

from benchmarks.families import FAMILIES, HEADINGS, Row, table, walk

if TYPE_CHECKING:
    from pathlib import Path

RTX = importlib.util.find_spec("tensorrt_rtx_bindings") is not None


@pytest.mark.slow
@pytest.mark.tensorrt
@pytest.mark.parametrize("architecture", ["shufflenet_v2_x0_5"])
def test_the_whole_way(architecture: str, tmp_path: Path) -> None:
    row = walk(architecture, tmp_path)

    assert row.notes == []
    assert (row.verify, row.lint, row.int8_share) == ("agrees", "0", "100.00%")
    for cell in (row.fp16, row.int8) if RTX else ():
        reached, layers, kernels = map(int, re.findall(r"\d+", cell))
        assert 0.95 * layers <= reached <= layers
        assert kernels > 0


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

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from pathlib import Path


def test_the_count_by_owner(graph_path: Path) -> None:
    result = CliRunner().invoke(main, ["cost", "--target", "none", str(graph_path)])

    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["source", "768", "12", "48", "B", "1"] in rows
    assert ["food", "120", "120", "480", "B", "3"] in rows
    assert ["(total)", "888", "132", "528", "B", "4"] in rows
    assert "multiply-adds over the source's: 1.1562" in result.stdout
    assert "Conv, Gemm and MatMul count" in result.stdout
    assert "note: nothing was compiled" in result.stdout


def test_json(graph_path: Path) -> None:
    result = CliRunner().invoke(main, ["cost", "--target", "none", "--json", str(graph_path)])

    document = json.loads(result.stdout)
    assert document["file_bytes"] == graph_path.stat().st_size
    assert document["total"]["macs"] == 888
    assert document["compiled"] is None


def test_without_the_compiler_the_rest_is_printed(
    graph_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)

    result = CliRunner().invoke(main, ["cost", str(graph_path)])

    assert result.exit_code == 0, result.stderr
    assert "(total)" in result.stdout
    assert pip_install("rtx") in result.stdout


@pytest.mark.tensorrt
def test_compiled_layers(graph_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")

    result = CliRunner().invoke(main, ["cost", "--target", "sm89", "--json", str(graph_path)])

    compiled = json.loads(result.stdout)["compiled"]
    assert compiled["targets"] == ["sm89"]
    assert compiled["compute_layers"] == sum(compiled["by_kind"].values()) > 0
    assert sum(compiled["by_owner"].values()) == compiled["compute_layers"]
    assert {"signal", "wait"}.isdisjoint(compiled["by_kind"])
    words = CliRunner().invoke(main, ["cost", "--target", "sm89", str(graph_path)]).stdout
    assert f"for sm89, batch 1: {compiled['compute_layers']} compute layers" in words


def test_a_truncated_graph_is_one_line(graph_path: Path) -> None:
    graph_path.write_bytes(graph_path.read_bytes()[:-200])

    result = CliRunner().invoke(main, ["cost", str(graph_path)])

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert "no complete, valid ONNX graph" in result.stderr
    assert result.stderr.count("\n") == 1

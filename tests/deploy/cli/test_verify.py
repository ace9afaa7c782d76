from __future__ import annotations

import json
from typing import TYPE_CHECKING

import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

from snow_deploy.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.store import Store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_sound_graph_holds_and_the_json_says_so(trained_store: Store, graph: Path) -> None:
    result = run(
        "verify", str(graph), "--store", str(trained_store.root), "--batch-sizes", "2", "--json"
    )

    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["holds"] is True
    assert document["diverges"] is None
    assert [rung["name"] for rung in document["rungs"]][-1] == "file"
    assert all(rung["batch"] == 2 for rung in document["rungs"])


def test_a_changed_graph_fails_with_the_layer_and_exit_code_1(
    trained_store: Store, graph: Path, tmp_path: Path
) -> None:
    model = onnx.load(graph)
    tensor = next(t for t in model.graph.initializer if t.name == "source/layer3.0.conv1.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    changed = tmp_path / "changed.onnx"
    onnx.save(model, changed)

    result = run("verify", str(changed), "--store", str(trained_store.root), "--batch-sizes", "1")

    assert result.exit_code == 1
    assert "FAILS" in result.stdout
    assert "first differs from a new export at source/layer3.0.conv1" in result.stdout


def test_a_graph_of_another_store_is_refused(
    trained_store: Store, graph: Path, tmp_path: Path
) -> None:
    empty = run("verify", str(graph), "--store", str(tmp_path / "none"))

    assert empty.exit_code == 1
    assert empty.stderr.startswith("error: ")
    assert trained_store.has_source()


@pytest.mark.parametrize("sizes", ["", "0", "two", "1,,2"])
def test_batch_sizes_that_are_none(graph: Path, sizes: str) -> None:
    result = run("verify", str(graph), "--batch-sizes", sizes)

    assert result.exit_code == 2
    assert "batch sizes" in result.stderr

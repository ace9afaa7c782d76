from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

from snow_deploy.cli import main
from snow_runtime.graph.manifest import Preprocessing
from tests.conftest import copy_store

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


@pytest.mark.parametrize("data", [(), ("--data", "demo:shape?train=2&test=5&size=48")])
def test_a_store_that_is_not_there_is_told(
    graph: Path, tmp_path: Path, data: tuple[str, ...]
) -> None:
    empty = run("verify", str(graph), "--store", str(tmp_path / "none"), *data)

    assert empty.exit_code == 1
    assert empty.stderr.startswith("error: ")
    assert "holds no source" in empty.stderr


def test_a_task_that_was_trained_anew_is_told(
    trained_store: Store, graph: Path, tmp_path: Path
) -> None:
    other = copy_store(trained_store, tmp_path / "store")
    record = other.load_task("shape")
    moved = {key: value + (value.is_floating_point()) for key, value in record.state.items()}
    other.save_task(replace(record, state=moved))

    result = run("verify", str(graph), "--store", str(other.root))

    assert result.exit_code == 1
    assert "shape of the file is not what" in " ".join(result.stderr.split())


@pytest.mark.slow
def test_pictures_are_prepared_as_the_graph_takes_them(
    trained_store: Store, graph: Path, tmp_path: Path
) -> None:
    """Whatever other tasks the store has."""
    other = copy_store(trained_store, tmp_path / "store")
    record = other.load_task("shape")
    smaller = replace(record, name="a", preprocessing=Preprocessing.for_size(32))
    other.save_task(smaller)
    data = ("--data", "demo:shape?train=2&test=5&size=48", "--batch-sizes", "2", "--json")

    result = run("verify", str(graph), "--store", str(other.root), *data)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["notes"] == []


@pytest.mark.parametrize("sizes", ["", "0", "two", "1,,2"])
def test_batch_sizes_that_are_none(graph: Path, sizes: str) -> None:
    result = run("verify", str(graph), "--batch-sizes", sizes)

    assert result.exit_code == 2
    assert "batch sizes" in result.stderr

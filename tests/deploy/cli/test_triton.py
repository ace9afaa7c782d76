from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

pytest.importorskip("tritonclient.grpc")

from snow_deploy.cli import main
from snow_runtime.graph.onnx_file import read_graph
from snow_runtime.self_check import with_self_check
from tests.runtime.triton.reading import read_config

if TYPE_CHECKING:
    from pathlib import Path


def test_a_version_and_one_more(graph_path: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    arguments = ["triton", str(graph_path), "-o", str(models)]
    first = CliRunner().invoke(main, [*arguments, "--cpu", "--queue-delay", "0.5"])
    assert first.exit_code == 0, first.output
    assert first.output.startswith(
        f"{models}/snow/1  onnxruntime, up to 8 pictures a call; 1 task(s): food"
    )
    second = CliRunner().invoke(main, [*arguments, "--json"])
    document = json.loads(second.output)
    assert document == {
        "name": "snow",
        "version": 2,
        "folder": str(models / "snow/2"),
        "form": "onnxruntime",
        "max_batch": 8,
        "fixed_batch": None,
        "tasks": ["food"],
    }
    config = read_config(models / "snow")
    (group,) = config.instance_group
    assert group.kind == group.KIND_CPU
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


def test_the_python_form_says_what_it_needs(graph_path: Path, tmp_path: Path) -> None:
    arguments = ["triton", str(graph_path), "-o", str(tmp_path), "--form", "python"]
    done = CliRunner().invoke(main, [*arguments, "--name", "door", "--no-warm-up"])
    assert "needs snow_runtime in the Python of Triton" in done.output
    assert not read_config(tmp_path / "door").model_warmup


def test_what_cannot_be_is_one_line(graph_path: Path, tmp_path: Path) -> None:
    arguments = ["triton", str(graph_path), "-o", str(tmp_path / "models"), "--name", "a/b"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: A model of Triton cannot be called 'a/b'")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "models").exists()


def test_what_answers_otherwise_than_it_was_exported_is_not_served(
    graph_path: Path, tmp_path: Path
) -> None:
    graph = read_graph(graph_path)
    assert graph.manifest is not None
    model = with_self_check(graph.model, graph.manifest)
    (weights,) = [each for each in model.graph.initializer if each.name == "v"]
    weights.CopyFrom(numpy_helper.from_array(np.full((30, 4), 7, np.float32), "v"))
    damaged = tmp_path / "damaged.onnx"
    onnx.save(model, damaged)

    done = CliRunner().invoke(main, ["triton", str(damaged), "-o", str(tmp_path / "models")])

    assert done.exit_code == 1
    assert "The model does not answer as its graph did" in done.stderr
    assert not (tmp_path / "models").exists()

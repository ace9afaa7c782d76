from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from snow_deploy.cli import main
from snow_runtime.graph.manifest import (
    METADATA_KEY,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)
from tests.conftest import made_once
from tests.onnx_models import small_model

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.store import Store


@pytest.fixture(scope="package")
def graph(trained_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export all tasks of the trained store; a test must not change the file."""

    def export(folder: Path) -> None:
        arguments = ["export", "--store", str(trained_store.root), "-o", str(folder / "snow.onnx")]
        assert CliRunner().invoke(main, arguments).exit_code == 0

    return made_once(tmp_path_factory, "graph-of-all-tasks", export) / "snow.onnx"


@pytest.fixture
def graph_path(tmp_path: Path) -> Path:
    """Write a graph of one 1x1 convolution of the source and a classifier of thirty labels."""
    constants = {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((30, 4), np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="source/conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], name="pool"),
        helper.make_node("Flatten", ["b"], ["c"], name="flatten"),
        helper.make_node("Gemm", ["c", "v"], ["food"], name="food/fc", transB=1),
    ]
    shapes = {"image": ("batch", 3, 8, 8)}, {"food": ("batch", 30)}
    model = small_model(nodes, *shapes, constants)
    task = TaskEntry(
        "food",
        "food",
        tuple(f"dish {number}" for number in range(30)),
        sha256="b" * 64,
        k_divisor=2,
        width_divisor=8,
        selections={"layer1.conv": (1, 3), "layer2.conv": (0, 2, 5)},
        metrics={"accuracy": 0.75},
    )
    source = SourceEntry("small", "a" * 64, 12)
    manifest = Manifest(source, Preprocessing.for_size(8), (task,), versions={"onnx": "1.20"})
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    path = tmp_path / "snow.onnx"
    onnx.save(model, path)
    return path

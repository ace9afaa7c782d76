from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import numpy_helper

from snow_export.export import GraphOptions, export_graph
from snow_export.verification import verify

if TYPE_CHECKING:
    from pathlib import Path

    from snow_export.export import ExportRequest

STEPS = ["frozen torch", "separate fp32", "fused fp32", "fused fp16", "file"]


@pytest.fixture(scope="module")
def exported(
    request_18: ExportRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExportRequest, Path]:
    path = tmp_path_factory.mktemp("verify") / "snow.onnx"
    tasks = request_18.tasks[:2]
    networks = {task.name: request_18.networks[task.name] for task in tasks}
    request = replace(request_18, networks=networks, tasks=tasks)
    export_graph(request, path)
    return request, path


def damage(path: Path, copy: Path, name: str, factor: float) -> None:
    """Multiply one constant of a graph: a valid file with other answers."""
    model = onnx.load(path)
    tensor = next(item for item in model.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, name))
    onnx.save(model, copy)


def test_every_rung_of_a_sound_file_holds(exported: tuple[ExportRequest, Path]) -> None:
    request, path = exported

    found = verify(request, path, (1, 3))

    assert found.holds
    assert found.diverges is None
    assert [rung.name for rung in found.rungs] == [step for step in STEPS for _ in (1, 3)]
    for rung in found.rungs:
        assert [task.task for task in rung.tasks] == list(request.outputs)
        assert all(task.cosine > 0.999 for task in rung.tasks)


@pytest.mark.parametrize(
    "layer",
    ["source/layer2.0.conv1", pytest.param("birds+cars/layer1.1.conv2", marks=pytest.mark.slow)],
)
def test_the_first_layer_that_diverges_is_named(
    exported: tuple[ExportRequest, Path], tmp_path: Path, layer: str
) -> None:
    request, path = exported
    damaged = tmp_path / "damaged.onnx"
    damage(path, damaged, f"{layer}.weight", 1.5)

    found = verify(request, damaged, (1,))

    assert not found.holds
    assert [rung.name for rung in found.rungs if not rung.holds] == ["file"]
    assert found.diverges is not None
    assert found.diverges[0] == layer
    assert found.diverges[1] > 1e-3


@pytest.mark.slow
def test_a_file_of_one_batch_size_is_run_at_that_one(
    exported: tuple[ExportRequest, Path], tmp_path: Path
) -> None:
    request = replace(exported[0], options=GraphOptions(batch=2))
    path = tmp_path / "two.onnx"
    export_graph(request, path)

    found = verify(request, path, (1,))

    assert [(r.name, r.batch) for r in found.rungs][-2:] == [("fused fp16", 1), ("file", 2)]
    assert found.holds


def test_an_fp32_file_that_half_precision_could_not_hold(
    exported: tuple[ExportRequest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, path = exported
    monkeypatch.setattr("snow_runtime.graph.half_precision.FP16_LARGEST", 1e-3)

    found = verify(request, path, (1,))

    assert found.holds
    assert [rung.name for rung in found.rungs] == [step for step in STEPS if "fp16" not in step]
    (note,) = found.notes
    assert note.startswith("fused fp16 is left out: ")
    assert note.endswith("; the file is fp32")

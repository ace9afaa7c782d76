"""The classifiers of many tasks in INT8: a matrix product and grouped convolutions, added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_calibration.calibrate import calibrate, write_graph
from snow_calibration.lint import lint
from snow_calibration.quantisation_plan import layers_of, make_plan
from snow_export.export import export_graph
from snow_runtime.engine.prepare import prepare_graph
from snow_runtime.graph.onnx_file import read_graph
from tests.export.requests import many_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_calibration.calibrate import Calibration
    from snow_calibration.pictures import CalibrationPictures
    from snow_deploy.models.source import Source


def calibrated(
    source: Source, samples: CalibrationPictures, folder: Path, classes: Sequence[int]
) -> Calibration:
    export_graph(many_tasks(source, 12, classes), folder / "snow.onnx")
    return calibrate(folder / "snow.onnx", samples, folder / "r.json", method="minmax")


def test_every_layer_is_quantised_and_no_sum_of_logits_is_taken_for_a_residual(
    source: Source, samples: CalibrationPictures, tmp_path: Path
) -> None:
    """Nothing reads the logits, so neither side of their sum is quantised."""
    found = calibrated(source, samples, tmp_path, (3, 5, 60))
    graph = read_graph(tmp_path / "snow.onnx").model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    sums = {
        node.name: {made_by[name].op_type for name in node.input}
        for node in graph.node
        if node.op_type == "Add" and made_by.keys() >= set(node.input)
    }

    write_graph(found.int8(), tmp_path / "int8.onnx")
    prepared = prepare_graph(tmp_path / "int8.onnx", "int8")

    assert prepared.quantised == layers_of(graph) == found.layers
    assert lint(read_graph(tmp_path / "int8.onnx").model) == ()
    (logits,) = (name for name, makers in sums.items() if "Gemm" in makers)
    quantised = [reader for reader, _ in make_plan(graph).reads if reader in sums]
    assert sorted(quantised) == sorted(sums.keys() - {logits})  # of each residual, one side


@pytest.mark.slow
@pytest.mark.tensorrt
@pytest.mark.parametrize("classes", [(4,), (3, 5, 60)], ids=["equal", "unequal"])
def test_tensorrt_builds_engines_of_many_tasks(
    source: Source, samples: CalibrationPictures, tmp_path: Path, classes: Sequence[int]
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.make import build_engine
    from snow_runtime.engine.options import BuildOptions

    found = calibrated(source, samples, tmp_path, classes)
    write_graph(found.int8(), tmp_path / "int8.onnx")

    for graph, precision in (("snow.onnx", "fp16"), ("int8.onnx", "int8")):
        options = BuildOptions(precision, ("sm86",), least_share=1)  # type: ignore[arg-type]
        output = tmp_path / f"{precision}.engine"
        built = build_engine(tmp_path / graph, output, options, backend_name="tensorrt-rtx")
        assert built.record.achieved.by_precision == {precision: len(found.layers)}

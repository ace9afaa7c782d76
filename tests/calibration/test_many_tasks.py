"""The classifiers of many tasks in INT8: a matrix product and grouped convolutions, added up."""

from __future__ import annotations

from functools import cache
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
    from collections.abc import Callable
    from pathlib import Path

    from snow_calibration.calibrate import Calibration
    from snow_calibration.pictures import CalibrationPictures
    from snow_deploy.models.source import Source


@pytest.fixture(scope="module")
def calibrated(
    source: Source, samples: CalibrationPictures, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Calibration]]:
    """Export twelve tasks with so many classes in turn, and calibrate them; the same ones once."""

    @cache
    def make(*classes: int) -> tuple[Path, Calibration]:
        folder = tmp_path_factory.mktemp("many")
        graph = folder / "snow.onnx"
        export_graph(many_tasks(source, 12, classes), graph)
        return graph, calibrate(graph, samples, folder / "r.json", method="minmax")

    return make


def test_every_layer_is_quantised_and_no_sum_of_logits_is_taken_for_a_residual(
    calibrated: Callable[..., tuple[Path, Calibration]], tmp_path: Path
) -> None:
    """Nothing reads the logits, so neither side of their sum is quantised."""
    path, found = calibrated(3, 5, 60)
    graph = read_graph(path).model.graph
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
    calibrated: Callable[..., tuple[Path, Calibration]], tmp_path: Path, classes: tuple[int, ...]
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    from snow_runtime.engine.make import build_engine
    from snow_runtime.engine.options import BuildOptions

    path, found = calibrated(*classes)
    write_graph(found.int8(), tmp_path / "int8.onnx")

    for graph, precision in ((path, "fp16"), (tmp_path / "int8.onnx", "int8")):
        options = BuildOptions(precision, ("sm86",), least_share=1)  # type: ignore[arg-type]
        output = tmp_path / f"{precision}.engine"
        built = build_engine(graph, output, options, backend_name="tensorrt-rtx")
        assert built.record.achieved.by_precision == {precision: len(found.layers)}

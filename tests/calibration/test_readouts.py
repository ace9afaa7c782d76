"""INT8 of graphs with readouts: the source is quantised, their means and products are not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from snow_calibration.calibrate import calibrate, choose_layers, never_quantised
from snow_calibration.errors import CalibrationError
from snow_calibration.lint import lint
from snow_calibration.pictures import LabelledPictures
from snow_calibration.run import CalibrationSettings, calibrate_and_judge
from snow_deploy.models.source import Source
from snow_export.export import export_graph
from snow_runtime.graph.quantised import DQ, Q, QuantisedGraph
from tests.export.test_readouts import answers, request, with_features

if TYPE_CHECKING:
    from pathlib import Path

    from snow_calibration.calibrate import Calibration
    from snow_calibration.pictures import CalibrationPictures
    from snow_deploy.models.weights import SourceWeights

READOUTS = "cars+food/fc"


@pytest.fixture(scope="module")
def graph(weights: SourceWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a delta, two readouts and the features."""
    asked = with_features(request(Source(weights), deltas=1))
    tasks = tuple(
        entry if entry.name == "birds" else replace(entry, scheme="readout")
        for entry in asked.tasks
    )
    path = tmp_path_factory.mktemp("readouts") / "snow.onnx"
    export_graph(replace(asked, tasks=tasks), path)
    return path


@pytest.fixture(scope="module")
def found(graph: Path, samples: CalibrationPictures) -> Calibration:
    return calibrate(graph, samples, graph.with_suffix(".json"), method="minmax")


def behind(graph: onnx.GraphProto, name: str, stop: set[str]) -> set[str]:
    """Return the operators between a value and those that stop, looking against the flow."""
    made = {output: node for node in graph.node for output in node.output}
    operators, waiting = set[str](), [name]
    while waiting:
        node = made.get(waiting.pop())
        if node is not None:
            operators.add(node.op_type)
            waiting += [] if node.op_type in stop else node.input
    return operators


@pytest.mark.parametrize("rest", ["fp32", "fp16"])
def test_means_and_products_stay_in_floating_point(found: Calibration, rest: Any) -> None:
    model = replace(found, rest=rest).int8()

    assert READOUTS not in found.layers
    assert found.never == {READOUTS}
    products = QuantisedGraph(model.graph).layers()
    assert set(products) == set(found.layers)
    product = next(node for node in model.graph.node if node.name == READOUTS)
    for name in (*product.input, "source.features"):
        assert not {Q, DQ} & behind(model.graph, name, {"GlobalAveragePool"})
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    assert set(convolutions) <= set(products)  # all of the source is in INT8
    assert lint(model) == ()


def test_int8_answers_the_features_as_fp32_within_its_noise(
    found: Calibration, graph: Path, tmp_path: Path, samples: CalibrationPictures
) -> None:
    path = tmp_path / "int8.onnx"
    onnx.save(replace(found, rest="fp32").int8(), path)
    preprocessing = found.manifest.preprocessing
    mean, std = (np.array(it, np.float32) for it in (preprocessing.mean, preprocessing.std))
    images = ((samples.pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)

    exact, int8 = answers(graph, images), answers(path, images)

    for name, values in exact.items():
        error = np.abs(int8[name] - values).mean() / values.std()
        assert 0 < error < 0.25, name


def test_a_pattern_may_name_what_is_in_floating_point_anyway(graph: Path) -> None:
    model = onnx.load(graph)
    layers = ["source/conv1", "source/layer1.0.conv1"]
    never = {READOUTS}

    assert choose_layers(layers, ["cars*", "*/conv1"], never) == ("source/conv1",)
    with pytest.raises(CalibrationError, match="no layer is called 'vans"):
        choose_layers(layers, ["vans*"], never)
    assert model.graph.node


@pytest.mark.slow
def test_the_report_says_which_tasks_are_readouts(
    graph: Path, samples: CalibrationPictures, tmp_path: Path
) -> None:
    size = len(samples)
    judged = {
        task: LabelledPictures(samples.pixels, np.arange(size) % classes)
        for task, classes in (("birds", 3), ("cars", 2), ("food", 4))
    }
    settings = CalibrationSettings(
        tmp_path / "ranges.json",
        method="minmax",
        max_drop=99,
        accept_undecided=True,
        keep=("cars*",),
    )

    report = calibrate_and_judge(graph, tmp_path / "int8.onnx", samples, judged, settings)

    assert "readouts stay in fp16: cars, food" in report.notes
    assert report.kept == ()
    assert {score.task for score in report.int8} == set(judged)


def test_graphs_without_readouts_keep_nothing(small_graph: Path) -> None:
    from snow_calibration.float_graph import read_float_graph

    found = read_float_graph(small_graph)
    assert never_quantised(found.model, found.manifest) == frozenset()

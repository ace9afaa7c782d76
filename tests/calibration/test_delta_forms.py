"""INT8 of deltas of other forms than the paper's: what reads the taps stays in floating point."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from snow_calibration.calibrate import calibrate
from snow_calibration.lint import lint
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_export.export import export_graph
from snow_runtime.graph.quantised import DQ, Q, QuantisedGraph
from tests.calibration.int8_checks import behind, int8_errors
from tests.export.requests import request_of

if TYPE_CHECKING:
    from pathlib import Path

    from snow_calibration.calibrate import Calibration
    from snow_calibration.pictures import CalibrationPictures
    from snow_deploy.models.weights import SourceWeights

PRODUCT = "birds+cars+food/tap_readout"


@pytest.fixture(scope="module")
def graph(weights: SourceWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export three deltas of one block a stage, from the third stage on."""
    form = DeltaOptions(blocks=1, from_stage=3, classifier_reads="taps")
    path = tmp_path_factory.mktemp("forms") / "snow.onnx"
    export_graph(request_of(Source(weights), form), path)
    return path


@pytest.fixture(scope="module")
def found(graph: Path, samples: CalibrationPictures) -> Calibration:
    return calibrate(graph, samples, graph.with_suffix(".json"), method="minmax")


def test_only_what_reads_the_taps_stays_in_floating_point(found: Calibration) -> None:
    model = replace(found, rest="fp16").int8()

    assert found.never == {PRODUCT}
    products = QuantisedGraph(model.graph).layers()
    assert set(products) == set(found.layers)
    assert "birds+cars+food/fc" in products
    convolutions = {node.name for node in model.graph.node if node.op_type == "Conv"}
    assert convolutions <= set(products)
    product = next(node for node in model.graph.node if node.name == PRODUCT)
    for name in product.input:
        assert not {Q, DQ} & behind(model.graph, name, {"GlobalAveragePool", "ReduceMean"})
    assert lint(model) == ()


def test_int8_answers_as_fp32_within_its_noise(
    found: Calibration, graph: Path, tmp_path: Path, samples: CalibrationPictures
) -> None:
    path = tmp_path / "int8.onnx"
    for name, error in int8_errors(found, graph, samples, path).items():
        assert 0 < error < 0.25, name

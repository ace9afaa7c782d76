"""INT8 of deltas of other forms than the paper's: what reads the taps stays in floating point."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from snow_calibration.calibrate import calibrate
from snow_calibration.lint import lint
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_export.export import export_graph
from snow_runtime.graph.quantised import DQ, Q, QuantisedGraph
from tests.calibration.test_readouts import behind
from tests.export.requests import request_of
from tests.export.test_readouts import answers

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
    onnx.save(replace(found, rest="fp32").int8(), path)
    preprocessing = found.manifest.preprocessing
    mean, std = (np.array(it, np.float32) for it in (preprocessing.mean, preprocessing.std))
    images = ((samples.pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)

    exact, int8 = answers(graph, images), answers(path, images)

    for name, values in exact.items():
        error = np.abs(int8[name] - values).mean() / values.std()
        assert 0 < error < 0.25, name

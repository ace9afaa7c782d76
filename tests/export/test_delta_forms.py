"""Graphs of deltas of other forms than the paper's, against torch and with what they share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch

from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_export.export import GraphOptions, export_graph
from snow_export.inspect.cost import measure_cost
from snow_export.readout_head import split_readouts
from snow_export.verification import verify
from snow_runtime.graph.onnx_file import read_graph
from tests.export.requests import LABELS, random_delta, request_for, request_of

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.graph.manifest import Layout
    from tests.conftest import RandomWeights

TAPS = DeltaOptions(classifier_reads="taps")
SHALLOW = DeltaOptions(blocks=1, from_stage=3, classifier_reads="taps")


@pytest.fixture(scope="module")
def resnet(random_weights: RandomWeights) -> Source:
    return Source(random_weights("resnet18"))


@pytest.mark.parametrize("layout", ["fused", "summed", "separate"])
@pytest.mark.parametrize("form", [DeltaOptions(blocks=1), SHALLOW], ids=["first", "shallow"])
def test_every_layout_answers_as_torch(
    resnet: Source, tmp_path: Path, layout: Layout, form: DeltaOptions
) -> None:
    request = replace(request_of(resnet, form), options=GraphOptions(layout))

    found = export_graph(request, tmp_path / "snow.onnx")  # refuses a file that answers otherwise

    assert [each.task for each in found] == list(LABELS)
    assert max(each.max_error for each in found) < 1e-4


@pytest.mark.parametrize(
    "family",
    [
        "shufflenet_v2_x0_5",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2", "mnasnet0_5")),
    ],
)
def test_families_answer_as_torch(
    random_weights: RandomWeights, tmp_path: Path, family: str
) -> None:
    source = Source(random_weights(family))
    form = replace(SHALLOW, from_stage=source.anatomy.blocks[-1].stage)

    found = export_graph(request_of(source, form, count=2), tmp_path / "snow.onnx")

    assert max(each.max_error for each in found) < 1e-4


@pytest.mark.slow
def test_the_whole_ladder_holds_in_half_precision_too(resnet: Source, tmp_path: Path) -> None:
    request = replace(request_of(resnet, SHALLOW, count=2), options=GraphOptions(precision="fp16"))
    path = tmp_path / "snow.onnx"
    export_graph(request, path)

    found = verify(request, path, batches=(2,))

    assert found.holds
    assert {rung.name for rung in found.rungs} >= {"frozen torch", "fused fp16", "file"}


def test_all_tasks_share_one_pooling_of_each_tap_and_one_product(
    resnet: Source, tmp_path: Path
) -> None:
    """A readout beside the deltas shares them too, and each tap is averaged once at most."""
    deltas = {
        name: random_delta(resnet, len(labels), seed, replace(TAPS, from_stage=4))
        for seed, (name, labels) in enumerate(list(LABELS.items())[:2])
    }
    readout = Readout(resnet, 4, 30)
    torch.nn.init.normal_(readout.classifier.weight)
    request = request_for(resnet, {**deltas, "food": readout}, LABELS, count=2)
    path = tmp_path / "snow.onnx"

    export_graph(request, path)

    graph = onnx.load(path).graph
    products = [node.name for node in graph.node if node.op_type in {"Gemm", "MatMul"}]
    assert products == ["birds+cars+food/tap_readout", "birds+cars/fc"]
    means = [node for node in graph.node if node.op_type in {"ReduceMean", "GlobalAveragePool"}]
    assert len({node.input[0] for node in means}) == len(means)
    assert len(means) <= len(resnet.anatomy.taps) + 1  # one more: the deltas' own
    read = read_graph(path)
    owners = {row.owner for row in measure_cost(read.skeleton, read.tasks).owners}
    assert owners == {"source", "birds+cars", "birds+cars+food"}


def test_tasks_that_read_different_numbers_of_features_are_fused_all_the_same(
    resnet: Source, tmp_path: Path
) -> None:
    request = request_of(resnet, replace(TAPS, from_stage=4))
    readouts = split_readouts(request.networks)[0].values()
    counts = {len(each.index) for each in readouts}
    path = tmp_path / "snow.onnx"

    export_graph(request, path)

    assert len(counts) == len(LABELS)
    names = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    assert sum(name == "birds+cars+food/layer4.0.conv1" for name in names) == 1


def test_one_task_alone_owns_all_of_its_answer(resnet: Source, tmp_path: Path) -> None:
    delta = random_delta(resnet, 3, 0, replace(TAPS, from_stage=4))
    request = request_for(resnet, {"birds": delta}, {"birds": LABELS["birds"]}, count=2)
    path = tmp_path / "snow.onnx"

    export_graph(request, path)

    read = read_graph(path)
    cost = measure_cost(read.skeleton, read.tasks)
    assert {row.owner for row in cost.owners} == {"source", "birds"}
    assert cost.tasks["birds"] == ("birds",)
    assert np.isfinite(cost.total.macs)

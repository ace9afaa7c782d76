from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_calibration.lint import lint
from snow_calibration.quantisation_plan import layers_of, make_plan, possible_tensors
from snow_calibration.quantise import quantise
from tests.calibration.conftest import small_net

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_what_is_read_quantised_and_in_which_scale() -> None:
    plan = make_plan(small_net().graph)

    assert plan.layers == ("conv1", "conv2", "conv3", "fc")
    assert plan.reads == {
        ("conv1", 0),
        ("conv2", 0),
        ("add", 1),  # the identity; conv2's result is added in its own kernel
        ("concat", 0),
        ("concat", 1),
        ("conv3", 0),
        ("flat", 0),  # in front of what only moves data to the classifier
    }
    scales = plan.tensors
    assert scales["relu1"] == scales["relu2"] == scales["concat"]
    assert len({scales["image"], scales["relu1"], scales["pool"]}) == 3
    assert set(scales) == {"image", "relu1", "relu2", "concat", "pool"}


def test_a_kept_layer_reads_and_weighs_in_floating_point() -> None:
    plan = make_plan(small_net().graph, ["conv3", "fc"])

    assert plan.layers == ("conv1", "conv2")
    assert plan.reads == {("conv1", 0), ("conv2", 0), ("add", 1)}


def test_where_all_is_kept_nothing_is_read_quantised(float_graph: Callable[..., Path]) -> None:
    graph = onnx.load(float_graph()).graph

    plan = make_plan(graph, layers_of(graph))

    assert (plan.layers, plan.reads, plan.tensors) == ((), frozenset(), {})


def test_a_layer_alone_is_all_that_is_quantised(float_graph: Callable[..., Path]) -> None:
    graph = onnx.load(float_graph()).graph
    alone = "birds+cars+food/layer2.0.conv1"

    plan = make_plan(graph, [name for name in layers_of(graph) if name != alone])

    assert plan.layers == (alone,)
    by_name = {node.name: node for node in graph.node}
    operators = sorted(by_name[name].op_type for name, _ in plan.reads)
    # What it reads, and the branches that are joined for it (moved, then concatenated).
    assert operators == ["Reshape", "Reshape", "Reshape"]


@pytest.mark.parametrize("layout", ["fused", "summed", "separate"])
def test_whichever_layer_is_kept_the_lint_is_content(
    float_graph: Callable[..., Path], layout: str
) -> None:
    model = onnx.load(float_graph(layout))
    names = [name for name in layers_of(model.graph) if "layer2.0" in name or "fc" in name]
    assert any("downsample" in name for name in names)

    for kept in names:
        plan = make_plan(model.graph, [kept])
        quantised = quantise(model, plan, dict.fromkeys(plan.tensors, 1.0))
        assert lint(quantised) == (), kept


@pytest.mark.parametrize("layout", ["fused", "summed", "separate"])
def test_no_choice_of_layers_needs_a_range_that_was_not_measured(
    float_graph: Callable[..., Path], layout: str
) -> None:
    graph = onnx.load(float_graph(layout)).graph
    names, known = layers_of(graph), set(possible_tensors(graph))
    rng = random.Random(0)
    half = [rng.sample(names, len(names) // 2) for _ in range(20)]

    for name in names:
        assert make_plan(graph, [name]).tensors.keys() <= known
        assert make_plan(graph, [other for other in names if other != name]).tensors.keys() <= known
    for kept in half:
        assert make_plan(graph, kept).tensors.keys() <= known


def test_the_sum_of_a_kept_convolution_is_left_alone() -> None:
    plan = make_plan(small_net().graph, ["conv2"])

    assert ("add", 1) not in plan.reads
    assert ("add", 0) not in plan.reads


@pytest.mark.parametrize("layout", ["fused", "summed", "separate"])
@pytest.mark.parametrize("frames", [False, True])
def test_a_real_graph_is_quantised_throughout(
    float_graph: Callable[..., Path], layout: str, frames: bool
) -> None:
    graph = onnx.load(float_graph(layout, frames=frames)).graph
    plan = make_plan(graph)

    by_name = {node.name: node for node in graph.node}
    assert plan.layers == layers_of(graph)
    assert len(plan.layers) == sum(node.op_type in {"Conv", "Gemm"} for node in graph.node)
    readers = {name for name, _ in plan.reads}
    gathers = {n.name for n in graph.node if n.op_type == "Gather" and "input/" not in n.name}
    assert gathers <= readers
    assert not any(name.startswith("input/") for name in readers)
    residual = [
        node
        for node in graph.node
        if node.op_type == "Add" and not any("shift" in name for name in node.input)
    ]
    for node in residual:
        quantised = [index for name, index in plan.reads if name == node.name]
        assert len(quantised) == 1, node.name
        other = next(n for n in graph.node if n.output[0] == node.input[1 - quantised[0]])
        assert other.op_type in {"Conv", "Add"}
    for name in readers:
        assert by_name[name].op_type not in {"Relu", "Mul", "GlobalAveragePool"}


def shuffled_net() -> onnx.ModelProto:
    """Join what two convolutions made, shuffle the channels, and let a third read them.

    image [B, 3, 8, 8] -> left, right [B, 2, 8, 8] -> concat -> shuffle -> last [B, 4, 8, 8]
    """
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["left"], name="left"),
        helper.make_node("Conv", ["image", "w2"], ["right"], name="right"),
        helper.make_node("Concat", ["left", "right"], ["concat"], name="concat", axis=1),
        helper.make_node("Gather", ["concat", "order"], ["shuffled"], name="shuffle", axis=1),
        helper.make_node("Conv", ["shuffled", "w3"], ["answer"], name="last"),
    ]
    constants = [
        *(
            numpy_helper.from_array(rng.normal(0, 1, (*shape, 1, 1)).astype(np.float32), name)
            for name, shape in (("w1", (2, 3)), ("w2", (2, 3)), ("w3", (4, 4)))
        ),
        numpy_helper.from_array(np.array([0, 2, 1, 3]), "order"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, 8, 8])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["B", 4, 8, 8])
    graph = helper.make_graph(nodes, "shuffled", [image], [answer], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_channels_that_are_joined_and_shuffled_are_so_in_int8() -> None:
    model = shuffled_net()

    plan = make_plan(model.graph)

    assert set(plan.tensors) == {"image", "left", "right", "concat"}
    assert plan.tensors["left"] == plan.tensors["right"] == plan.tensors["concat"]
    assert ("shuffle", 0) in plan.reads
    assert ("last", 0) not in plan.reads
    assert lint(quantise(model, plan, dict.fromkeys(plan.tensors, 1.0))) == ()

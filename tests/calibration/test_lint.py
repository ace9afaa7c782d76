from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from snow_calibration.lint import lint
from snow_calibration.quantisation_plan import make_plan
from snow_calibration.quantise import quantise
from tests.calibration.conftest import small_net
from tests.calibration.test_quantise import RANGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def int8() -> onnx.ModelProto:
    model = small_net()
    return quantise(model, make_plan(model.graph), RANGES)


def replace(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    tensor = next(item for item in model.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(item for item in model.graph.node if item.name == name)
    return found


ZERO = "int8/zero_point"


def scales(model: onnx.ModelProto) -> list[str]:
    return [item.name for item in model.graph.initializer if item.name.endswith("scale")]


def broken(model: onnx.ModelProto) -> set[tuple[str, str]]:
    return {(finding.node, finding.rule) for finding in lint(model)}


def test_our_own_graph_is_clean(int8: onnx.ModelProto) -> None:
    assert lint(int8) == ()


@pytest.mark.slow
def test_so_are_real_ones(float_graph: Callable[..., Path]) -> None:
    for layout in ("fused", "summed", "separate"):
        model = onnx.load(float_graph(layout))
        plan = make_plan(model.graph)
        assert lint(quantise(model, plan, dict.fromkeys(plan.tensors, 1.0))) == ()


def test_a_float_graph_is_not_quantised() -> None:
    (finding,) = lint(small_net())

    assert finding.rule == "not-quantised"
    assert "snow-deploy calibrate" in finding.message


def test_a_zero_point_other_than_zero(int8: onnx.ModelProto) -> None:
    replace(int8, ZERO, np.array(3, np.int8))

    assert ("relu1/quantised", "zero-point") in broken(int8)
    assert ("relu1/dequantised", "zero-point") in broken(int8)


def test_an_unsigned_zero_point(int8: onnx.ModelProto) -> None:
    replace(int8, ZERO, np.array(0, np.uint8))

    assert ("relu1/quantised", "zero-point") in broken(int8)


def test_no_zero_point_means_unsigned(int8: onnx.ModelProto) -> None:
    del node(int8, "relu1/quantised").input[2:]

    assert broken(int8) == {("relu1/quantised", "zero-point")}


def test_a_bias_that_is_quantised(int8: onnx.ModelProto) -> None:
    int8.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.int32), "b1/int32"))
    at = [item.name for item in int8.graph.node].index("conv1")
    dequantise = helper.make_node(
        "DequantizeLinear", ["b1/int32", "image/scale"], ["b1/float"], name="b1/dequantise"
    )
    int8.graph.node.insert(at, dequantise)
    node(int8, "conv1").input[2] = "b1/float"

    assert broken(int8) == {("b1/dequantise", "int32-bias")}


@pytest.mark.parametrize("layer", ["conv1", "fc"])
def test_one_scale_for_a_whole_weight(int8: onnx.ModelProto, layer: str) -> None:
    weight = node(int8, layer).input[1].removesuffix("/dequantised")
    replace(int8, f"{weight}/scale", np.array(0.1, np.float32))

    assert broken(int8) == {(layer, "per-channel-weight")}


def test_the_wrong_axis(int8: onnx.ModelProto) -> None:
    dequantise = node(int8, "w2/dequantised")  # [4, 4, 3, 3]: the shapes alone would not tell
    next(item for item in dequantise.attribute if item.name == "axis").i = 1

    assert broken(int8) == {("conv2", "per-channel-weight")}


def test_a_residual_in_floating_point(int8: onnx.ModelProto) -> None:
    node(int8, "add").input[1] = "relu1"

    assert broken(int8) == {("add", "residual-add")}


def test_a_concat_of_different_scales(int8: onnx.ModelProto) -> None:
    int8.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "other/scale"))
    for name in ("relu2/quantised", "relu2/dequantised"):
        node(int8, name).input[1] = "other/scale"

    assert broken(int8) == {("concat", "concat-scale")}


def test_a_concat_of_which_one_branch_is_float(int8: onnx.ModelProto) -> None:
    node(int8, "concat").input[0] = "relu2"

    assert broken(int8) == {("concat", "concat-scale")}


def test_an_int8_weight_on_a_float_input(int8: onnx.ModelProto) -> None:
    node(int8, "conv3").input[0] = "concat"

    assert ("conv3", "unquantised-input") in broken(int8)


def test_both_sides_of_a_residual_quantised(int8: onnx.ModelProto) -> None:
    at = [item.name for item in int8.graph.node].index("add")
    for op, reads, makes in (
        ("DequantizeLinear", "c/quantised", "c/dequantised"),
        ("QuantizeLinear", "conv2", "c/quantised"),
    ):
        inputs = [reads, "relu1/scale" if "relu1/scale" in scales(int8) else scales(int8)[0]]
        int8.graph.node.insert(at, helper.make_node(op, [*inputs, ZERO], [makes], name=makes))
    node(int8, "add").input[0] = "c/dequantised"

    assert broken(int8) == {("add", "residual-add")}


def test_a_concat_that_nobody_quantises_behind(int8: onnx.ModelProto) -> None:
    int8.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "other"))
    for name in ("relu2/quantised", "relu2/dequantised"):
        node(int8, name).input[1] = "other"
    node(int8, "conv3").input[0] = "concat"

    assert ("concat", "concat-scale") in broken(int8)


def test_other_tools_ways_of_writing_the_same(int8: onnx.ModelProto) -> None:
    """Constants in nodes, scales of shape [1], float weights behind a pair: all are sound."""
    first = []
    for tensor in list(int8.graph.initializer):
        if tensor.name == ZERO:
            int8.graph.initializer.remove(tensor)
            first.append(helper.make_node("Constant", [], [ZERO], value=tensor))
    for name in scales(int8):
        tensor = next(item for item in int8.graph.initializer if item.name == name)
        if not tensor.dims:
            replace(int8, name, numpy_helper.to_array(tensor).reshape(1))
    levels = next(item for item in int8.graph.initializer if item.name == "w1/int8")
    weight = numpy_helper.to_array(levels).astype(np.float32)
    int8.graph.initializer.remove(levels)
    int8.graph.initializer.append(numpy_helper.from_array(weight, "w1"))
    inputs = ["w1", "w1/scale", "w1/zero_point"]
    first.append(helper.make_node("QuantizeLinear", inputs, ["w1/int8"], name="w1/q", axis=0))
    for each in reversed(first):
        int8.graph.node.insert(0, each)

    assert lint(int8) == ()


def test_a_node_without_a_name_is_called_by_what_it_makes(int8: onnx.ModelProto) -> None:
    node(int8, "add").input[1] = "relu1"
    node(int8, "add").name = ""

    assert broken(int8) == {("add", "residual-add")}


def test_every_finding_says_what_was_seen(int8: onnx.ModelProto) -> None:
    replace(int8, ZERO, np.array(3, np.int8))
    node(int8, "add").input[1] = "relu1"

    for finding in lint(int8):
        assert finding.node
        assert len(finding.message) > 20

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from snow_runtime.graph.quantised import KEEPS_SCALE, QuantisedGraph, output_axis

if TYPE_CHECKING:
    from collections.abc import Sequence


def graph_of(*nodes: onnx.NodeProto, constants: Sequence[onnx.TensorProto] = ()) -> Any:
    return helper.make_graph(list(nodes), "g", [], [], list(constants))


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), output.split(), name=output, **attributes)


DATA = node("DequantizeLinear", "x scale zero", "data")
WEIGHT = node("DequantizeLinear", "w scales zeros", "weight")


@pytest.mark.parametrize("between", sorted(KEEPS_SCALE))
@pytest.mark.parametrize("layer", ["Conv", "Gemm", "MatMul"])
def test_a_layer_behind_what_moves_or_picks_values_is_int8(layer: str, between: str) -> None:
    moved = node(between, "data shape", "moved")
    again = node("Transpose", "moved", "again")
    found = QuantisedGraph(graph_of(DATA, WEIGHT, moved, again, node(layer, "again weight", "y")))

    assert found.layers() == ("y",)
    assert found.dequantiser("again") is found.made_by["data"]


@pytest.mark.parametrize("between", ["Relu", "Add", "AveragePool", "Concat", "QuantizeLinear"])
def test_a_layer_behind_what_computes_is_not(between: str) -> None:
    computed = node(between, "data shape", "computed")
    found = QuantisedGraph(graph_of(DATA, WEIGHT, computed, node("Conv", "computed weight", "y")))

    assert found.layers() == ()
    assert found.dequantiser("computed") is None


@pytest.mark.parametrize("inputs", ["data w", "x weight", "data", "x w"])
def test_both_inputs_have_to_be_dequantised(inputs: str) -> None:
    assert QuantisedGraph(graph_of(DATA, WEIGHT, node("Conv", inputs, "y"))).layers() == ()


def test_any_output_of_a_split_has_its_scale() -> None:
    split = node("Split", "data", "left right", axis=1)
    found = QuantisedGraph(graph_of(DATA, split))

    assert found.dequantiser("right") is found.dequantiser("left") is found.made_by["data"]


@pytest.mark.parametrize(
    ("held", "value"),
    [
        ({"value": numpy_helper.from_array(np.array([2.5, 3], np.float32))}, [2.5, 3]),
        ({"value_float": 2.5}, 2.5),
        ({"value_floats": [2.5, 3.0]}, [2.5, 3]),
        ({"value_int": 4}, 4),
        ({"value_ints": [4, 5]}, [4, 5]),
    ],
)
def test_a_constant_in_a_node_is_one(held: dict[str, Any], value: Any) -> None:
    found = QuantisedGraph(graph_of(node("Constant", "", "c", **held)))

    assert numpy_helper.to_array(found.constants["c"]).tolist() == value


def test_a_text_is_no_tensor() -> None:
    assert not QuantisedGraph(graph_of(node("Constant", "", "c", value_string="a"))).constants


def test_a_graph_inside_a_node_sees_what_lies_around_it() -> None:
    scale = numpy_helper.from_array(np.array(2, np.float32), "scale")
    outer = QuantisedGraph(graph_of(DATA, WEIGHT, constants=[scale]))
    inner = QuantisedGraph(graph_of(node("Conv", "data weight", "y")), outer)

    assert inner.layers() == ("y",)
    assert "scale" in inner.constants
    assert [each.name for each in inner.nodes] == ["y"]
    assert outer.layers() == ()


@pytest.mark.parametrize(
    ("operator", "rank", "attributes", "axis"),
    [
        ("Conv", 4, {}, 0),
        ("Gemm", 2, {"transB": 1}, 0),
        ("Gemm", 2, {}, 1),
        ("MatMul", 2, {}, 1),
        ("MatMul", 3, {}, 2),
    ],
)
def test_the_output_channels_are_where_the_product_has_them(
    operator: str, rank: int, attributes: dict[str, int], axis: int
) -> None:
    """Run the layer on ones: seven times the weights of a channel make seven times that output."""
    import onnxruntime

    layer = node(operator, "x w", "y", **attributes)
    weight = np.ones([5, 5, 1, 1] if operator == "Conv" else [5] * rank, np.float32)
    data = np.ones([1, 5, 1, 1] if operator == "Conv" else [5] * rank, np.float32)
    np.moveaxis(weight, output_axis(layer, rank), 0)[3] = 7
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)]
    answers = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([layer], "g", values, answers, [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (answer,) = session.run(None, {"x": data})

    assert output_axis(layer, rank) == axis
    channels = np.moveaxis(answer, 1 if operator == "Conv" else -1, 0).reshape(5, -1)
    assert (channels == [[5.0]] * 3 + [[35.0]] + [[5.0]]).all()

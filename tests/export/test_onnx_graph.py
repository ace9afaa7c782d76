from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from snow_export.errors import ExportError
from snow_export.onnx_graph import check_graph


def graph_with(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Make a graph of one picture's values, `image` [4, 4], to `food` [4, 4]."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [4, 4])
    food = helper.make_tensor_value_info("food", TensorProto.FLOAT, [4, 4])
    two = helper.make_tensor("two", TensorProto.INT64, [1], [2])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [4], [3, 1, 2, 0])
    graph = helper.make_graph(nodes, "small", [image], [food], [two, weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


RELU = helper.make_node("Relu", ["image"], ["food"])


def test_a_plain_graph_passes() -> None:
    check_graph(graph_with(RELU))


def test_a_source_may_sort_what_it_sees() -> None:
    check_graph(graph_with(helper.make_node("TopK", ["image", "two"], ["most", "where"]), RELU))


@pytest.mark.parametrize(
    ("operator", "node"),
    [
        ("TopK", helper.make_node("TopK", ["weights", "two"], ["values", "indices"])),
        ("RandomNormalLike", helper.make_node("RandomNormalLike", ["image"], ["noise"])),
        ("RandomUniform", helper.make_node("RandomUniform", [], ["noise"], shape=[2])),
    ],
)
def test_what_sorts_weights_or_draws_is_refused(operator: str, node: onnx.NodeProto) -> None:
    with pytest.raises(ExportError, match=rf"the exported graph holds {operator}, which freezing"):
        check_graph(graph_with(node, RELU))


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("NoSuchOperator", ["image"], ["food"])],
        [helper.make_node("Relu", ["nowhere"], ["food"])],
        [helper.make_node("Flatten", ["image"], ["food"], axis=0)],  # [1, 16], not [4, 4]
    ],
    ids=["operator", "input", "shape"],
)
def test_an_invalid_graph_is_refused(nodes: list[onnx.NodeProto]) -> None:
    with pytest.raises(ExportError, match="the exported graph is not valid ONNX: "):
        check_graph(graph_with(*nodes))

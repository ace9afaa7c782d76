"""Small graphs of ONNX, made from their nodes and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    Shapes = Mapping[str, Sequence[str | int]]


def small_model(
    nodes: Iterable[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    constants: Mapping[str, NDArray[Any]],
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Make a graph of opset 17.

    Args:
        nodes: What it computes, in order.
        inputs: Shapes of what it takes, by name.
        outputs: Shapes of what it gives, floats, by name.
        constants: Its weights, by name.
        element: Type of what it takes.
    """
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

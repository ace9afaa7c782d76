"""Constants that follow from shapes: what exporters compute shapes with, done before the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from snow_runtime.graph.onnx_file import ONNX_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_LARGEST: Final = 1024  # elements of a value that shapes are computed with
_ARITHMETIC: Final = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Compress", "Concat", "Constant", "Div", "Equal",
        "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
        "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not",
        "Or", "Pow", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round",
        "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
        "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""What is computed here: nothing that makes more of a small value than it is."""


def fold_constants(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Replace nodes by their values where those follow from constants and known shapes.

    Args:
        model: The model, which is changed.
        shapes: What is known of its tensors.

    Returns:
        Whether any was.
    """
    graph = model.graph
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if math.prod(tensor.dims) <= _LARGEST
    }
    left = []
    made: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        values = _values(model, node, known, shapes)
        if values is None:
            left.append(node)
        else:
            known |= values
            made |= values
    del graph.node[:]
    graph.node.extend(left)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in made.items())
    return bool(made)


def _values(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    known: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, NDArray[Any]] | None:
    """Return what a node gives, by name; None where that is not known before the run."""
    if node.domain not in ONNX_DOMAINS:
        return None
    if node.op_type in {"Shape", "Size"} and node.input[0] in shapes:
        return {node.output[0]: _shape(node, shapes[node.input[0]])}
    inputs = {name: known.get(name) for name in node.input if name}
    if node.op_type not in _ARITHMETIC or any(value is None for value in inputs.values()):
        return None
    try:
        single = helper.make_graph(
            [node],
            "node",
            [helper.make_empty_tensor_value_info(name) for name in inputs],
            [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        alone = helper.make_model(single, opset_imports=list(model.opset_import))
        found = ReferenceEvaluator(alone).run(None, inputs)
    except Exception:  # noqa: BLE001 - a shape that is not known is left to the inference
        return None
    arrays = [np.asarray(value) for value in found]
    if any(array.size > _LARGEST for array in arrays):
        return None
    return dict(zip([name for name in node.output if name], arrays, strict=True))


def _shape(node: onnx.NodeProto, shape: tuple[int, ...]) -> NDArray[np.int64]:
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    limits = {item.name: int(item.i) for item in node.attribute}
    return np.array(shape[limits.get("start", 0) : limits.get("end", len(shape))], np.int64)

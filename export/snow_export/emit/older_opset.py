"""A graph of ONNX's opset 18 for an older one: torch.onnx writes none that TensorRT 8 could read.

What came with 18 is in most operators another spelling: axes as an input instead of an attribute,
and attributes whose usual value is the older behaviour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snow_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

_REDUCTIONS: Final = frozenset(
    {
        *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
    }
)
"""Those whose axes are an attribute before 18; ReduceSum's are an input since 13."""
_USUAL: Final[dict[str, Any]] = {
    "noop_with_empty_axes": 0,
    "antialias": 0,
    "keep_aspect_ratio_policy": b"stretch",
}
"""Attributes that are new in 18, and the value that means what there was before."""


def to_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a model of opset 18 as one of opset 17 or 18; its own tensors are changed.

    Raises:
        ExportError: It uses what the older one does not have.
    """
    graph = model.graph
    if opset < 18:
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                constants[node.output[0]] = _constant(node)
        for node in graph.node:
            _drop_usual(node)
            rule = _RULES.get("Reduce" if node.op_type in _REDUCTIONS else node.op_type)
            if rule is not None:
                rule(model, node, constants)
        used = {name for node in graph.node for name in node.input}
        kept = [each for each in graph.initializer if each.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
    for item in model.opset_import:
        item.version = opset
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        told = " ".join(str(error).split())
        msg = f"it has no form in opset {opset}, which graphs are of: {told}"
        raise ExportError(msg) from error
    return model


def _constant(node: onnx.NodeProto) -> Any:
    value = next((each for each in node.attribute if each.name == "value"), None)
    return None if value is None else numpy_helper.to_array(value.t)


def _drop_usual(node: onnx.NodeProto) -> None:
    if node.op_type == "ReduceSum":  # which had it in 13
        return
    kept = [
        each
        for each in node.attribute
        if _USUAL.get(each.name, node) != helper.get_attribute_value(each)
    ]
    del node.attribute[:]
    node.attribute.extend(kept)


def _axes_as_attribute(
    _model: onnx.ModelProto, node: onnx.NodeProto, constants: dict[str, Any]
) -> None:
    """Let a reduction's axes be an attribute."""
    if len(node.input) < 2:
        return
    axes = constants.get(node.input[1])
    if axes is None:
        msg = f"{node.op_type} computes its axes"
        raise ExportError(msg)
    node.input.pop()
    node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes.ravel()]))


def _whole_pads(model: onnx.ModelProto, node: onnx.NodeProto, constants: dict[str, Any]) -> None:
    """Let pads be of all axes, where they are of some."""
    if len(node.input) < 4 or not node.input[3]:
        del node.input[3:]
        return
    axes, pads = constants.get(node.input[3]), constants.get(node.input[1])
    rank = _rank(model, node.input[0])
    if axes is None or pads is None or rank is None:
        msg = "Pad computes its axes"
        raise ExportError(msg)
    whole = np.zeros((2, rank), np.int64)
    whole[:, axes.ravel() % rank] = pads.reshape(2, -1)
    node.input[1] = _add(model, node, "pads", whole.ravel())
    del node.input[3:]


def _sizes_of_split(
    model: onnx.ModelProto, node: onnx.NodeProto, _constants: dict[str, Any]
) -> None:
    """Let a split say its parts' sizes, where it says how many parts there are."""
    count = next((each for each in node.attribute if each.name == "num_outputs"), None)
    if count is None:
        return
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    length = _lengths(model).get(node.input[0], ())
    if not length or not length[axis]:
        msg = "Split divides an axis of open length"
        raise ExportError(msg)
    part = -(-length[axis] // count.i)
    sizes = np.minimum(part, np.maximum(length[axis] - part * np.arange(count.i), 0))
    node.attribute.remove(count)
    del node.input[1:]
    node.input.append(_add(model, node, "sizes", sizes.astype(np.int64)))


def _add(model: onnx.ModelProto, node: onnx.NodeProto, what: str, value: Any) -> str:
    name = f"{node.output[0]}_{what}"
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _rank(model: onnx.ModelProto, name: str) -> int | None:
    lengths = _lengths(model).get(name)
    return None if lengths is None else len(lengths)


def _lengths(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the lengths of all axes of the values whose shape is known; 0 where one is open."""
    graph = model.graph
    found = {each.name: tuple(each.dims) for each in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = value.type.tensor_type.shape
        found[value.name] = tuple(each.dim_value for each in shape.dim)
    return found


_RULES: Final[dict[str, Callable[[onnx.ModelProto, onnx.NodeProto, dict[str, Any]], None]]] = {
    "Reduce": _axes_as_attribute,
    "Pad": _whole_pads,
    "Split": _sizes_of_split,
}

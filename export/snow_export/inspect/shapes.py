"""The shape of every tensor of a graph of any origin, by ONNX's own shape inference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import onnx
import onnx.inliner
from onnx import helper

from snow_export.inspect.shape_arithmetic import fold_constants
from snow_runtime.errors import GraphError
from snow_runtime.graph.onnx_file import ONNX_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterable

Shapes = dict[str, tuple[int, ...]]
SMALL: Final = 1024  # elements: shape arithmetic needs small constants' values, weights' not
_LONGEST: Final = 2**20  # elements of a vector whose length is followed
_ROUNDS: Final = 16  # of inference and folding, each of which may give the other more to do


def weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model for counting: large constants become inputs, functions' bodies their calls.

    Raises:
        GraphError: A function cannot be put in the place of its calls.
    """
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    small = [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= SMALL]
    inputs = [value for value in graph.input if value.name not in fixed]
    kept = {tensor.name for tensor in small}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            shape = list(tensor.dims)
            inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    light = helper.make_graph(
        list(graph.node),
        graph.name,
        inputs,
        list(graph.output),
        small,
        value_info=list(graph.value_info),
    )
    copied = helper.make_model(
        light,
        opset_imports=list(model.opset_import),
        ir_version=max(model.ir_version, 4),  # from 4 on a constant need not be an input too
        functions=list(model.functions),
    )
    return _inlined(copied) if model.functions else copied


def free_inputs(model: onnx.ModelProto) -> int:
    """Count the inputs of a whole model that are none of its weights."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    return sum(value.name not in fixed for value in model.graph.input)


def infer_shapes(model: onnx.ModelProto, free: int) -> tuple[int, Shapes]:
    """Return the batch, and every tensor's shape by name, for one picture.

    A graph whose batch is fixed keeps it. Tensors whose shape is not known are left out.

    Args:
        model: The model that `weights_as_inputs` returned.
        free: How many of its inputs are none of the weights, by `free_inputs`; they come first.

    Raises:
        GraphError: The shapes contradict each other.
    """
    light = onnx.ModelProto()
    light.CopyFrom(model)
    batch = _close_batch(light, free)
    for _ in range(_ROUNDS):
        shapes = _infer(light)
        if _is_complete(light.graph, shapes) or not fold_constants(light, shapes):
            break
    return batch, shapes


def _close_batch(model: onnx.ModelProto, free: int) -> int:
    """Make the batch one picture where it is open; leave other open axes to the inference.

    Some exporters write -1 or 0 for an open axis.
    """
    graph = model.graph
    inputs = list(graph.input[:free])
    batched = [value for value in inputs if len(_axes(value)) > 1]  # a vector has none of its own
    names = {_axes(value)[0].dim_param for value in batched} - {""}
    for value in batched:
        axis = _axes(value)[0]
        if axis.dim_value <= 0:
            axis.dim_value = 1
    foreign = {
        name for node in graph.node if node.domain not in ONNX_DOMAINS for name in node.output
    }
    known = [value for value in graph.value_info if value.name in foreign]
    for value in (*inputs, *known, *graph.output):
        for axis in _axes(value):
            if axis.dim_param in names:
                axis.dim_value = 1
            elif axis.dim_value <= 0:
                axis.Clear()
    del graph.value_info[:]  # stale ones contradict; the inference finds them again
    graph.value_info.extend(known)
    return int(_axes(batched[0])[0].dim_value) if batched else 1


def _axes(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _infer(model: onnx.ModelProto) -> Shapes:
    try:
        short = _without_long_vectors(model)
        inferred = onnx.shape_inference.infer_shapes(short, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        reason = (str(error).strip().splitlines() or [""])[-1].rstrip(".")
        msg = f"The graph's shapes contradict each other: {reason}. Export the graph again."
        raise GraphError(msg) from error
    known = inferred.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in known.initializer}
    for value in (*known.input, *known.value_info, *known.output):
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            continue  # not even the number of its axes is known: no scalar, whose shape is empty
        if all(axis.HasField("dim_value") and axis.dim_value >= 0 for axis in tensor.shape.dim):
            shapes[value.name] = tuple(axis.dim_value for axis in tensor.shape.dim)
    return shapes


def _without_long_vectors(model: onnx.ModelProto) -> onnx.ModelProto:
    """Open the lengths of vectors that onnx would fill the memory with.

    Where it follows values, each element of a vector that might be a shape takes room.
    """
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {it.name: it for it in (*found.input, *found.value_info, *found.output)}
    long = {
        name
        for name, value in values.items()
        if len(_axes(value)) == 1 and _axes(value)[0].dim_value > _LONGEST
    }
    if not long:
        return model
    short = onnx.ModelProto()
    short.CopyFrom(model)
    cut = [node for node in short.graph.node if long & set(node.output)]
    left = [node for node in short.graph.node if not long & set(node.output)]
    del short.graph.node[:]
    short.graph.node.extend(left)
    short.graph.input.extend(values[name] for node in cut for name in node.output if name in values)
    for value in (*short.graph.input, *short.graph.value_info, *short.graph.output):
        if value.name in long:
            value.type.tensor_type.shape.dim[0].Clear()
    return short


def _is_complete(graph: onnx.GraphProto, shapes: Shapes) -> bool:
    return all(name in shapes for name in _names(graph.node))


def _names(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    return (name for node in nodes for name in node.output if name)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put functions in the place of their calls.

    A function may be written for another operator set than the graph; onnx leaves its calls then.
    What is counted means the same in all of them.
    """
    versions = {item.domain: item.version for item in model.opset_import}
    for function in model.functions:
        for item in function.opset_import:
            item.version = versions.get(item.domain, item.version)
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # onnx raises RuntimeError and its own
        msg = (
            f"The graph's functions cannot be put in the place of their calls: {error}. Export "
            "the graph without functions."
        )
        raise GraphError(msg) from error

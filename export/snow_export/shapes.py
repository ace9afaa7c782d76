"""The shape of every tensor of a graph, by ONNX's own shape inference."""

from __future__ import annotations

import math
from typing import Final

import onnx
from onnx import helper

from snow_runtime.errors import GraphError

Shapes = dict[str, tuple[int, ...]]
_SMALL: Final = 1024  # elements: shape arithmetic needs small constants' values, weights' not


def infer_shapes(model: onnx.ModelProto) -> tuple[int, Shapes]:
    """Return the batch, and every tensor's shape by name, for one picture.

    A graph whose batch is fixed keeps it. Tensors whose shape is not known are left out.

    Raises:
        GraphError: The shapes contradict each other.
    """
    light = _without_weights(model)
    free = light.graph.input[: _free_inputs(model)]
    for value in (*free, *light.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes and not axes[0].dim_value:
            axes[0].dim_value = 1
    batches = [value.type.tensor_type.shape.dim[:1] for value in free]
    batch = next((axes[0].dim_value for axes in batches if axes), 1)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        reason = (str(error).strip().splitlines() or [""])[-1].rstrip(".")
        raise GraphError(
            f"The graph's shapes contradict each other: {reason}. Export the graph again."
        ) from error
    known = inferred.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in known.initializer}
    for value in (*known.input, *known.value_info, *known.output):
        axes = value.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return batch, shapes


def _free_inputs(model: onnx.ModelProto) -> int:
    fixed = {tensor.name for tensor in model.graph.initializer}
    return sum(value.name not in fixed for value in model.graph.input)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model with its large constants as inputs: shapes need no copy of 100 MB."""
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    small = [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= _SMALL]
    inputs = [value for value in graph.input if value.name not in fixed]
    kept = {tensor.name for tensor in small}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            shape = list(tensor.dims)
            inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    light = helper.make_graph(list(graph.node), graph.name, inputs, list(graph.output), small)
    return helper.make_model(
        light,
        opset_imports=list(model.opset_import),
        ir_version=max(model.ir_version, 4),  # from 4 on a constant need not be an input too
        functions=list(model.functions),
    )

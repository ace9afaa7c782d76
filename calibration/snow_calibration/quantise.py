"""A float graph with Quantize/Dequantize pairs: explicit quantisation, as TensorRT fuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from snow_calibration.errors import CalibrationError
from snow_calibration.thresholds import LEVELS
from snow_runtime.graph.half_precision import FP16_LARGEST, INPUT_SCOPE
from snow_runtime.graph.onnx_file import ONNX_DOMAINS
from snow_runtime.graph.quantised import DQ, Q, output_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from snow_calibration.quantisation_plan import QuantisationPlan

OPSET: Final = 19
"""The first that quantises half-precision values; earlier graphs are raised to it."""
_AXES_ARE_INPUTS: Final = 18  # of reductions, from this opset on
_IR_VERSION: Final = 9  # of opset 19
_ZERO_POINT: Final = "int8/zero_point"  # no task is called so
_SMALLEST: Final = np.float32(2.0**-24)  # of the halves above zero


def quantise(
    model: onnx.ModelProto, plan: QuantisationPlan, thresholds: Mapping[str, float]
) -> onnx.ModelProto:
    """Return a copy with a Q/DQ pair at every tensor of the plan, and INT8 weights.

    Symmetric throughout: zero points are 0. Activations have one scale a tensor, weights one an
    output channel; biases stay floating point. Scales are float32 numbers that float16 has too,
    so that the graph computes the same when the rest of it is made half precision.

    Args:
        model: A float32 graph.
        plan: The plan that `make_plan` made on this graph.
        thresholds: The table by tensor of the plan: the largest magnitude that INT8 has to hold;
            zero where it is always zero.

    Raises:
        CalibrationError: A threshold is missing, or is no number from zero up.
    """
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    scales = _activation_scales(plan, thresholds)
    weights = _Weights(graph, plan)
    pairs = {name: _pair(name, plan.tensors[name]) for name in plan.tensors}
    known = {tensor.name for tensor in graph.initializer}
    read = [value.name for value in graph.input if value.name not in known]
    nodes = [node for name in read for node in pairs.get(name, ())]
    for node in graph.node:
        nodes.extend(weights.take(node))
        for index, name in enumerate(node.input):
            if (node.name, index) in plan.reads:
                node.input[index] = _dequantised(name)
        nodes.append(node)
        for name in node.output:
            nodes.extend(pairs.get(name, ()))
    del graph.node[:]
    graph.node.extend(nodes)
    weights.drop_unread()
    constants = [numpy_helper.from_array(scale, _scale(name)) for name, scale in scales.items()]
    if pairs:
        constants.append(numpy_helper.from_array(np.array(0, np.int8), _ZERO_POINT))
    graph.initializer.extend([*constants, *weights.constants])
    raise_opset(quantised)
    return quantised


def raise_opset(model: onnx.ModelProto) -> None:
    """Raise a graph to `OPSET` where it is older.

    The exporter's operators mean the same there, but for reductions: their axes are an input.
    """
    for item in model.opset_import:
        if item.domain in ONNX_DOMAINS:
            if item.version < _AXES_ARE_INPUTS:
                _axes_as_inputs(model.graph)
            item.version = max(item.version, OPSET)
    model.ir_version = max(model.ir_version, _IR_VERSION)


def _axes_as_inputs(graph: onnx.GraphProto) -> None:
    """Write the axes of reductions as a constant, named after them, in place of an attribute."""
    known = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        axes = next((each for each in node.attribute if each.name == "axes"), None)
        if axes is None or not node.op_type.startswith("Reduce"):
            continue
        name = f"reduction_axes_{'_'.join(map(str, axes.ints))}"
        if name not in known:
            known.add(name)
            graph.initializer.append(numpy_helper.from_array(np.array(axes.ints, np.int64), name))
        node.input.append(name)
        node.attribute.remove(axes)


def half_scale(threshold: float | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smallest scale in half precision that holds a threshold, as float32.

    Raises:
        CalibrationError: None does.
    """
    exact = np.asarray(threshold, np.float64) / LEVELS
    if exact.size and not exact.max() <= FP16_LARGEST:
        msg = (
            f"a value of {exact.max() * LEVELS:.3g} has no scale in half precision. Train the task "
            "with a recipe that keeps its activations small (--recipe steady)."
        )
        raise CalibrationError(msg)
    half = exact.astype(np.float16)
    below = half.astype(np.float64) < exact
    half = np.where(below, np.nextafter(half, np.float16(np.inf)), half)
    scale: NDArray[np.float32] = np.maximum(half.astype(np.float32), _SMALLEST)
    return scale


def quantise_weight(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], Any]:
    """Return a weight in INT8 and its scales, one an output channel.

    Args:
        weight: [..., O, ...], O on `axis`.
        axis: Axis of the output channels.

    Returns:
        int8 of the same shape, and float32 [O].
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scale = half_scale(np.abs(weight).max(axis=others))
    shape = [1] * weight.ndim
    shape[axis] = -1
    levels = np.rint(weight / scale.reshape(shape)).clip(-LEVELS, LEVELS)
    return levels.astype(np.int8), scale


class _Weights:
    """Replaces the weights of the planned layers, each once however many layers read it."""

    def __init__(self, graph: onnx.GraphProto, plan: QuantisationPlan) -> None:
        self.graph = graph
        self.layers = set(plan.layers)
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.done: set[str] = set()
        self.constants: list[onnx.TensorProto] = []

    def take(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Let a planned layer read its weight dequantised; return the nodes to put before it."""
        if node.name not in self.layers:
            return []
        name = node.input[1]
        axis = output_axis(node, len(self.tensors[name].dims))
        node.input[1] = _dequantised(name)
        if name in self.done:
            return []
        self.done.add(name)
        levels, scale = quantise_weight(numpy_helper.to_array(self.tensors[name]), axis)
        zeros = np.zeros(len(scale), np.int8)
        stored = f"{name}/int8"
        self.constants += [
            numpy_helper.from_array(levels, stored),
            numpy_helper.from_array(scale, _scale(name)),
            numpy_helper.from_array(zeros, f"{name}/zero_point"),
        ]
        inputs = [stored, _scale(name), f"{name}/zero_point"]
        label = _dequantised(name)
        return [helper.make_node(DQ, inputs, [label], name=label, axis=axis)]

    def drop_unread(self) -> None:
        """Remove the float weights that nobody reads any more."""
        read = {name for node in self.graph.node for name in node.input}
        kept = [item for item in self.graph.initializer if item.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _activation_scales(
    plan: QuantisationPlan, thresholds: Mapping[str, float]
) -> dict[str, NDArray[np.float32]]:
    """Return the scale of every name of scales in the plan: wide enough for all its tensors.

    A tensor that is always zero fits any scale, and widens none that it shares.
    """
    largest: dict[str, float] = {}
    for tensor, name in plan.tensors.items():
        threshold = thresholds.get(tensor)
        if threshold is None or not 0 <= threshold < np.inf:
            msg = (
                f"there is no range for {tensor} (found {threshold}, expected zero or more). "
                "Calibrate this graph anew, without --ranges of another."
            )
            raise CalibrationError(msg)
        largest[name] = max(largest.get(name, 0.0), threshold)
    return {name: half_scale(threshold or 1.0) for name, threshold in largest.items()}


def _pair(tensor: str, scale: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    quantised, constants = f"{_label(tensor)}/quantised", [_scale(scale), _ZERO_POINT]
    return (
        helper.make_node(Q, [tensor, *constants], [quantised], name=quantised),
        helper.make_node(
            DQ, [quantised, *constants], [_dequantised(tensor)], name=_dequantised(tensor)
        ),
    )


def _dequantised(name: str) -> str:
    return f"{_label(name)}/dequantised"


def _scale(name: str) -> str:
    return f"{_label(name)}/scale"


def _label(name: str) -> str:
    """Return what to call a tensor's pair; the picture's is not part of its normalisation."""
    return name.removeprefix(INPUT_SCOPE)

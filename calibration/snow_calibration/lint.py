"""Whether an INT8 graph is one that TensorRT takes and fuses: rules, and the nodes that break them.

The rules are measured facts (design.md) and NVIDIA's: zero points are 0; no INT32 bias goes
through a DequantizeLinear; weights are quantised per output channel; of a residual Add one side
comes from a convolution and the other is quantised; all that a Concat joins has one scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import TensorProto, numpy_helper

from snow_calibration.plan import MOVES, QUANTISED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"
_MOVES: Final = MOVES | {"MaxPool", "Gather", "Cast"}
"""Operators behind which a tensor still has the scale that it had in front."""


@dataclass(frozen=True)
class Finding:
    """A rule that a node breaks.

    Attributes:
        node: Its name.
        rule: `zero-point`, `int32-bias`, `per-channel-weight`, `residual-add`, `concat-scale`,
            `unquantised-input`, or `not-quantised` of a graph without any pair.
        message: What was seen, what was expected, and what it costs.
    """

    node: str
    rule: str
    message: str


def lint(model: onnx.ModelProto) -> tuple[Finding, ...]:
    """Return every finding, in the graph's order."""
    if not any(node.op_type == _Q for node in model.graph.node):
        message = "the graph has no QuantizeLinear; make an INT8 graph with 'snow-deploy calibrate'"
        return (Finding(model.graph.name, "not-quantised", message),)
    return tuple(_Linter(model.graph).findings())


class _Linter:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes = list(graph.node)
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
        self.made_by = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def findings(self) -> Iterator[Finding]:
        for node in self.nodes:
            for finding in self._of(node):
                yield finding if finding.node else replace(finding, node=node.output[0])

    def _of(self, node: onnx.NodeProto) -> Iterator[Finding]:
        if node.op_type in {_Q, _DQ}:
            yield from self._zero_point(node)
        if node.op_type == _DQ:
            yield from self._bias(node)
        if node.op_type in QUANTISED:
            yield from self._layer(node)
        elif node.op_type == "Add":
            yield from self._residual(node)
        elif node.op_type == "Concat":
            yield from self._concat(node)

    def _zero_point(self, node: onnx.NodeProto) -> Iterator[Finding]:
        if len(node.input) < 3 or not node.input[2]:
            if node.op_type == _Q:  # without one the result is unsigned
                yield Finding(node.name, "zero-point", "no zero point, so UINT8; expected INT8's 0")
            return
        tensor = self.constants.get(node.input[2])
        if tensor is None or tensor.data_type != TensorProto.INT8:
            kind = "computed" if tensor is None else TensorProto.DataType.Name(tensor.data_type)
            if tensor is None or tensor.data_type != TensorProto.INT32:
                message = f"its zero point is {kind}, expected a constant INT8 0"
                yield Finding(node.name, "zero-point", message)
        elif numpy_helper.to_array(tensor).any():
            message = "its zero point is not 0; TensorRT quantises symmetrically only"
            yield Finding(node.name, "zero-point", message)

    def _bias(self, node: onnx.NodeProto) -> Iterator[Finding]:
        tensor = self.constants.get(node.input[0])
        if tensor is not None and tensor.data_type == TensorProto.INT32:
            message = f"dequantises the INT32 {tensor.name}; TensorRT's parser takes float biases"
            yield Finding(node.name, "int32-bias", message)

    def _layer(self, node: onnx.NodeProto) -> Iterator[Finding]:
        weight = self.made_by.get(node.input[1]) if len(node.input) > 1 else None
        if weight is None or weight.op_type != _DQ:
            return  # kept in floating point
        transposed = next((item.i for item in node.attribute if item.name == "transB"), 0)
        expected = 1 if node.op_type == "Gemm" and not transposed else 0
        axis = next((item.i for item in weight.attribute if item.name == "axis"), 1)
        stored = self.constants.get(weight.input[0])
        quantiser = self.made_by.get(weight.input[0])
        if stored is None and quantiser is not None and quantiser.op_type == _Q:
            stored = self.constants.get(quantiser.input[0])  # a float weight behind a pair
        scale = self.constants.get(weight.input[1])
        channels = None if stored is None else stored.dims[expected]
        if scale is None or stored is None or axis != expected or list(scale.dims) != [channels]:
            seen = "computed" if scale is None else f"of shape {list(scale.dims)}"
            message = (
                f"the scale of its weight is {seen} on axis {axis}, expected one for each of its "
                f"{channels} output channels on axis {expected}"
            )
            yield Finding(node.name, "per-channel-weight", message)
        if not self._is_quantised(node.input[0]):
            message = f"its weight is INT8 but {node.input[0]} is not; it runs in floating point"
            yield Finding(node.name, "unquantised-input", message)

    def _residual(self, node: onnx.NodeProto) -> Iterator[Finding]:
        sides = [name for name in node.input if name not in self.constants]
        if len(sides) < 2:
            return
        int8 = [self._is_int8_convolution(name) for name in sides]
        quantised = [self._is_quantised(name) for name in sides]
        sound = any(
            accumulated and other
            for accumulated, other in zip(int8, reversed(quantised), strict=True)
        )
        if (any(int8) or all(quantised)) and not sound:
            message = (
                f"adds {' and '.join(sides)}; expected a convolution's result and a quantised "
                "one, which are added in the convolution's kernel"
            )
            yield Finding(node.name, "residual-add", message)

    def _is_int8_convolution(self, name: str) -> bool:
        """Whether a value comes from an INT8 convolution, by way of other such Adds."""
        node = self.made_by.get(name)
        if node is None or len(self.readers[name]) > 1:
            return False
        if node.op_type == "Add":
            return any(self._is_int8_convolution(part) for part in node.input)
        weight = self.made_by.get(node.input[1]) if node.op_type == "Conv" else None
        return weight is not None and weight.op_type == _DQ

    def _concat(self, node: onnx.NodeProto) -> Iterator[Finding]:
        scales = [self._scale(name) for name in node.input]
        behind = [self._next_scale(reader) for reader in self.readers.get(node.output[0], [])]
        known = [scale for scale in (*scales, *behind) if scale is not None]
        wanted = any(scale is not None for scale in behind)
        if not known or not (wanted or all(scale is not None for scale in scales)):
            return
        if len(set(known)) > 1 or any(scale is None for scale in scales):
            listed = ", ".join("none" if scale is None else f"{scale:.4g}" for scale in scales)
            message = (
                f"joins scales {listed} into {known[-1]:.4g}; expected equal ones, so that "
                "joining costs no arithmetic"
            )
            yield Finding(node.name, "concat-scale", message)

    def _is_quantised(self, name: str) -> bool:
        return self._scale(name) is not None

    def _scale(self, name: str) -> float | None:
        """Return the scale that a value was dequantised with, moved or not."""
        node = self.made_by.get(name)
        while node is not None and node.op_type in _MOVES:
            node = self.made_by.get(node.input[0])
        return self._scale_of(node) if node is not None and node.op_type == _DQ else None

    def _next_scale(self, node: onnx.NodeProto) -> float | None:
        """Return the scale that a reader, or who reads what it only moves, quantises with."""
        while node.op_type in _MOVES:
            readers = self.readers.get(node.output[0], [])
            if not readers:
                return None
            node = readers[0]
        return self._scale_of(node) if node.op_type == _Q else None

    def _scale_of(self, node: onnx.NodeProto) -> float | None:
        tensor = self.constants.get(node.input[1])
        if tensor is None:
            return None
        value = numpy_helper.to_array(tensor).astype(np.float32)
        return float(value.reshape(())) if value.size == 1 else None

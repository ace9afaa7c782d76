"""Whether an INT8 graph is one that TensorRT takes and fuses: rules, and the nodes that break them.

The rules are NVIDIA's, and what was measured (docs/adr/0005): the quantisation is Q/DQ pairs of
ONNX's own operators; zero points are 0 and scales above it; no INT32 bias goes through a
DequantizeLinear; weights are quantised per output channel; of a residual Add one side comes from a
convolution and the other is quantised; all that a Concat joins has one scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx.inliner
from onnx import TensorProto, numpy_helper

from snow_calibration.foreign_forms import all_nodes, calls, is_foreign_pair, is_integer_operator
from snow_runtime.graph.manifest import METADATA_KEY
from snow_runtime.graph.quantised import DQ, KEEPS_SCALE, LAYERS, Q, QuantisedGraph, output_axis

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSED_ON: Final = KEEPS_SCALE - {"Slice", "Split"}  # parts may well be quantised apart
_OTHER_TOOL: Final = (
    "Quantise it with the tool that made it, as Q/DQ pairs: NVIDIA's modelopt, or ONNX Runtime's "
    "quantize_static with quant_format=QuantFormat.QDQ. ('snow-deploy calibrate' takes graphs of "
    "'snow-deploy export' only.)"
)


@dataclass(frozen=True)
class LintFinding:
    """A rule that a node breaks.

    Attributes:
        node: Its name.
        rule: `function`, `integer-operator` or `foreign-domain` of what is no Q/DQ pair of ONNX's
            own; `zero-point`, `scale`, `int32-bias`, `per-channel-weight`, `residual-add`,
            `concat-scale`, `unquantised-input`; or `not-quantised` of a graph without any pair.
        message: What was seen, what was expected, and what it costs.
    """

    node: str
    rule: str
    message: str


def lint(model: onnx.ModelProto) -> tuple[LintFinding, ...]:
    """Return every finding: first of forms that TensorRT does not read, each in the graph's order.

    Functions are looked into, and so are the graphs inside nodes.
    """
    found = [_call(*call) for call in calls(model)]
    flat = onnx.inliner.inline_local_functions(model) if model.functions else model
    nodes = list(all_nodes(flat.graph.node))
    found += [each for node in nodes for each in _form(node)]
    if not found and not any(node.op_type == Q for node in nodes):
        ours = any(item.key == METADATA_KEY for item in model.metadata_props)
        advice = "Make an INT8 graph of it with 'snow-deploy calibrate'." if ours else _OTHER_TOOL
        message = f"the graph has no QuantizeLinear, so nothing of it is INT8. {advice}"
        return (LintFinding(model.graph.name, "not-quantised", message),)
    return (*found, *_within(flat.graph))


def _within(graph: onnx.GraphProto, outer: QuantisedGraph | None = None) -> Iterator[LintFinding]:
    """Yield what breaks a rule in a graph, and in those inside its nodes, which see its values."""
    linter = _Linter(graph, outer)
    yield from linter.findings()
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _within(inner, linter)


def _call(node: str, function: str, times: int) -> LintFinding:
    message = (
        f"calls the function {function}{f', one of {times} calls' if times > 1 else ''}; TensorRT "
        "gives up at a function's second call, and some versions at the first. Write functions "
        "into the graph: onnx.inliner.inline_local_functions"
    )
    return LintFinding(node, "function", message)


def _form(node: onnx.NodeProto) -> Iterator[LintFinding]:
    kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    label = node.name or node.output[0]
    if is_integer_operator(node):
        message = (
            f"is a {kind}, which computes on quantised values itself; TensorRT reads Q/DQ pairs "
            "around float operators only. Quantise the float graph anew in that form: ONNX "
            "Runtime's quantize_static with quant_format=QuantFormat.QDQ, or NVIDIA's modelopt"
        )
        yield LintFinding(label, "integer-operator", message)
    elif is_foreign_pair(node):
        message = (
            f"is a {kind}, expected ONNX's own {node.op_type}; TensorRT does not know that domain "
            "(where it reads the node, it goes by the name alone). Quantise without contrib "
            "operators (ONNX Runtime: UseQDQContribOps False), or for opset 21 where 16 bits "
            "are meant"
        )
        yield LintFinding(label, "foreign-domain", message)


class _Linter(QuantisedGraph):
    def findings(self) -> Iterator[LintFinding]:
        for node in self.nodes:
            for finding in self._of(node):
                yield finding if finding.node else replace(finding, node=node.output[0])

    def _of(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
        if node.op_type in {Q, DQ}:
            yield from self._zero_point(node)
            yield from self._positive(node)
        if node.op_type == DQ:
            yield from self._bias(node)
        if node.op_type in LAYERS:
            yield from self._layer(node)
        elif node.op_type == "Add":
            yield from self._residual(node)
        elif node.op_type == "Concat":
            yield from self._concat(node)

    def _zero_point(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
        if len(node.input) < 3 or not node.input[2]:
            if node.op_type == Q:  # without one the result is unsigned
                yield LintFinding(
                    node.name, "zero-point", "no zero point, so UINT8; expected INT8's 0"
                )
            return
        tensor = self.constants.get(node.input[2])
        if tensor is None or tensor.data_type != TensorProto.INT8:
            kind = "computed" if tensor is None else TensorProto.DataType.Name(tensor.data_type)
            if tensor is None or tensor.data_type != TensorProto.INT32:
                message = f"its zero point is {kind}, expected a constant INT8 0"
                yield LintFinding(node.name, "zero-point", message)
        elif numpy_helper.to_array(tensor).any():
            message = "its zero point is not 0; TensorRT quantises symmetrically only"
            yield LintFinding(node.name, "zero-point", message)

    def _positive(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
        tensor = self.constants.get(node.input[1])
        if tensor is None:
            if self._is_measured(node.input[1]):
                message = f"its scale, {node.input[1]}, depends on the picture; expected a constant"
                yield LintFinding(node.name, "scale", message)
            return
        value = numpy_helper.to_array(tensor).astype(np.float64)
        if not (np.isfinite(value).all() and (value > 0).all()):
            message = f"a scale of it is {value.min():.4g}, expected numbers above 0"
            yield LintFinding(node.name, "scale", message)

    def _is_measured(self, name: str) -> bool:
        """Whether a value depends on what the graph is given."""
        waiting, seen = [name], {name}
        while waiting:
            value = waiting.pop()
            if value in self.constants:
                continue
            maker = self.made_by.get(value)
            if maker is None:
                return True
            new = {each for each in maker.input if each} - seen
            seen |= new
            waiting += new
        return False

    def _bias(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
        tensor = self.constants.get(node.input[0])
        if tensor is not None and tensor.data_type == TensorProto.INT32:
            message = f"dequantises the INT32 {tensor.name}; TensorRT's parser takes float biases"
            yield LintFinding(node.name, "int32-bias", message)

    def _layer(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
        weight = self.dequantiser(node.input[1]) if len(node.input) > 1 else None
        if weight is None:
            return  # kept in floating point
        stored = self.constants.get(weight.input[0])
        quantiser = self.made_by.get(weight.input[0])
        if stored is None and quantiser is not None and quantiser.op_type == Q:
            stored = self.constants.get(quantiser.input[0])  # a float weight behind a pair
        if stored is not None or node.op_type != "MatMul":  # which may multiply computed values
            yield from self._per_channel(node, weight, stored)
        if not self._is_quantised(node.input[0]):
            message = f"its weight is INT8 but {node.input[0]} is not; it runs in floating point"
            yield LintFinding(node.name, "unquantised-input", message)

    def _per_channel(
        self, node: onnx.NodeProto, weight: onnx.NodeProto, stored: onnx.TensorProto | None
    ) -> Iterator[LintFinding]:
        rank = 0 if stored is None else len(stored.dims)
        expected = self._stored_axis(node.input[1], output_axis(node, rank))
        if expected is None:
            return  # not known, behind what reshapes it
        axis = next((item.i for item in weight.attribute if item.name == "axis"), 1)
        if rank:
            axis, expected = axis % rank, expected % rank
        scale = self.constants.get(weight.input[1])
        channels = None if stored is None else stored.dims[expected]
        if scale is None or stored is None or axis != expected or list(scale.dims) != [channels]:
            seen = "computed" if scale is None else f"of shape {list(scale.dims)}"
            message = (
                f"the scale of its weight is {seen} on axis {axis}, expected one for each of its "
                f"{channels} output channels on axis {expected}"
            )
            yield LintFinding(node.name, "per-channel-weight", message)

    def _stored_axis(self, name: str, axis: int) -> int | None:
        """Return which axis of a weight, as it is stored, is this one where it is read."""
        node = self.made_by[name]
        while node.op_type != DQ:
            if node.op_type == "Transpose":
                order = next((item.ints for item in node.attribute if item.name == "perm"), None)
                axis = -1 - axis if order is None else order[axis]
            elif node.op_type not in {"Cast", "Dropout", "Identity"}:
                return None
            node = self.made_by[node.input[0]]
        return axis

    def _residual(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
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
            yield LintFinding(node.name, "residual-add", message)

    def _is_int8_convolution(self, name: str) -> bool:
        """Whether a value comes from an INT8 convolution, by way of other such Adds."""
        node = self.made_by.get(name)
        if node is None or len(self.readers.get(name, ())) > 1:
            return False
        if node.op_type == "Add":
            return any(self._is_int8_convolution(part) for part in node.input)
        return node.op_type == "Conv" and self.dequantiser(node.input[1]) is not None

    def _concat(self, node: onnx.NodeProto) -> Iterator[LintFinding]:
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
            yield LintFinding(node.name, "concat-scale", message)

    def _is_quantised(self, name: str) -> bool:
        return self._scale(name) is not None

    def _scale(self, name: str) -> float | None:
        """Return the scale that a value was dequantised with, moved or not."""
        node = self.dequantiser(name)
        return None if node is None else self._scale_of(node)

    def _next_scale(self, node: onnx.NodeProto) -> float | None:
        """Return the scale that a reader, or who reads what it only moves, quantises with."""
        while node.op_type in _PASSED_ON:
            readers = self.readers.get(node.output[0], [])
            if not readers:
                return None
            node = readers[0]
        return self._scale_of(node) if node.op_type == Q else None

    def _scale_of(self, node: onnx.NodeProto) -> float | None:
        tensor = self.constants.get(node.input[1])
        if tensor is None:
            return None
        value = numpy_helper.to_array(tensor).astype(np.float32)
        return float(value.reshape(())) if value.size == 1 else None

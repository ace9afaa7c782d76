"""Explicit quantisation as it stands in a graph: what was dequantised, and who computes in INT8.

A Q/DQ pair need not stand next to its reader. What only moves or picks values keeps their scale,
so TensorRT carries the pair across, and whoever reads a graph has to look through such nodes too.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx

Q: Final = "QuantizeLinear"
DQ: Final = "DequantizeLinear"
LAYERS: Final = ("Conv", "Gemm", "MatMul")
"""Operators that are computed in INT8 where both of their inputs are dequantised."""
MOVES: Final = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})
"""Operators that only move their first input, all of it."""
KEEPS_SCALE: Final = MOVES | {"Cast", "Dropout", "Gather", "MaxPool", "Slice", "Split"}
"""Operators behind which the values of the first input still have the scale they had in front."""


class QuantisedGraph:
    """A graph's nodes by what they make and read, to look from a value to its scale.

    Attributes:
        nodes: Nodes in the graph's order.
        made_by: The node that makes a value.
        constants: Constant tensors by value; those of Constant nodes are among them.
    """

    def __init__(self, graph: onnx.GraphProto, outer: QuantisedGraph | None = None) -> None:
        """Index a graph, or one inside a node of `outer`, whose values it sees."""
        self.nodes = list(graph.node)
        self.made_by: dict[str, onnx.NodeProto] = dict(outer.made_by) if outer else {}
        self.made_by |= {name: node for node in self.nodes for name in node.output if name}
        self.constants: dict[str, onnx.TensorProto] = dict(outer.constants) if outer else {}
        self.constants |= {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            tensor = _constant(node) if node.op_type == "Constant" else None
            if tensor is not None:
                self.constants[node.output[0]] = tensor

    @cached_property
    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """By value, the nodes of this graph that read it."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def dequantiser(self, name: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear that a value comes from, moved or not; None without one."""
        node = self.made_by.get(name)
        while node is not None and node.op_type in KEEPS_SCALE:
            node = self.made_by.get(node.input[0])
        return node if node is not None and node.op_type == DQ else None

    def layers(self) -> tuple[str, ...]:
        """Name the layers that compute in INT8, in the graph's order."""
        return tuple(
            node.name
            for node in self.nodes
            if node.op_type in LAYERS
            and len(node.input) > 1
            and all(self.dequantiser(name) is not None for name in node.input[:2])
        )


def output_axis(node: onnx.NodeProto, rank: int) -> int:
    """Return the axis of the output channels in a layer's weight of so many axes."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul":
        return rank - 1
    transposed = next((item.i for item in node.attribute if item.name == "transB"), 0)
    return 0 if transposed else 1


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return what a Constant node holds; None of texts and sparse tensors."""
    from onnx import TensorProto, helper

    (held,) = node.attribute
    if held.name == "value":
        tensor: onnx.TensorProto = held.t
        return tensor
    kinds = {"value_float": TensorProto.FLOAT, "value_int": TensorProto.INT64}
    kind = kinds.get(held.name.removesuffix("s"))
    if kind is None:
        return None
    value = helper.get_attribute_value(held)
    listed = held.name.endswith("s")
    values = list(value) if listed else [value]
    return helper.make_tensor(node.output[0], kind, [len(values)] if listed else [], values)

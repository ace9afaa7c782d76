"""What the stand-in makes of an ONNX graph: layers of a network, then layers of an engine."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import onnx
from onnx import TensorProto

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TYPES: Final[dict[int, str]] = {
    TensorProto.FLOAT: "Float",
    TensorProto.FLOAT16: "Half",
    TensorProto.BFLOAT16: "BFloat16",
    TensorProto.INT8: "Int8",
    TensorProto.UINT8: "UInt8",
    TensorProto.INT32: "Int32",
    TensorProto.INT64: "Int64",
    TensorProto.BOOL: "Bool",
}
"""ONNX's types in the words of TensorRT's layer lists."""

LAYER_TYPES: Final = {
    kind: name
    for name, kinds in {
        "CONVOLUTION": "Conv",
        "MATRIX_MULTIPLY": "Gemm MatMul",
        "ACTIVATION": "Relu Sigmoid Tanh Clip LeakyRelu HardSigmoid",
        "POOLING": "MaxPool AveragePool",
        "REDUCE": "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum",
        "SHUFFLE": "Flatten Reshape Transpose",
        "ELEMENTWISE": "Add Sub Mul Div Max Min Pow",
        "SLICE": "Slice Split Pad",
        "GATHER": "Gather",
        "CONCATENATION": "Concat",
        "SOFTMAX": "Softmax",
        "SCALE": "BatchNormalization",
        "CAST": "Cast",
        "IDENTITY": "Identity Dropout",
        "RESIZE": "Resize",
        "QUANTIZE": "QuantizeLinear",
        "DEQUANTIZE": "DequantizeLinear",
    }.items()
    for kind in kinds.split()
}
_WITH_CONSTANTS: Final = {"MATRIX_MULTIPLY", "ELEMENTWISE", "GATHER"}
_MULTIPLYING: Final = {"Conv", "Gemm", "MatMul"}


class UnreadableError(Exception):
    """The parser's complaint; `node` is the ONNX node's name."""

    def __init__(self, desc: str, node: str = "", operator: str = "") -> None:
        super().__init__(desc)
        self.desc, self.node, self.operator = desc, node, operator


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]  # -1 where it is open
    dtype: str


@dataclass(frozen=True)
class Operation:
    """A node of the ONNX graph, or a layer of the network: then `kind` is of `LayerType`."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: str = ""


@dataclass
class Graph:
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    constants: frozenset[str] = frozenset()
    nodes: list[Operation] = field(default_factory=list)
    layers: list[Operation] = field(default_factory=list)


def read_graph(content: bytes) -> Graph:
    """Read an ONNX model as TensorRT's parser does.

    Raises:
        UnreadableError: It is no model, or holds an operator that there is not.
    """
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which onnx does not name
        msg = "Assertion failed: Failed to parse the ONNX model."
        raise UnreadableError(msg) from error
    if not model.graph.node:
        return Graph()
    graph = onnx.shape_inference.infer_shapes(model).graph
    tensors = {it.name: _tensor(it) for it in (*graph.input, *graph.value_info, *graph.output)}
    for constant in graph.initializer:
        dtype = TYPES[constant.data_type]
        tensors[constant.name] = Tensor(constant.name, tuple(constant.dims), dtype)
    made = frozenset(it.output[0] for it in graph.node if it.op_type == "Constant")
    constants = frozenset(it.name for it in graph.initializer)
    result = Graph(
        tuple(tensors[it.name] for it in graph.input if it.name not in constants),
        tuple(tensors[it.name] for it in graph.output),
        constants | made,
    )
    for node in graph.node:
        if node.op_type == "Constant":
            continue
        name = node.name or f"node_of_{node.output[0]}"
        if node.op_type not in LAYER_TYPES:
            msg = "Plugin not found"
            raise UnreadableError(msg, name, node.op_type)
        unknown = Tensor("", (), "Float")
        result.nodes.append(
            Operation(
                name,
                node.op_type,
                tuple(tensors.get(it, replace(unknown, name=it)) for it in node.input if it),
                tuple(tensors.get(it, replace(unknown, name=it)) for it in node.output),
                f"[ONNX Layer: {name}]",
            )
        )
    result.layers = _network_layers(result)
    return result


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    found = value.type.tensor_type
    shape = tuple(it.dim_value if it.HasField("dim_value") else -1 for it in found.shape.dim)
    return Tensor(value.name, shape, TYPES.get(found.elem_type, "Float"))


def _network_layers(graph: Graph) -> list[Operation]:
    """List the layers, those included that the parser adds for constants and a Gemm's bias."""
    layers: list[Operation] = []
    taken: set[str] = set()

    def add(name: str, kind: str, node: Operation | None, outputs: tuple[Tensor, ...]) -> None:
        unique = name if name not in taken else f"{name}_{len(layers)}"
        taken.add(unique)
        inputs, metadata = (node.inputs, node.metadata) if node else ((), "")
        layers.append(Operation(unique, kind, inputs, outputs, metadata))

    def add_constants(inputs: Iterable[Tensor]) -> None:
        for it in inputs:
            if it.name in graph.constants and it.name not in taken:
                add(it.name, "CONSTANT", None, (it,))

    for node in graph.nodes:
        kind = LAYER_TYPES[node.kind]
        has_bias = node.kind == "Gemm" and len(node.inputs) > 2
        if kind in _WITH_CONSTANTS:
            add_constants(node.inputs[:2])
        add(node.name, kind, node, node.outputs)
        if has_bias:
            add_constants(node.inputs[2:])
            add("ONNXTRT_Broadcast", "SHUFFLE", None, (node.inputs[2],))
            add(node.name, "ELEMENTWISE", node, node.outputs)
    return layers


@dataclass(frozen=True)
class Compiled:
    """A layer of an engine.

    Attributes:
        name: Of the ONNX node that gave it its name; empty for what TensorRT adds itself.
        kind: The node's operator; or `Move`, or `signal`, which only orders the streams.
        nodes: Names of the ONNX nodes in it.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...] = ()
    constants: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def multiplies(self) -> bool:
        return self.kind in _MULTIPLYING

    @property
    def weight_count(self) -> int:
        return max((math.prod(it.shape) for it in self.constants), default=0)


def compile_graph(graph: Graph, computes_in: Mapping[str, str]) -> list[Compiled]:
    """Fuse a graph's nodes: what multiplies takes in its Relu and what is about its quantisation.

    Args:
        graph: What :func:`read_graph` gave.
        computes_in: The type that a node's layer computes in, such as `Float`, instead of its own.
    """
    found = _Fusion(graph)
    layers = [Compiled("", "Move", graph.inputs[:1], (), graph.inputs[:1])]
    fused = {node.name: found.fuse(node) for node in graph.nodes if node.kind in _MULTIPLYING}
    for node in graph.nodes:
        layer = fused.get(node.name) or found.plain(node)
        if node.name in found.absorbed:
            continue
        if node.name in computes_in:
            layer = _cast(layer, computes_in[node.name])
        layers.append(layer)
    return layers


class _Fusion:
    def __init__(self, graph: Graph) -> None:
        self.constants = graph.constants
        self.absorbed: set[str] = set()
        self.made_by = {it.name: node for node in graph.nodes for it in node.outputs}
        self.used_by: dict[str, list[Operation]] = defaultdict(list)
        for node in graph.nodes:
            for it in node.inputs:
                self.used_by[it.name].append(node)

    def plain(self, node: Operation) -> Compiled:
        inputs = tuple(it for it in node.inputs if it.name not in self.constants)
        constants = tuple(it for it in node.inputs if it.name in self.constants)
        return Compiled(node.name, node.kind, inputs, constants, node.outputs, (node.name,))

    def fuse(self, node: Operation) -> Compiled:
        nodes, output, inputs = [node.name], node.outputs[0], list(node.inputs[:2])
        before = [it for each in inputs if (it := self.made_by.get(each.name)) is not None]
        quantised = [it.kind for it in before] == ["DequantizeLinear"] * 2
        if quantised:
            inputs = [it.inputs[0] for it in before]
            nodes += [it.name for it in before]
            self.absorbed |= {it.name for it in before if self._only_multiplied(it)}
        for kind in ("Relu", "QuantizeLinear") if quantised else ("Relu",):
            after = self.used_by[output.name]
            if len(after) == 1 and after[0].kind == kind:
                self.absorbed.add(after[0].name)
                nodes.append(after[0].name)
                output = after[0].outputs[0]
        inputs += node.inputs[2:]
        values = tuple(it for it in inputs if it.name not in self.constants)
        constants = tuple(it for it in inputs if it.name in self.constants)
        return Compiled(node.name, node.kind, values, constants, (output,), tuple(nodes))

    def _only_multiplied(self, node: Operation) -> bool:
        return all(it.kind in _MULTIPLYING for it in self.used_by[node.outputs[0].name])


def _cast(layer: Compiled, dtype: str) -> Compiled:
    def cast(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(replace(it, dtype=dtype) for it in tensors)

    return replace(
        layer,
        inputs=cast(layer.inputs),
        constants=cast(layer.constants),
        outputs=cast(layer.outputs),
    )

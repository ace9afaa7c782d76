"""The cost of a graph by owner: multiply-adds, parameters, bytes.

Shapes come from ONNX's own shape inference at batch 1. Convolutions and matrix products (Conv,
Gemm, MatMul) count, one multiply-add for each product; additions, norms and activations do not.
Never imports torch.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import onnx
from onnx import helper

from snow_export.inspect.owners import OTHER, SOURCE, constant_owners, node_owners, tasks_by_owner
from snow_export.inspect.shapes import (
    free_inputs,
    infer_shapes,
    weights_as_inputs,
)
from snow_runtime.errors import GraphError
from snow_runtime.graph.onnx_file import ONNX_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from snow_export.inspect.shapes import Shapes

COUNTED: Final = ("Conv", "Gemm", "MatMul")
SEVERAL: Final = "(several)"
"""Of a compiled layer that computes nodes of more than one owner; no task can be called so."""
TOTAL: Final = "(total)"
"""Of the sum over all owners; likewise."""
_MULTIPLYING: Final = frozenset(
    {
        "Attention",
        "ConvInteger",
        "ConvTranspose",
        "DFT",
        "DeformConv",
        "Einsum",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "If",
        "LSTM",
        "Loop",
        "MatMulInteger",
        "NhwcConv",
        "QLinearConv",
        "QLinearMatMul",
        "RNN",
        "STFT",
        "Scan",
    }
)
"""Operators that multiply too but are not counted; our exporter writes none of them."""
_HARMLESS: Final = frozenset(
    {
        "BiasGelu",
        "DequantizeLinear",
        "FastGelu",
        "Gelu",
        "LayerNormalization",
        "QuantizeLinear",
        "QuickGelu",
        "SkipLayerNormalization",
    }
)
"""Operators of other domains that are known to compute no products that would count."""
_FLOATS: Final = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
)


@dataclass(frozen=True)
class OwnerCost:
    """What one owner costs.

    Attributes:
        owner: `source`, a task, `a+b+c` for fused deltas (`a+47` for many), `input` for preparing
            the picture, or `(other)`.
        macs: Multiply-adds of one picture.
        parameters: Weights: floating-point constants and quantised ones, without scalars,
            indices, shapes and quantisation scales.
        size_bytes: Size of all its constants, in bytes.
        nodes: Number of nodes of the ONNX graph, before a runtime fuses any.
    """

    owner: str
    macs: int = 0
    parameters: int = 0
    size_bytes: int = 0
    nodes: int = 0


@dataclass(frozen=True)
class GraphCost:
    """What a graph costs.

    Attributes:
        owners: The source first, `(other)` last.
        batch: Pictures that the shapes were inferred for; 1 unless the graph fixes its batch.
            The multiply-adds are one picture's in any case.
        uncounted: Nodes of operators that multiply but are not counted, by operator; those of
            other domains than ONNX's own, which may, as `domain::Operator`.
        tasks: What each owner answers.
        owner_of: Owners by node name; for compiled layers, which name the nodes they came from.
    """

    owners: tuple[OwnerCost, ...]
    batch: int
    uncounted: dict[str, int] = field(hash=False)
    tasks: dict[str, tuple[str, ...]] = field(hash=False)
    owner_of: dict[str, str] = field(hash=False, repr=False)

    @property
    def total(self) -> OwnerCost:
        """The sum over all owners."""
        sums = (sum(getattr(row, name) for row in self.owners) for name in _FIGURES)
        return OwnerCost(TOTAL, *sums)

    @property
    def macs_over_source(self) -> float | None:
        """Multiply-adds of the whole over the source's; None for a graph without a source."""
        own = next((row.macs for row in self.owners if row.owner == SOURCE), 0)
        return self.total.macs / own if own else None

    def owner_of_layer(self, nodes: Iterable[str]) -> str:
        """Return whose a compiled layer is, by the nodes that it computes; `(several)` if mixed."""
        found = {self.owner_of.get(name, OTHER) for name in nodes}
        return (found.pop() if found else OTHER) if len(found) < 2 else SEVERAL

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "batch": self.batch,
            "counted": list(COUNTED),
            "uncounted": self.uncounted,
            "owners": [asdict(row) for row in self.owners],
            "tasks": self.tasks,
            "total": asdict(self.total),
            "macs_over_source": self.macs_over_source,
        }


_FIGURES: Final = ("macs", "parameters", "size_bytes", "nodes")


def measure_cost(model: onnx.ModelProto, tasks: Sequence[str] | None = None) -> GraphCost:
    """Count a graph's multiply-adds, parameters and bytes.

    Args:
        model: A valid graph of any origin; it is not changed. Weights may lie in other files,
            unread.
        tasks: The manifest's, for whose each node is; None for a graph without one.

    Raises:
        GraphError: Its shapes contradict each other, or do not follow from its inputs.
    """
    light = weights_as_inputs(model)
    graph = light.graph
    owners = node_owners(graph, tasks)
    batch, shapes = infer_shapes(light, free_inputs(model))
    sums: dict[str, Counter[str]] = {owner: Counter() for owner in _ordered(owners)}
    for node, owner in zip(graph.node, owners, strict=True):
        sums[owner].update(nodes=1, macs=node_macs(node, shapes) // batch)
    whose = constant_owners(graph, owners)
    scales = _quantisation_tensors(graph)
    for name, tensor in _constants(model.graph.initializer, graph.node):
        owner = whose.get(name, OTHER)
        counts = tensor.dims and (tensor.data_type in _FLOATS or name in scales.weights)
        parameters = math.prod(tensor.dims) if counts and name not in scales.scales else 0
        sums.setdefault(owner, Counter()).update(
            parameters=parameters, size_bytes=_size_bytes(tensor)
        )
    rows = [OwnerCost(owner, *(found[key] for key in _FIGURES)) for owner, found in sums.items()]
    uncounted = Counter(filter(None, map(_uncounted, graph.node)))
    names = {node.name: owner for node, owner in zip(graph.node, owners, strict=True)}
    answered = tasks_by_owner(graph, owners)
    return GraphCost(tuple(rows), batch, dict(uncounted), answered, names)


def node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Return a node's multiply-adds for the shapes of one run.

    Raises:
        GraphError: A shape that they follow from is not known.
    """
    if node.op_type not in COUNTED or node.domain not in ONNX_DOMAINS:
        return 0
    missing = [name for name in (*node.input[:2], node.output[0]) if name not in shapes]
    if missing:
        msg = (
            f"The shape of {missing[0]!r} at node {node.name!r} ({node.op_type}) does not follow "
            "from the graph's inputs, expected fixed sizes but for the batch. Export the graph "
            "with a fixed picture size, and without shapes that depend on what is in the picture."
        )
        raise GraphError(msg)
    first, second = shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":
        inner = math.prod(second[1:])  # [C_out, C_in / groups, kernel height, kernel width]
    elif node.op_type == "Gemm":
        inner = first[0 if _attribute(node, "transA") else 1]
    else:
        inner = first[-1]
    return math.prod(shapes[node.output[0]]) * inner


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), 0)


def _uncounted(node: onnx.NodeProto) -> str | None:
    """Return what to call an operator that multiplies, or may, and is not counted."""
    if node.domain not in ONNX_DOMAINS:
        return None if node.op_type in _HARMLESS else f"{node.domain}::{node.op_type}"
    return node.op_type if node.op_type in _MULTIPLYING else None


def _constants(
    initializers: Iterable[onnx.TensorProto], nodes: Iterable[onnx.NodeProto]
) -> Iterator[tuple[str, onnx.TensorProto]]:
    yield from ((tensor.name, tensor) for tensor in initializers)
    for node in nodes:
        if node.op_type == "Constant":
            yield from ((node.output[0], item.t) for item in node.attribute if item.name == "value")


@dataclass(frozen=True)
class _Quantisation:
    weights: set[str]
    scales: set[str]


def _quantisation_tensors(graph: onnx.GraphProto) -> _Quantisation:
    """Tell quantised weights from the scales and zero points of Q/DQ pairs."""
    weights, scales = set(), set()
    for node in graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            scales.update(node.input[1:])
            if node.op_type == "DequantizeLinear":
                weights.add(node.input[0])
    return _Quantisation(weights, scales)


def _size_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(math.prod(tensor.dims) * itemsize)


def _ordered(owners: list[str]) -> list[str]:
    """Return each owner once, as met; the source first, `(other)` last."""
    rank: Mapping[str, int] = {SOURCE: -1, OTHER: 1}
    return sorted(dict.fromkeys(owners), key=lambda owner: rank.get(owner, 0))

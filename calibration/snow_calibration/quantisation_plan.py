"""Where a graph is quantised: which tensors pass through Q/DQ, and which layers read them.

The rules are those of TensorRT's explicit quantisation (NVIDIA's documentation, "Working with
Quantized Types", and docs/adr/0005):

1. Conv, Gemm and MatMul by a constant read their data quantised, per tensor, and their weights,
   per output channel. What they compute is left alone: whoever reads it says what it needs. Left
   out is a MatMul too narrow for a tile of a tensor core: it would gain less than the pair costs.
   (Pools of a size that does not divide their input are such: they average by a matrix.) The
   products of readouts stay in floating point, and so do the pooled means that they read.
2. An Add of two computed values keeps one as it is, the one that a convolution made and that
   nobody else reads (the Add is done in that convolution's kernel), and reads the other quantised.
3. Concat and MaxPool work on quantised data where their result is quantised, all in one scale:
   so both cost no arithmetic.
4. A channel Gather reads quantised data where its source tensor is quantised for another reader,
   or is a Concat: so both work on quantised data, where channels are joined and shuffled.
5. Reshape, Flatten, Squeeze, Unsqueeze, Transpose and Identity only move data: the pair stands
   in front of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_export.inspect.owners import FEATURES, TAP_READOUT
from snow_runtime.graph.half_precision import INPUT_SCOPE
from snow_runtime.graph.quantised import LAYERS, MOVES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import onnx

_TILE: Final = 8  # columns of the narrowest INT8 tile (PTX's mma.m16n8k32)
_ONE_SCALE: Final = frozenset({"Concat", "MaxPool"})


@dataclass(frozen=True)
class QuantisationPlan:
    """What is to be quantised.

    Attributes:
        layers: Names of the nodes computed in INT8, in the graph's order.
        reads: (node's name, position of the input) of every input that is read quantised,
            weights apart.
        tensors: Every tensor that gets a Q/DQ pair, with the name of its scale; tensors of one
            name share one scale.
    """

    layers: tuple[str, ...]
    reads: frozenset[tuple[str, int]]
    tensors: dict[str, str]


def layers_of(graph: onnx.GraphProto, readouts: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the names of the nodes that could be computed in INT8, and gain by it.

    Args:
        graph: A float graph.
        readouts: Tasks that are readouts. Their products are left out, and those that are a part of
            a delta: they read pooled means, whose precision is what readouts live on, and TensorRT
            takes the means in the kernels that quantise. None leaves nothing out.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return tuple(
        node.name
        for node in graph.node
        if node.op_type in LAYERS
        and len(node.input) > 1
        and (weight := constants.get(node.input[1])) is not None
        and (node.op_type != "MatMul" or _fills_a_tile(weight))
        and (readouts is None or not _is_of(node.name, readouts))
    )


def _is_of(name: str, tasks: Collection[str]) -> bool:
    """Tell whether a layer's owner is one of these tasks, or a group of them: all are alike.

    A product of readouts of which some are a part of a delta says so by its own name.
    """
    owner, slash, layer = name.partition("/")
    return bool(slash) and (owner.split("+")[0] in tasks or layer == TAP_READOUT)


def _fills_a_tile(weight: onnx.TensorProto) -> bool:
    return len(weight.dims) > 1 and min(weight.dims[-2:]) >= _TILE


def make_plan(
    graph: onnx.GraphProto, kept: Collection[str] = (), exact: Collection[str] = ()
) -> QuantisationPlan:
    """Decide what of a float graph is quantised.

    Args:
        graph: Nodes in topological order, each with a name of its own.
        kept: Names of layers that stay in floating point.
        exact: Names of others that do, and read pooled means that nothing has quantised, either.
    """
    return _Planner(graph, kept, exact).plan()


def possible_tensors(graph: onnx.GraphProto, exact: Collection[str] = ()) -> tuple[str, ...]:
    """Return every tensor that a plan may quantise, whichever layers it keeps beside `exact`.

    Where two convolutions are added, either side may be the one that is read quantised: the other
    layer's being kept decides.
    """
    planner = _Planner(graph, (), exact)
    return tuple(dict.fromkeys([*planner.plan().tensors, *planner.either_sides()]))


class _Planner:
    def __init__(
        self, graph: onnx.GraphProto, kept: Collection[str], apart: Collection[str]
    ) -> None:
        self.nodes = list(graph.node)
        self.layers = tuple(name for name in layers_of(graph) if name not in {*kept, *apart})
        self.constants = {tensor.name for tensor in graph.initializer}
        self.made_by = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)
        self.returned = {value.name for value in graph.output}
        self.exact = self._exact_values(apart)
        self.reads: set[tuple[str, int]] = set()
        self.roots: dict[str, str] = {}  # tensor with a pair -> representative of its scale

    def plan(self) -> QuantisationPlan:
        chosen = set(self.layers)
        for node in reversed(self.nodes):  # who reads a result is decided before who makes it
            if node.name in chosen:
                self._read(node, 0)
            elif node.op_type == "Add":
                self._residual(node)
            elif node.op_type in _ONE_SCALE and node.output[0] in self.roots:
                for index in self._computed(node):
                    self._unite(self._read(node, index), node.output[0])
        for node in self.nodes:  # decided last: a Gather alone is no reason to quantise
            if node.op_type == "Gather" and self._picks_channels(node):
                self._read(node, 0)
        tensors = {name: self._scale(name) for name in self._names() if name in self.roots}
        return QuantisationPlan(self.layers, frozenset(self.reads), tensors)

    def _names(self) -> Iterator[str]:
        seen: set[str] = set()
        for node in self.nodes:
            for name in (*node.input, *node.output):
                if name not in seen:
                    seen.add(name)
                    yield name

    def _exact_values(self, readers: Collection[str]) -> set[str]:
        """Return what these nodes read, and what is given out flat, back to where it is made.

        What only moves, picks or joins values is gone through, so that nobody's pair stands there.
        """
        waiting = [node.input[0] for node in self.nodes if node.name in readers]
        waiting += [name for name in self.returned if name == FEATURES]
        found = set[str]()
        while waiting:
            name = waiting.pop()
            maker = self.made_by.get(name)
            if name not in found and maker is not None:
                found.add(name)
                if maker.op_type in MOVES | {"Concat", "Gather"}:
                    waiting += maker.input
        return found - self.constants

    def _read(self, node: onnx.NodeProto, index: int) -> str:
        """Let a node read an input quantised; return the tensor that gets the pair."""
        root: str = node.input[index]
        reader = (node.name, index)
        while root not in self.exact and root in self.made_by and self._carries(self.made_by[root]):
            mover = self.made_by[root]
            reader, root = (mover.name, 0), mover.input[0]
        self.reads.add(reader)
        self.roots.setdefault(root, root)
        return root

    def _carries(self, node: onnx.NodeProto) -> bool:
        """Whether a pair behind a node stands in front of it as well."""
        if node.op_type != "Gather":
            return node.op_type in MOVES
        maker = self.made_by.get(node.input[0])
        joins = maker is not None and maker.op_type == "Concat"
        return joins and self._is_of_channels(node)

    def _residual(self, node: onnx.NodeProto) -> None:
        computed = self._computed(node)
        if len(computed) < 2:
            return  # an affine's shift
        made = [name for name in node.input if self._accumulates(name)]
        free = next((name for name in made if self._reaches_int8(name)), None)
        if free is not None:
            self._read(node, next(index for index in computed if node.input[index] != free))

    def either_sides(self) -> Iterator[str]:
        """Yield the sides of the Adds of which a plan may quantise either."""
        for node in self.nodes:
            sides = [name for name in node.input if self._accumulates(name)]
            if node.op_type == "Add" and len(sides) > 1:
                yield from sides

    def _accumulates(self, name: str) -> bool:
        """Whether a convolution's kernel makes this value, and nobody else needs it."""
        maker = self.made_by.get(name)
        if maker is None or len(self.readers[name]) > 1 or name in self.returned:
            return False
        if maker.op_type == "Add":
            return len(self._computed(maker)) == 2 and any(
                self._accumulates(part) for part in maker.input
            )
        return bool(maker.op_type == "Conv")

    def _reaches_int8(self, name: str) -> bool:
        """Whether the convolution behind an accumulated value is computed in INT8."""
        maker = self.made_by[name]
        if maker.op_type == "Conv":
            return maker.name in self.layers
        return any(
            self._reaches_int8(part)
            for part in maker.input
            if part in self.made_by and self.made_by[part].op_type in {"Conv", "Add"}
        )

    def _picks_channels(self, node: onnx.NodeProto) -> bool:
        exact = node.output[0] in self.exact
        return node.input[0] in self.roots and self._is_of_channels(node) and not exact

    def _is_of_channels(self, node: onnx.NodeProto) -> bool:
        if node.name.startswith(INPUT_SCOPE):
            return False  # a camera frame's colours, put in order
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        return axis == 1 and node.input[1] in self.constants

    def _computed(self, node: onnx.NodeProto) -> list[int]:
        return [index for index, name in enumerate(node.input) if name not in self.constants]

    def _unite(self, one: str, other: str) -> None:
        self.roots[self._scale(one)] = self._scale(other)

    def _scale(self, name: str) -> str:
        while self.roots[name] != name:
            name = self.roots[name]
        return name

"""An estimate of the kernels that a compiler makes of a graph, and of what they move in memory.

It follows what TensorRT is seen to do with our graphs:

1. A convolution or matrix product is a kernel, and takes along what is computed pointwise on its
   result: biases, additions, activations.
2. A pooling, a mean, a concatenation or anything else is a kernel too. It also takes along what is
   gathered, pointwise computed or concatenated for it alone.
3. What only changes a shape launches nothing.
4. A graph in half precision converts its float32 input by a kernel of its own.

Kernels hand their results on in memory: each is written once, and read once by each kernel that
takes it. Caches are not in the count.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import onnx
import onnx.helper

from snow_export.inspect.cost import measure_cost
from snow_export.inspect.owners import SOURCE, node_owners
from snow_export.inspect.shapes import free_inputs, infer_shapes, weights_as_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snow_export.inspect.shapes import Shapes

_PRODUCTS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_POINTWISE: Final = frozenset(
    {
        "Abs",
        "Add",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "PRelu",
        "Pow",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Sub",
        "Tanh",
    }
)
_VIEWS: Final = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_PREPARED: Final = frozenset({"Concat", "Gather"})
"""What a kernel behind it may do by itself."""
_CONSTANT: Final = frozenset({"Constant", "ConstantOfShape", "Shape"})


@dataclass(frozen=True)
class Workload:
    """What one run of a graph has to do.

    Attributes:
        layers: Kernels that are launched, whatever the batch.
        macs: Multiply-adds of one picture.
        weights: Values of the constants, read once a run.
        values: Values that kernels write and read for one picture.
    """

    layers: float
    macs: float
    weights: float
    values: float

    def __add__(self, other: Workload) -> Workload:
        return self._with(other, 1)

    def __sub__(self, other: Workload) -> Workload:
        return self._with(other, -1)

    def _with(self, other: Workload, sign: int) -> Workload:
        return Workload(
            *(getattr(self, it.name) + sign * getattr(other, it.name) for it in fields(self))
        )


def estimate_workload(model: onnx.ModelProto) -> Workload:
    """Estimate what a graph in floating point has to do in half precision.

    Args:
        model: A valid graph; it is not changed.

    Raises:
        GraphError: Its shapes do not follow from its inputs.
    """
    if not model.graph.node:
        return Workload(0, 0, 0, 0)
    total = measure_cost(model).total
    light = weights_as_inputs(model)
    batch, shapes = infer_shapes(light, free_inputs(model))
    free = [value.name for value in light.graph.input[: free_inputs(model)]]
    kernels = _Kernels(light.graph, free)
    values = kernels.moved(shapes) / batch
    return Workload(kernels.count + 1, total.macs, total.parameters, values)


def source_part(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of an exported graph that is the source's; it gives out what others read."""
    part = onnx.ModelProto()
    part.CopyFrom(weights_as_inputs(model))
    graph = part.graph
    own = [owner == SOURCE for owner in node_owners(graph)]
    mine = [node for node, is_own in zip(graph.node, own, strict=True) if is_own]
    others = [node for node, is_own in zip(graph.node, own, strict=True) if not is_own]
    made = {name for node in mine for name in node.output}
    needed = {name for node in mine for name in node.input}
    wanted = {name for node in others for name in node.input} | {it.name for it in graph.output}
    free = [value for value in graph.input[: free_inputs(model)] if value.name in needed]
    kept = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    outputs = [onnx.ValueInfoProto(name=name) for name in sorted(made & wanted)]
    small = onnx.helper.make_graph(mine, graph.name, free, outputs, kept)
    return onnx.helper.make_model(small, opset_imports=list(model.opset_import))


class _Readers:
    """Who reads each tensor, views looked through."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._outputs = {value.name for value in graph.output}
        self._of: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._of[name].append(node)

    def alone(self, name: str, node: onnx.NodeProto) -> bool:
        """Whether a tensor is read by this node only, or meets what comes of it again.

        The second is so of an activation such as x times sigmoid(x).
        """
        readers = self._readers(name)
        if readers is None:
            return False
        others = [each for each in readers if each is not node]
        while others and node.op_type in _POINTWISE:
            behind = self._readers(node.output[0])
            if behind is None or len(behind) != 1:
                return False
            node = behind[0]
            others = [each for each in others if each is not node]
        return not others

    def _readers(self, name: str) -> list[onnx.NodeProto] | None:
        """Return the nodes that read a tensor; None if the caller gets it too."""
        if name in self._outputs:
            return None
        found: list[onnx.NodeProto] = []
        for node in self._of[name]:
            behind = self._readers(node.output[0]) if node.op_type in _VIEWS else [node]
            if behind is None:
                return None
            found += behind
        return found


class _Kernels:
    """Which kernel computes each node; numbers stand for kernels."""

    def __init__(self, graph: onnx.GraphProto, inputs: Iterable[str]) -> None:
        self._outputs = [value.name for value in graph.output]
        self._readers = _Readers(graph)
        self._of: dict[str, int] = dict.fromkeys(inputs, -1)  # tensors that are computed, by name
        self._same: dict[str, str] = {}  # a view's output: what it shows
        self._merged: list[int] = []  # of each kernel, the one that took it over, or itself
        self._open: list[bool] = []  # of each, whether one behind it may
        self._reads: list[tuple[int, str]] = []
        for node in graph.node:
            self._place(node)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(number == into for number, into in enumerate(self._merged))

    def moved(self, shapes: Shapes) -> int:
        """Count values that are written and read, for the batch of the shapes."""
        read = {
            (self._root(kernel), name)
            for kernel, name in self._reads
            if self._root(self._of[name]) != self._root(kernel)
        }
        read |= {(-2, self._origin(name)) for name in self._outputs}  # the caller's
        written = {name for _, name in read if self._of.get(name, -1) >= 0}
        handed = [name for kernel, name in read if kernel >= 0]
        return sum(math.prod(shapes.get(name, ())) for name in (*handed, *written))

    def _place(self, node: onnx.NodeProto) -> None:
        """Give a node to a kernel, of its inputs or a new one."""
        taken = [self._origin(name) for name in node.input]
        taken = [name for name in taken if name in self._of]
        if node.op_type in _CONSTANT or not taken:
            return  # of constants alone: done when it is compiled
        if node.op_type in _VIEWS:
            self._same[node.output[0]] = taken[0]
            return
        kernel = self._joined(node, taken)
        for name in node.output:
            self._of[name] = kernel
        self._reads += [(kernel, name) for name in taken]

    def _joined(self, node: onnx.NodeProto, taken: Sequence[str]) -> int:
        computed = [name for name in taken if self._of[name] >= 0]
        own = [name for name in computed if self._readers.alone(name, node)]
        if node.op_type in _POINTWISE and own:
            return max(self._root(self._of[name]) for name in own)
        kernel = len(self._merged)
        self._merged.append(kernel)
        self._open.append(node.op_type in _PREPARED or node.op_type in _POINTWISE)
        if node.op_type not in _PRODUCTS:
            for name in own:
                before = self._root(self._of[name])
                if self._open[before]:
                    self._merged[before] = kernel
        return kernel

    def _origin(self, name: str) -> str:
        while name in self._same:
            name = self._same[name]
        return name

    def _root(self, kernel: int) -> int:
        while kernel >= 0 and self._merged[kernel] != kernel:
            kernel = self._merged[kernel]
        return kernel

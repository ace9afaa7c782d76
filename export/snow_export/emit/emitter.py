"""The walk from a flat torch.fx graph to an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from snow_export.errors import ExportError
from snow_export.trace.nodes import run_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from snow_export.network import SharedNetwork

EXAMPLE_BATCH = 3
"""Batch of the example pass; a prime, so that no other axis is taken for it by chance."""

OPSET = 17
"""Old enough for the TensorRT of JetPack 6, new enough for LayerNormalization."""

LayerRule: TypeAlias = "Callable[[Emitter, fx.Node, Any], str]"
CallRule: TypeAlias = "Callable[..., str]"
"""Of the emitter, the node and its arguments."""


class Emitter:
    """What the rules write to: nodes, initializers, and the name and example of each value."""

    def __init__(self, flat: fx.GraphModule, network: SharedNetwork, image: Tensor) -> None:
        """Run the graph once on `image` [EXAMPLE_BATCH, 3, S, S] to learn every shape."""
        self.flat = flat
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.names: dict[fx.Node, str] = {}
        self.examples = run_nodes(flat, image)
        self.fixed: set[fx.Node] = set()
        self.split_parts: dict[fx.Node, list[str]] = {}
        self._taken: dict[str, None] = {}
        self.opset = OPSET

    def begin(self) -> tuple[int, int, int]:
        """Return how much is written, for `undo`."""
        return len(self.nodes), len(self.initializers), len(self._taken)

    def undo(self, begun: tuple[int, int, int]) -> None:
        """Take back what was written since `begin`."""
        nodes, initializers, taken = begun
        del self.nodes[nodes:]
        while len(self.initializers) > initializers:
            self.initializers.popitem()
        while len(self._taken) > taken:
            self._taken.popitem()

    def reserve(self, name: str) -> None:
        """Keep a name from being given to a value."""
        self._taken[name] = None

    def name(self, node: Any) -> str:
        """Return the ONNX name of a tensor argument.

        Raises:
            ExportError: The argument is no tensor that the graph computes.
        """
        if not isinstance(node, fx.Node) or node not in self.names:
            msg = f"{node!r} is no tensor of the graph; the exporter cannot write it"
            raise ExportError(msg)
        return self.names[node]

    def arguments(self, node: fx.Node) -> tuple[Any, ...]:
        """Return a node's arguments; sizes that the graph computes are the example's."""

        def known(argument: fx.Node) -> Any:
            value = self.examples[argument]
            computed = any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
            return argument if computed else value

        found: tuple[Any, ...] = fx.node.map_arg(node.args, known)
        return found

    def is_fixed(self, node: fx.Node) -> bool:
        """Tell whether a node computes with parameters alone, and so always the same."""
        return bool(node.all_input_nodes) and self.fixed.issuperset(node.all_input_nodes)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Return a node's shape in the example pass; axis 0 is EXAMPLE_BATCH."""
        value: Tensor = self.examples[node]
        return tuple(value.shape)

    def label(self, node: fx.Node) -> str:
        """Return what to call a node: its layer's name, or what torch.fx called it."""
        if node.op == "call_module":
            return self.network.readable(str(node.target))
        return node.name

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        label: str,
        **attributes: Any,
    ) -> str:
        """Append a node and return the name of its one output."""
        return self.add_many(op, inputs, label, 1, **attributes)[0]

    def add_many(
        self,
        op: str,
        inputs: Sequence[str],
        label: str,
        count: int,
        **attributes: Any,
    ) -> list[str]:
        """Append a node with `count` outputs and return their names."""
        name = self._unique(label)
        outputs = [name] if count == 1 else [self._unique(f"{name}:{i}") for i in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        return outputs

    def constant(self, label: str, value: Tensor | NDArray[Any]) -> str:
        """Add an initializer and return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        name = self._unique(label)
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def reshape(self, value: str, shape: Sequence[int], label: str) -> str:
        """Reshape with constants; axis 0 is copied from the input, the batch."""
        target = np.array([0, *shape[1:]], np.int64)
        return self.add("Reshape", [value, self.constant(f"{label}.shape", target)], label)

    def _unique(self, label: str) -> str:
        name, number = label, 1
        while name in self._taken:
            number += 1
            name = f"{label}#{number}"
        self._taken[name] = None
        return name

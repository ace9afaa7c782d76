"""Fusing: the deltas of several tasks become one network, one convolution per layer."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from snow_export.blocks import FEW, Apart, is_wasteful
from snow_export.emit.emitter import run_nodes
from snow_export.errors import ExportError
from snow_export.freeze import StaticPooling
from snow_export.stack import (
    Interleave,
    Joined,
    Shared,
    Stack,
    Value,
    convolution_like,
    linear_of,
    scatter,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class CannotFuse(ExportError):  # noqa: N818 - reads as what it says
    """A delta holds something that has no fused form; it is exported beside the others."""


THIN = 8
"""Channels that fill a tensor core's tile in half precision."""


class FusedDeltas(nn.Module):
    """Several deltas of one shape as one network: images and features in, T logits out."""

    def __init__(self, network: fx.GraphModule, tasks: Sequence[str]) -> None:
        """Wrap a fused graph and remember whose answers it gives, in order."""
        super().__init__()
        self.network = network
        self.tasks = tuple(tasks)

    def forward(self, images: Tensor, features: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Answer every task of the group: [B, classes] each."""
        logits: tuple[Tensor, ...] = self.network(images, features)
        return logits


class Fuser:
    """Walks the graphs of T deltas of equal shape in step and builds their fused graph."""

    def __init__(
        self,
        deltas: Sequence[fx.GraphModule],
        example: tuple[Tensor, Any],
        *,
        summed: bool = False,
        dense_below: int = THIN,
    ) -> None:
        """Take graphs to fuse.

        Args:
            deltas: Frozen and folded, of one shape.
            example: Images and the source's features of them.
            summed: Convolve the local and the subscribed channels each for itself and add up,
                instead of concatenating them task by task.
            dense_below: Where a task's convolution has fewer input or output channels than this,
                all tasks' become one dense convolution with zero blocks, not one of groups. Not
                where `summed`: CPUs gain nothing by it.
        """
        self.deltas = deltas
        self.dense_below = dense_below
        self.summed = summed
        self.count = len(deltas)
        self.columns = list(zip(*(delta.graph.nodes for delta in deltas), strict=True))
        self.shapes = [run_nodes(delta, *example) for delta in deltas]
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.values: dict[fx.Node, Value] = {}  # by the first delta's node
        self.interleaved: dict[tuple[fx.Node, ...], Stack] = {}

    def build(self) -> fx.GraphModule:
        """Return the fused graph: images and features in, a tuple of T logits out.

        Raises:
            CannotFuse: A layer or function has no fused form; the message names it.
        """
        for column in self.columns:
            first = column[0]
            if first.op == "placeholder":
                node = self.graph.placeholder(str(first.target))
                width = 3 if isinstance(self.shapes[0][first], Tensor) else 0
                self.values[first] = Shared(node, width)
            elif first.op == "output":
                self.graph.output(self._outputs(column))
            else:
                self.values[first] = self._fuse(column)
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph, class_name="FusedDeltas")

    def _fuse(self, column: tuple[fx.Node, ...]) -> Value:
        first = column[0]
        if first.target is operator.getitem:
            return self._feature(first)
        if first.target in {torch.cat, torch.concat}:
            return self._join(first, [self.values[part] for part in first.all_input_nodes])
        if first.op == "call_module":
            layers = [
                delta.get_submodule(str(node.target))
                for delta, node in zip(self.deltas, column, strict=True)
            ]
            return self._layer(first, layers)
        return self._elementwise(column)

    def _feature(self, node: fx.Node) -> Shared:
        """Read one of the source's tensors, once however many layers ask for it."""
        key = node.args[1]
        mapping = self.values[node.all_input_nodes[0]]
        if not isinstance(mapping, Shared) or not isinstance(key, str):
            raise CannotFuse(_no_form(node))
        fused = self.graph.call_function(operator.getitem, (mapping.node, key))
        return Shared(fused, self._width(node, 0))

    def _join(self, node: fx.Node, parts: Sequence[Value]) -> Joined:
        if node.args[1:] not in {(1,), ()} or node.kwargs.get("dim", 1) != 1:
            raise CannotFuse(_no_form(node))
        flat = [
            inner
            for part in parts
            for inner in (part.parts if isinstance(part, Joined) else (part,))
        ]
        return Joined(tuple(flat))

    def _layer(self, node: fx.Node, layers: Sequence[nn.Module]) -> Value:
        value = self.values[node.all_input_nodes[0]]
        first = layers[0]
        if isinstance(first, StaticPooling):
            return self._pooling(node, layers, value)
        if isinstance(first, nn.Conv2d):
            return self._convolution(node, layers, value)
        if isinstance(first, nn.Linear):
            return self._linear(node, layers, value)
        if next(first.parameters(), None) is not None or next(first.buffers(), None) is not None:
            raise CannotFuse(_no_form(node, first))
        stack = self._stacked(value, str(node.target))
        return Stack(self._call(str(node.target), first, stack.node), stack.widths)

    def _pooling(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """Gather for all tasks at once, one affine behind it."""
        if not isinstance(value, Shared):
            raise CannotFuse(_no_form(node))
        fused = StaticPooling.joined(layers)
        widths = tuple(len(layer.index) for layer in layers)
        name = str(node.target)
        if not self.summed or fused.scale is None:
            return Stack(self._call(name, fused, value.node), widths)
        gather = StaticPooling(fused.index, None, None, None)
        pooled = self._call(f"{name}_affine", fused.affine(), self._call(name, gather, value.node))
        if fused.relu is not None:
            pooled = self._call(f"{name}_relu", fused.relu, pooled)
        return Stack(pooled, widths)

    def _convolution(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """One convolution, a group per task; dense on a shared input or where groups are thin."""
        first: nn.Conv2d = layers[0]
        joined = value if isinstance(value, Joined) else Joined((value,))
        mixed = len(joined.parts) > 1 and any(isinstance(part, Shared) for part in joined.parts)
        if mixed and first.groups == 1 and is_wasteful(layers, joined):
            return self._apart(node, layers, joined)
        if mixed or (self._is_thin(first) and not isinstance(value, Shared)):
            weight, reads, groups = scatter(layers, joined), self._plain(joined), 1
        elif isinstance(value, Shared):
            weight, reads, groups = _stacked_weights(layers), value.node, first.groups
            if groups != 1:
                raise CannotFuse(_no_form(node, first))
        elif self.summed and isinstance(value, Joined) and first.groups == 1:
            return self._sum(node, layers, value)
        else:
            reads = self._stacked(value, str(node.target)).node
            weight, groups = _stacked_weights(layers), first.groups * self.count
        fused = convolution_like(first, weight, _stacked_biases(layers), groups)
        return Stack(self._call(str(node.target), fused, reads), _outputs_of(layers))

    def _is_thin(self, layer: nn.Conv2d) -> bool:
        """Whether a task's own group would be narrower than hardware likes."""
        narrowest = min(layer.in_channels, layer.out_channels)
        thin = layer.groups == 1 and narrowest < self.dense_below
        return thin and not self.summed and self.count <= FEW  # zeros grow with its square

    def _sum(self, node: fx.Node, layers: Sequence[Any], value: Joined) -> Stack:
        """Convolve each part with its own share of the weights, a group per task, and add up."""
        total: fx.Node | None = None
        start = 0
        for number, part in enumerate(value.parts):
            stack = self._stacked(part, str(node.target))
            (width,) = set(stack.widths)  # equal, for the deltas have one shape
            weight = torch.cat([layer.weight[:, start : start + width] for layer in layers])
            bias = None if number else _stacked_biases(layers)
            name = f"{node.target}_part{number + 1}" if number else str(node.target)
            convolution = convolution_like(layers[0], weight, bias, self.count)
            added = self._call(name, convolution, stack.node)
            start += width
            total = (
                added if total is None else self.graph.call_function(operator.add, (total, added))
            )
        if total is None:
            raise CannotFuse(_no_form(node, layers[0]))
        return Stack(total, _outputs_of(layers))

    def _linear(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """One matrix product for all tasks, with zero blocks where a task does not look."""
        joined = value if isinstance(value, Joined) else Joined((value,))
        if is_wasteful(layers, joined):
            return self._apart(node, layers, joined)
        fused = linear_of(scatter(layers, joined), _stacked_biases(layers))
        widths = tuple(layer.out_features for layer in layers)
        return Stack(self._call(str(node.target), fused, self._plain(joined)), widths)

    def _apart(self, node: fx.Node, layers: Sequence[Any], value: Joined) -> Stack:
        """Read what all tasks share with one layer, what each has to itself with a group each."""
        name = str(node.target)
        own = tuple(part for part in value.parts if isinstance(part, Stack))
        common = tuple(part for part in value.parts if isinstance(part, Shared))
        stacked = own[0] if len(own) == 1 else self._stacked(Joined(own), f"{name}_own")
        reads = [stacked.node, *([self._plain(Joined(common))] if common else [])]
        widths = tuple(len(layer.weight) for layer in layers)
        return Stack(self._call(name, Apart(layers, value), *reads), widths)

    def _elementwise(self, column: tuple[fx.Node, ...]) -> Stack:
        """Apply a function that treats every channel alike to the stacked tensors."""
        first = column[0]
        if not _is_channelwise(first):
            raise CannotFuse(_no_form(first))
        widths: tuple[int, ...] = ()

        def stacked(argument: fx.Node) -> fx.Node:
            nonlocal widths
            stack = self._stacked(self.values[argument], first.name)
            if widths and stack.widths != widths:
                raise CannotFuse(_no_form(first))
            widths = stack.widths
            return stack.node

        node = self.graph.node_copy(first, stacked)
        if first.target in _FLATTENERS:  # [B, C, H, W] -> [B, C * H * W], still task by task
            widths = tuple(self._width(other, task) for task, other in enumerate(column))
        return Stack(node, widths)

    def _stacked(self, value: Value, label: str) -> Stack:
        """Return a value as one stacked tensor, concatenating task by task where it must."""
        if isinstance(value, Stack):
            return value
        if isinstance(value, Shared):
            msg = f"{label} reads a source tensor in a way that has no fused form"
            raise CannotFuse(msg)
        stacks = [self._stacked(part, label) for part in value.parts]
        key = tuple(stack.node for stack in stacks)
        if key in self.interleaved:  # two convolutions of a block read the same
            return self.interleaved[key]
        if any(len(set(stack.widths)) > 1 for stack in stacks):
            msg = f"{label} concatenates tasks of unequal widths"
            raise CannotFuse(msg)
        widths = tuple(sum(stack.widths[task] for stack in stacks) for task in range(self.count))
        module = Interleave(self.count)
        name = f"{label}.interleave"
        self._holder(name).add_module(name.rpartition(".")[2], module)
        self.interleaved[key] = Stack(self.graph.call_module(name, key), widths)
        return self.interleaved[key]

    def _plain(self, value: Joined) -> fx.Node:
        """Concatenate the parts one behind the other, without regard to tasks."""
        nodes = [part.node for part in value.parts]
        return nodes[0] if len(nodes) == 1 else self.graph.call_function(torch.cat, (nodes, 1))

    def _outputs(self, column: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
        stack = self.values[column[0].all_input_nodes[0]]
        if not isinstance(stack, Stack):
            raise CannotFuse(_no_form(column[0]))
        sizes = list(stack.widths)
        parts = self.graph.call_function(torch.split, (stack.node, sizes, 1))
        return tuple(
            self.graph.call_function(operator.getitem, (parts, task)) for task in range(self.count)
        )

    def _call(self, name: str, layer: nn.Module, *reads: fx.Node) -> fx.Node:
        target = name.removeprefix("network.")
        holder, leaf = self._holder(target), target.rpartition(".")[2]
        if not hasattr(holder, leaf):
            holder.add_module(leaf, layer)
        return self.graph.call_module(target, reads)

    def _holder(self, target: str) -> nn.Module:
        holder = self.root
        for part in target.split(".")[:-1]:
            if not hasattr(holder, part):
                holder.add_module(part, nn.Module())
            holder = getattr(holder, part)
        return holder

    def _width(self, node: fx.Node, task: int) -> int:
        example: Tensor = self.shapes[task][node]
        return int(example.shape[1])


def _stacked_weights(layers: Sequence[Any]) -> Tensor:
    return torch.cat([layer.weight for layer in layers])


def _stacked_biases(layers: Sequence[Any]) -> Tensor | None:
    return None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])


def _outputs_of(layers: Sequence[nn.Conv2d]) -> tuple[int, ...]:
    return tuple(layer.out_channels for layer in layers)


def _is_channelwise(node: fx.Node) -> bool:
    if node.target in {torch.mean, "mean"}:
        return sorted(node.args[1]) in ([2, 3], [-2, -1])  # type: ignore[arg-type]
    if node.target in _FLATTENERS:
        return node.args[1:] == (1,) and not node.kwargs
    return node.target in _CHANNELWISE


def _no_form(node: fx.Node, layer: nn.Module | None = None) -> str:
    what = node.target if layer is None else type(layer).__name__
    return f"{node.name} ({what}) has no fused form"


_FLATTENERS: frozenset[Any] = frozenset({torch.flatten, "flatten"})
_CHANNELWISE: frozenset[Any] = frozenset(
    {
        operator.add,
        operator.iadd,
        operator.mul,
        operator.imul,
        torch.add,
        torch.mul,
        torch.relu,
        torch.sigmoid,
        functional.relu,
        functional.relu6,
        functional.max_pool2d,
        functional.avg_pool2d,
        functional.adaptive_avg_pool2d,
        functional.hardswish,
        "add",
        "add_",
        "mul",
        "relu",
        "sigmoid",
    }
)

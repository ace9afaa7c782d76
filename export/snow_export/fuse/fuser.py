"""Fusing: the deltas of several tasks become one network, one convolution per layer."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from snow_export.fuse.channelwise import is_channelwise
from snow_export.fuse.fused_graph import CannotFuse, no_form
from snow_export.fuse.fused_layers import FusedLayers
from snow_export.fuse.movement import Moving, begin, follow, is_movement, where_channels_went
from snow_export.fuse.stack import Free, Joined, Last, Picked, Shared, Stack, Value, pick
from snow_export.trace.nodes import run_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


class Fuser(FusedLayers):
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
            deltas: Deltas, frozen and folded, of one shape.
            example: Images and the source's features of them.
            summed: Whether to convolve the local and the subscribed channels each for itself and
                add up, instead of concatenating them task by task.
            dense_below: Where a task's convolution has fewer input or output channels than this,
                all tasks' become one dense convolution with zero blocks, not one of groups. Not
                where `summed`: CPUs gain nothing by it.
        """
        shapes = [run_nodes(delta, *example) for delta in deltas]
        super().__init__(shapes, summed=summed, dense_below=dense_below)
        self.deltas = deltas
        self.columns = list(zip(*(delta.graph.nodes for delta in deltas), strict=True))
        self.values: dict[fx.Node, Value | Last | Free | Moving] = {}  # by the first delta's node

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
            elif any(isinstance(leaf, Tensor) for leaf in tree_leaves(self.shapes[0][first])):
                self.values[first] = self._fuse(column)
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph, class_name="FusedDeltas")

    def _fuse(self, column: tuple[fx.Node, ...]) -> Value | Last | Free | Moving:
        first = column[0]
        if all(isinstance(self.values.get(arg), Free) for arg in first.all_input_nodes):
            name = str(first.target) if first.op == "get_attr" else f"{first.name}_value"
            return Free(name, tuple(self._examples(column)))
        reads = self.values.get(first.all_input_nodes[0])
        if isinstance(reads, Shared) and not reads.width:
            return self._feature(first)
        if is_movement(self.deltas[0], first):
            return self._move(column)
        if first.target is torch.cat:
            return self._join(first)
        if first.op == "call_module":
            layers = [
                delta.get_submodule(str(node.target))
                for delta, node in zip(self.deltas, column, strict=True)
            ]
            return self._layer(first, layers, self._value(first.all_input_nodes[0]))
        return self._elementwise(first)

    def _examples(self, column: tuple[fx.Node, ...]) -> list[Any]:
        return [values[node] for values, node in zip(self.shapes, column, strict=True)]

    def _move(self, column: tuple[fx.Node, ...]) -> Moving:
        """Follow what only moves values; what comes of it is looked at when it is read."""
        before = column[0].all_input_nodes[0]
        value = self.values[before]
        if isinstance(value, Free):
            raise CannotFuse(no_form(column[0]))
        if not isinstance(value, Moving):
            place = list(self.deltas[0].graph.nodes).index(before)
            value = begin(
                value, [tuple(each.shape) for each in self._examples(self.columns[place])]
            )
        return follow(value, column, self.deltas, self.shapes)

    def _value(self, node: fx.Node) -> Value | Last | Free:
        """Return what a node makes, in the fused graph."""
        value = self.values[node]
        if isinstance(value, Moving):
            value = self.values[node] = self._settled(node, value)
        return value

    def _settled(self, node: fx.Node, moving: Moving) -> Value | Last:
        found = [
            where_channels_went(numbers, shape) if isinstance(numbers, Tensor) else None
            for numbers, shape in zip(moving.numbers, moving.shapes, strict=True)
        ]
        moved = [each for each in found if each is not None]
        if len(moved) < self.count:
            msg = f"{node.name} moves values otherwise than channel by channel"
            raise CannotFuse(msg)
        value = pick(moving.value, [each.channels for each in moved])
        if moved[0].form == "first":
            return value
        shape = tuple(self.shapes[0][node].shape)
        if moved[0].form == "last":
            if len(moving.shapes[0]) != 4:
                raise CannotFuse(no_form(node))
            return Last(value, shape, moving.shapes[0][2:])
        start = 1 if moved[0].form == "flat" else 2
        if isinstance(value, Shared):
            flat = self.graph.call_function(torch.flatten, (value.node, start))
            return Shared(flat, shape[1])
        stack = self._stacked(value, node.name)
        flat = self.graph.call_function(torch.flatten, (stack.node, start))
        return Stack(flat, tuple(numbers.shape[1] for numbers in moving.numbers))

    def _feature(self, node: fx.Node) -> Shared:
        """Read one of the source's tensors, once however many layers ask for it."""
        key = node.args[1]
        mapping = self.values[node.all_input_nodes[0]]
        if node.target is not operator.getitem or not isinstance(mapping, Shared):
            raise CannotFuse(no_form(node))
        fused = self.graph.call_function(operator.getitem, (mapping.node, key))
        return Shared(fused, self._width(node, 0))

    def _join(self, node: fx.Node) -> Joined:
        rank = self.shapes[0][node].ndim
        flat: list[Stack | Shared | Picked] = []
        for part in self._parts(node):
            if isinstance(part, Last | Free) or node.args[1] % rank != 1:
                raise CannotFuse(no_form(node))
            flat += part.parts if isinstance(part, Joined) else (part,)
        return Joined(tuple(flat))

    def _parts(self, node: fx.Node) -> list[Value | Last | Free]:
        """Return what a concatenation reads: a list of tensors, or the parts of a split."""
        listed: Any = node.args[0]
        if not isinstance(listed, fx.Node):
            return [self._value(part) for part in listed]
        moving = self.values[listed]
        if not isinstance(moving, Moving):
            raise CannotFuse(no_form(node))
        parts = zip(*moving.numbers, strict=True)
        return [self._settled(listed, replace(moving, numbers=part)) for part in parts]

    def _elementwise(self, node: fx.Node) -> Value | Last:
        """Apply a function that treats every channel alike to the stacked tensors."""
        inputs = {arg: self._value(arg) for arg in node.all_input_nodes if arg in self.values}
        tensors = {arg: value for arg, value in inputs.items() if not isinstance(value, Free)}
        last = [value for value in tensors.values() if isinstance(value, Last)]
        shapes = {value.shape for value in last}
        rank = max((self.shapes[0][arg].ndim for arg in tensors), default=0)
        mixed = last and (len(last) < len(tensors) or len(shapes) > 1)
        if not tensors or mixed or not is_channelwise(node, rank, last=bool(last)):
            raise CannotFuse(no_form(node))
        shared = all(isinstance(value, Shared) for value in tensors.values())
        if shared and len(tensors) == len(inputs):  # every task computes the same
            fused = self.graph.node_copy(node, lambda arg: self._constant(arg, inputs))
            return Shared(fused, self._width(node, 0))
        stacks = {
            arg: self._stacked(value.value if isinstance(value, Last) else value, node.name)
            for arg, value in tensors.items()
        }
        widths = {stack.widths for stack in stacks.values()}
        if len(widths) > 1:
            raise CannotFuse(no_form(node))
        stack = Stack(next(iter(stacks.values())).node, widths.pop())
        free = {
            arg: self._parameter(node, value, stack.widths, rank, last=bool(last))
            for arg, value in inputs.items()
            if isinstance(value, Free)
        }
        fused = self.graph.node_copy(
            node, lambda arg: free[arg] if arg in free else self._constant(arg, stacks)
        )
        stack = replace(stack, node=fused)
        return replace(last[0], value=stack) if last else stack

    def _constant(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """Return a value's node in the fused graph; sizes are those of the example."""
        return values[node].node if node in values else self.shapes[0][node]

    def _parameter(
        self, node: fx.Node, free: Free, widths: Sequence[int], rank: int, *, last: bool
    ) -> fx.Node:
        """Give all tasks' parameters as one tensor that is broadcast over a stack."""
        try:
            tensor = free.stacked(widths, rank, last=last)
        except ValueError as error:
            msg = f"{node.name} reads {free.name} {error}, which has no fused form"
            raise CannotFuse(msg) from error
        target = free.name.removeprefix("network.")
        holder, leaf = self._holder(target), target.rpartition(".")[2]
        if not hasattr(holder, leaf):
            holder.register_buffer(leaf, tensor)
        return self.graph.get_attr(target)

    def _outputs(self, column: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
        value = self._value(column[0].all_input_nodes[0])
        if isinstance(value, Last | Free):
            raise CannotFuse(no_form(column[0]))
        stack = self._stacked(value, column[0].name)
        sizes = list(stack.widths)
        parts = self.graph.call_function(torch.split, (stack.node, sizes, 1))
        return tuple(
            self.graph.call_function(operator.getitem, (parts, task)) for task in range(self.count)
        )

    def _width(self, node: fx.Node, task: int) -> int:
        example: Tensor = self.shapes[task][node]
        return int(example.shape[1])

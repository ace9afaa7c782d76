"""The graph of all tasks as it is being built: layers, calls, and stacked tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from snow_export.errors import ExportError
from snow_export.fuse.stack import Interleave, Joined, Picked, Stack, channels, picked
from snow_export.trace.freeze import StaticPooling

if TYPE_CHECKING:
    from snow_export.fuse.stack import Value


class CannotFuse(ExportError):  # noqa: N818 - reads as what it says
    """A delta holds something that has no fused form; it is exported beside the others."""


class FusedGraph:
    """A graph of layers for T tasks at once; values are stacked when somebody needs it."""

    def __init__(self, count: int) -> None:
        """Begin one for so many tasks."""
        self.count = count
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.stacks: dict[Value, Stack] = {}

    def _stacked(self, value: Value, label: str) -> Stack:
        """Return a value as one stacked tensor, concatenating task by task where it must."""
        if isinstance(value, Stack):
            return value
        if value not in self.stacks:  # two convolutions of a block read the same
            self.stacks[value] = self._interleaved(value, label) or self._gathered(value, label)
        return self.stacks[value]

    def _interleaved(self, value: Value, label: str) -> Stack | None:
        """Concatenate whole stacks task by task, if these are such, each of equal widths."""
        if not isinstance(value, Joined):
            return None
        stacks = [part for part in value.parts if isinstance(part, Stack)]
        if len(stacks) < len(value.parts) or any(len(set(part.widths)) > 1 for part in stacks):
            return None
        widths = tuple(map(sum, zip(*(part.widths for part in stacks), strict=True)))
        nodes = [part.node for part in stacks]
        return Stack(self._call_own(f"{label}_interleave", Interleave(self.count), *nodes), widths)

    def _gathered(self, value: Value, label: str) -> Stack:
        """Lay all that a value's channels are in side by side, and gather them task by task.

        What tasks share is so repeated for each.
        """
        found = picked(value, self.count)
        index = found.index
        widths = tuple(len(own) for own in found.order)
        whole = self._plain(found)
        if index == list(range(sum(channels(part) for part in found.parts))):
            return Stack(whole, widths)
        gather = StaticPooling(torch.tensor(index), None, None, None)
        return Stack(self._call_own(f"{label}_gather", gather, whole), widths)

    def _plain(self, value: Joined | Picked) -> fx.Node:
        """Concatenate the parts one behind the other, without regard to tasks."""
        nodes = [part.node for part in value.parts]  # type: ignore[union-attr]
        return nodes[0] if len(nodes) == 1 else self.graph.call_function(torch.cat, (nodes, 1))

    def _without_picks(self, value: Value, label: str) -> Joined:
        """Return a value's parts; those that are picked channels are stacked."""
        parts = value.parts if isinstance(value, Joined) else (value,)
        return Joined(
            tuple(
                self._stacked(part, label) if isinstance(part, Picked) else part for part in parts
            )
        )

    def _call(self, name: str, layer: nn.Module, *reads: fx.Node) -> fx.Node:
        target = name.removeprefix("network.")
        holder, leaf = self._holder(target), target.rpartition(".")[2]
        if not hasattr(holder, leaf):
            holder.add_module(leaf, layer)
        return self.graph.call_module(target, reads)

    def _call_own(self, name: str, layer: nn.Module, *reads: fx.Node) -> fx.Node:
        """Call a layer that no delta has, by a name that is free."""
        free, number = name, 1
        while hasattr(self._holder(free.removeprefix("network.")), free.rpartition(".")[2]):
            number += 1
            free = f"{name}_{number}"
        return self._call(free, layer, *reads)

    def _holder(self, target: str) -> nn.Module:
        holder = self.root
        for part in target.split(".")[:-1]:
            if not hasattr(holder, part):
                holder.add_module(part, nn.Module())
            holder = getattr(holder, part)
        return holder


def no_form(node: fx.Node, layer: nn.Module | None = None) -> str:
    """Say that a node, or a layer that it calls, has no fused form."""
    what = getattr(node.target, "__name__", node.target)
    if layer is not None:
        what = type(layer).__name__
    return f"{node.name} ({what}) has no fused form"

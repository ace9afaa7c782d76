"""What becomes of a layer when deltas are fused: a rule for each kind of layer."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snow_export.fuse.block_layers import FEW, SharedAndOwn, is_wasteful
from snow_export.fuse.channelwise import CHANNELWISE_LAYERS, POINTWISE_LAYERS
from snow_export.fuse.fused_graph import CannotFuse, FusedGraph, no_form
from snow_export.fuse.stack import (
    Free,
    Joined,
    Last,
    Shared,
    Stack,
    StackedLayerNorm,
    Value,
    as_convolution,
    convolution_with_weights,
    linear_of,
    scatter,
    stacked_batch_norm,
    stacked_group_norm,
)
from snow_export.trace.freeze import StaticPooling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class FusedLayers(FusedGraph):
    """A graph of layers for T tasks, with the rules by which one layer of each becomes one."""

    def __init__(
        self, shapes: Sequence[Mapping[fx.Node, Any]], *, summed: bool, dense_below: int
    ) -> None:
        """Begin a graph.

        Args:
            shapes: The table by delta: an example of what each of its nodes makes.
            summed: Whether to convolve the local and the subscribed channels each for itself and
                add up.
            dense_below: Channels below which groups are too thin, where not `summed`.
        """
        super().__init__(len(shapes))
        self.shapes = shapes
        self.dense_below = dense_below
        self.summed = summed

    def _layer(
        self, node: fx.Node, layers: Sequence[Any], value: Value | Last | Free
    ) -> Value | Last:
        """Add what becomes of one layer of each delta, by the rule of its kind.

        Args:
            node: The first delta's.
            layers: Each delta's.
            value: What they read.

        Raises:
            CannotFuse: There is no rule, or it does not hold for what is read.
        """
        first = layers[0]
        if isinstance(value, Last):
            return replace(value, value=self._pixelwise(node, layers, value.value))
        if isinstance(value, Free):
            raise CannotFuse(no_form(node, first))
        rules: dict[Any, Callable[[fx.Node, Sequence[Any], Value], Value]] = {
            StaticPooling: self._pooling,
            nn.Conv2d: self._convolution,
            nn.Linear: self._linear,
            nn.BatchNorm2d: self._batch_norm,
            nn.LayerNorm: self._layer_norm,
            nn.GroupNorm: self._group_norm,
            CHANNELWISE_LAYERS: self._alike,
        }
        for kind, rule in rules.items():
            if isinstance(first, kind):
                return rule(node, layers, value)
        raise CannotFuse(no_form(node, first))

    def _pixelwise(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Value:
        """Apply a layer to channels that come last in the deltas."""
        first = layers[0]
        if isinstance(first, nn.Linear):
            return self._convolution(node, [as_convolution(layer) for layer in layers], value)
        if isinstance(first, nn.LayerNorm) and len(first.normalized_shape) == 1:
            return self._apply(node, StackedLayerNorm(layers, 4), value)
        if isinstance(first, POINTWISE_LAYERS):
            return self._alike(node, layers, value)
        raise CannotFuse(no_form(node, first))

    def _batch_norm(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        return self._apply(node, stacked_batch_norm(layers), value)

    def _group_norm(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """Norm each task's groups of channels; where they are of one size."""
        if len({layer.num_channels // layer.num_groups for layer in layers}) > 1:
            raise CannotFuse(no_form(node, layers[0]))
        return self._apply(node, stacked_group_norm(layers), value)

    def _layer_norm(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """Norm each task's channels: torchvision's LayerNorm2d, or torch's own on [B, C]."""
        rank = self.shapes[0][node].ndim
        if type(layers[0]) is nn.LayerNorm and rank != 2:  # over pixels too
            raise CannotFuse(no_form(node, layers[0]))
        return self._apply(node, StackedLayerNorm(layers, rank), value)

    def _alike(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack | Shared:
        """Call what treats every channel alike; what tasks share is computed once for all."""
        if isinstance(value, Shared):
            return Shared(self._call(str(node.target), layers[0], value.node), value.width)
        return self._apply(node, layers[0], value)

    def _apply(self, node: fx.Node, layer: nn.Module, value: Value) -> Stack:
        stack = self._stacked(value, str(node.target))
        return Stack(self._call(str(node.target), layer, stack.node), stack.widths)

    def _pooling(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """Gather for all tasks at once, one affine behind it."""
        if not isinstance(value, Shared):
            raise CannotFuse(no_form(node))
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
        dense = first.groups == 1
        shared = isinstance(value, Joined) and any(isinstance(p, Shared) for p in value.parts)
        if dense and isinstance(value, Shared):
            weight, reads, groups = _stacked_weights(layers), value.node, 1
        elif dense and (shared or self._is_thin(first)):
            joined = self._without_picks(value, str(node.target))
            if shared and is_wasteful(layers, joined):
                return self._shared_and_own(node, layers, joined)
            weight, reads, groups = scatter(layers, joined), self._plain(joined), 1
        elif dense and self.summed and isinstance(value, Joined):
            return self._sum(node, layers, value)
        else:
            reads = self._stacked(value, str(node.target)).node
            weight, groups = _stacked_weights(layers), first.groups * self.count
        fused = convolution_with_weights(first, weight, _stacked_biases(layers), groups)
        return Stack(self._call(str(node.target), fused, reads), _outputs_of(layers))

    def _is_thin(self, layer: nn.Conv2d) -> bool:
        """Whether a task's own group would be narrower than hardware likes."""
        narrowest = min(layer.in_channels, layer.out_channels)
        thin = narrowest < self.dense_below
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
            convolution = convolution_with_weights(layers[0], weight, bias, self.count)
            added = self._call(name, convolution, stack.node)
            start += width
            total = (
                added if total is None else self.graph.call_function(operator.add, (total, added))
            )
        if total is None:
            raise CannotFuse(no_form(node, layers[0]))
        return Stack(total, _outputs_of(layers))

    def _linear(self, node: fx.Node, layers: Sequence[Any], value: Value) -> Stack:
        """One matrix product for all tasks, with zero blocks where a task does not look."""
        if self.shapes[0][node].ndim != 2:
            raise CannotFuse(no_form(node, layers[0]))
        joined = self._without_picks(value, str(node.target))
        if is_wasteful(layers, joined):
            return self._shared_and_own(node, layers, joined)
        fused = linear_of(scatter(layers, joined), _stacked_biases(layers))
        widths = tuple(layer.out_features for layer in layers)
        return Stack(self._call(str(node.target), fused, self._plain(joined)), widths)

    def _shared_and_own(self, node: fx.Node, layers: Sequence[Any], value: Joined) -> Stack:
        """Read what all tasks share with one layer, what each has to itself with a group each."""
        name = str(node.target)
        own = tuple(part for part in value.parts if isinstance(part, Stack))
        common = tuple(part for part in value.parts if isinstance(part, Shared))
        stacked = own[0] if len(own) == 1 else self._stacked(Joined(own), f"{name}_own")
        reads = [stacked.node, *([self._plain(Joined(common))] if common else [])]
        widths = tuple(len(layer.weight) for layer in layers)
        return Stack(self._call(name, SharedAndOwn(layers, value), *reads), widths)


def _stacked_weights(layers: Sequence[Any]) -> Tensor:
    return torch.cat([layer.weight for layer in layers])


def _stacked_biases(layers: Sequence[Any]) -> Tensor | None:
    return None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])


def _outputs_of(layers: Sequence[nn.Conv2d]) -> tuple[int, ...]:
    return tuple(layer.out_channels for layer in layers)

"""The values of several tasks in one tensor, and the layers that read and make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snow_export.own_layers import PaddedConv2d

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Stack:
    """A value of all T tasks in one tensor, task by task along the channels.

    Attributes:
        node: [B, T * C, ...] in the fused graph.
        widths: C of each task.
    """

    node: fx.Node
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Shared:
    """A value that all tasks read as it is: the image, or one of the source's features."""

    node: fx.Node
    width: int


@dataclass(frozen=True)
class Joined:
    """Values to be concatenated along the channels of each task, once it is known by whom."""

    parts: tuple[Stack | Shared | Picked, ...]


@dataclass(frozen=True)
class Picked:
    """Some channels of other values, for each task in an order of its own.

    Attributes:
        parts: Where they are.
        order: The table by task: the part, and the channel among its own there.
    """

    parts: tuple[Stack | Shared, ...]
    order: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def index(self) -> list[int]:
        """Where they are when the parts lie one behind the other, task by task."""
        starts = [0]
        for part in self.parts:
            starts.append(starts[-1] + channels(part))
        found = []
        for task, order in enumerate(self.order):
            for number, channel in order:
                part = self.parts[number]
                own = 0 if isinstance(part, Shared) else sum(part.widths[:task])
                found.append(starts[number] + own + channel)
        return found


Value = Stack | Shared | Joined | Picked


@dataclass(frozen=True)
class Last:
    """A value whose channels come last in the deltas; the fused graph leaves them where they were.

    Attributes:
        value: [B, T * C, H, W] in the fused graph.
        shape: [B, ..., C] of one delta's tensor in the example pass, pixels in order.
        pixels: H and W.
    """

    value: Value
    shape: tuple[int, ...]
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class Free:
    """A parameter of each task's own that no layer holds."""

    name: str
    tensors: tuple[Tensor, ...]

    def stacked(self, widths: Sequence[int], rank: int, *, last: bool) -> Tensor:
        """Return [1, T * C, ...] as it is broadcast over a stack.

        Args:
            widths: C of each task's tensor.
            rank: Rank of that tensor, [B, C, ...], or [B, ..., C] where channels are `last`.
            last: Whether it is the latter.

        Raises:
            ValueError: It is not one value, or one a channel or pixel, for all pictures alike.
        """
        whole = []
        for tensor, width in zip(self.tensors, widths, strict=True):
            shape = tuple(tensor.shape)
            wide = tensor.detach().reshape((1,) * (rank - len(shape)) + shape)
            wide = wide.movedim(-1, 1) if last else wide
            pixels = wide[0, 0].numel()
            if wide.shape[0] != 1 or wide.shape[1] not in {1, width} or (last and pixels != 1):
                raise ValueError(shape)
            wide = wide.expand(1, width, *wide.shape[2:])
            whole.append(wide.reshape(1, width, 1, 1) if last else wide)
        return torch.cat(whole, 1)


def picked(value: Value, count: int) -> Picked:
    """Return a value of `count` tasks as picked channels: all of them, in order."""
    if isinstance(value, Picked):
        return value
    if isinstance(value, Joined):
        return _concatenated([picked(part, count) for part in value.parts], count)
    widths = (value.width,) * count if isinstance(value, Shared) else value.widths
    return Picked((value,), tuple(tuple((0, c) for c in range(width)) for width in widths))


def pick(value: Value, chosen: Sequence[Sequence[int] | None]) -> Value:
    """Take channels of a value, by their numbers for each task; None takes all."""
    if all(channels is None for channels in chosen):
        return value
    whole = picked(value, len(chosen))
    order = tuple(
        own if channels is None else tuple(own[channel] for channel in channels)
        for own, channels in zip(whole.order, chosen, strict=True)
    )
    read = sorted({number for own in order for number, _ in own})
    renumbered = {number: index for index, number in enumerate(read)}
    return Picked(
        tuple(whole.parts[number] for number in read),
        tuple(tuple((renumbered[number], c) for number, c in own) for own in order),
    )


def _concatenated(values: Sequence[Picked], count: int) -> Picked:
    parts = tuple(dict.fromkeys(part for value in values for part in value.parts))
    order = tuple(
        tuple(
            (parts.index(value.parts[number]), channel)
            for value in values
            for number, channel in value.order[task]
        )
        for task in range(count)
    )
    return Picked(parts, order)


class Interleave(nn.Module):
    """Concatenates stacked tensors task by task.

    Shapes: [B, T * C, H, W] and [B, T * K, H, W] -> [B, T * (C + K), H, W].
    """

    def __init__(self, count: int) -> None:
        """Take T, the number of tasks."""
        super().__init__()
        self.count = count

    def forward(self, *stacks: Tensor) -> Tensor:
        """Concatenate along each task's own channels."""
        parts = [torch.unflatten(stack, 1, (self.count, -1)) for stack in stacks]
        return torch.cat(parts, 2).flatten(1, 2)


class StackedLayerNorm(nn.Module):
    """A LayerNorm of each task's own channels.

    Shapes: [B, T * C, ...] -> the same, normalised over C, then weighed by [T * C, ...].
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layers: Sequence[nn.LayerNorm], rank: int) -> None:
        """Take the tasks' layers, each over C channels, and the rank of what they read."""
        super().__init__()
        self.count = len(layers)
        self.width = layers[0].normalized_shape[-1]
        self.eps = layers[0].eps
        for name in ("weight", "bias"):
            found = [getattr(layer, name) for layer in layers]
            stacked = None if found[0] is None else torch.cat(found).detach()
            shape = (-1, *(1,) * (rank - 2))
            self.register_buffer(name, None if stacked is None else stacked.view(shape))

    def forward(self, stack: Tensor) -> Tensor:
        """Normalise."""
        tasks = torch.unflatten(stack, 1, (self.count, -1)).movedim(2, -1)
        normed = nn.functional.layer_norm(tasks, (self.width,), eps=self.eps)
        normed = normed.movedim(-1, 2).flatten(1, 2)
        if self.weight is not None:
            normed = normed * self.weight
        return normed if self.bias is None else normed + self.bias


def stacked_batch_norm(norms: Sequence[Any]) -> nn.BatchNorm2d:
    """Return the tasks' norms as one over all their channels, [B, T * C, H, W]."""
    whole = nn.BatchNorm2d(
        sum(norm.num_features for norm in norms),
        norms[0].eps,
        affine=norms[0].affine,
        device=norms[0].running_mean.device,
    )
    names = ("running_mean", "running_var", *(("weight", "bias") if norms[0].affine else ()))
    with torch.no_grad():
        for name in names:
            getattr(whole, name).copy_(torch.cat([getattr(norm, name) for norm in norms]))
    return whole.eval()


def scatter(layers: Sequence[Any], value: Joined) -> Tensor:
    """Return one dense weight [sum of outputs, all channels of the parts, ...] with zeros.

    None of the parts is picked channels.
    """
    parts: Any = value.parts
    weights = [layer.weight.detach() for layer in layers]
    total = sum(channels(part) for part in parts)
    outputs = sum(len(weight) for weight in weights)
    dense: Tensor = weights[0].new_zeros(outputs, total, *weights[0].shape[2:])
    row = 0
    for task, weight in enumerate(weights):
        rows = slice(row, row + len(weight))
        row, column, own = rows.stop, 0, 0
        for part in parts:
            if isinstance(part, Shared):
                width, start = part.width, column
            else:
                width, start = part.widths[task], column + sum(part.widths[:task])
            dense[rows, start : start + width] = weight[:, own : own + width]
            own, column = own + width, column + channels(part)
    return dense


def stacked_group_norm(norms: Sequence[nn.GroupNorm]) -> nn.GroupNorm:
    """Return the tasks' norms as one over all their channels, [B, T * C, ...]."""
    first, affine = norms[0], norms[0].affine
    groups = sum(norm.num_groups for norm in norms)
    channels = sum(norm.num_channels for norm in norms)
    whole = nn.GroupNorm(groups, channels, first.eps, affine)
    if affine:
        with torch.no_grad():
            whole.weight.copy_(torch.cat([norm.weight for norm in norms]))
            whole.bias.copy_(torch.cat([norm.bias for norm in norms]))
    return whole.eval()


def convolution_with_weights(
    layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, groups: int
) -> nn.Conv2d:
    """Build a convolution of a layer's geometry with other weights, [O, I / groups, kH, kW]."""
    options: Any = {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "dilation": layer.dilation,
        "groups": groups,
        "bias": bias is not None,
        "device": "meta",
    }
    shape = weight.shape[1] * groups, weight.shape[0]
    convolution: nn.Conv2d
    if isinstance(layer, PaddedConv2d):
        convolution = PaddedConv2d(*shape, pads=layer.pads, **options)
    else:
        convolution = nn.Conv2d(*shape, padding=layer.padding, **options)  # type: ignore[arg-type]
    set_weights(convolution, weight, bias)
    return convolution


def as_convolution(layer: nn.Linear) -> nn.Conv2d:
    """Return a linear layer on the channels of each pixel as a 1x1 convolution."""
    like = nn.Conv2d(1, 1, 1, device="meta")
    return convolution_with_weights(like, layer.weight[:, :, None, None], layer.bias, 1)


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Build a linear layer with weights, [O, I] and [O]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    set_weights(layer, weight, bias)
    return layer


def set_weights(layer: Any, weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer made on `meta` its weights; they are copied."""
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)


def channels(part: Stack | Shared) -> int:
    """Return how many channels a part has in all."""
    return part.width if isinstance(part, Shared) else sum(part.widths)

"""The values of several tasks in one tensor, and the layers that read and make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

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

    parts: tuple[Stack | Shared, ...]


Value = Stack | Shared | Joined


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


def scatter(layers: Sequence[Any], value: Joined) -> Tensor:
    """Return one dense weight [sum of outputs, all channels of the parts, ...] with zeros."""
    weights = [layer.weight.detach() for layer in layers]
    total = sum(channels(part) for part in value.parts)
    outputs = sum(len(weight) for weight in weights)
    dense: Tensor = weights[0].new_zeros(outputs, total, *weights[0].shape[2:])
    row = 0
    for task, weight in enumerate(weights):
        rows = slice(row, row + len(weight))
        row, column, own = rows.stop, 0, 0
        for part in value.parts:
            if isinstance(part, Shared):
                width, start = part.width, column
            else:
                width, start = part.widths[task], column + sum(part.widths[:task])
            dense[rows, start : start + width] = weight[:, own : own + width]
            own, column = own + width, column + channels(part)
    return dense


def convolution_like(
    layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, groups: int
) -> nn.Conv2d:
    """Build a convolution of a layer's geometry with other weights, [O, I / groups, kH, kW]."""
    convolution = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        groups,
        bias=bias is not None,
        device="meta",
    )
    set_weights(convolution, weight, bias)
    return convolution


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

"""Layers of many tasks without the zeros: what all tasks read apart from what each has to itself.

One dense layer for T tasks holds T blocks of weights and T * (T - 1) of zeros, so it grows with the
square of their number. Here what is shared is read by one dense layer, and what is not by grouped
convolutions, a group per task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_export.fuse.stack import Shared, Stack, channels, convolution_with_weights, linear_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_export.fuse.stack import Joined

WASTE = 2.0
"""How many times its own weights a dense layer may hold, zeros included."""
FEW = 8
"""Tasks up to which a dense layer is kept that would become more kernels than one."""
_PADDING = 2.0
"""By how many times the outputs of tasks in one grouped convolution may differ."""


class Blocks(nn.Module):
    """T dense convolutions of one geometry, each of its own channels, with any number of outputs.

    Tasks with about as many outputs share a grouped convolution, the smaller ones padded with
    zeros.

    Shapes: [B, T * I, H, W] -> [B, sum of O, H', W'].
    """

    order: Tensor | None

    def __init__(
        self, like: nn.Conv2d, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
    ) -> None:
        """Take the geometry of a layer, and each task's weight [O, I, kH, kW] and bias [O]."""
        super().__init__()
        self.convolutions = nn.ModuleList()
        width = weights[0].shape[1]
        places = [torch.empty(0, dtype=torch.int64)] * len(weights)
        start = 0
        for number, tasks in enumerate(_alike([len(weight) for weight in weights])):
            widest = max(len(weights[task]) for task in tasks)
            weight = torch.cat([_padded(weights[task], widest) for task in tasks])
            own = [biases[task] for task in tasks]
            bias = torch.cat([_padded(it, widest) for it in own if it is not None] or [weight[:0]])
            self.convolutions.append(
                convolution_with_weights(
                    like, weight, bias if len(bias) else None, groups=len(tasks)
                )
            )
            for row, task in enumerate(tasks):
                places[task] = start + row * widest + torch.arange(len(weights[task]))
            start += len(weight)
            reads = torch.cat([task * width + torch.arange(width) for task in tasks])
            index = _unless_all(reads, len(weights) * width, weight.device)
            self.register_buffer(f"channels{number}", index)
        self.register_buffer("order", _unless_all(torch.cat(places), start, weights[0].device))

    def forward(self, stacked: Tensor) -> Tensor:
        """Convolve each task's own channels."""
        parts = []
        for number, convolution in enumerate(self.convolutions):
            index: Tensor | None = getattr(self, f"channels{number}")
            reads = stacked if index is None else stacked.index_select(1, index)
            parts.append(convolution(reads))
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return joined if self.order is None else joined.index_select(1, self.order)


class SharedAndOwn(nn.Module):
    """One layer of T tasks: what they share read by a dense layer, the rest by `Blocks`.

    Shapes: [B, T * I, ...] of the tasks, task by task, and [B, N, ...] that all read
    -> [B, sum of O, ...].
    """

    shared: nn.Module | None

    def __init__(self, layers: Sequence[Any], value: Joined) -> None:
        """Take each task's `Linear` or dense `Conv2d`, and what they read."""
        super().__init__()
        first = layers[0]
        common, own = _split(layers, value)
        biases = [layer.bias for layer in layers]
        bias = None if first.bias is None else torch.cat(biases)
        self.is_linear = isinstance(first, nn.Linear)
        like = nn.Conv2d(1, 1, 1, device="meta") if self.is_linear else first
        if not common.shape[1]:
            self.shared = None
            self.own = Blocks(like, own, biases)
            return
        self.own = Blocks(like, own, [None] * len(own))
        if self.is_linear:
            self.shared = linear_of(common.flatten(1), bias)
        else:
            self.shared = convolution_with_weights(first, common, bias, groups=1)

    def forward(self, own: Tensor, common: Tensor | None = None) -> Tensor:
        """Answer all tasks, one behind the other."""
        if self.is_linear:  # vectors are pictures of one pixel
            answers: Tensor = self.own(torch.unflatten(own, 1, (-1, 1, 1))).flatten(1)
        else:
            answers = self.own(own)
        return answers if self.shared is None else self.shared(common) + answers


def is_wasteful(layers: Sequence[Any], value: Joined) -> bool:
    """Whether one dense layer for all tasks would be mostly zeros, and there is a better form.

    None of the parts is picked channels.
    """
    if len(layers) <= FEW and len({len(layer.weight) for layer in layers}) > 1:
        return False
    outputs = sum(len(layer.weight) for layer in layers)
    needed = sum(len(layer.weight) * layer.weight.shape[1] for layer in layers)
    parts: Any = value.parts
    return bool(outputs * sum(map(channels, parts)) > WASTE * needed)


def _split(layers: Sequence[Any], value: Joined) -> tuple[Tensor, list[Tensor]]:
    """Return all tasks' weights for what they share, and each one's for what it has to itself.

    Both in the order of the parts, [O, channels, kH, kW]; of one pixel where a layer is linear.
    """
    common: list[Tensor] = []
    own: list[Tensor] = []
    parts: Any = value.parts
    for task, layer in enumerate(layers):
        weight: Tensor = layer.weight.detach()
        weight = weight[:, :, None, None] if weight.dim() == 2 else weight
        widths = [it.width if isinstance(it, Shared) else it.widths[task] for it in parts]
        pieces = list(zip(torch.split(weight, widths, 1), parts, strict=True))
        for found, kind in ((common, Shared), (own, Stack)):
            cut = [piece for piece, part in pieces if isinstance(part, kind)]
            found.append(torch.cat([weight[:, :0], *cut], 1))
    return torch.cat(common), own


def _alike(widths: Sequence[int]) -> list[list[int]]:
    """Group numbers of tasks whose widths differ by little, each group in order."""
    groups: list[list[int]] = []
    for task in sorted(range(len(widths)), key=lambda task: -widths[task]):
        if groups and widths[groups[-1][0]] <= _PADDING * widths[task]:
            groups[-1].append(task)
        else:
            groups.append([task])
    return sorted(sorted(group) for group in groups)


def _padded(tensor: Tensor, rows: int) -> Tensor:
    """Append rows of zeros."""
    zeros = tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])
    return torch.cat([tensor.detach(), zeros])


def _unless_all(index: Tensor, count: int, device: torch.device) -> Tensor | None:
    """Return an index on a device, or None for one that takes everything in order."""
    return None if torch.equal(index, torch.arange(count)) else index.to(device)

"""Convolutions and what stands before them, which keep what arrived and make what they read again.

What a convolution of a delta reads is the last one's answer, normalised and activated, beside what
was picked of the source's features, normalised and activated. Autograd keeps every step of that for
the backward pass: six tensors for each. Here only the last answer and the picks are kept, side by
side, and the backward pass normalises and activates them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from snow_deploy.models.activations import RELU, Activation
from snow_deploy.models.batch_statistics import (
    WIDE,
    Affine,
    RunningStatistics,
    norm_gradients,
    normalize_again,
    normalize_batch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.pooling import ChannelPooling, Draw


@dataclass(frozen=True)
class LeanLayers:
    """Convolutions that read the same, and what stands before them.

    Attributes:
        convolutions: The convolutions.
        norm: Norm of the local features; None where they are read as they are.
        activation: What follows it; None where nothing does.
        pooling: What picks from the source's features, its norm first; None where nothing does.
        statistics: Where the norms' batches are noted.
    """

    convolutions: tuple[nn.Conv2d, ...]
    norm: nn.BatchNorm2d | None
    activation: Activation | None
    pooling: ChannelPooling | None
    statistics: RunningStatistics

    @cached_property
    def geometries(self) -> list[tuple[Any, ...]]:
        """What torch's convolution takes behind its weights, of each convolution."""
        none = [0, 0]
        return [
            (each.stride, each.padding, each.dilation, False, none, each.groups)
            for each in self.convolutions
        ]

    @cached_property
    def norms(self) -> list[nn.BatchNorm2d]:
        """The norms among them."""
        found = self.norm, None if self.pooling is None else self.pooling.norm
        return [norm for norm in found if norm is not None]


_Gradients: TypeAlias = "tuple[Tensor | None, Tensor | None, Tensor | None]"
"""Of maps, and of their norms' weights and biases."""


class _Part(NamedTuple):
    """Channels that are normalised and activated together.

    Attributes:
        maps: [B, C, H, W], what arrived.
        affine: What their norms do; None without one.
        activation: What follows; None where nothing does.
    """

    maps: Tensor
    affine: Affine | None
    activation: Activation | None

    def again(self) -> tuple[Tensor, Tensor]:
        """Return what the activation's gradient reads, and what the convolutions do."""
        if self.affine is None:
            return self.maps, self.maps
        values = normalize_again(self.maps, self.affine)
        if self.activation is None:
            return values, values
        answer = self.activation.answer(values)
        return (values if self.activation.reads_input else answer), answer

    def gradients(self, above: Tensor, seen: Tensor, *, wanted: bool) -> _Gradients:
        """Return the gradients of the maps, if wanted, and of the norms' weights and biases.

        Args:
            above: The gradient of what the convolutions read; it may be a slice.
            seen: What the activation's gradient reads.
            wanted: Whether that of the maps is.
        """
        if above.shape[1] < WIDE or (self.affine is not None and self.activation is None):
            # Slices of a few channels are slow to read, pixel by pixel, and so are norms' of any.
            above = above.contiguous(memory_format=torch.channels_last)
        if self.affine is None:
            return above if wanted else None, None, None
        above = above.to(self.maps.dtype)
        if self.activation is not None:
            above = self.activation.gradient(above, seen)
        return norm_gradients(above, self.maps, self.affine, wanted=wanted)


class LeanFunction(torch.autograd.Function):
    """What `LeanLayers` do, keeping no more than what arrived.

    The layers' weights are inputs, so that they get gradients.
    """

    @staticmethod
    def forward(  # noqa: D102, PLR0917 - autograd wants them in a row
        ctx: Any,
        layers: LeanLayers,
        drawn: Draw | None,
        local: Tensor,
        subscribed: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        pooled_weight: Tensor | None,
        pooled_shift: Tensor | None,
        *weights: Tensor | None,
    ) -> tuple[Tensor, ...]:
        local = local.contiguous(memory_format=torch.channels_last)
        of_local = None if layers.norm is None else (layers.norm, weight, bias)
        arrived = _gather(layers, drawn, local, subscribed, (of_local, pooled_weight, pooled_shift))
        done = [_normalized(each, layers.statistics) for each in arrived]
        reads = _joined([answer for _, answer in done])
        parts = [part for part, _ in done]
        del done
        ctx.parts = [(part.affine, part.activation) for part in parts]
        ctx.save_for_backward(*weights, *(part.maps for part in parts))
        ctx.layers, ctx.dtype, ctx.channels = layers, _computed_in(reads), local.shape[1]
        reads = reads.to(ctx.dtype)
        answers = []
        for at, geometry in enumerate(layers.geometries):
            weight, bias = _cast(weights[2 * at : 2 * at + 2], ctx.dtype)
            answers.append(torch.convolution(reads, weight, bias, *geometry))  # type: ignore[arg-type]
        return tuple(answers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Any, ...]:  # noqa: D102
        needs, geometries, count = ctx.needs_input_grad, ctx.layers.geometries, len(ctx.parts)
        weights, kept = ctx.saved_tensors[:-count], ctx.saved_tensors[-count:]
        parts = [_Part(maps, *rest) for maps, rest in zip(kept, ctx.parts, strict=True)]
        again = [part.again() for part in parts]
        reads = _joined([answer for _, answer in again])
        seen = [each for each, _ in again]
        del again
        reads = reads.to(ctx.dtype)
        wanted = any(needs[2:8]), *needs[8:]
        of_reads, of_weights = _back_through(geometries, above, reads, weights, wanted)
        del reads
        found: list[_Gradients] = [(None, None, None)] * count
        if of_reads is not None:
            own = of_reads.split_with_sizes([part.maps.shape[1] for part in parts], 1)
            found = [
                part.gradients(own[at], seen[at], wanted=needs[2 + at])
                for at, part in enumerate(parts)
            ]
        if parts[0].maps.shape[1] > ctx.channels:
            found = _taken_apart(found[0], ctx.channels)
        local, beside = [*found, (None, None, None)][:2]
        return None, None, local[0], beside[0], *local[1:], *beside[1:], *of_weights


class _Arrived(NamedTuple):
    """Channels before their norms.

    Attributes:
        maps: [B, C, H, W].
        norms: Norms of some of the channels each, in order, with the weight and bias of each.
        activation: What follows; None where nothing does.
    """

    maps: Tensor
    norms: list[tuple[nn.BatchNorm2d, Any, Any]]
    activation: Activation | None


def _gather(
    layers: LeanLayers,
    drawn: Draw | None,
    local: Tensor,
    subscribed: Tensor | None,
    norms: tuple[Any, ...],
) -> list[_Arrived]:
    """Put together what arrived: side by side where that can be normalised as one."""
    of_local, pooled_weight, pooled_shift = norms
    mine = [] if of_local is None else [of_local]
    pooling = layers.pooling
    if pooling is None or subscribed is None or drawn is None or pooling.norm is None:
        beside = [] if subscribed is None else [_Arrived(subscribed, [], None)]
        return [_Arrived(local, mine, layers.activation), *beside]
    after = None if pooling.relu is None else RELU
    pooled = pooling.norm, pooled_weight, pooled_shift
    features = subscribed.permute(0, 2, 3, 1)
    alike = layers.norm is not None and layers.norm.eps == pooling.norm.eps
    if not alike or layers.activation != after or subscribed.dtype != local.dtype:
        picks = drawn.pick(features).permute(0, 3, 1, 2)
        return [_Arrived(local, mine, layers.activation), _Arrived(picks, [pooled], after)]
    batch, channels, height, width = local.shape
    pixels = local.new_empty(batch, height, width, channels + pooling.k)
    drawn.pick(features, out=pixels[..., channels:])
    together = pixels.permute(0, 3, 1, 2)
    together[:, :channels] = local
    return [_Arrived(together, [*mine, pooled], after)]


def _normalized(arrived: _Arrived, statistics: RunningStatistics) -> tuple[_Part, Tensor]:
    """Return what is to be kept, and what the convolutions read; note the statistics."""
    maps, norms, activation = arrived
    if not norms:
        return _Part(maps, None, None), maps
    layers, weights, biases = zip(*norms, strict=True)
    joined = _joined(weights, 0), _joined(biases, 0)
    answer, affine = normalize_batch(maps, *joined, layers[0].eps)
    statistics.note(layers, affine, maps.numel() // maps.shape[1])
    return _Part(maps, affine, activation), (activation.answer(answer) if activation else answer)


def _back_through(
    geometries: list[tuple[Any, ...]],
    above: tuple[Tensor | None, ...],
    reads: Tensor,
    weights: Sequence[Tensor | None],
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return the gradient of what the convolutions read, and those of their weights and biases.

    Args:
        geometries: What torch's convolution takes behind its weights, of each convolution.
        above: The gradient of what each answered.
        reads: What they read.
        weights: Weight and bias of each.
        needs: Whether the gradient of what they read is needed, and of each weight and bias.
    """
    total: Tensor | None = None
    found: list[Tensor | None] = []
    for at, (gradient, geometry) in enumerate(zip(above, geometries, strict=True)):
        weight, bias = weights[2 * at : 2 * at + 2]
        if gradient is None or weight is None:
            found += [None, None]
            continue
        of_reads, *of_weights = torch.ops.aten.convolution_backward.default(
            gradient,
            reads,
            weight.to(reads.dtype),
            None if bias is None else list(bias.shape),
            *geometry,
            [needs[0], needs[1 + 2 * at], bias is not None and needs[2 + 2 * at]],
        )
        found += [None if each is None else each.to(weight.dtype) for each in of_weights]
        total = of_reads if total is None else total.add_(of_reads)
    return total, found


def _taken_apart(found: _Gradients, channels: int) -> list[_Gradients]:
    """Take gradients of what was normalised as one apart; the source's features want none."""
    maps, weight, bias = found
    if maps is not None:
        maps = maps[:, :channels].contiguous(memory_format=torch.channels_last)
    if weight is None or bias is None:  # pragma: no cover - what was normalised has both
        return [(maps, weight, bias)]
    return [
        (maps, weight[:channels], bias[:channels]),
        (None, weight[channels:], bias[channels:]),
    ]


def _joined(tensors: list[Tensor] | tuple[Tensor, ...], axis: int = 1) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, axis)


def _cast(weights: tuple[Tensor | None, ...], dtype: torch.dtype) -> list[Tensor | None]:
    return [None if weight is None else weight.to(dtype) for weight in weights]


def _computed_in(reads: Tensor) -> torch.dtype:
    """Return what a convolution computes in: autocast's type, where there is autocast."""
    kind = reads.device.type
    if torch.is_autocast_enabled(kind) and reads.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return reads.dtype

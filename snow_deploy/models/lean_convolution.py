"""A delta's convolutions in training, which keep what arrived and make what they read again.

What a convolution of a delta reads is the last one's answer, normalised and activated, beside what
was picked of the source's features, normalised and activated. Autograd keeps every step of that for
the backward pass: six tensors for each. Here only the last answer and the picks are kept, side by
side, and the backward pass normalises and activates them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from snow_deploy.models.pooling import ChannelPooling, Draw


@dataclass(frozen=True)
class LeanLayers:
    """Convolutions that read the same, and what stands before them.

    Attributes:
        convolutions: The convolutions.
        norm: Norm of the local features; None where they are read as they are.
        activation: What follows it; None where nothing does.
        pooling: What picks from the source's features, its norm first; None where nothing does.
    """

    convolutions: tuple[nn.Conv2d, ...]
    norm: nn.BatchNorm2d | None
    activation: Activation | None
    pooling: ChannelPooling | None

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """The norms among them."""
        found = self.norm, None if self.pooling is None else self.pooling.norm
        return [norm for norm in found if norm is not None]


class LeanConvolutions(nn.Module):
    """Convolutions with the norms and the activation before them.

    Shapes: [B, C, H, W] local features, and [B, N, H, W] of the source's to pick from (or
    [B, K, H, W], what another kind of subscription answered) -> [B, C', H', W'] each.
    """

    def __init__(self, layers: LeanLayers, statistics: RunningStatistics) -> None:
        """Take the layers, and where to note the statistics of their batches."""
        super().__init__()
        self.layers = layers
        self.norms = layers.norms
        self.statistics = statistics
        none = [0, 0]
        self.geometries = [
            (each.stride, each.padding, each.dilation, False, none, each.groups)
            for each in layers.convolutions
        ]

    def forward(self, local: Tensor, subscribed: Tensor | None = None) -> tuple[Tensor, ...]:
        """Answer with what each convolution does, in a tuple."""
        layers = self.layers
        norm, pooling = layers.norm, layers.pooling
        sound = local.dim() == 4 and local.numel() > local.shape[1]
        picked = pooling is not None and subscribed is not None and subscribed.requires_grad
        if picked or not sound or not all(each.training for each in self.norms):
            return self._plainly(local, subscribed)
        drawn = None if pooling is None else pooling.draw()
        weights = [each for layer in layers.convolutions for each in (layer.weight, layer.bias)]
        answers: tuple[Tensor, ...] = _LeanConvolutions.apply(
            self,
            drawn,
            local,
            subscribed,
            None if norm is None else norm.weight,
            None if norm is None else norm.bias,
            None if drawn is None else drawn.weights,
            None if drawn is None else drawn.shift,
            *weights,
        )
        return answers

    def _plainly(self, local: Tensor, subscribed: Tensor | None) -> tuple[Tensor, ...]:
        """Do the same by autograd alone."""
        layers = self.layers
        values = local if layers.norm is None else layers.norm(local)
        if layers.activation is not None:
            values = layers.activation.function(values)
        if subscribed is not None:
            beside = subscribed if layers.pooling is None else layers.pooling(subscribed)
            values = torch.cat([values, beside], 1)
        return tuple(layer(values) for layer in layers.convolutions)


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

    def gradients(
        self, above: Tensor, seen: Tensor, *, wanted: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of the maps, if wanted, and of the norms' weights and biases.

        Args:
            above: The gradient of what the convolutions read; it may be a slice.
            seen: What the activation's gradient reads.
            wanted: Whether that of the maps is.
        """
        if self.affine is None or self.activation is None or above.shape[1] < WIDE:
            # Slices of a few channels are slow to read, pixel by pixel.
            above = above.contiguous(memory_format=torch.channels_last)
        if self.affine is None:
            return above, None, None
        above = above.to(self.maps.dtype)
        if self.activation is not None:
            above = self.activation.gradient(above, seen)
        return norm_gradients(above, self.maps, self.affine, wanted=wanted)


class _LeanConvolutions(torch.autograd.Function):
    """See `LeanConvolutions`; its layers' weights are inputs here, so that they get gradients."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd wants them in a row
        ctx: Any,
        lean: LeanConvolutions,
        drawn: Draw | None,
        local: Tensor,
        subscribed: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        pooled_weight: Tensor | None,
        pooled_shift: Tensor | None,
        *weights: Tensor | None,
    ) -> tuple[Tensor, ...]:
        layers = lean.layers
        local = local.contiguous(memory_format=torch.channels_last)
        of_local = None if layers.norm is None else (layers.norm, weight, bias)
        arrived = _gather(layers, drawn, local, subscribed, (of_local, pooled_weight, pooled_shift))
        done = [_normalized(each, lean.statistics) for each in arrived]
        reads = _joined([answer for _, answer in done])
        ctx.parts = [(part.affine, part.activation) for part, _ in done]
        ctx.save_for_backward(*(part.maps for part, _ in done), *weights)
        del done
        ctx.lean, ctx.dtype, ctx.channels = lean, _computed_in(reads), local.shape[1]
        reads = reads.to(ctx.dtype)
        answers = []
        for at, geometry in enumerate(lean.geometries):
            own = [None if each is None else each.to(ctx.dtype) for each in weights[2 * at :][:2]]
            answers.append(torch.convolution(reads, *own, *geometry))  # type: ignore[arg-type]
        return tuple(answers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Any, ...]:
        needs, count = ctx.needs_input_grad, len(ctx.parts)
        saved = ctx.saved_tensors
        parts = [_Part(maps, *rest) for maps, rest in zip(saved, ctx.parts, strict=False)]
        again = [part.again() for part in parts]
        reads = _joined([answer for _, answer in again]).to(ctx.dtype)
        of_reads, of_weights = _back_through(
            ctx.lean.geometries, above, reads, saved[count:], (any(needs[2:8]), *needs[8:])
        )
        del reads
        found: list[tuple[Tensor | None, Tensor | None, Tensor | None]] = []
        begin = 0
        for index, part in enumerate(parts):
            end, wanted = begin + part.maps.shape[1], needs[2 + index]
            if of_reads is None or not (wanted or part.affine is not None):
                found.append((None, None, None))
            else:
                own = of_reads if count == 1 else of_reads[:, begin:end]
                found.append(part.gradients(own, again[index][0], wanted=wanted))
            begin = end
        if count == 1 and begin > ctx.channels:
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
    weight, bias = (_joined([each[at] for each in norms], 0) for at in (1, 2))
    answer, affine = normalize_batch(maps, weight, bias, norms[0][0].eps)
    statistics.note([norm for norm, _, _ in norms], affine, maps.numel() // maps.shape[1])
    return _Part(maps, affine, activation), (activation.answer(answer) if activation else answer)


def _back_through(
    geometries: list[tuple[Any, ...]],
    above: tuple[Tensor | None, ...],
    reads: Tensor,
    weights: tuple[Tensor | None, ...],
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


def _taken_apart(
    found: tuple[Tensor | None, Tensor | None, Tensor | None], channels: int
) -> list[tuple[Tensor | None, Tensor | None, Tensor | None]]:
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


def _joined(tensors: list[Tensor], axis: int = 1) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, axis)


def _computed_in(reads: Tensor) -> torch.dtype:
    """Return what a convolution computes in: autocast's type, where there is autocast."""
    kind = reads.device.type
    if torch.is_autocast_enabled(kind) and reads.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return reads.dtype

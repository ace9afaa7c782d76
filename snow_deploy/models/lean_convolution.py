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
        pooling: What picks from the source's features; None where nothing does.
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
        self.statistics = statistics

    def forward(self, local: Tensor, subscribed: Tensor | None = None) -> tuple[Tensor, ...]:
        """Answer with what each convolution does, in a tuple."""
        layers = self.layers
        norm, pooling = layers.norm, layers.pooling
        pixels = local.numel() // max(1, local.shape[1])
        sound = pixels > 1 and local.dim() == 4 and all(map(_is_trained, layers.norms))
        if pooling is not None and subscribed is not None and subscribed.requires_grad:
            sound = False
        if not sound:
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


def _is_trained(norm: nn.BatchNorm2d) -> bool:
    """Tell whether a norm takes the batch's statistics, and notes them by its momentum."""
    whole = norm.affine and norm.momentum is not None and norm.running_mean is not None
    return norm.training and whole


class _Arrived(NamedTuple):
    """Channels before their norms.

    Attributes:
        pixels: [B, H, W, C].
        norms: Norms of some of the channels each, in order, and the weight and bias of each.
        activation: What follows; None where nothing does.
    """

    pixels: Tensor
    norms: list[tuple[nn.BatchNorm2d, Any, Any]]
    activation: Activation | None

    def normalized(self, statistics: RunningStatistics) -> tuple[_Part, Tensor]:
        """Return what is to be kept, and what the convolutions read; note the statistics."""
        if not self.norms:
            return _Part(self.pixels, None, None), self.pixels
        norms, weights, biases = zip(*self.norms, strict=True)
        answer, affine = normalize_batch(
            self.pixels, _joined(weights), _joined(biases), norms[0].eps
        )
        begin, count = 0, self.pixels.numel() // self.pixels.shape[-1]
        for norm in norms:
            end = begin + norm.num_features
            statistics.note(norm, affine.mean[begin:end], affine.inverse[begin:end], count)
            begin = end
        if self.activation is not None:
            answer = self.activation.answer(answer)
        return _Part(self.pixels, affine, self.activation), answer


class _Part(NamedTuple):
    """Channels that were normalised and activated together.

    Attributes:
        pixels: [B, H, W, C], what arrived.
        affine: What the norms did; None without one.
        activation: What follows; None where nothing does.
    """

    pixels: Tensor
    affine: Affine | None
    activation: Activation | None

    def activated(self) -> tuple[Tensor, Tensor]:
        """Return what the activation reads, if its gradient reads it too, and what it answers."""
        if self.affine is None:
            return self.pixels, self.pixels
        values = normalize_again(self.pixels, self.affine)
        if self.activation is None:
            return values, values
        answer = self.activation.answer(values)
        return (values if self.activation.reads_input else answer), answer

    def gradients(
        self, above: Tensor, seen: Tensor, *, wanted: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of the pixels and of the norm's weight and bias."""
        if self.affine is None:
            return above, None, None
        if self.activation is not None:
            above = self.activation.gradient(above, seen)
        return norm_gradients(above, self.pixels, self.affine, wanted=wanted)


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
        of_local, of_pooled = (weight, bias), (pooled_weight, pooled_shift)
        layers = lean.layers
        gathered = _gather(layers, drawn, _pixels(local), subscribed, of_local, of_pooled)
        done = [each.normalized(lean.statistics) for each in gathered]
        parts, answers = zip(*done, strict=True)
        reads = _concatenate(answers)
        del done, answers
        ctx.geometries = [_geometry(layer) for layer in layers.convolutions]
        ctx.dtype = _computed_in(reads)
        ctx.channels = local.shape[1]
        ctx.kinds = [(part.affine is not None, part.activation) for part in parts]
        kept = [each for part in parts for each in (part.pixels, *(part.affine or ()))]
        ctx.count = len(kept)
        ctx.save_for_backward(*kept, *weights)
        reads = reads.to(ctx.dtype)
        return tuple(
            torch.convolution(reads, *_cast(weights[2 * at : 2 * at + 2], ctx.dtype), *geometry)  # type: ignore[arg-type]
            for at, geometry in enumerate(ctx.geometries)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Any, ...]:
        saved = list(ctx.saved_tensors)
        parts = _parts_of(saved[: ctx.count], ctx.kinds)
        seen, answers = zip(*(part.activated() for part in parts), strict=True)
        needs = ctx.needs_input_grad
        of_reads, of_weights = _convolved_back(
            above,
            _concatenate(answers).to(ctx.dtype),
            saved[ctx.count :],
            ctx.geometries,
            wanted=any(needs[2:8]),
            needs=needs[8:],
        )
        del answers
        found: list[tuple[Tensor | None, ...]] = []
        begin = 0
        for index, part in enumerate(parts):
            width = part.pixels.shape[-1]
            wanted = needs[2] if index == 0 else needs[3]
            if of_reads is None or not (wanted or part.affine is not None):
                found.append((None, None, None))
            else:
                own = of_reads[..., begin : begin + width].to(part.pixels.dtype).contiguous()
                found.append(part.gradients(own, seen[index], wanted=wanted))
            begin += width
        return (
            None,
            None,
            *_apportion(found, ctx.channels, merged=begin > ctx.channels),
            *of_weights,
        )


def _gather(  # noqa: PLR0917
    layers: LeanLayers,
    drawn: Draw | None,
    local: Tensor,
    subscribed: Tensor | None,
    of_local: tuple[Any, Any],
    of_pooled: tuple[Any, Any],
) -> list[_Arrived]:
    """Put together what arrived: side by side where that can be normalised as one."""
    norm, pooling = layers.norm, layers.pooling
    norms = [] if norm is None else [(norm, *of_local)]
    if pooling is None or subscribed is None or drawn is None or pooling.norm is None:
        beside = [] if subscribed is None else [_Arrived(_pixels(subscribed), [], None)]
        return [_Arrived(local, norms, layers.activation), *beside]
    after = None if pooling.relu is None else RELU
    pooled = (pooling.norm, *of_pooled)
    features = subscribed.permute(0, 2, 3, 1)
    alike = norm is not None and layers.activation == after and norm.eps == pooling.norm.eps
    if not alike or subscribed.dtype != local.dtype:
        picks = drawn.pick(features)
        return [_Arrived(local, norms, layers.activation), _Arrived(picks, [pooled], after)]
    channels = local.shape[-1]
    together = local.new_empty(*local.shape[:3], channels + pooling.k)
    together[..., :channels] = local
    drawn.pick(features, out=together[..., channels:])
    return [_Arrived(together, [*norms, pooled], after)]


def _joined(tensors: tuple[Tensor, ...]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _parts_of(kept: list[Tensor], kinds: list[tuple[bool, Activation | None]]) -> list[_Part]:
    """Take apart what was kept."""
    parts = []
    for normed, activation in kinds:
        pixels, *affine = kept[: 5 if normed else 1]
        del kept[: 5 if normed else 1]
        parts.append(_Part(pixels, Affine(*affine) if normed else None, activation))
    return parts


def _convolved_back(
    above: tuple[Tensor | None, ...],
    reads: Tensor,
    weights: list[Tensor | None],
    geometries: list[tuple[Any, ...]],
    *,
    wanted: bool,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Return the gradient of what the convolutions read, as pixels, and of their weights."""
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
            [wanted, needs[2 * at], bias is not None and needs[2 * at + 1]],
        )
        found += [None if of is None else of.to(weight.dtype) for of in of_weights]
        total = of_reads if total is None else total.add_(of_reads)
    return None if total is None else _pixels(total), found


def _apportion(
    found: list[tuple[Tensor | None, ...]], channels: int, *, merged: bool
) -> tuple[Tensor | None, ...]:
    """Return the gradients of both inputs and of both norms' weights, in that order."""
    of_local, weight, bias = found[0]
    beside, pooled_weight, pooled_bias = found[1] if len(found) > 1 else (None, None, None)
    if merged and len(found) == 1:
        pooled_weight, pooled_bias = (
            None if each is None else each[channels:] for each in (weight, bias)
        )
        weight, bias = (None if each is None else each[:channels] for each in (weight, bias))
        of_local = None if of_local is None else of_local[..., :channels].contiguous()
    maps = [None if each is None else each.permute(0, 3, 1, 2) for each in (of_local, beside)]
    return (*maps, weight, bias, pooled_weight, pooled_bias)


def _geometry(layer: nn.Module) -> tuple[Any, ...]:
    """Return what torch's convolution takes behind its weights."""
    if not isinstance(layer, nn.Conv2d):  # pragma: no cover - they are
        raise TypeError(layer)
    none = [0, 0]
    return layer.stride, layer.padding, layer.dilation, False, none, layer.groups


def _computed_in(reads: Tensor) -> torch.dtype:
    """Return what a convolution computes in: autocast's type, where there is autocast."""
    kind = reads.device.type
    if torch.is_autocast_enabled(kind) and reads.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return reads.dtype


def _cast(weights: tuple[Tensor | None, ...], dtype: torch.dtype) -> list[Tensor | None]:
    return [None if weight is None else weight.to(dtype) for weight in weights]


def _pixels(maps: Tensor) -> Tensor:
    """Return [B, C, H, W] as pixels, [B, H, W, C] in one piece; of channels_last that is a view."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _concatenate(pixels: tuple[Tensor, ...]) -> Tensor:
    """Put channels side by side; return maps, [B, C, H, W]."""
    return (pixels[0] if len(pixels) == 1 else torch.cat(pixels, 3)).permute(0, 3, 1, 2)

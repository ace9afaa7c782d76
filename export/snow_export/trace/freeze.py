"""Freezing: the learned top-K becomes a list of indices, BatchNorm and weight one affine."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from snow_export.trace.norms import norm_affine

if TYPE_CHECKING:
    from collections.abc import Sequence

Module = TypeVar("Module", bound=nn.Module)


@runtime_checkable
class Pooling(Protocol):
    """What freezing needs to know of a channel pooling layer."""

    @property
    def weight(self) -> Tensor:
        """[N] pooling weights."""

    @property
    def norm(self) -> nn.BatchNorm2d | None:
        """A BatchNorm2d of K channels before or after the weights, or None."""

    @property
    def norm_first(self) -> bool:
        """Whether the norm stands before the weights."""

    @property
    def relu(self) -> nn.ReLU | None:
        """A ReLU behind that, or None."""

    def order(self) -> tuple[int, ...]:
        """Return the K channels that evaluation reads, in the order in which they come out."""


class StaticPooling(nn.Module):
    """A frozen subscription: K fixed channels, one affine, maybe a ReLU.

    Shapes: [B, N, H, W] -> [B, K, H, W].
    """

    index: Tensor
    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self, index: Tensor, scale: Tensor | None, shift: Tensor | None, relu: nn.ReLU | None
    ) -> None:
        """Take the K chosen channels, [K] int64, and the affine, [1, K, 1, 1] each.

        Without a scale it only gathers: what reads it has taken the scale over.
        """
        super().__init__()
        self.register_buffer("index", index)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.relu = relu

    @classmethod
    def frozen(cls, pooling: Pooling) -> StaticPooling:
        """Fix a trained pooling: its selection, and weight and norm folded into one affine."""
        weight = pooling.weight.detach()
        index = torch.tensor(pooling.order(), dtype=torch.int64, device=weight.device)
        scale = weight[index].double()
        shift = None
        if pooling.norm is not None:
            gain, shift = norm_affine(pooling.norm)
            shift = shift * scale if pooling.norm_first else shift
            scale = scale * gain
            shift = shift.float().view(1, -1, 1, 1)
        return cls(index, scale.float().view(1, -1, 1, 1), shift, copy.deepcopy(pooling.relu))

    @classmethod
    def joined(cls, poolings: Sequence[StaticPooling]) -> StaticPooling:
        """Gather for several tasks at once, one behind the other: K becomes the sum of theirs."""
        scales = [pooling.scale for pooling in poolings if pooling.scale is not None]
        shifts = [pooling.shift for pooling in poolings if pooling.shift is not None]
        return cls(
            torch.cat([pooling.index for pooling in poolings]),
            torch.cat(scales, 1) if scales else None,
            torch.cat(shifts, 1) if shifts else None,
            poolings[0].relu,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Gather, scale, shift."""
        pooled = features.index_select(1, self.index)
        if self.scale is not None:
            pooled = pooled * self.scale
        if self.shift is not None:
            pooled = pooled + self.shift
        return pooled if self.relu is None else self.relu(pooled)

    def affine(self) -> nn.Conv2d:
        """Return scale and shift as a depthwise 1x1 convolution."""
        if self.scale is None:
            msg = "this pooling only gathers"
            raise ValueError(msg)
        channels, biased = len(self.index), self.shift is not None
        layer = nn.Conv2d(channels, channels, 1, groups=channels, bias=biased, device="meta")
        layer.weight = nn.Parameter(self.scale.view(-1, 1, 1, 1), requires_grad=False)
        if self.shift is not None:
            layer.bias = nn.Parameter(self.shift.flatten(), requires_grad=False)
        return layer


def freeze(delta: Module) -> Module:
    """Return a copy of a delta, in eval mode, with every channel pooling made static."""
    frozen = copy.deepcopy(delta).eval()
    for name, layer in list(frozen.named_modules()):
        if isinstance(layer, Pooling):
            frozen.set_submodule(name, StaticPooling.frozen(layer))
    return frozen.eval()

"""Layers of a few channels on a CPU: a faster BatchNorm in training, a safe strided convolution.

Between channels_last tensors torch's BatchNorm goes from pixel to pixel: on eight channels it takes
as long as on 32. A delta of 1/8 of a ResNet-50's width has eight where its maps are largest. Here
neighbouring pixels make one row, wide enough for the processor's registers.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_WIDE: Final = 16
"""Channels from which torch's own kernels are the faster ones, and sound."""

_ROW: Final = 64
"""The most values in a row; from 64 to 1,024 the sums over rows are as fast (measured)."""

_FEWEST_PIXELS: Final = 16384
"""With fewer, calling so many operations takes longer than they save (measured)."""


class NarrowPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, of few channels.

    oneDNN's backward pass for such weights writes past its workspace where the input is
    channels_last and has fewer channels than a register (oneDNN issue 6035): the process dies, or
    goes on with wrong gradients. On a CPU the pixels that the stride leaves are therefore taken
    first, and convolved without one.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Convolve [B, C, H, W]."""
        if features.device.type != "cpu":
            return super().forward(features)
        down, right = self.stride
        rest = features[:, :, ::down, ::right].contiguous(memory_format=torch.channels_last)
        return nn.functional.conv2d(rest, self.weight, self.bias)


def needs_care(layer: nn.Conv2d, channels: int, groups: int) -> bool:
    """Tell whether a convolution like this one, of so many channels, is a `NarrowPointwise`."""
    pointwise = layer.kernel_size == (1, 1) and layer.padding in {(0, 0), "valid"}
    return pointwise and layer.stride != (1, 1) and groups == 1 and channels < _WIDE


class NarrowBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, faster on a CPU where it has few channels and many pixels."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise [B, C, H, W]."""
        if _is_narrow(self, features):
            return normalize(self, features, self.weight, self.bias)
        return super().forward(features)


def normalize(
    norm: nn.BatchNorm2d, features: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = False
) -> Tensor:
    """Normalise as a norm does, in training with its running statistics, but with this affine.

    Args:
        norm: Norm of C channels.
        features: [B, C, H, W].
        weight: [C], in the place of the norm's.
        bias: [C], likewise.
        relu: Whether a ReLU follows.
    """
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    momentum = 0.0 if norm.momentum is None else norm.momentum
    if _is_narrow(norm, features):
        statistics = (norm.running_mean, norm.running_var)
        result: Tensor = _NarrowNorm.apply(
            features, weight, bias, statistics, momentum, norm.eps, relu
        )
        return result
    result = nn.functional.batch_norm(
        features,
        norm.running_mean,
        norm.running_var,
        weight,
        bias,
        norm.training,
        momentum,
        norm.eps,
    )
    return result.relu() if relu else result


def _is_narrow(norm: nn.BatchNorm2d, features: Tensor) -> bool:
    return (
        norm.training
        and 1 < norm.num_features < _WIDE
        and norm.num_features == features.shape[1]
        and norm.affine
        and norm.momentum is not None
        and norm.running_mean is not None
        and features.device.type == "cpu"
        and features.dtype == norm.running_mean.dtype == torch.float32
        and features.numel() >= _FEWEST_PIXELS * norm.num_features
        and features.is_contiguous(memory_format=torch.channels_last)
    )


class _NarrowNorm(torch.autograd.Function):
    """BatchNorm in training and a ReLU, on rows of several pixels."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd wants them in a row
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        statistics: tuple[Tensor, Tensor],
        momentum: float,
        eps: float,
        relu: bool,  # noqa: FBT001
    ) -> Tensor:
        rows = _Rows(features)
        values = rows.of(features)
        mean = rows.over_pixels(values.sum(0)) / rows.pixels
        # Not a view: what follows may change it in place.
        answer = torch.empty_like(features, memory_format=torch.channels_last)
        centred = torch.sub(values, rows.wide(mean), out=rows.of(answer))
        variance = rows.over_pixels((centred * centred).sum(0)) / rows.pixels
        statistics[0].lerp_(mean, momentum)
        statistics[1].lerp_(variance * (rows.pixels / (rows.pixels - 1)), momentum)
        inverse = (variance + eps).rsqrt()
        centred.mul_(rows.wide(weight * inverse)).add_(rows.wide(bias))
        if relu:
            centred.relu_()
        ctx.save_for_backward(features, weight, mean, inverse, answer if relu else None)
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, mean, inverse, answer = ctx.saved_tensors
        rows = _Rows(features)
        upstream = rows.of(gradient)
        if answer is not None:
            upstream = torch.ops.aten.threshold_backward(upstream, rows.of(answer), 0)
        centred = rows.of(features) - rows.wide(mean)
        of_bias = rows.over_pixels(upstream.sum(0))
        of_weight = rows.over_pixels((upstream * centred).sum(0)) * inverse
        if not ctx.needs_input_grad[0]:
            return None, of_weight, of_bias, None, None, None, None
        scale = weight * inverse
        through_variance = -scale * inverse * of_weight / rows.pixels
        through_mean = -scale * of_bias / rows.pixels
        of_features = centred.mul_(rows.wide(through_variance)).add_(rows.wide(through_mean))
        of_features.addcmul_(upstream, rows.wide(scale))
        return rows.back(of_features), of_weight, of_bias, None, None, None, None


class _Rows:
    """[B, C, H, W] in channels_last as rows of several pixels, and back."""

    def __init__(self, features: Tensor) -> None:
        batch, self.channels, height, width = features.shape
        self.shape = (batch, height, width, self.channels)
        self.pixels = batch * height * width
        self.together = 1
        while 2 * self.together * self.channels <= _ROW and self.pixels % (2 * self.together) == 0:
            self.together *= 2

    def of(self, tensor: Tensor) -> Tensor:
        """Return a view, of what is not channels_last a copy."""
        return tensor.permute(0, 2, 3, 1).reshape(-1, self.together * self.channels)

    def back(self, rows: Tensor) -> Tensor:
        return rows.view(self.shape).permute(0, 3, 1, 2)

    def wide(self, of_channels: Tensor) -> Tensor:
        return of_channels.repeat(self.together)

    def over_pixels(self, of_row: Tensor) -> Tensor:
        return of_row.view(self.together, self.channels).sum(0)

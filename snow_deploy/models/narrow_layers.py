"""Layers of a few channels on a CPU: a faster BatchNorm in training, a safe strided convolution.

Between channels_last tensors torch's BatchNorm goes from pixel to pixel: on eight channels it takes
as long as on 32. A delta of 1/8 of a ResNet-50's width has eight where its maps are largest. Here
neighbouring pixels make one row, wide enough for the processor's registers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from snow_deploy.models.batch_statistics import (
    FEWEST_PIXELS,
    WIDE,
    Affine,
    norm_gradients,
    normalize_batch,
)


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
    return pointwise and layer.stride != (1, 1) and groups == 1 and channels < WIDE


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
        and 1 < norm.num_features < WIDE
        and norm.num_features == features.shape[1]
        and norm.affine
        and norm.momentum is not None
        and norm.running_mean is not None
        and features.device.type == "cpu"
        and features.dtype == norm.running_mean.dtype == torch.float32
        and features.numel() >= FEWEST_PIXELS * norm.num_features
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
        pixels = features.numel() // features.shape[1]
        answer, affine = normalize_batch(features, weight, bias, eps)
        variance = affine.inverse.pow(-2).sub_(eps)
        statistics[0].lerp_(affine.mean, momentum)
        statistics[1].lerp_(variance.mul_(pixels / (pixels - 1)), momentum)
        if relu:
            answer.relu_()
        ctx.save_for_backward(features, *affine, answer if relu else None)
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, *affine, answer = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if answer is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, answer, 0)
        wanted = ctx.needs_input_grad[0]
        found = norm_gradients(gradient, features, Affine(*affine), wanted=wanted)
        return *found, None, None, None, None

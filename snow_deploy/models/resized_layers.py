"""Layers like another one, for another width, with fresh weights."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from torch import nn

from snow_deploy.models.narrow_layers import NarrowBatchNorm2d, NarrowPointwise, needs_care
from snow_export.own_layers import PaddedConv2d

if TYPE_CHECKING:
    from torch import Tensor


def divide(channels: int, divisor: int) -> int:
    """Divide a width, rounding up, so that nothing ever gets no channel at all."""
    return -(-channels // divisor)


def resized_layer(layer: nn.Module, arrives: Tensor, width: int) -> nn.Module:
    """Build a layer of the same kind for what arrives.

    Args:
        layer: The original, of any kind but convolution and linear.
        arrives: What it will read, [B, C, ...].
        width: Each layer has 1 / width of the original's channels.

    Raises:
        NotImplementedError: It has weights, and nothing says how they follow the width.
    """
    channels = arrives.shape[1]
    made: Any = None
    if isinstance(layer, nn.BatchNorm2d):
        made = NarrowBatchNorm2d(channels, layer.eps, layer.momentum, layer.affine)
    elif isinstance(layer, nn.BatchNorm1d):
        made = nn.BatchNorm1d(channels, layer.eps, layer.momentum, layer.affine)
    elif isinstance(layer, nn.GroupNorm):
        groups = math.gcd(layer.num_groups, channels)
        made = nn.GroupNorm(groups, channels, layer.eps, layer.affine)
    elif isinstance(layer, nn.LayerNorm):
        made = copy.copy(layer)  # of a subclass, such as torchvision's LayerNorm2d
        made_for = divide(layer.normalized_shape[-1], width)
        nn.LayerNorm.__init__(made, made_for, layer.eps, layer.elementwise_affine)
    elif isinstance(layer, nn.RMSNorm):
        made_for = divide(layer.normalized_shape[-1], width)
        made = nn.RMSNorm(made_for, layer.eps, layer.elementwise_affine)
    elif isinstance(layer, nn.PReLU):
        made = nn.PReLU(1 if layer.num_parameters == 1 else channels)
    elif isinstance(layer, nn.Conv1d) and layer.in_channels == layer.out_channels == 1:
        made = copy.deepcopy(layer).to_empty(device="cpu")  # over channels, not between them
        made.reset_parameters()
        made.requires_grad_(requires_grad=True)
    elif next(layer.parameters(), None) is not None:
        raise NotImplementedError(type(layer).__name__)
    else:
        made = copy.deepcopy(layer)
        if getattr(made, "inplace", False):  # its input may be subscribed or added later
            made.inplace = False
    return made  # type: ignore[no-any-return]


def groups_like(layer: nn.Conv2d, width: int, out: int) -> int:
    """Keep the channels of a group, as nearly as the widths allow; depthwise stays depthwise."""
    most = max(1, width * layer.groups // layer.in_channels)
    return next(n for n in range(most, 0, -1) if width % n == 0 and out % n == 0)


def narrowed_convolution(layer: nn.Conv2d, width: int, out: int, groups: int) -> nn.Conv2d:
    """Build a convolution of the same geometry, initialised as torchvision's ResNets are."""
    options: Any = {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "dilation": layer.dilation,
        "groups": groups,
        "bias": layer.bias is not None,
    }
    convolution: nn.Conv2d
    if isinstance(layer, PaddedConv2d):
        convolution = PaddedConv2d(width, out, pads=layer.pads, **options)
    else:
        kind = NarrowPointwise if needs_care(layer, width, groups) else nn.Conv2d
        convolution = kind(width, out, padding=layer.padding, **options)  # type: ignore[arg-type]
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution

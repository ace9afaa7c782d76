"""A BatchNorm with running statistics as one scale and shift, or as a part of its convolution.

Everything is computed in float64 and rounded once, which torch's own `fuse_conv_bn_eval` does not
do: the source and the exported graph are compared with the trained networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def norm_affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return a BatchNorm's scale [C] and shift [C] in eval mode, as float64.

    Raises:
        ValueError: The norm has no running statistics.
    """
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        msg = "a BatchNorm without running statistics cannot be frozen"
        raise ValueError(msg)
    scale = (var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.detach().double()
    return scale, shift


def fold_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution the weights and the bias that do a norm's work too; both are frozen.

    Raises:
        ValueError: The norm has no running statistics.
    """
    scale, shift = norm_affine(norm)
    weight = convolution.weight.detach().double() * scale.view(-1, 1, 1, 1)
    if convolution.bias is not None:
        shift = shift + convolution.bias.detach().double() * scale
    convolution.weight = nn.Parameter(weight.float(), requires_grad=False)
    convolution.bias = nn.Parameter(shift.float(), requires_grad=False)

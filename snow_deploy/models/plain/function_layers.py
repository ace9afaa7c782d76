"""Layers of the functions that compute with weights: convolution, linear, norms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snow_deploy.models.plain.replace_layers import convolution_like
from snow_export.own_layers import FixedFilter2d

if TYPE_CHECKING:
    from collections.abc import Callable


def _convolution(  # noqa: PLR0917 - torch's own arguments
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> nn.Module | None:
    if not isinstance(weight, Tensor) or weight.ndim != 4:
        return None
    blurs = groups == len(weight) > 1 and weight.shape[1] == 1 and bias is None
    if blurs and not isinstance(weight, nn.Parameter) and not isinstance(padding, str):
        same = bool((weight == weight[:1]).all())
        if same and _pair(dilation) == (1, 1):
            down, across = _pair(padding)
            pads = (across, across, down, down)
            made = FixedFilter2d((weight.shape[2], weight.shape[3]), _pair(stride), pads)
            made.weight.copy_(weight[:1])
            return made
    geometry = SimpleNamespace(
        stride=_pair(stride),
        padding=padding if isinstance(padding, str) else _pair(padding),
        dilation=_pair(dilation),
        groups=groups,
    )
    return convolution_like(geometry, weight, bias)


def _pair(value: Any) -> tuple[int, int]:
    listed = (value,) if isinstance(value, int) else tuple(value)
    return (listed[0], listed[0]) if len(listed) == 1 else (listed[0], listed[1])


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device)
    made.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made


def _batch_norm(  # noqa: PLR0917 - torch's own arguments
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module | None:
    if training or running_mean is None or running_var is None:
        return None
    made = nn.BatchNorm2d(len(running_mean), eps, momentum)
    given = {"weight": weight, "bias": bias, "running_mean": running_mean}
    for name, value in {**given, "running_var": running_var}.items():
        if value is not None:
            getattr(made, name).copy_(value)
    return made


def _layer_norm(
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> nn.Module:
    affine = weight is not None
    made = nn.LayerNorm(
        tuple(normalized_shape), eps, elementwise_affine=affine, bias=bias is not None
    )
    if weight is not None:
        made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


def _group_norm(
    num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> nn.Module | None:
    if weight is None:
        return None
    made = nn.GroupNorm(num_groups, len(weight), eps)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


FUNCTION_LAYERS: dict[Any, Callable[..., nn.Module | None]] = {
    functional.conv2d: _convolution,
    functional.linear: _linear,
    functional.batch_norm: _batch_norm,
    torch.batch_norm: lambda weight, bias, mean, var, training, momentum, eps, _cudnn: _batch_norm(
        mean, var, weight, bias, training, momentum, eps
    ),
    functional.layer_norm: _layer_norm,
    functional.group_norm: _group_norm,
}
"""By function: what makes a layer of its arguments but the first; None where there is none."""

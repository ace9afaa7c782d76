"""Layers and functions that treat every channel alike, and so serve several tasks as they are."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn import functional

from snow_export.own_layers import FixedFilter2d

if TYPE_CHECKING:
    from torch import fx

POINTWISE_LAYERS: Final = (
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.Mish,
    nn.ReLU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)
CHANNELWISE_LAYERS: Final = (
    *POINTWISE_LAYERS,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.ConstantPad2d,
    nn.MaxPool2d,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.Upsample,
    FixedFilter2d,
)


def is_channelwise(node: fx.Node, rank: int, *, last: bool) -> bool:
    """Tell whether a function of several tasks' channels is that of each.

    Args:
        node: A call in its one spelling.
        rank: Rank of the tensor that it reads.
        last: Whether channels are the last axis there, not the second.
    """
    if node.target in _POINTWISE:
        return True
    if node.target is torch.mean and not last:
        axes: Any = node.args[1]
        listed = range(rank) if axes is None else [axes] if isinstance(axes, int) else axes
        return not {axis % rank for axis in listed}.intersection({0, 1})
    return node.target in _POOLINGS and not last


_POINTWISE: Final[frozenset[Any]] = frozenset(
    {
        functional.elu,
        functional.gelu,
        functional.hardsigmoid,
        functional.hardswish,
        functional.leaky_relu,
        functional.silu,
        operator.add,
        operator.mul,
        operator.sub,
        operator.truediv,
        torch.clamp,
        torch.relu,
        torch.sigmoid,
        torch.tanh,
    }
)
_POOLINGS: Final[frozenset[Any]] = frozenset(
    {
        functional.adaptive_avg_pool2d,
        functional.avg_pool2d,
        functional.interpolate,
        functional.max_pool2d,
    }
)

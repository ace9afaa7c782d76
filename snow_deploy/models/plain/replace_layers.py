"""Puts torch's layers in the place of those that cannot be traced, or that only wrap torch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_export.own_layers import FixedFilter2d, PaddedConv2d

if TYPE_CHECKING:
    from collections.abc import Callable


@torch.no_grad()
def replace_layers(network: nn.Module, images: Tensor) -> None:
    """Replace layers in place, by what they are called and what they hold.

    A convolution that pads as TensorFlow does becomes a `PaddedConv2d`, one that standardises its
    weights has the standardised ones, an anti-aliasing blur becomes a `FixedFilter2d`, and a norm
    with frozen statistics or those of several processes a BatchNorm.

    Args:
        network: Network in eval mode.
        images: What it can read; it is run on them where layers do not say what shape they read.
    """
    _replace_synchronised(network, images)
    made: dict[int, nn.Module] = {}
    for name, layer in list(network.named_modules(remove_duplicate=False)):
        rule = _RULES.get(type(layer).__name__)
        if rule is None or not name:
            continue
        if id(layer) not in made:
            made[id(layer)] = rule(layer)
        network.set_submodule(name, made[id(layer)])


def convolution_like(
    layer: Any, weight: Tensor, bias: Tensor | None, pads: Any = None
) -> nn.Conv2d:
    """Build a convolution of a layer's geometry with other weights.

    Args:
        layer: What has `stride`, `padding`, `dilation` and `groups`.
        weight: [O, I / groups, kH, kW].
        bias: [O], or None.
        pads: In the place of the padding: pixels at each side, or `same`.
    """
    shape: Any = (weight.shape[1] * layer.groups, weight.shape[0], tuple(weight.shape[2:]))
    options: Any = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    options |= {"bias": bias is not None, "device": weight.device}
    made: nn.Conv2d
    if pads is None:
        options["padding"] = layer.padding
        made = nn.Conv2d(*shape, **options)
    else:
        made = PaddedConv2d(*shape, pads=pads, **options)
    made.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made.train(mode=False)


def _replace_synchronised(network: nn.Module, images: Tensor) -> None:
    """Replace norms that share their statistics between processes, which is in training alone.

    They normalise maps as well as vectors, and BatchNorm has a layer for each: the network is run.
    """
    axes: dict[nn.Module, int] = {}
    norms = [each for each in network.modules() if isinstance(each, nn.SyncBatchNorm)]
    if not norms:
        return
    watched = [
        norm.register_forward_pre_hook(lambda norm, given: axes.update({norm: given[0].ndim}))
        for norm in norms
    ]
    network(images)
    for hook in watched:
        hook.remove()
    made = {norm: _batch_norm_like(norm, count) for norm, count in axes.items()}
    for name, layer in list(network.named_modules(remove_duplicate=False)):
        if layer in made:
            network.set_submodule(name, made[layer])


def _batch_norm_like(norm: Any, axes: int) -> nn.Module:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 5: nn.BatchNorm3d}.get(axes, nn.BatchNorm2d)
    tracks = norm.track_running_stats
    options = {"momentum": norm.momentum, "affine": norm.affine, "track_running_stats": tracks}
    made: nn.Module = kind(norm.num_features, norm.eps, **options)
    made.load_state_dict(norm.state_dict())
    return made.train(mode=False)


def _same(layer: Any) -> nn.Module:
    return convolution_like(layer, layer.weight, layer.bias, "same")


def _standardised(layer: Any) -> nn.Module:
    """Compute the weights as the layer does: from the mean and the deviation of each filter."""
    scale = layer.gain * layer.scale if hasattr(layer, "gain") else None
    weight = nn.functional.batch_norm(
        layer.weight.reshape(1, layer.out_channels, -1),
        None,
        None,
        weight=None if scale is None else scale.view(-1),
        training=True,
        momentum=0.0,
        eps=layer.eps,
    ).reshape_as(layer.weight)
    is_same = getattr(layer, "same_pad", False)
    return convolution_like(layer, weight, layer.bias, "same" if is_same else None)


def _blur(layer: Any) -> nn.Module:
    kernel = layer.filt[:1].detach()
    stride = (layer.stride, layer.stride) if isinstance(layer.stride, int) else layer.stride
    size = (kernel.shape[2], kernel.shape[3])
    made = FixedFilter2d(size, stride, tuple(layer.padding), layer.pad_mode)
    made.weight.copy_(kernel)
    return made.train(mode=False)


def _frozen_norm(layer: Any) -> nn.Module:
    made = nn.BatchNorm2d(len(layer.weight), eps=layer.eps)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(made, name).copy_(getattr(layer, name))
    return made.train(mode=False)


_RULES: dict[str, Callable[[Any], nn.Module]] = {
    "Conv2dSame": _same,
    "StdConv2d": _standardised,
    "StdConv2dSame": _standardised,
    "ScaledStdConv2d": _standardised,
    "ScaledStdConv2dSame": _standardised,
    "BlurPool2d": _blur,
    "FrozenBatchNorm2d": _frozen_norm,
}
"""Rules by the name of the class; timm's and torchvision's."""

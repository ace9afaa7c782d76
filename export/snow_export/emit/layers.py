"""Rules for torch.nn layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snow_export.emit.activations import (
    clip,
    elu,
    gelu,
    leaky_relu,
    mish,
    silu,
    softmax_over,
    unary,
)
from snow_export.emit.pools import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool,
    max_pool,
    pair,
)
from snow_export.emit.resizing import pad, resize
from snow_export.errors import ExportError, NoRuleError
from snow_export.own_layers import FixedFilter2d, PaddedConv2d
from snow_export.trace.norms import norm_affine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import fx

    from snow_export.emit.emitter import Emitter, LayerRule


def emit_layer(emitter: Emitter, node: fx.Node, module: nn.Module) -> str:
    """Write one layer and return its output's name.

    Raises:
        NoRuleError: There is no rule for it.
        ExportError: It computes across the batch.
    """
    for kind, rule in _RULES.items():
        if isinstance(module, kind):
            return rule(emitter, node, module)
    msg = (
        f"{emitter.label(node)} is a {type(module).__name__}, which the exporter has no rule for; "
        "choose another source architecture, or add a rule in snow_export/emit/layers.py"
    )
    raise NoRuleError(msg)


def _conv(emitter: Emitter, node: fx.Node, module: nn.Conv2d) -> str:
    label = emitter.label(node)
    inputs = [emitter.name(node.args[0]), emitter.constant(f"{label}.weight", module.weight)]
    if module.bias is not None:
        inputs.append(emitter.constant(f"{label}.bias", module.bias))
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        msg = f"{label} pads by {module.padding_mode!r}/{module.padding!r}; only zeros have a rule"
        raise NoRuleError(msg)
    pads = [*pair(module.padding), *pair(module.padding)]
    if isinstance(module, PaddedConv2d):
        height, width = emitter.shape(node.all_input_nodes[0])[2:]
        left, right, top, bottom = module.pads_for(height, width)
        pads = [top, left, bottom, right]
    return emitter.add(
        "Conv",
        inputs,
        label,
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=pads,
        dilations=list(module.dilation),
        group=module.groups,
    )


def _conv1d(emitter: Emitter, node: fx.Node, module: nn.Conv1d) -> str:
    """Write a convolution of [B, C, L], as of pictures one pixel wide."""
    label, shape = emitter.label(node), emitter.shape(node)
    before = emitter.shape(node.all_input_nodes[0])
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        msg = f"{label} pads by {module.padding_mode!r}/{module.padding!r}; only zeros have a rule"
        raise NoRuleError(msg)
    name = emitter.reshape(emitter.name(node.args[0]), [*before, 1], f"{label}.wide")
    inputs = [name, emitter.constant(f"{label}.weight", module.weight.unsqueeze(-1))]
    if module.bias is not None:
        inputs.append(emitter.constant(f"{label}.bias", module.bias))
    made = emitter.add(
        "Conv",
        inputs,
        label,
        kernel_shape=[module.kernel_size[0], 1],
        strides=[module.stride[0], 1],
        pads=[module.padding[0], 0, module.padding[0], 0],
        dilations=[module.dilation[0], 1],
        group=module.groups,
    )
    return emitter.reshape(made, shape, f"{label}.narrow")


def _fixed_filter(emitter: Emitter, node: fx.Node, module: FixedFilter2d) -> str:
    """Write a fixed filter as a depthwise convolution, what it pads by as ONNX pads."""
    label, name = emitter.label(node), emitter.name(node.args[0])
    channels = emitter.shape(node)[1]
    left, right, top, bottom = module.pads
    pads = [top, left, bottom, right]
    if module.mode != "constant" and any(pads):
        name = pad(emitter, node, node.args[0], module.pads, module.mode, suffix=".padded")
        pads = [0, 0, 0, 0]
    weight = module.weight.expand(channels, -1, -1, -1)
    return emitter.add(
        "Conv",
        [name, emitter.constant(f"{label}.weight", weight)],
        label,
        kernel_shape=list(module.size),
        strides=list(module.stride),
        pads=pads,
        group=channels,
    )


def _group_norm(emitter: Emitter, node: fx.Node, module: nn.GroupNorm) -> str:
    """Write a GroupNorm as a LayerNorm over each group's values, and one scale and shift."""
    label, name, shape = emitter.label(node), emitter.name(node.args[0]), emitter.shape(node)
    apart = emitter.reshape(name, [shape[0], module.num_groups, -1], f"{label}.groups")
    size = int(np.prod(shape[1:])) // module.num_groups
    normed = emit_layer_norm(emitter, node, apart, (size,), eps=module.eps)
    if not module.affine:
        return emitter.reshape(normed, shape, f"{label}.whole")
    whole = emitter.reshape(normed, shape, f"{label}.whole")
    return affine(emitter, whole, module.weight, module.bias, label, rank=len(shape))


def _prelu(emitter: Emitter, node: fx.Node, module: nn.PReLU) -> str:
    label, rank = emitter.label(node), len(emitter.shape(node))
    slope = emitter.constant(f"{label}.slope", module.weight.view(-1, *(1,) * (rank - 2)))
    return emitter.add("PRelu", [emitter.name(node.args[0]), slope], label)


def _linear(emitter: Emitter, node: fx.Node, module: nn.Linear) -> str:
    label, name = emitter.label(node), emitter.name(node.args[0])
    bias = None if module.bias is None else emitter.constant(f"{label}.bias", module.bias)
    if len(emitter.shape(node)) == 2:
        weight = emitter.constant(f"{label}.weight", module.weight)
        return emitter.add("Gemm", [name, weight, *([bias] if bias else [])], label, transB=1)
    weight = emitter.constant(f"{label}.weight", module.weight.t())
    product = emitter.add("MatMul", [name, weight], label)
    return product if bias is None else emitter.add("Add", [product, bias], f"{label}.add")


def _batch_norm(emitter: Emitter, node: fx.Node, module: nn.BatchNorm1d | nn.BatchNorm2d) -> str:
    """Write a norm that no convolution could absorb as one scale and shift."""
    label, name = emitter.label(node), emitter.name(node.args[0])
    if module.running_mean is None or module.running_var is None:
        msg = f"{label} has no running statistics, so it has no fixed form to export"
        raise ExportError(msg)
    scale, shift = norm_affine(module)
    rank = len(emitter.shape(node))
    return affine(emitter, name, scale.float(), shift.float(), label, rank=rank)


def affine(
    emitter: Emitter, name: str, scale: Tensor, shift: Tensor, label: str, *, rank: int = 4
) -> str:
    """Write x * scale + shift over channels, [C] each, of a tensor of some rank, [B, C, ...]."""
    wide = (1, -1, *(1,) * (rank - 2))
    scaled = emitter.add(
        "Mul", [name, emitter.constant(f"{label}.scale", scale.view(wide))], f"{label}.mul"
    )
    return emitter.add("Add", [scaled, emitter.constant(f"{label}.shift", shift.view(wide))], label)


def _layer_norm(emitter: Emitter, node: fx.Node, module: nn.LayerNorm) -> str:
    """Write a LayerNorm; torchvision's LayerNorm2d norms the channels of [B, C, H, W]."""
    label, name = emitter.label(node), emitter.name(node.args[0])
    channels_first = type(module) is not nn.LayerNorm
    if channels_first:
        name = emitter.add("Transpose", [name], f"{label}.nhwc", perm=[0, 2, 3, 1])
    shape = module.normalized_shape
    normed = emit_layer_norm(emitter, node, name, shape, module.weight, module.bias, module.eps)
    if channels_first:
        normed = emitter.add("Transpose", [normed], f"{label}.nchw", perm=[0, 3, 1, 2])
    return normed


def emit_layer_norm(  # noqa: PLR0917 - torch's own arguments
    emitter: Emitter,
    node: fx.Node,
    name: str,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> str:
    """Write a LayerNorm over the last axes of what is called `name`, with torch's arguments."""
    label = emitter.label(node)
    given = {"weight": weight, "bias": bias}
    if weight is None:  # ONNX asks for one
        given["weight"] = torch.ones(tuple(shape))
    inputs = [
        emitter.constant(f"{label}.{key}", value)
        if isinstance(value, Tensor)
        else emitter.name(value)
        for key, value in given.items()
        if value is not None
    ]
    return emitter.add("LayerNormalization", [name, *inputs], label, axis=-len(shape), epsilon=eps)


def _flatten(emitter: Emitter, node: fx.Node, module: nn.Flatten) -> str:
    name, label, shape = emitter.name(node.args[0]), emitter.label(node), emitter.shape(node)
    if module.start_dim == 1 and len(shape) == 2:
        return emitter.add("Flatten", [name], label, axis=1)
    if shape[0] != emitter.shape(node.all_input_nodes[0])[0]:
        msg = (
            f"{label} flattens axes {module.start_dim} to {module.end_dim}, the batch among them; "
            "it cannot export"
        )
        raise ExportError(msg)
    return emitter.reshape(name, shape, label)


def _channel_shuffle(emitter: Emitter, node: fx.Node, module: nn.ChannelShuffle) -> str:
    """Write a shuffle as the two reshapes and the transpose that it is."""
    label, shape = emitter.label(node), emitter.shape(node)
    apart = [shape[0], module.groups, shape[1] // module.groups, *shape[2:]]
    name = emitter.reshape(emitter.name(node.args[0]), apart, f"{label}.apart")
    swapped = emitter.add("Transpose", [name], f"{label}.swapped", perm=[0, 2, 1, 3, 4])
    return emitter.reshape(swapped, shape, label)


def _with(rule: Callable[..., str], *names: str) -> LayerRule:
    """Return the rule of a layer as that of a function with some of the layer's attributes."""
    return lambda emitter, node, module: rule(
        emitter, node, node.args[0], *(getattr(module, name) for name in names)
    )


_RULES: dict[type[nn.Module], Callable[[Emitter, fx.Node, Any], str]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.Conv1d: _conv1d,
    nn.GroupNorm: _group_norm,
    nn.PReLU: _prelu,
    FixedFilter2d: _fixed_filter,
    nn.ConstantPad2d: lambda emitter, node, module: pad(
        emitter, node, node.args[0], module.padding, "constant", module.value
    ),
    nn.ReflectionPad2d: lambda emitter, node, module: pad(
        emitter, node, node.args[0], module.padding, "reflect"
    ),
    nn.ReplicationPad2d: lambda emitter, node, module: pad(
        emitter, node, node.args[0], module.padding, "replicate"
    ),
    nn.Upsample: _with(resize, "size", "scale_factor", "mode", "align_corners"),
    nn.AdaptiveMaxPool2d: _with(adaptive_max_pool, "output_size"),
    nn.Softmax: _with(softmax_over, "dim"),
    nn.Mish: _with(mish),
    nn.LayerNorm: _layer_norm,
    nn.Hardtanh: _with(clip, "min_val", "max_val"),  # ReLU6 is one
    nn.ReLU: unary("Relu"),
    nn.Hardswish: unary("HardSwish"),
    nn.Hardsigmoid: unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Sigmoid: unary("Sigmoid"),
    nn.Tanh: unary("Tanh"),
    nn.LeakyReLU: _with(leaky_relu, "negative_slope"),
    nn.ELU: _with(elu, "alpha"),
    nn.SiLU: _with(silu),
    nn.GELU: _with(gelu, "approximate"),
    nn.MaxPool2d: _with(max_pool, "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    nn.AvgPool2d: _with(
        avg_pool,
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    nn.AdaptiveAvgPool2d: _with(adaptive_avg_pool, "output_size"),
    nn.Flatten: _flatten,
    nn.ChannelShuffle: _channel_shuffle,
}

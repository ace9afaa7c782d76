"""Rules for torch.nn layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snow_export.errors import ExportError
from snow_export.trace.norms import norm_affine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import fx

    from snow_export.emit.emitter import Emitter, LayerRule


def emit_layer(emitter: Emitter, node: fx.Node, module: nn.Module) -> str:
    """Write one layer and return its output's name.

    Raises:
        ExportError: There is no rule for it.
    """
    for kind, rule in _RULES.items():
        if isinstance(module, kind):
            return rule(emitter, node, module)
    msg = (
        f"{emitter.label(node)} is a {type(module).__name__}, which the exporter has no rule for; "
        "choose another source architecture, or add a rule in snow_export/emit/layers.py"
    )
    raise ExportError(msg)


def pair(value: Any) -> tuple[int, int]:
    """Return (height, width) of an argument that may be one number for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _conv(emitter: Emitter, node: fx.Node, module: nn.Conv2d) -> str:
    label = emitter.label(node)
    inputs = [emitter.name(node.args[0]), emitter.constant(f"{label}.weight", module.weight)]
    if module.bias is not None:
        inputs.append(emitter.constant(f"{label}.bias", module.bias))
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        msg = f"{label} pads by {module.padding_mode!r}/{module.padding!r}; only zeros are exported"
        raise ExportError(msg)
    return emitter.add(
        "Conv",
        inputs,
        label,
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=[*pair(module.padding), *pair(module.padding)],
        dilations=list(module.dilation),
        group=module.groups,
    )


def _linear(emitter: Emitter, node: fx.Node, module: nn.Linear) -> str:
    label, name = emitter.label(node), emitter.name(node.args[0])
    bias = None if module.bias is None else emitter.constant(f"{label}.bias", module.bias)
    if len(emitter.shape(node)) == 2:
        weight = emitter.constant(f"{label}.weight", module.weight)
        return emitter.add("Gemm", [name, weight, *([bias] if bias else [])], label, transB=1)
    weight = emitter.constant(f"{label}.weight", module.weight.t())
    product = emitter.add("MatMul", [name, weight], label)
    return product if bias is None else emitter.add("Add", [product, bias], f"{label}.add")


def _batch_norm(emitter: Emitter, node: fx.Node, module: nn.BatchNorm2d) -> str:
    """Write a norm that no convolution could absorb as one scale and shift."""
    label, name = emitter.label(node), emitter.name(node.args[0])
    if module.running_mean is None or module.running_var is None:
        msg = f"{label} has no running statistics, so it has no fixed form to export"
        raise ExportError(msg)
    scale, shift = norm_affine(module)
    return affine(emitter, name, scale.float(), shift.float(), label)


def affine(emitter: Emitter, name: str, scale: Tensor, shift: Tensor, label: str) -> str:
    """Write x * scale + shift over channels, [C] each."""
    scaled = emitter.add(
        "Mul", [name, emitter.constant(f"{label}.scale", scale.view(1, -1, 1, 1))], f"{label}.mul"
    )
    return emitter.add(
        "Add", [scaled, emitter.constant(f"{label}.shift", shift.view(1, -1, 1, 1))], label
    )


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


def _max_pool(emitter: Emitter, node: fx.Node, module: nn.MaxPool2d) -> str:
    geometry = (module.kernel_size, module.stride, module.padding, module.dilation)
    return max_pool(emitter, node, node.args[0], *geometry, module.ceil_mode)


def max_pool(  # noqa: PLR0917 - torch's own arguments
    emitter: Emitter,
    node: fx.Node,
    value: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Write a max pooling with torch's arguments."""
    return emitter.add(
        "MaxPool",
        [emitter.name(value)],
        emitter.label(node),
        kernel_shape=list(pair(kernel)),
        strides=list(pair(kernel if stride is None else stride)),
        pads=[*pair(padding), *pair(padding)],
        dilations=list(pair(dilation)),
        ceil_mode=int(ceil_mode),
    )


def _avg_pool(emitter: Emitter, node: fx.Node, module: nn.AvgPool2d) -> str:
    if module.divisor_override is not None:
        msg = f"{emitter.label(node)} divides by {module.divisor_override}; it has no ONNX form"
        raise ExportError(msg)
    geometry = (module.kernel_size, module.stride, module.padding)
    modes = (module.ceil_mode, module.count_include_pad)
    return avg_pool(emitter, node, node.args[0], *geometry, *modes)


def avg_pool(  # noqa: PLR0917 - torch's own arguments
    emitter: Emitter,
    node: fx.Node,
    value: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002
    count_include_pad: bool = True,  # noqa: FBT001, FBT002
) -> str:
    """Write an average pooling with torch's arguments."""
    return emitter.add(
        "AveragePool",
        [emitter.name(value)],
        emitter.label(node),
        kernel_shape=list(pair(kernel)),
        strides=list(pair(kernel if stride is None else stride)),
        pads=[*pair(padding), *pair(padding)],
        ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad),
    )


def _adaptive(emitter: Emitter, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> str:
    return adaptive_avg_pool(emitter, node, node.args[0], module.output_size)


def adaptive_avg_pool(emitter: Emitter, node: fx.Node, value: Any, _size: Any) -> str:
    """Write an adaptive average pooling for the sizes of the example."""
    name, label = emitter.name(value), emitter.label(node)
    height, width = emitter.shape(value)[2:]
    out_height, out_width = emitter.shape(node)[2:]
    if (out_height, out_width) == (1, 1):
        return emitter.add("GlobalAveragePool", [name], label)
    if height % out_height == 0 and width % out_width == 0:
        kernel = [height // out_height, width // out_width]
        return emitter.add("AveragePool", [name], label, kernel_shape=kernel, strides=kernel)
    rows = emitter.constant(f"{label}.rows", _averages(height, out_height))
    columns = emitter.constant(f"{label}.columns", _averages(width, out_width).T)
    halfway = emitter.add("MatMul", [rows, name], f"{label}.rows_of")
    return emitter.add("MatMul", [halfway, columns], label)


def _averages(size: int, out: int) -> Any:
    """Return the matrix that averages `size` values into `out` windows, as torch cuts them."""
    matrix = np.zeros((out, size), np.float32)
    for row in range(out):
        start, stop = row * size // out, math.ceil((row + 1) * size / out)
        matrix[row, start:stop] = 1 / (stop - start)
    return matrix


def _gelu(emitter: Emitter, node: fx.Node, module: nn.GELU) -> str:
    if module.approximate != "none":
        msg = (
            f"{emitter.label(node)} is a GELU approximated by {module.approximate!r}; only the "
            "exact one exports"
        )
        raise ExportError(msg)
    return gelu(emitter, node, node.args[0])


def gelu(emitter: Emitter, node: fx.Node, value: Any) -> str:
    """Write x / 2 * (1 + erf(x / sqrt(2)))."""
    label, name = emitter.label(node), emitter.name(value)
    scalar = {key: np.array(value, np.float32) for key, value in _GELU.items()}
    halved = emitter.add("Mul", [name, emitter.constant(f"{label}.half", scalar["half"])], label)
    scaled = emitter.add("Mul", [name, emitter.constant(f"{label}.root", scalar["root"])], label)
    error = emitter.add("Erf", [scaled], label)
    shifted = emitter.add("Add", [error, emitter.constant(f"{label}.one", scalar["one"])], label)
    return emitter.add("Mul", [halved, shifted], label)


_GELU = {"half": 0.5, "root": math.sqrt(0.5), "one": 1.0}


def silu(emitter: Emitter, node: fx.Node, value: Any) -> str:
    """Write x * sigmoid(x)."""
    label, name = emitter.label(node), emitter.name(value)
    gate = emitter.add("Sigmoid", [name], f"{label}.gate")
    return emitter.add("Mul", [name, gate], label)


def leaky_relu(emitter: Emitter, node: fx.Node, value: Any, slope: float) -> str:
    """Write x where it is positive, slope * x elsewhere."""
    return emitter.add("LeakyRelu", [emitter.name(value)], emitter.label(node), alpha=slope)


def elu(emitter: Emitter, node: fx.Node, value: Any, alpha: float) -> str:
    """Write x where it is positive, alpha * (exp(x) - 1) elsewhere."""
    return emitter.add("Elu", [emitter.name(value)], emitter.label(node), alpha=alpha)


def clip(emitter: Emitter, node: fx.Node, value: Any, low: float | None, high: float | None) -> str:
    """Write min(max(x, low), high); None is no limit."""
    label = emitter.label(node)
    limits = [
        "" if limit is None else emitter.constant(f"{label}.{side}", np.array(limit, np.float32))
        for side, limit in (("min", low), ("max", high))
    ]
    return emitter.add("Clip", [emitter.name(value), *limits], label)


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


def unary(op: str, **attributes: float) -> Callable[..., str]:
    """Return a rule of one operator on one tensor."""

    def rule(emitter: Emitter, node: fx.Node, *_: Any) -> str:
        return emitter.add(op, [emitter.name(node.args[0])], emitter.label(node), **attributes)

    return rule


def _with(rule: Callable[..., str], *names: str) -> LayerRule:
    """Return the rule of a layer as that of a function with some of the layer's attributes."""
    return lambda emitter, node, module: rule(
        emitter, node, node.args[0], *(getattr(module, name) for name in names)
    )


_RULES: dict[type[nn.Module], Callable[[Emitter, fx.Node, Any], str]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
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
    nn.GELU: _gelu,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive,
    nn.Flatten: _flatten,
    nn.ChannelShuffle: _channel_shuffle,
}

"""Rules for torch.nn layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from snow_export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import fx

    from snow_export.emit.emitter import Emitter, LayerRule


def layer(emitter: Emitter, node: fx.Node, module: nn.Module) -> str:
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
    mean, var = module.running_mean, module.running_var
    if mean is None or var is None:
        msg = f"{label} has no running statistics, so it has no fixed form to export"
        raise ExportError(msg)
    scale = (var.double() + module.eps).rsqrt()
    shift = -mean.double() * scale
    if module.affine:
        scale, shift = scale * module.weight.double(), shift * module.weight.double()
        shift = shift + module.bias.double()
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
    inputs = [name, emitter.constant(f"{label}.weight", module.weight)]
    inputs.append(emitter.constant(f"{label}.bias", module.bias))
    axis = -len(module.normalized_shape)
    normed = emitter.add("LayerNormalization", inputs, label, axis=axis, epsilon=module.eps)
    if channels_first:
        normed = emitter.add("Transpose", [normed], f"{label}.nchw", perm=[0, 3, 1, 2])
    return normed


def _max_pool(emitter: Emitter, node: fx.Node, module: nn.MaxPool2d) -> str:
    return max_pool(
        emitter,
        node,
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        ceil_mode=module.ceil_mode,
    )


def max_pool(  # noqa: PLR0917 - torch's own arguments
    emitter: Emitter,
    node: fx.Node,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    ceil_mode: bool = False,
) -> str:
    """Write a max pooling with torch's arguments."""
    return emitter.add(
        "MaxPool",
        [emitter.name(node.args[0])],
        emitter.label(node),
        kernel_shape=list(pair(kernel)),
        strides=list(pair(kernel if stride is None else stride)),
        pads=[*pair(padding), *pair(padding)],
        dilations=list(pair(dilation)),
        ceil_mode=int(ceil_mode),
    )


def _avg_pool(emitter: Emitter, node: fx.Node, module: nn.AvgPool2d) -> str:
    return avg_pool(
        emitter,
        node,
        module.kernel_size,
        module.stride,
        module.padding,
        ceil_mode=module.ceil_mode,
        count_include_pad=module.count_include_pad,
    )


def avg_pool(
    emitter: Emitter,
    node: fx.Node,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> str:
    """Write an average pooling with torch's arguments."""
    return emitter.add(
        "AveragePool",
        [emitter.name(node.args[0])],
        emitter.label(node),
        kernel_shape=list(pair(kernel)),
        strides=list(pair(kernel if stride is None else stride)),
        pads=[*pair(padding), *pair(padding)],
        ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad),
    )


def _adaptive(emitter: Emitter, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> str:
    return adaptive_avg_pool(emitter, node, module.output_size)


def adaptive_avg_pool(emitter: Emitter, node: fx.Node, size: Any) -> str:
    """Write an adaptive average pooling for the input size of the example."""
    name, label = emitter.name(node.args[0]), emitter.label(node)
    height, width = emitter.shape(node.all_input_nodes[0])[2:]
    out_height, out_width = pair(size)
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
    label, name = emitter.label(node), emitter.name(node.args[0])
    if module.approximate != "none":
        msg = (
            f"{label} is a GELU approximated by {module.approximate!r}; only the exact one exports"
        )
        raise ExportError(msg)
    scalar = {key: np.array(value, np.float32) for key, value in _GELU.items()}
    halved = emitter.add("Mul", [name, emitter.constant(f"{label}.half", scalar["half"])], label)
    scaled = emitter.add("Mul", [name, emitter.constant(f"{label}.root", scalar["root"])], label)
    error = emitter.add("Erf", [scaled], label)
    shifted = emitter.add("Add", [error, emitter.constant(f"{label}.one", scalar["one"])], label)
    return emitter.add("Mul", [halved, shifted], label)


_GELU = {"half": 0.5, "root": math.sqrt(0.5), "one": 1.0}


def _silu(emitter: Emitter, node: fx.Node, _module: nn.SiLU) -> str:
    label, name = emitter.label(node), emitter.name(node.args[0])
    gate = emitter.add("Sigmoid", [name], f"{label}.gate")
    return emitter.add("Mul", [name, gate], label)


def clip(emitter: Emitter, node: fx.Node, low: float, high: float) -> str:
    """Write min(max(x, low), high)."""
    label = emitter.label(node)
    limits = [
        emitter.constant(f"{label}.min", np.array(low, np.float32)),
        emitter.constant(f"{label}.max", np.array(high, np.float32)),
    ]
    return emitter.add("Clip", [emitter.name(node.args[0]), *limits], label)


def _flatten(emitter: Emitter, node: fx.Node, module: nn.Flatten) -> str:
    if module.start_dim != 1 or module.end_dim != -1:
        msg = f"{emitter.label(node)} flattens axes {module.start_dim} to {module.end_dim}, not all"
        raise ExportError(msg)
    return emitter.add("Flatten", [emitter.name(node.args[0])], emitter.label(node), axis=1)


def _same(emitter: Emitter, node: fx.Node, _module: nn.Module) -> str:
    return emitter.name(node.args[0])


def _unary(op: str, **attributes: float) -> LayerRule:
    def rule(emitter: Emitter, node: fx.Node, _module: nn.Module) -> str:
        return emitter.add(op, [emitter.name(node.args[0])], emitter.label(node), **attributes)

    return rule


_RULES: dict[type[nn.Module], Callable[[Emitter, fx.Node, Any], str]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.ReLU6: lambda emitter, node, _module: clip(emitter, node, 0.0, 6.0),
    nn.ReLU: _unary("Relu"),
    nn.Hardswish: _unary("HardSwish"),
    nn.Hardsigmoid: _unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Sigmoid: _unary("Sigmoid"),
    nn.SiLU: _silu,
    nn.GELU: _gelu,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive,
    nn.Flatten: _flatten,
    nn.Dropout: _same,
    nn.Identity: _same,
}

"""Rules for poolings, of layers and of functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snow_export.errors import NoRuleError

if TYPE_CHECKING:
    from torch import fx

    from snow_export.emit.emitter import Emitter


def pair(value: Any) -> tuple[int, int]:
    """Return (height, width) of an argument that may be one number for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


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


def avg_pool(  # noqa: PLR0917 - torch's own arguments
    emitter: Emitter,
    node: fx.Node,
    value: Any,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002
    count_include_pad: bool = True,  # noqa: FBT001, FBT002
    divisor: int | None = None,
) -> str:
    """Write an average pooling with torch's arguments.

    Raises:
        NoRuleError: It divides by a number of its own.
    """
    if divisor is not None:
        msg = f"{emitter.label(node)} divides by {divisor}; it has no ONNX form"
        raise NoRuleError(msg)
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


def adaptive_max_pool(emitter: Emitter, node: fx.Node, value: Any, _size: Any) -> str:
    """Write an adaptive max pooling to one pixel, or to windows of one size.

    Raises:
        NoRuleError: The windows differ in size.
    """
    name, label = emitter.name(value), emitter.label(node)
    height, width = emitter.shape(value)[2:]
    out_height, out_width = emitter.shape(node)[2:]
    if (out_height, out_width) == (1, 1):
        return emitter.add("GlobalMaxPool", [name], label)
    if height % out_height or width % out_width:
        msg = f"{label} pools {height} x {width} to {out_height} x {out_width}; it cannot export"
        raise NoRuleError(msg)
    kernel = [height // out_height, width // out_width]
    return emitter.add("MaxPool", [name], label, kernel_shape=kernel, strides=kernel)


def _averages(size: int, out: int) -> Any:
    """Return the matrix that averages `size` values into `out` windows, as torch cuts them."""
    matrix = np.zeros((out, size), np.float32)
    for row in range(out):
        start, stop = row * size // out, math.ceil((row + 1) * size / out)
        matrix[row, start:stop] = 1 / (stop - start)
    return matrix

"""The spellings of each operation: by torch's function or method, the one, and its arguments."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[..., tuple[Any, ...] | None]
    """Takes an operation's arguments as it is spelled; gives the one spelling's, or None where
    that has no such form."""

KEYWORDS: Final = {
    "axis": "dim",
    "keepdims": "keepdim",
    "self": "input",
    "tensor": "input",
    "x": "input",
    "a": "input",
    "x1": "input",
    "x2": "other",
}
"""What NumPy's users may write, and what torch calls it."""


def _one(input: Any, inplace: Any = False) -> tuple[Any, ...]:  # noqa: A002, ARG001, FBT002
    return (input,)


def _two(input: Any, other: Any, *, alpha: float = 1) -> tuple[Any, ...] | None:  # noqa: A002
    return (input, other) if alpha == 1 else None


def _permute(input: Any, *order: Any, dims: Any = None) -> tuple[Any, ...]:  # noqa: A002
    if dims is None:
        dims = order[0] if isinstance(order[0], (tuple, list)) else order
    return (input, tuple(dims))


def _reduced(
    input: Any,  # noqa: A002
    dim: Any = None,
    keepdim: Any = False,  # noqa: FBT002
    *,
    dtype: Any = None,
) -> Any:
    return (input, dim, keepdim) if dtype is None else None


def _norm(
    input: Any,  # noqa: A002
    p: Any = 2,
    dim: Any = None,
    keepdim: Any = False,  # noqa: FBT002
    *,
    dtype: Any = None,
) -> Any:
    known = p in {2, "fro", None} and dim is not None and dtype is None
    return (input, 2, dim, keepdim) if known else None


def _interpolate(  # noqa: PLR0917 - torch's own arguments
    input: Any,  # noqa: A002
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,  # noqa: ARG001 - the example's size decides
    antialias: Any = False,  # noqa: FBT002
) -> Any:
    return None if antialias else (input, size, scale_factor, mode, align_corners)


def _table(*rows: tuple[Any, Reader, tuple[Any, ...]]) -> dict[Any, tuple[Any, Reader]]:
    return {name: (target, read) for target, read, names in rows for name in names}


# ruff: noqa: E501, A006, ARG005 - a table, in torch's own names
SPELLINGS: Final = _table(
    (operator.add, _two, (operator.add, torch.add, "add")),
    (operator.sub, _two, (operator.sub, torch.sub, torch.subtract, "sub", "subtract")),
    (operator.mul, _two, (operator.mul, torch.mul, torch.multiply, "mul", "multiply")),
    (
        operator.truediv,
        _two,
        (
            operator.truediv,
            torch.div,
            torch.divide,
            torch.true_divide,
            "div",
            "divide",
            "true_divide",
        ),
    ),
    (operator.pow, _two, (operator.pow, torch.pow, "pow")),
    (operator.matmul, _two, (operator.matmul, torch.matmul, torch.bmm, "matmul", "bmm")),
    (torch.maximum, _two, (torch.maximum, "maximum")),
    (torch.minimum, _two, (torch.minimum, "minimum")),
    (operator.neg, _one, (operator.neg, torch.neg, torch.negative, "neg")),
    (torch.sqrt, _one, (torch.sqrt, "sqrt")),
    (torch.exp, _one, (torch.exp, "exp")),
    (torch.abs, _one, (torch.abs, operator.abs, "abs")),
    (functional.mish, _one, (functional.mish,)),
    (torch.sum, _reduced, (torch.sum, "sum")),
    (torch.amax, _reduced, (torch.amax, "amax")),
    (torch.amin, _reduced, (torch.amin, "amin")),
    (torch.norm, _norm, (torch.norm, "norm")),
    (
        torch.norm,
        lambda input, ord=None, dim=None, keepdim=False, *, dtype=None: (
            (input, 2, dim, keepdim) if ord in {None, 2} and isinstance(dim, int) else None
        ),
        (torch.linalg.vector_norm,),
    ),
    (functional.interpolate, _interpolate, (functional.interpolate,)),
    (
        functional.pad,
        lambda input, pad, mode="constant", value=None: (input, pad, mode, value),
        (functional.pad,),
    ),
    (
        functional.softmax,
        lambda input, dim, _stacklevel=3, dtype=None: (input, dim) if dtype is None else None,
        (functional.softmax, torch.softmax, "softmax"),
    ),
    (
        functional.adaptive_max_pool2d,
        lambda input, output_size: (input, output_size),
        (functional.adaptive_max_pool2d,),
    ),
    (torch.stack, lambda tensors, dim=0: (tensors, dim), (torch.stack,)),
    (torch.relu, _one, (torch.relu, functional.relu, "relu")),
    (torch.sigmoid, _one, (torch.sigmoid, functional.sigmoid, torch.special.expit, "sigmoid")),
    (torch.tanh, _one, (torch.tanh, functional.tanh, "tanh")),
    (functional.silu, _one, (functional.silu,)),
    (functional.hardswish, _one, (functional.hardswish,)),
    (functional.hardsigmoid, _one, (functional.hardsigmoid,)),
    (
        functional.gelu,
        lambda input, *, approximate="none": (input,) if approximate == "none" else None,
        (functional.gelu,),
    ),
    (
        functional.leaky_relu,
        lambda input, negative_slope=0.01, inplace=False: (input, negative_slope),
        (functional.leaky_relu,),
    ),
    (functional.elu, lambda input, alpha=1.0, inplace=False: (input, alpha), (functional.elu,)),
    (
        torch.clamp,
        lambda input, min=None, max=None: (input, min, max),
        (torch.clamp, torch.clip, "clamp", "clip"),
    ),
    (torch.clamp, lambda input, min: (input, min, None), (torch.clamp_min, "clamp_min")),
    (torch.clamp, lambda input, max: (input, None, max), (torch.clamp_max, "clamp_max")),
    (torch.clamp, lambda input, inplace=False: (input, 0.0, 6.0), (functional.relu6,)),
    (
        torch.clamp,
        lambda input, min_val=-1.0, max_val=1.0, inplace=False: (input, min_val, max_val),
        (functional.hardtanh,),
    ),
    (
        torch.cat,
        lambda tensors, dim=0: (tensors, dim),
        (torch.cat, torch.concat, torch.concatenate),
    ),
    (
        torch.flatten,
        lambda input, start_dim=0, end_dim=-1: (input, start_dim, end_dim),
        (torch.flatten, "flatten"),
    ),
    (torch.permute, _permute, (torch.permute, "permute")),
    (
        torch.transpose,
        lambda input, dim0, dim1: (input, dim0, dim1),
        (torch.transpose, torch.swapdims, "transpose", "swapdims"),
    ),
    (
        torch.transpose,
        lambda input, axis0, axis1: (input, axis0, axis1),
        (torch.swapaxes, "swapaxes"),
    ),
    (
        torch.movedim,
        lambda input, source, destination: (input, source, destination),
        (torch.movedim, torch.moveaxis, "movedim", "moveaxis"),
    ),
    (
        torch.mean,
        lambda input, dim=None, keepdim=False, *, dtype=None: (
            (input, dim, keepdim) if dtype is None else None
        ),
        (torch.mean, "mean"),
    ),
    (
        torch.narrow,
        lambda input, dim, start, length: (input, dim, start, length),
        (torch.narrow, "narrow"),
    ),
    (torch.select, lambda input, dim, index: (input, dim, index), (torch.select, "select")),
    (
        torch.index_select,
        lambda input, dim, index: (input, dim, index),
        (torch.index_select, "index_select"),
    ),
    (
        functional.adaptive_avg_pool2d,
        lambda input, output_size: (input, output_size),
        (functional.adaptive_avg_pool2d,),
    ),
    (
        functional.max_pool2d,
        lambda input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False: (
            None if return_indices else (input, kernel_size, stride, padding, dilation, ceil_mode)
        ),
        (functional.max_pool2d, torch.max_pool2d),
    ),
    (
        functional.avg_pool2d,
        lambda input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None: (
            (input, kernel_size, stride, padding, ceil_mode, count_include_pad)
            if divisor_override is None
            else None
        ),
        (functional.avg_pool2d,),
    ),
    (
        functional.layer_norm,
        lambda input, normalized_shape, weight=None, bias=None, eps=1e-5: (
            input,
            tuple(normalized_shape),
            weight,
            bias,
            eps,
        ),
        (functional.layer_norm,),
    ),
)
"""By function or method name: the one spelling, and how to read the arguments."""

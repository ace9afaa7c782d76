"""One spelling for each operation: torch writes most as a function, a method, with keywords.

The rules that follow, of fusing and of the emitter, then know an operation by one target and by
positional arguments alone.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx, nn
from torch.nn import functional
from torchvision.ops import stochastic_depth

from snow_export.trace.in_place import make_new, read_results

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[..., tuple[Any, ...] | None]
    """Takes an operation's arguments as it is spelled; gives the one spelling's, or None where
    that has no such form."""

_KEYWORDS: Final = {
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


def respell(traced: fx.GraphModule) -> None:
    """Write every operation that has several spellings in one, in place.

    Calls that write into their input become calls that don't; what changes nothing in evaluation
    is gone. Operations that are not known here stay as they are.
    """
    for node in list(traced.graph.nodes):
        if _changes_nothing(traced, node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)
    read_results(traced)
    for node in list(traced.graph.nodes):
        if node.op in {"call_function", "call_method"}:
            make_new(traced, node)
            _take_factor_out(traced.graph, node)
            _respell(node)
    traced.graph.lint()
    traced.recompile()


def _respell(node: fx.Node) -> None:
    found = _SPELLINGS.get(node.target)
    if found is None:
        return
    target, read = found
    keywords = {
        _KEYWORDS.get(key, key): value
        for key, value in node.kwargs.items()
        if key not in {"inplace", "out", "_stacklevel"}
    }
    try:
        arguments = read(*node.args, **keywords)
    except TypeError:  # an argument that is not known here
        return
    if arguments is not None:
        node.op, node.target, node.args, node.kwargs = "call_function", target, arguments, {}


def _changes_nothing(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Tell whether a node is the identity in evaluation: dropout and stochastic depth."""
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        return isinstance(layer, (*_DROPPING_LAYERS, nn.Identity))
    place = _DROPPING.get(node.target)
    if place is None:
        return False
    by_default = node.target is not stochastic_depth
    training = node.args[place] if len(node.args) > place else node.kwargs.get("training")
    return not (by_default if training is None else training)


def _take_factor_out(graph: fx.Graph, node: fx.Node) -> None:
    """Write torch's x + alpha * y as a product and a sum."""
    factor = node.kwargs.get("alpha", 1)
    if node.target not in _SCALED or factor == 1:
        return
    keyword = next((name for name in ("other", "x2") if name in node.kwargs), None)
    other = node.args[1] if keyword is None else node.kwargs[keyword]
    with graph.inserting_before(node):
        scaled = graph.call_function(operator.mul, (other, factor))
    kwargs = {key: value for key, value in node.kwargs.items() if key not in {"alpha", keyword}}
    node.args, node.kwargs = (*node.args[:1], *([scaled] if keyword is None else [])), kwargs
    if keyword is not None:
        node.kwargs = {**kwargs, keyword: scaled}


_SCALED: Final[frozenset[Any]] = frozenset({torch.add, torch.sub, "add", "sub"})
_DROPPING_LAYERS: Final = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_DROPPING: Final[dict[Any, int]] = {
    functional.dropout: 2,
    functional.dropout2d: 2,
    functional.alpha_dropout: 2,
    functional.feature_alpha_dropout: 2,
    torch.dropout: 2,
    stochastic_depth: 3,
}
"""Where each has its argument `training`."""


def _one(input: Any, inplace: Any = False) -> tuple[Any, ...]:  # noqa: A002, ARG001, FBT002
    return (input,)


def _two(input: Any, other: Any, *, alpha: float = 1) -> tuple[Any, ...] | None:  # noqa: A002
    return (input, other) if alpha == 1 else None


def _permute(input: Any, *order: Any, dims: Any = None) -> tuple[Any, ...]:  # noqa: A002
    if dims is None:
        dims = order[0] if isinstance(order[0], (tuple, list)) else order
    return (input, tuple(dims))


def _table(*rows: tuple[Any, Reader, tuple[Any, ...]]) -> dict[Any, tuple[Any, Reader]]:
    return {name: (target, read) for target, read, names in rows for name in names}


# ruff: noqa: E501, A006, ARG005 - a table, in torch's own names
_SPELLINGS: Final = _table(
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

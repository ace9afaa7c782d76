"""torch's functions for the ATen operators that torch.export leaves in a graph."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from snow_deploy.models.plain.description import known_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Arguments = tuple[Any, ...]
    Call = tuple[Any, Arguments, dict[str, Any]]
    """A function, or a method's name, and what it is called with."""


class NotExportedError(Exception):
    """What torch.export makes of a network is of no use here; the message says why."""


def torch_call(called: Any, args: Arguments, kwargs: Mapping[str, Any]) -> Call | fx.Node:
    """Return the call of torch's that computes what an ATen operator does, or one of its inputs.

    Args:
        called: Operator, with its overload.
        args: Positional arguments, in the order of its schema.
        kwargs: Other arguments.

    Raises:
        NotExportedError: There is none that a description of a network can hold.
    """
    name = operator_name(called)
    given = {key: each for key, each in kwargs.items() if key not in _PLACES and each is not None}
    if rule := _RULES.get(name):
        return rule(*args, **given)
    known = known_functions()
    function = known.get(f"torch.{name}") or known.get(f"torch.nn.functional.{name}")
    if function is not None:
        return function, _without_defaults(called, args), given
    if not name.startswith("_") and callable(getattr(Tensor, name, None)):
        return name, args, given
    msg = f"it computes {called}, for which there is no function of torch's"
    raise NotExportedError(msg)


def operator_name(called: Any) -> str:
    """Return an ATen operator's name without its overload's; empty for any other function."""
    if not isinstance(called, torch._ops.OpOverload):  # noqa: SLF001 - it has no public name
        return ""
    name: str = called._schema.name  # noqa: SLF001 - nor has this
    return name.partition("::")[2]


def is_first_of_several(called: Any) -> bool:
    """Tell whether an operator returns several tensors, and torch's function its first alone."""
    return operator_name(called) in _FIRST_OF_SEVERAL


_PLACES = frozenset({"device", "layout", "pin_memory"})
_FIRST_OF_SEVERAL = frozenset(
    {
        "_native_batch_norm_legit_no_training",
        "adaptive_max_pool2d",
        "max_pool2d_with_indices",
        "native_group_norm",
        "native_layer_norm",
    }
)


def _without_defaults(called: Any, args: Arguments) -> Arguments:
    """Leave out what is as the operator's schema has it, at the end."""
    schema = called._schema.arguments  # noqa: SLF001
    kept = list(args)
    while kept and schema[len(kept) - 1].has_default_value():
        if kept[-1] != schema[len(kept) - 1].default_value:
            break
        kept.pop()
    return tuple(kept)


def _same(value: fx.Node, *_: Any, **_options: Any) -> fx.Node:
    return value


def _to_copy(value: fx.Node, *, dtype: Any = None, **_: Any) -> Call | fx.Node:
    return value if dtype is None else ("to", (value, dtype), {})


def _slice(
    value: fx.Node, axis: int = 0, start: Any = None, stop: Any = None, step: int = 1
) -> Call | fx.Node:
    ends = isinstance(stop, int) and stop >= torch.iinfo(torch.int64).max
    part = slice(start or None, None if ends else stop, None if step == 1 else step)
    if part == slice(None):  # torch writes one for every `:`
        return value
    if axis < 0:
        return operator.getitem, (value, (..., part, *[slice(None)] * (-axis - 1))), {}
    return operator.getitem, (value, (slice(None),) * axis + (part,)), {}


def _index(value: fx.Node, indices: Sequence[Any]) -> Call:
    places = tuple(slice(None) if each is None else each for each in indices)
    return operator.getitem, (value, places), {}


def _batch_norm(value: fx.Node, weight: Any, bias: Any, mean: Any, var: Any, *options: Any) -> Call:
    momentum, eps = [each for each in options if not isinstance(each, bool)][:2]
    return functional.batch_norm, (value, mean, var, weight, bias, False, momentum, eps), {}


def _instance_norm(
    value: fx.Node, weight: Any, bias: Any, mean: Any, var: Any, *options: Any
) -> Call:
    return functional.instance_norm, (value, mean, var, weight, bias, *options[:3]), {}


def _reversed_sub(value: fx.Node, other: Any, alpha: float = 1) -> Call:
    if alpha != 1:
        return torch.rsub, (value, other), {"alpha": alpha}
    return operator.sub, (other, value), {}


def _pool(function: Any) -> Callable[..., Call]:
    def rule(value: fx.Node, size: Any, stride: Any = (), *options: Any) -> Call:
        return function, (value, size, stride or None, *options), {}

    return rule


def _pad(mode: str) -> Callable[..., Call]:
    def rule(value: fx.Node, pads: Any, fill: Any = None) -> Call:
        return functional.pad, (value, list(pads), mode, fill), {}

    return rule


def _upsample(mode: str) -> Callable[..., Call]:
    def rule(value: fx.Node, size: Any, *options: Any) -> Call:
        *corners, factors = options
        named: dict[str, Any] = {"mode": mode}
        if corners:
            named["align_corners"] = corners[0]
        named |= {"scale_factor": list(factors)} if size is None else {"size": list(size)}
        return functional.interpolate, (value,), named

    return rule


_RULES: dict[str, Callable[..., Call | fx.Node]] = {
    **dict.fromkeys(("clone", "detach", "alias", "contiguous", "lift_fresh", "dropout"), _same),
    **dict.fromkeys(("lift_fresh_copy", "feature_dropout"), _same),
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape"),
        lambda value, shape: (torch.reshape, (value, shape), {}),
    ),
    "_to_copy": _to_copy,
    "slice": _slice,
    "index": _index,
    "expand": lambda value, sizes, **_: ("expand", (value, *sizes), {}),
    "repeat": lambda value, times: ("repeat", (value, *times), {}),
    "sym_size": lambda value, axis: ("size", (value, axis), {}),
    "split_with_sizes": lambda value, sizes, axis=0: (torch.split, (value, sizes, axis), {}),
    "rsub": _reversed_sub,
    "reciprocal": lambda value: (operator.truediv, (1, value), {}),
    "linalg_vector_norm": lambda value, p=2, axis=None, keep=False: (
        torch.norm,
        (value, p, axis, keep),
        {},
    ),
    "log_sigmoid": lambda value: (functional.logsigmoid, (value,), {}),
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "instance_norm": _instance_norm,
    "layer_norm": lambda value, *given: (functional.layer_norm, (value, *given[:4]), {}),
    "group_norm": lambda value, *given: (functional.group_norm, (value, *given[:4]), {}),
    "max_pool2d": _pool(functional.max_pool2d),
    "max_pool2d_with_indices": _pool(functional.max_pool2d),
    "avg_pool2d": _pool(functional.avg_pool2d),
    "adaptive_max_pool2d": lambda value, size: (functional.adaptive_max_pool2d, (value, size), {}),
    "constant_pad_nd": _pad("constant"),
    "reflection_pad2d": _pad("reflect"),
    "replication_pad2d": _pad("replicate"),
    "upsample_nearest2d": _upsample("nearest"),
    "_upsample_nearest_exact2d": _upsample("nearest-exact"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "upsample_bicubic2d": _upsample("bicubic"),
}
"""By the operator's name, where torch's function has another name or takes other arguments."""

"""Rules for functions and tensor methods that torch.fx leaves in a graph, in one spelling each."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional

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
from snow_export.emit.arithmetic import REDUCTIONS
from snow_export.emit.layers import emit_layer_norm
from snow_export.emit.pools import adaptive_avg_pool, adaptive_max_pool, avg_pool, max_pool
from snow_export.emit.resizing import pad, resize
from snow_export.errors import ExportError, NoRuleError

if TYPE_CHECKING:
    from snow_export.emit.emitter import CallRule, Emitter


def emit_call(emitter: Emitter, node: fx.Node) -> str:
    """Write one function or method call and return its output's name.

    Raises:
        NoRuleError: There is no rule for it.
        ExportError: It computes across the batch.
    """
    rule = _RULES.get(node.target)
    if rule is None:
        what = (
            node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "?")
        )
        msg = (
            f"the network calls {what!r} ({node.name}), which the exporter has no rule for; choose "
            "another source architecture, or add a rule in snow_export/emit/functions.py"
        )
        raise NoRuleError(msg)
    try:
        return rule(emitter, node, *emitter.arguments(node))
    except TypeError as error:
        msg = f"the network calls {node.name} with other arguments than there is a rule for"
        raise NoRuleError(msg) from error


def _binary(op: str) -> CallRule:
    def rule(emitter: Emitter, node: fx.Node, *operands: Any) -> str:
        names = [
            emitter.name(operand)
            if isinstance(operand, fx.Node)
            else emitter.constant(f"{node.name}.scalar", np.array(operand, np.float32))
            for operand in operands
        ]
        return emitter.add(op, names, node.name)

    return rule


def _same(emitter: Emitter, _node: fx.Node, value: Any, *_: Any) -> str:
    return emitter.name(value)


def _concatenate(emitter: Emitter, node: fx.Node, parts: Any, axis: int) -> str:
    names = _parts(emitter, parts)
    return names[0] if len(names) == 1 else emitter.add("Concat", names, node.name, axis=axis)


def _parts(emitter: Emitter, parts: Any) -> list[str]:
    """Name the tensors of a list, of a split, or of some parts of a split."""
    if not isinstance(parts, fx.Node):
        return [emitter.name(part) for part in parts]
    if parts.target is operator.getitem:
        names = _parts(emitter, parts.args[0])[parts.args[1]]  # type: ignore[index]
        return names if isinstance(names, list) else [names]
    if parts.target in _SPLITTERS:
        return _split(emitter, parts)
    return [emitter.name(parts)]


def _flatten(emitter: Emitter, node: fx.Node, value: Any, start: int, _end: int) -> str:
    rank, flat = len(emitter.shape(value)), len(emitter.shape(node))
    if start % rank != 1 or flat != 2:
        return _reshape(emitter, node, value)
    return emitter.add("Flatten", [emitter.name(value)], node.name, axis=1)


def _reshape(emitter: Emitter, node: fx.Node, value: Any, *_: Any) -> str:
    """Write any reshape that keeps the batch axis, with the sizes of the example."""
    before, after = emitter.shape(value), emitter.shape(node)
    if not after or before[0] != after[0]:
        msg = f"{node.name} reshapes {before} to {after}, across the batch axis; it cannot export"
        raise ExportError(msg)
    return emitter.reshape(emitter.name(value), after, node.name)


def _move_axes(emitter: Emitter, node: fx.Node, value: Any, *how: Any) -> str:
    """Write any reordering of axes: sizes 0, 1, 2, ... come out as the order of the axes."""
    rank = len(emitter.shape(value))
    moved = node.target(torch.empty(*range(rank), device="meta"), *how)  # type: ignore[operator]
    return emitter.add("Transpose", [emitter.name(value)], node.name, perm=list(moved.shape))


def _index_select(emitter: Emitter, node: fx.Node, value: Any, axis: int, index: Any) -> str:
    chosen: Tensor = emitter.examples[index]
    indices = emitter.constant(f"{node.name}.indices", chosen.to(torch.int64))
    return emitter.add("Gather", [emitter.name(value), indices], node.name, axis=axis)


def _mean(emitter: Emitter, node: fx.Node, value: Any, axes: Any, keep: bool) -> str:  # noqa: FBT001
    rank = len(emitter.shape(value))
    listed = range(rank) if axes is None else [axes] if isinstance(axes, int) else axes
    wanted = sorted(axis % rank for axis in listed)
    name = emitter.name(value)
    if 0 in wanted:
        msg = f"{node.name} averages axes {axes}, the batch among them; it cannot export"
        raise ExportError(msg)
    if rank == 4 and wanted == [2, 3]:
        pooled = emitter.add("GlobalAveragePool", [name], node.name)
        return pooled if keep else emitter.add("Flatten", [pooled], f"{node.name}.flat", axis=1)
    return emitter.add("ReduceMean", [name], node.name, axes=wanted, keepdims=int(keep))


def _broadcast(emitter: Emitter, node: fx.Node, value: Any, *_: Any) -> str:
    """Leave an expansion to what computes with its result: ONNX's arithmetic broadcasts.

    Raises:
        ExportError: Something else reads it.
    """
    shape = emitter.shape(node)
    for user in node.users:
        others = [each for each in user.all_input_nodes if each is not node]
        if user.target not in _ARITHMETIC or shape not in map(emitter.shape, others):
            msg = f"{node.name} expands a tensor for {user.name}; the exporter has no rule for that"
            raise NoRuleError(msg)
    return emitter.name(value)


def _stack(emitter: Emitter, node: fx.Node, parts: Any, axis: int) -> str:
    """Write torch.stack as a concatenation of reshaped tensors."""
    shape = emitter.shape(node)
    axis %= len(shape)
    one = [*shape[:axis], 1, *shape[axis + 1 :]]
    names = [
        emitter.reshape(name, one, f"{node.name}.part{place}")
        for place, name in enumerate(_parts(emitter, parts))
    ]
    return emitter.add("Concat", names, node.name, axis=axis)


def _getitem(emitter: Emitter, node: fx.Node, parent: fx.Node, position: Any) -> str:
    """Take one part of a split, or slices and single values of a tensor."""
    if isinstance(emitter.examples[parent], Tensor):
        return _slice(emitter, node, parent, position)
    if parent.target not in _SPLITTERS or position.__class__ is not int:
        msg = (
            f"{node.name} indexes {parent.name} by {position!r}; the exporter has no rule for that"
        )
        raise NoRuleError(msg)
    return _split(emitter, parent)[position]


def _split(emitter: Emitter, parent: fx.Node) -> list[str]:
    """Write a whole split, once; return the names of its parts."""
    parts: tuple[Tensor, ...] = emitter.examples[parent]
    whole = parent.all_input_nodes[0]
    if parent not in emitter.split_parts:
        shape = emitter.shape(whole)
        axis = next((i for i, size in enumerate(shape) if parts[0].shape[i] != size), 1)
        sizes = np.array([part.shape[axis] for part in parts], np.int64)
        inputs = [emitter.name(whole), emitter.constant(f"{parent.name}.sizes", sizes)]
        if len(parts) == 1:
            emitter.split_parts[parent] = [inputs[0]]
        else:
            names = emitter.add_many("Split", inputs, parent.name, len(parts), axis=axis)
            emitter.split_parts[parent] = names
    return emitter.split_parts[parent]


def _slice(emitter: Emitter, node: fx.Node, value: fx.Node, index: Any) -> str:
    """Write x[:, a:b, c, None, ..., ::d]; single values are slices of one, and a reshape."""
    shape = emitter.shape(value)
    asked = list(index) if isinstance(index, tuple) else [index]
    given = [item for item in asked if item is not None]  # new axes come with the reshape
    if any(item is not ... and not isinstance(item, (int, slice)) for item in given):
        msg = f"{node.name} indexes {value.name} by {index!r}; the exporter has no rule for that"
        raise NoRuleError(msg)
    if ... in given:
        place = given.index(...)
        given[place : place + 1] = [slice(None)] * (len(shape) - len(given) + 1)
    bounds = {
        axis: (item if isinstance(item, slice) else slice(item, item + 1 or None)).indices(size)
        for axis, (item, size) in enumerate(zip(given, shape, strict=False))
        if item != slice(None)
    }
    if 0 in bounds:
        msg = f"{node.name} takes a part of the batch by {index!r}; it cannot export"
        raise ExportError(msg)
    name = emitter.name(value)
    if bounds:
        starts, stops, steps = zip(*bounds.values(), strict=True)
        columns = {"starts": starts, "ends": stops, "axes": tuple(bounds), "steps": steps}
        constants = [
            emitter.constant(f"{node.name}.{key}", np.array(column, np.int64))
            for key, column in columns.items()
        ]
        name = emitter.add("Slice", [name, *constants], node.name)
    if len(emitter.shape(node)) != len(shape) or len(given) != len(asked):
        name = emitter.reshape(name, emitter.shape(node), f"{node.name}.squeezed")
    return name


def _narrow(emitter: Emitter, node: fx.Node, value: fx.Node, axis: int, *which: int) -> str:
    """Write x.narrow(axis, start, length), or x.select(axis, index)."""
    rank = len(emitter.shape(value))
    item = slice(which[0], sum(which)) if len(which) > 1 else which[0]
    return _slice(emitter, node, value, (slice(None),) * (axis % rank) + (item,))


_ARITHMETIC = frozenset({operator.add, operator.mul, operator.sub, operator.truediv})
_SPLITTERS = frozenset({"chunk", torch.chunk, "split", torch.split, "tensor_split"})
_RESHAPES = (
    "view",
    "view_as",
    "reshape",
    "reshape_as",
    "unflatten",
    "squeeze",
    "unsqueeze",
    torch.reshape,
    torch.unflatten,
    torch.squeeze,
    torch.unsqueeze,
)

_RULES: dict[Any, CallRule] = {
    operator.add: _binary("Add"),
    operator.mul: _binary("Mul"),
    operator.sub: _binary("Sub"),
    operator.truediv: _binary("Div"),
    operator.pow: _binary("Pow"),
    operator.matmul: _binary("MatMul"),
    torch.maximum: _binary("Max"),
    torch.minimum: _binary("Min"),
    torch.sqrt: unary("Sqrt"),
    torch.exp: unary("Exp"),
    torch.abs: unary("Abs"),
    operator.neg: unary("Neg"),
    torch.relu: unary("Relu"),
    torch.sigmoid: unary("Sigmoid"),
    torch.tanh: unary("Tanh"),
    functional.hardswish: unary("HardSwish"),
    functional.hardsigmoid: unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    functional.leaky_relu: leaky_relu,
    functional.elu: elu,
    functional.silu: silu,
    functional.gelu: gelu,
    functional.layer_norm: lambda emitter, node, value, shape, *rest: emit_layer_norm(
        emitter, node, emitter.name(value), shape, *rest
    ),
    torch.clamp: clip,
    torch.cat: _concatenate,
    torch.flatten: _flatten,
    torch.index_select: _index_select,
    torch.mean: _mean,
    torch.narrow: _narrow,
    torch.select: _narrow,
    operator.getitem: _getitem,
    functional.max_pool2d: max_pool,
    functional.avg_pool2d: avg_pool,
    functional.adaptive_avg_pool2d: adaptive_avg_pool,
    functional.adaptive_max_pool2d: adaptive_max_pool,
    functional.interpolate: resize,
    functional.mish: mish,
    functional.pad: pad,
    functional.softmax: softmax_over,
    torch.stack: _stack,
    **REDUCTIONS,
    **dict.fromkeys(("expand", "expand_as", torch.broadcast_to), _broadcast),
    **dict.fromkeys(("contiguous", "clone", "detach", torch.clone, torch.detach), _same),
    **dict.fromkeys(_RESHAPES, _reshape),
    **dict.fromkeys((torch.transpose, torch.permute, torch.movedim), _move_axes),
}

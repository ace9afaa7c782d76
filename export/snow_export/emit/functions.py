"""Rules for functions and tensor methods that torch.fx leaves in a graph."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional
from torchvision.ops import stochastic_depth

from snow_export.emit.layers import adaptive_avg_pool, avg_pool, clip, max_pool
from snow_export.errors import ExportError

if TYPE_CHECKING:
    from snow_export.emit.emitter import CallRule, Emitter


def call(emitter: Emitter, node: fx.Node) -> str:
    """Write one function or method call and return its output's name.

    Raises:
        ExportError: There is no rule for it.
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
        raise ExportError(msg)
    return rule(emitter, node)


def _argument(node: fx.Node, position: int, keyword: str, default: Any = None) -> Any:
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(keyword, default)


def _binary(op: str) -> CallRule:
    def rule(emitter: Emitter, node: fx.Node) -> str:
        operands = [
            emitter.name(arg)
            if isinstance(arg, fx.Node)
            else emitter.constant(f"{node.name}.scalar", np.array(arg, np.float32))
            for arg in node.args[:2]
        ]
        return emitter.add(op, operands, node.name)

    return rule


def _unary(op: str) -> CallRule:
    return lambda emitter, node: emitter.add(op, [emitter.name(node.args[0])], node.name)


def _same(emitter: Emitter, node: fx.Node) -> str:
    return emitter.name(node.args[0])


def _concatenate(emitter: Emitter, node: fx.Node) -> str:
    parts: Any = node.args[0]
    axis = _argument(node, 1, "dim", 0)
    names = [emitter.name(part) for part in parts]
    return names[0] if len(names) == 1 else emitter.add("Concat", names, node.name, axis=axis)


def _flatten(emitter: Emitter, node: fx.Node) -> str:
    if _argument(node, 1, "start_dim", 0) != 1 or _argument(node, 2, "end_dim", -1) != -1:
        return _reshape(emitter, node)
    return emitter.add("Flatten", [emitter.name(node.args[0])], node.name, axis=1)


def _reshape(emitter: Emitter, node: fx.Node) -> str:
    """Write any reshape that keeps the batch axis, with the sizes of the example."""
    before, after = emitter.shape(node.all_input_nodes[0]), emitter.shape(node)
    if before[0] != after[0]:
        msg = f"{node.name} reshapes {before} to {after}, across the batch axis; it cannot export"
        raise ExportError(msg)
    return emitter.reshape(emitter.name(node.args[0]), after, node.name)


def _transpose(emitter: Emitter, node: fx.Node) -> str:
    axes = list(range(len(emitter.shape(node))))
    first, second = _argument(node, 1, "dim0"), _argument(node, 2, "dim1")
    axes[first], axes[second] = axes[second], axes[first]
    return emitter.add("Transpose", [emitter.name(node.args[0])], node.name, perm=axes)


def _permute(emitter: Emitter, node: fx.Node) -> str:
    order: Any = node.args[1:] if isinstance(node.args[1], int) else node.args[1]
    rank = len(order)
    axes = [axis % rank for axis in order]
    return emitter.add("Transpose", [emitter.name(node.args[0])], node.name, perm=axes)


def _index_select(emitter: Emitter, node: fx.Node) -> str:
    index: Tensor = emitter.examples[node.all_input_nodes[1]]
    indices = emitter.constant(f"{node.name}.indices", index.to(torch.int64))
    return emitter.add(
        "Gather", [emitter.name(node.args[0]), indices], node.name, axis=node.args[1]
    )


def _mean(emitter: Emitter, node: fx.Node) -> str:
    axes, keep = _argument(node, 1, "dim"), _argument(node, 2, "keepdim", default=False)
    rank = len(emitter.shape(node.all_input_nodes[0]))
    if sorted(axis % rank for axis in axes) != [2, 3]:
        msg = f"{node.name} averages axes {axes}; only the two spatial ones export"
        raise ExportError(msg)
    pooled = emitter.add("GlobalAveragePool", [emitter.name(node.args[0])], node.name)
    return pooled if keep else emitter.add("Flatten", [pooled], f"{node.name}.flat", axis=1)


def _getitem(emitter: Emitter, node: fx.Node) -> str:
    """Take one part of a split; the first part that is asked for writes the whole split."""
    parent, position = node.all_input_nodes[0], node.args[1]
    if (
        parent.target not in {"chunk", torch.chunk, "split", torch.split}
        or position.__class__ is not int
    ):
        msg = (
            f"{node.name} indexes {parent.name} by {position!r}; the exporter has no rule for that"
        )
        raise ExportError(msg)
    parts: tuple[Tensor, ...] = emitter.examples[parent]
    axis = _argument(parent, 2, "dim", 0)
    key = f"{parent.name}:{position}"
    if key not in emitter.split_parts:
        sizes = np.array([part.shape[axis] for part in parts], np.int64)
        inputs = [emitter.name(parent.args[0]), emitter.constant(f"{parent.name}.sizes", sizes)]
        names = emitter.add_many("Split", inputs, parent.name, len(parts), axis=axis)
        emitter.split_parts |= {f"{parent.name}:{i}": name for i, name in enumerate(names)}
    return emitter.split_parts[key]


def _max_pool(emitter: Emitter, node: fx.Node) -> str:
    return max_pool(
        emitter,
        node,
        _argument(node, 1, "kernel_size"),
        _argument(node, 2, "stride"),
        _argument(node, 3, "padding", 0),
        _argument(node, 4, "dilation", 1),
        ceil_mode=_argument(node, 5, "ceil_mode", default=False),
    )


def _avg_pool(emitter: Emitter, node: fx.Node) -> str:
    return avg_pool(
        emitter,
        node,
        _argument(node, 1, "kernel_size"),
        _argument(node, 2, "stride"),
        _argument(node, 3, "padding", 0),
        ceil_mode=_argument(node, 4, "ceil_mode", default=False),
        count_include_pad=_argument(node, 5, "count_include_pad", default=True),
    )


_SPLITTERS = frozenset({"chunk", torch.chunk, "split", torch.split})

_RULES: dict[Any, CallRule] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _binary("Add")),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul"), _binary("Mul")),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), _binary("Sub")),
    **dict.fromkeys((torch.relu, functional.relu, "relu"), _unary("Relu")),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), _unary("Sigmoid")),
    **dict.fromkeys((functional.dropout, stochastic_depth, "contiguous"), _same),
    **dict.fromkeys((torch.cat, torch.concat), _concatenate),
    **dict.fromkeys((torch.flatten, "flatten"), _flatten),
    **dict.fromkeys((torch.reshape, torch.unflatten, "view", "reshape"), _reshape),
    **dict.fromkeys((torch.transpose, "transpose"), _transpose),
    **dict.fromkeys((torch.permute, "permute"), _permute),
    **dict.fromkeys((torch.index_select, "index_select"), _index_select),
    **dict.fromkeys((torch.mean, "mean"), _mean),
    operator.getitem: _getitem,
    functional.max_pool2d: _max_pool,
    functional.avg_pool2d: _avg_pool,
    functional.relu6: lambda emitter, node: clip(emitter, node, 0.0, 6.0),
    functional.adaptive_avg_pool2d: lambda emitter, node: adaptive_avg_pool(
        emitter, node, _argument(node, 1, "output_size")
    ),
}

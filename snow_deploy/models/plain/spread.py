"""Constants that code repeats for each picture, such as coordinates: written so that sizes follow.

A constant's own `expand` cannot be traced again with a number of pictures that is not known. Sums
and products spread a constant by themselves. What is concatenated is made from a map beside it.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

_SPREADING = frozenset(
    {
        *(operator.add, operator.sub, operator.mul, operator.truediv),
        *(torch.add, torch.sub, torch.mul, torch.div),
    }
)


def spread_constants(graph: fx.Graph) -> None:
    """Replace calls of `expand` and `repeat` that spread a constant over the pictures, in place."""
    for node in list(graph.nodes):
        if _spreads_constant(node):
            for user in list(node.users):
                _read_spread(graph, user, node)


def _spreads_constant(node: fx.Node) -> bool:
    if node.op != "call_method" or node.target not in {"expand", "repeat"}:
        return False
    value, *sizes = node.args
    sizes = list(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    is_constant = isinstance(value, fx.Node) and value.op == "get_attr"
    return is_constant and bool(sizes) and isinstance(sizes[0], fx.Node)


def _read_spread(graph: fx.Graph, user: fx.Node, node: fx.Node) -> None:
    constant: Any = node.args[0]
    if user.target in _SPREADING and any(map(_is_of_pictures, user.args)):
        user.replace_input_with(node, constant)
        return
    parts = user.args[0] if user.target is torch.cat and user.args else ()
    beside = (
        [each for each in parts if _is_of_pictures(each)] if isinstance(parts, list | tuple) else []
    )
    axis = user.args[1] if len(user.args) > 1 else user.kwargs.get("dim", 0)
    if not beside or axis != 1:
        return
    with graph.inserting_before(user):
        first = graph.call_function(operator.getitem, (beside[0], (slice(None), slice(0, 1))))
        nothing = graph.call_function(operator.mul, (first, 0.0))
        spread = graph.call_function(operator.add, (nothing, constant))
    user.replace_input_with(node, spread)


def _is_of_pictures(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.op != "get_attr" and not _spreads_constant(node)

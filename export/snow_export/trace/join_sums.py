"""Sums of two splits' parts, as the parts of one sum: where two heads answer the same tasks."""

from __future__ import annotations

import operator

import torch
from torch import fx


def join_sums(flat: fx.GraphModule) -> None:
    """Add two tensors up before they are split, not part by part, in place.

    So it is where every part of a split is added to the same part of another one, split alike, and
    nothing else reads either.

    Args:
        flat: A respelled network.
    """
    graph = flat.graph
    for split in [node for node in graph.nodes if node.target is torch.split]:
        other = _other(split)
        if other is None:
            continue
        later = max(split, other, key=list(graph.nodes).index)
        with graph.inserting_before(later):
            both = (split.args[0], other.args[0])
            total = graph.call_function(operator.add, both)
            parts = graph.call_function(torch.split, (total, *split.args[1:]), split.kwargs)
        for part in list(split.users):
            (added,) = part.users
            with graph.inserting_after(parts):
                same = graph.call_function(operator.getitem, (parts, part.args[1]))
            added.replace_all_uses_with(same)
    graph.eliminate_dead_code()
    graph.lint()
    flat.recompile()


def _other(split: fx.Node) -> fx.Node | None:
    """Return the split whose parts are added to this one's; None where that is not so."""
    found = set[fx.Node]()
    for part in split.users:
        others = [_beside(user, part) for user in part.users]
        if part.target is not operator.getitem or len(others) != 1 or others[0] is None:
            return None
        beside = others[0]
        if beside.target is not operator.getitem or beside.args[1:] != part.args[1:]:
            return None
        if len(beside.users) != 1:
            return None
        found.add(beside.all_input_nodes[0])
    if len(found) != 1:
        return None
    other = found.pop()
    alike = other.target is torch.split and (other.args[1:], other.kwargs) == (
        split.args[1:],
        split.kwargs,
    )
    return other if alike and other is not split and len(other.users) == len(split.users) else None


def _beside(added: fx.Node, part: fx.Node) -> fx.Node | None:
    """Return what a sum adds to a part; None where it is no sum of two tensors."""
    both = added.all_input_nodes
    if added.target is not operator.add or len(both) != 2 or len(added.args) != 2:
        return None
    return both[0] if both[1] is part else both[1]

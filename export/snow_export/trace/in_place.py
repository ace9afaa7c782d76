"""Calls that write into a tensor they were given, and the same calls without."""

from __future__ import annotations

import inspect
import operator
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx
from torch.nn import functional
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_OPERATORS: Final[dict[Any, Callable[..., Any]]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imod: operator.mod,
    operator.ipow: operator.pow,
    operator.imatmul: operator.matmul,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
    operator.ilshift: operator.lshift,
    operator.irshift: operator.rshift,
}
_HARMLESS: Final = frozenset({"requires_grad_"})
"""Methods that end in an underscore and write no value."""
_INPUT_NAMES: Final = ("input", "self")


def written_input(traced: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Return what a node's call writes into: one of its inputs, or None.

    Known are layers with `inplace`, functions that are given `inplace=True` or `out=`, Python's
    operators (`x += y`), and torch's functions and methods whose names end in an underscore.
    """
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        return node.all_input_nodes[0] if getattr(layer, "inplace", False) else None
    if node.op not in {"call_function", "call_method"}:
        return None
    out = node.kwargs.get("out")
    if isinstance(out, fx.Node):
        return out
    if node.target in _OPERATORS or _underscored(node) or _is_told_in_place(node):
        return _first(node)
    return None


def read_results(traced: fx.GraphModule) -> None:
    """Let whoever reads a tensor after it was overwritten read the call that did it, in place.

    Both are one tensor, so nothing changes; but then every write is seen by following the edges of
    the graph, and none is taken for dead code.
    """
    position = {node: index for index, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        target = written_input(traced, node)
        if target is None:
            continue
        for user in [user for user in target.users if position[user] > position[node]]:
            user.replace_input_with(target, node)
    traced.recompile()


def protect(
    traced: fx.GraphModule,
    values: Mapping[fx.Node, Any],
    *,
    kept: Collection[fx.Node] = (),
    given: Collection[fx.Node] = (),
) -> None:
    """Let no call overwrite tensors that others read too; change the graph in place.

    Writes that harm nobody stay as they are. Those that do make a tensor of their own; where
    another view of the same memory is read afterwards, and so should see the write, the tensor in
    danger is copied instead.

    Args:
        traced: The traced network, after `read_results`.
        values: Values of its nodes on some example, on any device, `meta` too; they tell which
            nodes share memory.
        kept: Nodes whose tensors, as they are when made, the graph returns.
        given: Nodes whose tensors come from outside: the images, another network's features.
    """
    nodes = list(traced.graph.nodes)
    position = {node: index for index, node in enumerate(nodes)}
    memory = {node: memory_of(values.get(node)) for node in nodes}
    in_danger = {*kept, *given}
    for node in nodes:
        target = written_input(traced, node)
        if target is None:
            continue
        earlier = [
            other
            for other in nodes[: position[node]]
            if other is target or memory[other] & memory[target]
        ]
        victims = in_danger.intersection(earlier)
        if not victims:
            continue
        if not any(_is_read_after(other, position[node], position) for other in earlier):
            _stop_writing(traced, node, target)
            continue
        for victim in victims:
            _copy(traced.graph, victim, for_all=victim in given)
        in_danger -= victims
    traced.graph.lint()
    traced.recompile()


def memory_of(value: Any) -> set[int]:
    """Return whatever memory a value's tensors lie in."""
    leaves = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return {leaf.untyped_storage()._cdata for leaf in leaves}  # noqa: SLF001 - its identity


def make_new(traced: fx.GraphModule, node: fx.Node) -> None:
    """Let a function or method that writes into its input make a new tensor, in place.

    For graphs of which only the results count, after `read_results`.
    """
    target = written_input(traced, node)
    if target is not None and node.op != "call_module" and not _respell(node):
        _write_into_copy(traced, node, target)


def _underscored(node: fx.Node) -> bool:
    name = _name(node)
    return name.endswith("_") and not name.endswith("__") and name not in _HARMLESS


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _first(node: fx.Node) -> fx.Node | None:
    """Return the tensor that a call is made on."""
    named = (node.kwargs.get(name) for name in _INPUT_NAMES)
    found = node.args[0] if node.args else next((arg for arg in named if arg is not None), None)
    return found if isinstance(found, fx.Node) else None


@cache
def _inplace_position(function: Any) -> int | None:
    """Return the position of a function's parameter `inplace`, or None if it has none."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    return names.index("inplace") if "inplace" in names else None


def _is_told_in_place(node: fx.Node) -> bool:
    if node.op != "call_function":
        return False
    position = _inplace_position(node.target)
    if position is None:
        return False
    flag = node.args[position] if len(node.args) > position else node.kwargs.get("inplace", False)
    return bool(flag)


def _is_read_after(other: fx.Node, moment: int, position: Mapping[fx.Node, int]) -> bool:
    """Tell whether a node's tensor is computed with after some moment; returning it is not."""
    return any(position[user] > moment and user.op != "output" for user in other.users)


def _stop_writing(traced: fx.GraphModule, node: fx.Node, target: fx.Node) -> None:
    """Let a call make a tensor of its own."""
    calls = [other for other in traced.graph.nodes if other.target == node.target]
    if node.op == "call_module" and len(calls) == 1:
        traced.get_submodule(str(node.target)).inplace = False  # type: ignore[assignment]
        return
    if node.op != "call_module" and _respell(node):
        return
    _write_into_copy(traced, node, target)


def _write_into_copy(traced: fx.GraphModule, node: fx.Node, target: fx.Node) -> None:
    with traced.graph.inserting_before(node):
        copy = traced.graph.call_function(torch.clone, (target,))
    node.replace_input_with(target, copy)


def _respell(node: fx.Node) -> bool:
    """Call the twin of a function or method that makes a new tensor; tell whether there is one."""
    if "out" in node.kwargs:
        node.kwargs = {key: value for key, value in node.kwargs.items() if key != "out"}
    elif node.target in _OPERATORS:
        node.target = _OPERATORS[node.target]
    elif _is_told_in_place(node):
        position = _inplace_position(node.target)
        node.args = tuple(
            False if index == position else argument for index, argument in enumerate(node.args)
        )
        node.kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
    else:
        twin = _twin(node)
        if twin is None:
            return False
        node.target = twin
    return True


def _twin(node: fx.Node) -> Any:
    """Return `add` for `add_`, where torch has it."""
    name = _name(node).removesuffix("_")
    if node.op == "call_method":
        return name if hasattr(Tensor, name) else None
    home = sys.modules.get(getattr(node.target, "__module__", None) or "torch", torch)
    places = (home, torch, functional)
    return next((getattr(place, name) for place in places if hasattr(place, name)), None)


def _copy(graph: fx.Graph, victim: fx.Node, *, for_all: bool) -> None:
    """Copy a tensor as soon as it is there: for the output, or for all that compute with it."""
    with graph.inserting_after(victim):
        copy = graph.call_function(torch.clone, (victim,))
    victim.replace_all_uses_with(
        copy, lambda user: user is not copy and (for_all or user.op == "output")
    )

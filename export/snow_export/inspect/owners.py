"""Whose work each node of a graph is: the source's, one task's, or a group's of fused deltas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx

SOURCE: Final = "source"
"""Name of the source's own head among the outputs, and of the owner of its nodes."""
INPUT: Final = "input"
"""Whoever prepares the picture inside the graph."""
_LONGEST: Final = 64  # characters of a name in every node and constant of a group
FEATURES: Final = "source.features"
"""Output of the source's pooled features; no task can be called so."""
TAP_READOUT: Final = "tap_readout"
"""Layer of the product in which all readouts are, where some are a part of a delta's answer."""
OTHER: Final = "(other)"
"""The owner of what belongs to nobody known; no task can have this name."""


def group_name(tasks: Sequence[str]) -> str:
    """Name a group of fused deltas: `a+b+c`, or `a+2` where that would be long.

    No task's name begins with a digit, and none is in two groups.
    """
    full = "+".join(tasks)
    return full if len(full) <= _LONGEST else f"{tasks[0]}+{len(tasks) - 1}"


def tasks_by_owner(graph: onnx.GraphProto, owners: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the graph's outputs by who makes them: which tasks a group answers."""
    outputs = {value.name for value in graph.output}
    found: dict[str, list[str]] = {}
    for node, owner in zip(graph.node, owners, strict=True):
        found.setdefault(owner, []).extend(name for name in node.output if name in outputs)
    return {owner: tuple(names) for owner, names in found.items() if names}


def node_owners(graph: onnx.GraphProto, tasks: Sequence[str] | None = None) -> list[str]:
    """Return the owner of each node, in the graph's order.

    A node called `owner/layer` says it itself. Others (`add_3`, `cat_2`) work for who reads
    their result: the one reader, or the source where it is among several, for a source never
    works for deltas. What several deltas read, or nobody does (the graph's outputs), belongs to
    who made its inputs; of several, such as all readouts and one delta that answer together, to the
    one with the fewest tasks. What is left is `(other)`.

    Args:
        graph: Its nodes in topological order, as ONNX demands.
        tasks: Who may own a node, besides the source and the input; a `cat/half` is a part of
            the node `cat`. None takes the names of the graph's outputs.
    """
    known = {SOURCE, INPUT}
    known.update([value.name for value in graph.output] if tasks is None else tasks)
    owners: list[str | None] = []
    for node in graph.node:
        owner, slash, _ = node.name.partition("/")
        owners.append(owner if slash and _is_known(owner, known) else None)
    readers = {value.name: {SOURCE} for value in graph.output if value.name == FEATURES}
    for index in range(len(owners) - 1, -1, -1):
        node = graph.node[index]
        if owners[index] is None:
            owners[index] = _common(readers.get(name, set()) for name in node.output)
        for name in node.input:
            readers.setdefault(name, set()).update(_known(owners[index]))
    makers: dict[str, set[str]] = {}
    outputs = {value.name for value in graph.output}
    for index, node in enumerate(graph.node):
        if owners[index] is None:
            found = [makers.get(name, set()) for name in node.input]
            owners[index] = _common(found) or (
                _smallest(set().union(*found)) if outputs.intersection(node.output) else None
            )
        for name in node.output:
            makers[name] = _known(owners[index])
    return [owner or OTHER for owner in owners]


def constant_owners(graph: onnx.GraphProto, owners: Sequence[str]) -> dict[str, str]:
    """Return, by name, whose each tensor is that no node makes: its readers'."""
    readers: dict[str, set[str]] = {}
    for node, owner in zip(graph.node, owners, strict=True):
        for name in node.input:
            readers.setdefault(name, set()).add(owner)
    return {name: _common([found]) or OTHER for name, found in readers.items()}


def _is_known(owner: str, known: set[str]) -> bool:
    first, *others = owner.split("+")
    counted = len(others) == 1 and others[0].isdecimal()
    return first in known and (counted or known.issuperset(others))


def _known(owner: str | None) -> set[str]:
    return set() if owner is None else {owner}


def _smallest(owners: set[str]) -> str | None:
    """Return the owner with the fewest tasks, or None without any."""

    def size(owner: str) -> tuple[int, str]:
        first, *others = owner.split("+")
        counted = len(others) == 1 and others[0].isdecimal()
        return (int(others[0]) + 1 if counted else 1 + len(others)), first

    return min(owners, key=size, default=None)


def _common(sets: Iterable[set[str]]) -> str | None:
    """Return the one owner, or the source where it is among several, or None."""
    found = set().union(*sets)
    if len(found) == 1:
        return found.pop()
    return SOURCE if SOURCE in found else None

"""Which part of the source's graph a thin copy mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import fx

from snow_deploy.models.anatomy import output_node

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class MirroredPart:
    """The nodes that lead to the output, in order, when some blocks are left out.

    Attributes:
        nodes: The nodes, the one that is begun with and the left out blocks' outputs among them.
        begin: Node in whose place the copy reads the source's tensor; None begins at the image.
        stands_for: What takes the place of a left out block's output: the node that it reads.
    """

    nodes: tuple[fx.Node, ...]
    begin: fx.Node | None
    stands_for: Mapping[fx.Node, fx.Node]


def find_part(graph: fx.Graph, begin: str | None, left_out: Mapping[str, str]) -> MirroredPart:
    """Walk back from the output to where the copy begins, around what is left out.

    Args:
        graph: The source's.
        begin: Name of the node to begin with; None is the image.
        left_out: Names of the nodes that left out blocks read, by those that they put out.
    """
    by_name = {node.name: node for node in graph.nodes}
    first = None if begin is None else by_name[begin]
    stands_for = {by_name[out]: by_name[reads] for out, reads in left_out.items()}
    found, pending = set[fx.Node](), [output_node(graph)]
    while pending:
        node = pending.pop()
        if node in found:
            continue
        found.add(node)
        if node is not first:
            pending += [stands_for[node]] if node in stands_for else node.all_input_nodes
    nodes = tuple(node for node in graph.nodes if node in found)
    return MirroredPart(nodes, first, stands_for)

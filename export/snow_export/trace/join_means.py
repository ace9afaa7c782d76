"""Pooled means that follow each other, as one mean of their maps; and when each is computed.

A compiler reads the maps where they lie: one launch does what took one or two a map. A runtime
that fuses nothing copies the maps first, which costs more than it brings where they are large.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import torch
from torch import fx, nn
from torch.nn import functional

from snow_export.trace.nodes import layer_of, run_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

LARGEST: Final = 2
"""Largest map that is joined, in values over those of the picture, [3, S, S]."""


def join_means(flat: fx.GraphModule, image: Tensor) -> None:
    """Join the means over height and width that one concatenation reads, in place.

    Of a concatenation's parts those that follow each other are joined, where their maps are of one
    height and width and nothing else reads the means. Equal concatenations become one first. The
    means are written in an order in which they are computed when their maps are.

    Args:
        flat: A respelled network.
        image: [B, 3, S, S], an example for the shapes.
    """
    graph = flat.graph
    _unite_equals(graph)
    parts = [part for _, parts in _joints(graph) for part in parts]
    maps = {part: found for part in parts if (found := _pooled_map(flat, part)) is not None}
    if len(maps) < 2:
        return
    sizes = _sizes(run_nodes(flat, image[:1]), maps, LARGEST * image[0].numel())
    for joint, parts in list(_joints(graph)):
        together = _joined(graph, parts, maps, sizes)
        joint.args = (together, 1)
        _write_last_first(joint, [part for part in together if part in maps or part not in parts])
    graph.eliminate_dead_code()
    graph.lint()
    flat.recompile()


def _joints(graph: fx.Graph) -> Iterator[tuple[fx.Node, list[fx.Node]]]:
    """Find what may concatenate features, [B, N] each, with the parts."""
    for node in graph.nodes:
        if node.target is torch.cat and isinstance(node.args[0], (list, tuple)):
            parts = [part for part in node.args[0] if isinstance(part, fx.Node)]
            if node.args[1] == 1 and len(parts) == len(node.args[0]):
                yield node, parts


def _unite_equals(graph: fx.Graph) -> None:
    """Let who reads one of several equal concatenations read the first."""
    first = dict[tuple[fx.Node, ...], fx.Node]()
    for node, parts in list(_joints(graph)):
        same = first.setdefault(tuple(parts), node)
        if same is not node:
            node.replace_all_uses_with(same)
            graph.erase_node(node)


def _sizes(
    values: Mapping[fx.Node, Tensor], maps: Mapping[fx.Node, fx.Node], largest: int
) -> dict[fx.Node, torch.Size]:
    """Return height and width of each part's map, [1, N, H, W] to [1, N], unless it is larger."""
    return {
        part: values[read].shape[2:]
        for part, read in maps.items()
        if values[read].ndim == 4
        and values[part].shape == values[read].shape[:2]
        and values[read].numel() <= largest
    }


def _joined(
    graph: fx.Graph,
    parts: list[fx.Node],
    maps: Mapping[fx.Node, fx.Node],
    sizes: Mapping[fx.Node, torch.Size],
) -> list[fx.Node]:
    """Return a concatenation's parts, those joined whose maps' sizes are known and the same."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    found = list[fx.Node]()
    for size, group in groupby(parts, sizes.get):
        same = list(group)
        if size is not None and len(same) > 1:
            read = [maps[part] for part in same]
            with graph.inserting_after(max(read, key=order.__getitem__)):
                laid = graph.call_function(torch.cat, (read, 1))
            with graph.inserting_after(laid):
                same = [graph.call_function(torch.mean, (laid, (2, 3), False))]
        found += same
    return found


def _write_last_first(joint: fx.Node, parts: list[fx.Node]) -> None:
    """Write means right before what reads them all, the last one first.

    ONNX Runtime runs a graph depth first: of a node's inputs it goes to the one written last. From
    the last mean it would run the whole source, and pool every map when the cache has lost it; from
    the first mean it pools each map as soon as it is there.
    """
    for part in reversed(parts):
        joint.prepend(part)


def _pooled_map(flat: fx.GraphModule, part: fx.Node) -> fx.Node | None:
    """Return the map that a part pools, and nothing else reads the result; else None."""
    pool = part
    if part.target is torch.flatten or isinstance(layer_of(flat, part), nn.Flatten):
        pool = part.all_input_nodes[0]
    if len(part.users) != 1 or len(pool.users) != 1:
        return None
    adapts = pool.target is functional.adaptive_avg_pool2d
    if adapts or isinstance(layer_of(flat, pool), nn.AdaptiveAvgPool2d):
        return pool.all_input_nodes[0]
    means = pool.target is torch.mean and isinstance(pool.args[1], (tuple, list))
    both = means and {axis % 4 for axis in pool.args[1]} == {2, 3}  # type: ignore[operator, union-attr]
    return pool.all_input_nodes[0] if both else None

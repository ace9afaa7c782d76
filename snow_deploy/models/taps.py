"""Taps: the outputs of a CNN's blocks, whose means over height and width serve as features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from snow_export.trace.nodes import layer_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True)
class Tap:
    """A source tensor whose pooled mean serves as features.

    Attributes:
        name: Name of the block that puts it out, such as `layer1.0`.
        node: Name of the fx node that makes it.
        channels: N, its channels, one feature each.
        is_map: Whether it has a height and a width to take the mean of; what the classifier reads
            has none as a rule.
    """

    name: str
    node: str
    channels: int
    is_map: bool = True


def find_taps(
    traced: fx.GraphModule,
    values: Mapping[fx.Node, Any],
    dense: Collection[fx.Node],
    head: fx.Node,
) -> tuple[Tap, ...]:
    """Find the tensors between which a CNN's blocks stand.

    Args:
        traced: Network from images to logits.
        values: What each node makes for an example image.
        dense: The dense convolutions that read features, not the image.
        head: The node whose output the classifier reads; it is a tap as well.

    Returns:
        The taps in the order in which they are made, the head's last.
    """
    nodes = block_ends(traced, values, dense, head)
    if nodes and _only_averages(traced, nodes[-1], head):
        nodes.pop()
    names = block_names(nodes)
    taps = [Tap(names[node], node.name, values[node].shape[1]) for node in nodes]
    return (*taps, Tap("head", head.name, values[head].shape[1], _is_map(values[head])))


def block_ends(
    traced: fx.GraphModule,
    values: Mapping[fx.Node, Any],
    dense: Collection[fx.Node],
    head: fx.Node,
) -> list[fx.Node]:
    """Find what a CNN's blocks put out, in order; the arguments are as for `find_taps`.

    A block ends where the whole of what the network knows of the image is one tensor: a node that
    every way from the image to the classifier goes through. Of these those count that join
    branches (a residual sum, a concatenation), with the activation behind them, and those that a
    dense convolution reads.
    """
    read = {node.all_input_nodes[0] for node in dense}
    order = {node: place for place, node in enumerate(traced.graph.nodes)}
    start = min(order[node] for node in dense)
    found = dict[fx.Node, None]()
    for node in crossings(traced.graph, values, head):
        if order[node] > start and _is_map(values[node]):
            if node in read:
                found[node] = None
            elif len(node.all_input_nodes) > 1:
                found[_behind(traced, node)] = None
    return [node for node in _without_copies(list(found)) if node is not head]


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def crossings(graph: fx.Graph, values: Mapping[fx.Node, Any], head: fx.Node) -> list[fx.Node]:
    """Return the nodes that every way from the image to the head goes through, in order.

    What is computed from sizes alone is no way: nothing of the image is known there.
    """
    leading = _ancestors(head)
    image = next(node for node in graph.nodes if node.op == "placeholder")
    sequence, reached = list[fx.Node](), {image}
    for node in graph.nodes:
        has_pixels = any(isinstance(leaf, Tensor) for leaf in tree_leaves(values[node]))
        if node is image or (has_pixels and reached.intersection(node.all_input_nodes)):
            reached.add(node)
            if node in leading:
                sequence.append(node)
    place = {node: index for index, node in enumerate(sequence)}
    crossings, furthest = [], 0
    for index, node in enumerate(sequence):
        if furthest <= index:
            crossings.append(node)
        furthest = max(furthest, *(place[user] for user in node.users if user in place), 0)
    return crossings


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, pending = set[fx.Node](), [node]
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += each.all_input_nodes
    return found


def _behind(traced: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Follow the norms and activations that alone read a joint, to the last one."""
    while len(node.users) == 1:
        user = next(iter(node.users))
        if not _is_pointwise(traced, user):
            break
        node = user
    return node


_POINTWISE_LAYERS = (
    *(nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Hardswish, nn.Identity),
)
_POINTWISE_NAMES = frozenset(
    {"relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish"}
)


def _is_pointwise(traced: fx.GraphModule, node: fx.Node) -> bool:
    layer = layer_of(traced, node)
    if layer is not None:
        return isinstance(layer, _POINTWISE_LAYERS)
    return getattr(node.target, "__name__", str(node.target)) in _POINTWISE_NAMES


_SAME_MEANS = frozenset({"view", "reshape", "transpose", "contiguous", "permute", "flatten"})
"""Methods and functions that move values, so that the means are the same ones moved."""


def _without_copies(nodes: Sequence[fx.Node]) -> list[fx.Node]:
    """Leave out a tensor that is an earlier one with its channels in another order."""
    kept = list[fx.Node]()
    for node in nodes:
        before = node
        while getattr(before.target, "__name__", str(before.target)) in _SAME_MEANS:
            before = before.all_input_nodes[0]
        if before is node or before not in kept:
            kept.append(node)
    return kept


def _only_averages(traced: fx.GraphModule, tap: fx.Node, head: fx.Node) -> bool:
    """Tell whether all that stands between a tap and the head is a global mean."""
    node, means = head, 0
    while node is not tap:
        layer, name = layer_of(traced, node), getattr(node.target, "__name__", str(node.target))
        pools = isinstance(layer, nn.AdaptiveAvgPool2d) or name in {"mean", "adaptive_avg_pool2d"}
        passes = isinstance(layer, nn.Dropout | nn.Flatten | nn.Identity) or name in {
            *("flatten", "dropout", "squeeze", "view", "reshape")
        }
        if not pools and not passes:
            return False
        means += pools
        node = node.all_input_nodes[0]
    return means == 1


def block_names(nodes: Sequence[fx.Node]) -> dict[fx.Node, str]:
    """Name each tap after the block that makes it, where that is unambiguous."""
    named = {node: _block(node) for node in nodes}
    often = list(named.values())
    return {
        node: name if name and name != "head" and often.count(name) == 1 else node.name
        for node, name in named.items()
    }


def _block(node: fx.Node) -> str:
    """Return the qualified name of the innermost block that a node is in; empty without one."""
    stack = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    if node.op == "call_module":
        stack = [name for name in stack if name != node.target]
    return stack[-1] if stack else ""

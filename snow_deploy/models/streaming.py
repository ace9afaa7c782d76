"""The source's features one at a time: each is computed when it is asked for, then let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.fx.passes.split_module import split_module

from snow_deploy.models.anatomy import output_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class FeatureStream(Mapping[str, Tensor]):
    """A pass of the source over a batch that goes only as far as it is asked to.

    A task's network asks for the features in the order in which the source makes them, and of a
    pooled one it keeps no more than the channels that it chose. So no more than a few whole
    feature maps are ever held at a time, where a pass at once holds them all; and what comes
    after the last one that is read is never computed.
    """

    def __init__(self, network: fx.GraphModule, images: Tensor, reads: Sequence[str]) -> None:
        """Begin a pass; nothing is computed yet.

        Args:
            network: Network from images to a dict of features; nothing in it draws random numbers.
            images: [B, 3, H, W].
            reads: The features that will be asked for, each as often as it will be.
        """
        makers: dict[str, fx.Node] = output_node(network.graph).args[0]  # type: ignore[assignment]
        self._makers = {key: makers[key] for key in reads}
        self._interpreter = fx.Interpreter(network, garbage_collect_values=False)
        self._interpreter.args_iter = iter([images])
        self._values: dict[fx.Node, Any] = self._interpreter.env
        self._readers = Counter(self._makers[key] for key in reads)
        needed = _needed(network.graph, set(self._readers))
        for node in needed:
            self._readers.update(node.all_input_nodes)
        self._pending = iter(needed)

    def __getitem__(self, key: str) -> Tensor:
        """Go on with the pass until a feature is there, and give it."""
        node = self._makers.get(key)
        if node is None:
            msg = f"{key} is none of the features that were said to be read"
            raise KeyError(msg)
        with torch.no_grad():
            while node not in self._values:
                self._advance(key)
        value: Tensor = self._values[node]
        self._let_go(node)
        return value

    def __iter__(self) -> Iterator[str]:
        """Go through the names of what can be asked for."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Count what can be asked for."""
        return len(self._makers)

    def _advance(self, key: str) -> None:
        node = next(self._pending, None)
        if node is None:
            msg = f"{key} was asked for more often than it was said to be"
            raise KeyError(msg)
        self._values[node] = self._interpreter.run_node(node)
        for read in node.all_input_nodes:
            self._let_go(read)

    def _let_go(self, node: fx.Node) -> None:
        """Count one reader less; after the last one the value is dropped."""
        self._readers[node] -= 1
        if self._readers[node] == 0:
            del self._values[node]


def split_at_features(network: fx.GraphModule) -> fx.GraphModule:
    """Return a network of the same function whose nodes are the parts between two features.

    They share its layers. Each part can be compiled, and a stream still goes from one to the next.
    """
    features: dict[str, fx.Node] = output_node(network.graph).args[0]  # type: ignore[assignment]
    ends, part = set(features.values()), 0
    parts: dict[fx.Node, int] = {}
    for node in network.graph.nodes:
        parts[node] = part
        part += node in ends
    return split_module(network, network, lambda node: parts[node], keep_original_order=True)


def _needed(graph: fx.Graph, wanted: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes that lead to those wanted, in the graph's order."""
    needed: list[fx.Node] = []
    reached = set(wanted)
    for node in reversed(graph.nodes):
        if node in reached:
            needed.append(node)
            reached.update(node.all_input_nodes)
    return needed[::-1]

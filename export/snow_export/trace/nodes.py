"""The nodes of a traced network: which layer one calls, and what each computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

if TYPE_CHECKING:
    from torch import nn


def layer_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the layer that a node calls, or None where it calls a function or a method."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


@torch.no_grad()
def run_nodes(traced: fx.GraphModule, *inputs: Any) -> dict[fx.Node, Any]:
    """Run a traced network; return every node's value, a tensor as a rule."""
    values: dict[fx.Node, Any] = {}

    class ValueRecorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            values[n] = super().run_node(n)
            return values[n]

    ValueRecorder(traced, garbage_collect_values=False).run(*inputs)
    return values

"""Folding: a BatchNorm in eval mode disappears into the convolution before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snow_export.freeze import norm_affine

if TYPE_CHECKING:
    from torch import fx


@torch.no_grad()
def fold_norms(flat: fx.GraphModule) -> fx.GraphModule:
    """Fold every BatchNorm that alone reads a convolution into it, in place; return the graph.

    Other BatchNorms (behind a sum or a concatenation) stay as they are.
    """
    calls = [node.target for node in flat.graph.nodes if node.op == "call_module"]
    for node in list(flat.graph.nodes):
        norm = _layer(flat, node)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.all_input_nodes[0]
        conv = _layer(flat, before)
        if (
            isinstance(conv, nn.Conv2d)
            and len(before.users) == 1
            and calls.count(before.target) == 1
        ):
            _absorb(conv, norm)
            node.replace_all_uses_with(before)
            flat.graph.erase_node(node)
    flat.graph.lint()
    flat.recompile()
    return flat


def _absorb(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    gain, shift = norm_affine(norm)
    weight = conv.weight.double() * gain.view(-1, 1, 1, 1)
    if conv.bias is not None:
        shift = shift + conv.bias.double() * gain
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(shift.float(), requires_grad=False)


def _layer(flat: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return flat.get_submodule(str(node.target)) if node.op == "call_module" else None

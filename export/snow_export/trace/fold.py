"""Folding: norms go into the convolution before them, bare pooling weights into the one behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snow_export.trace.freeze import StaticPooling
from snow_export.trace.nodes import layer_of
from snow_export.trace.norms import fold_norm

if TYPE_CHECKING:
    from torch import fx


@torch.no_grad()
def fold_norms(flat: fx.GraphModule) -> fx.GraphModule:
    """Fold every BatchNorm that alone reads a convolution into it, in place; return the graph.

    Other BatchNorms (behind a sum or a concatenation) stay as they are.
    """
    calls = [node.target for node in flat.graph.nodes if node.op == "call_module"]
    for node in list(flat.graph.nodes):
        norm = layer_of(flat, node)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.all_input_nodes[0]
        conv = layer_of(flat, before)
        if (
            isinstance(conv, nn.Conv2d)
            and len(before.users) == 1
            and calls.count(before.target) == 1
        ):
            fold_norm(conv, norm)
            node.replace_all_uses_with(before)
            flat.graph.erase_node(node)
    flat.graph.lint()
    flat.recompile()
    return flat


@torch.no_grad()
def fold_poolings(flat: fx.GraphModule) -> fx.GraphModule:
    """Fold the weights of bare poolings into the convolutions that read them, in place.

    A pooling with a norm or a ReLU stays as it is, and so does one that anything else reads.
    """
    for node in flat.graph.nodes:
        pooling = layer_of(flat, node)
        if not isinstance(pooling, StaticPooling) or pooling.scale is None:
            continue
        if pooling.shift is not None or pooling.relu is not None:
            continue
        readers = _readers(flat, node, len(pooling.index))
        if readers is None:
            continue
        for conv, start in readers:
            channels = slice(start, start + len(pooling.index))
            conv.weight[:, channels] *= pooling.scale.view(1, -1, 1, 1)
        pooling.scale = None
    return flat


def _readers(flat: fx.GraphModule, node: fx.Node, width: int) -> list[tuple[nn.Conv2d, int]] | None:
    """Return the dense convolutions that read a pooling of some width, with its first channel.

    None where anything else reads it too.
    """
    found = []
    for user in node.users:
        concatenated = user.target is torch.cat
        for reader in user.users if concatenated else [user]:
            conv = layer_of(flat, reader)
            if not isinstance(conv, nn.Conv2d) or conv.groups != 1:
                return None
            # A delta reads its own channels first, then those of the source.
            if concatenated and user.args[0][-1] is not node:  # type: ignore[index]
                return None
            found.append((conv, conv.in_channels - width))
    return found

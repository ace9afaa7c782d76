"""Whole copies of the source, unfolded, up to what its classifier reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snow_deploy.models.anatomy import output_node, trace

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import fx

    from snow_deploy.models.source import Source


def build_trunk(source: Source, *, anew: bool = False) -> fx.GraphModule:
    """Build the source's network without its classifier, trainable, in training mode.

    Args:
        source: The original.
        anew: Begin with random weights, not with the source's.

    Returns:
        [B, 3, H, W] images to what the classifier reads, [B, F] or [B, F, H', W'].
    """
    weights = source.weights
    traced = trace(weights.build_anew() if anew else weights.build())
    graph = traced.graph
    head = next(node for node in graph.nodes if node.name == source.anatomy.head_node)
    output_node(graph).args = (head,)
    graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.train().to(memory_format=torch.channels_last)


def freeze_weights(network: nn.Module, kept: Collection[nn.Parameter] = ()) -> None:
    """Take everything but some parameters out of training and out of the state, in place.

    Parameters become buffers, so that they move between devices with the network, and no
    buffer is part of the state. The network is put into eval mode; keep it there.
    """
    trained = {id(parameter) for parameter in kept}
    for layer in network.modules():
        for name, parameter in list(layer.named_parameters(recurse=False)):
            if id(parameter) not in trained:
                delattr(layer, name)
                layer.register_buffer(name, parameter.detach(), persistent=False)
        for name, buffer in list(layer.named_buffers(recurse=False)):
            layer.register_buffer(name, buffer, persistent=False)
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False  # else loading a state puts counters into it
    network.eval()

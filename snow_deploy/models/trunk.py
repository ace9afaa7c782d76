"""Whole copies of the source, unfolded, up to what its classifier reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snow_deploy.models.anatomy import output_node, protect_tensors, trace

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import fx

    from snow_deploy.models.source import Source


def build_trunk(source: Source, *, anew: bool = False) -> fx.GraphModule:
    """Build the source's network without its classifier, trainable, in training mode.

    Args:
        source: The original.
        anew: Whether to begin with random weights, not with the source's.

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
    protect_tensors(traced, source.anatomy.image_shape, kept=[head])
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


def bare_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the norms that normalise nothing: their statistics are those of an identity.

    So it is where somebody has folded a network's norms into its convolutions and kept their
    shifts. In training mode such a norm would take a scale out that the network relies on.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    return [norm for norm in norms if _is_bare(norm)]


def _is_bare(norm: nn.BatchNorm2d) -> bool:
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        return False
    return not mean.any() and bool(((var - 1).abs() < _BARE).all())


_BARE = 1e-3  # a folded norm's variance may be 1 less its epsilon


@torch.no_grad()
def unfold_norms(network: nn.Module, images: Tensor) -> None:
    """Give bare norms the statistics of real pictures, in place, and let them undo each other.

    What the network answers in eval mode stays the same; in training mode it begins near it.

    Args:
        network: Network from images to anything; keeps its mode.
        images: [B, 3, H, W], normalised, on the network's device.
    """
    mode = network.training
    hooks = [norm.register_forward_pre_hook(_unfold) for norm in bare_norms(network)]
    network.eval()(images)
    for hook in hooks:
        hook.remove()
    network.train(mode)


def _unfold(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Give a norm its input's statistics, and such a scale and shift that it does the same."""
    old_mean, old_var = norm.running_mean, norm.running_var
    var, mean = torch.var_mean(inputs[0].double(), (0, 2, 3), correction=0)
    if old_mean is None or old_var is None:  # pragma: no cover - not a bare norm
        return
    gain = norm.weight / (old_var + norm.eps).sqrt()
    norm.bias.add_(gain * (mean - old_mean))
    norm.weight.copy_(gain * (var + norm.eps).sqrt())
    old_mean.copy_(mean)
    old_var.copy_(var)

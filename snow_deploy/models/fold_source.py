"""Folds a traced source for evaluation: norms into convolutions, dropout away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from snow_deploy.models.anatomy import HEAD, input_of, output_node, protect_tensors
from snow_export.network import LOGITS
from snow_export.trace.nodes import layer_of
from snow_export.trace.norms import fold_norm, norm_affine

if TYPE_CHECKING:
    from snow_deploy.models.anatomy import Anatomy
    from snow_deploy.models.taps import Tap


class FrozenAffine(nn.Module):
    """A BatchNorm in eval mode that no convolution could absorb: x * scale + shift.

    Shapes: [B, C, H, W] -> [B, C, H, W].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        """Take scale [C] and shift [C] from the norm's running statistics."""
        super().__init__()
        scale, shift = norm_affine(norm)
        self.register_buffer("scale", scale.float().view(1, -1, 1, 1))
        self.register_buffer("shift", shift.float().view(1, -1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Scale and shift every channel."""
        return features * self.scale + self.shift


def output_key(convolution: str) -> str:
    """Return the key among the source's features of what a convolution puts out."""
    return f"{convolution}.output"


def tap_key(tap: Tap) -> str:
    """Return the key among the source's features of a tap's mean, [B, N]."""
    return f"{tap.name}.mean" if tap.is_map else tap.name


def take_taps(network: fx.GraphModule, anatomy: Anatomy) -> dict[str, fx.Node]:
    """Take the taps out of what a folded network returns; return their nodes by `tap_key`."""
    output = output_node(network.graph)
    features: dict[str, fx.Node] = dict(output.args[0])  # type: ignore[arg-type]
    taps = {tap_key(tap): features.pop(tap_key(tap)) for tap in anatomy.taps if tap.is_map}
    output.args = (features,)
    network.recompile()
    return taps


def fold_source(traced: fx.GraphModule, anatomy: Anatomy) -> fx.GraphModule:
    """Rewrite the graph for evaluation and let it return every subscribed tensor."""
    graph = traced.graph
    by_name = {node.name: node for node in graph.nodes}
    taps = {item.name: by_name[item.node] for item in anatomy.subscriptions}
    taps |= {HEAD: by_name[anatomy.head_node]}
    taps |= {tap_key(tap): by_name[tap.node] for tap in anatomy.taps}
    for node in list(graph.nodes):
        layer = layer_of(traced, node)
        replacement = node
        if isinstance(layer, nn.Dropout | StochasticDepth):
            replacement = input_of(node)
        elif isinstance(layer, nn.BatchNorm2d):
            replacement = _fold_norm(traced, node, layer)
        if replacement is not node:
            taps = {key: replacement if tap is node else tap for key, tap in taps.items()}
            node.replace_all_uses_with(replacement)
            graph.erase_node(node)
    output = output_node(graph)
    output.args = ({**taps, LOGITS: output.args[0]},)
    protect_tensors(traced, anatomy.image_shape, kept=output.all_input_nodes)
    traced.delete_all_unused_submodules()
    graph.lint()
    traced.recompile()
    return traced


def _fold_norm(traced: fx.GraphModule, node: fx.Node, norm: nn.BatchNorm2d) -> fx.Node:
    """Fold a norm into its convolution where only the norm reads it, else make it an affine."""
    before = input_of(node)
    layer = layer_of(traced, before)
    calls = [other for other in traced.graph.nodes if other.target == before.target]
    if isinstance(layer, nn.Conv2d) and len(before.users) == 1 and len(calls) == 1:
        fold_norm(layer, norm)
        return before
    name = f"{str(node.target).replace('.', '_')}_frozen"
    traced.add_submodule(name, FrozenAffine(norm))
    with traced.graph.inserting_before(node):
        return traced.graph.call_module(name, (before,))

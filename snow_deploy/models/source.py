"""The frozen source: one pass over an image yields every tensor that deltas subscribe to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from snow_deploy.errors import SourceError
from snow_deploy.models import onednn
from snow_deploy.models.anatomy import (
    HEAD,
    dissect,
    input_of,
    on_meta_device,
    output_node,
    protect_tensors,
    trace,
)
from snow_deploy.models.streaming import FeatureStream, split_at_features
from snow_export.network import LOGITS
from snow_export.trace.nodes import layer_of
from snow_export.trace.norms import fold_norm, norm_affine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snow_deploy.models.anatomy import Anatomy
    from snow_deploy.models.taps import Tap
    from snow_deploy.models.weights import SourceWeights


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


class Source(nn.Module):
    """The frozen network, folded for evaluation.

    Every BatchNorm is folded into the convolution before it (or into a constant affine), and
    dropout is removed: nothing is left that training mode could change, and a pass is
    cheaper than the original's. No parameter requires a gradient, and a pass records none.
    """

    def __init__(self, weights: SourceWeights) -> None:
        """Build, trace and fold.

        Raises:
            SourceError: The weights do not fit, are not finite once folded, or torch.fx cannot
                trace the architecture.
        """
        super().__init__()
        traced = trace(weights.build())
        self.weights = weights  # unfolded, for whole networks that begin with them
        self.architecture = weights.architecture
        self.fingerprint = weights.fingerprint()
        # The deltas' blueprint, kept out of the module tree: it is no part of the function.
        self._blueprint = [on_meta_device(traced)]
        size = weights.image_size
        example = torch.zeros(1, 3, size, size, device="meta")
        self.anatomy: Anatomy = dissect(self.blueprint, example)
        self.network = _fold(traced, self.anatomy)
        self._tap_nodes = _take_taps(self.network, self.anatomy)
        self._check_finite()
        self.network.to(memory_format=torch.channels_last)
        self.packed: list[fx.GraphModule] = []  # out of the module tree: the weights are there
        self._packed_for = 0, 0, torch.float32
        self.requires_grad_(requires_grad=False)
        self.train(mode=False)

    @property
    def blueprint(self) -> fx.GraphModule:
        """The original layers and graph, on the meta device: shapes without weights."""
        return self._blueprint[0]

    def train(self, mode: bool = True) -> Source:  # noqa: ARG002, FBT001, FBT002
        """Stay in eval mode, whatever is asked."""
        return super().train(mode=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Run the source once.

        Under no_grad, not inference mode: the pooling weights' gradient needs the features,
        and inference-mode tensors cannot be saved for a backward pass.

        Args:
            images: [B, 3, H, W] float32, normalised.

        Returns:
            One tensor per subscription by its name, [B, N, H', W'] (a squeeze convolution's
            is [B, N, 1, 1]); `head`, what the classifier reads, [B, F]; `logits`, [B, classes].
        """
        features: dict[str, Tensor] = self._network_for(images)(images)
        return features

    def stream(self, images: Tensor, reads: Sequence[str]) -> FeatureStream:
        """Run the source only as far as features are read, and hold each only until it is.

        Args:
            images: Images, as for `forward`.
            reads: Keys of what `forward` returns, each as often as it will be read.
        """
        return FeatureStream(self._network_for(images), images, reads)

    def compile_parts(self) -> None:
        """Let torch compile each part between two features; call it instead of `pack`."""
        self.network = split_at_features(self.network)
        for part in self.network.children():
            part.compile()

    def _network_for(self, images: Tensor) -> fx.GraphModule:
        if self.packed and images.device.type == "cpu" and images.dtype == torch.float32:
            autocast = torch.is_autocast_enabled("cpu")
            asked = torch.get_autocast_dtype("cpu") if autocast else images.dtype
            if asked == self._packed_for[2]:
                return self.packed[0]
        return self.network

    def pack(self, batch_size: int, image_size: int, dtype: torch.dtype = torch.float32) -> None:
        """Let passes on the CPU be as fast as they can be, where torch has oneDNN.

        They take another copy of the weights and give the same features within rounding. What
        changes `network` afterwards is not seen by them.

        Args:
            batch_size: Pictures in the passes to come; others give the same answers.
            image_size: Their side in pixels; likewise.
            dtype: Data type of the passes that are meant: float32, or what autocast makes of them.
                Passes in another run `network`, as all do where oneDNN does not compute in it.

        Raises:
            SourceError: A weight is not finite; oneDNN's ReLU would make zeros of the answers.
        """
        self._check_finite()
        on_cpu = next(self.network.parameters()).device.type == "cpu"
        if on_cpu and onednn.is_available(dtype):
            image = torch.zeros(batch_size, 3, image_size, image_size)
            image = image.to(memory_format=torch.channels_last)
            self.packed = [onednn.pack(self.network, image, dtype)]
            self._packed_for = batch_size, image_size, dtype

    def _pack_again(self) -> None:
        if self.packed:
            self.pack(*self._packed_for)

    def tap_outputs(self, convolutions: Iterable[str]) -> None:
        """From now on also return what convolutions put out, by `output_key` of their names.

        The norm that is folded into a convolution is part of it.
        """
        graph = self.network.graph
        calls = {str(node.target): node for node in graph.nodes if node.op == "call_module"}
        taps = {output_key(name): calls[name] for name in convolutions}
        output = output_node(graph)
        output.args = ({**output.args[0], **taps},)  # type: ignore[dict-item]
        protect_tensors(self.network, self.anatomy.image_shape, kept=output.all_input_nodes)
        self._pack_again()

    def pool_taps(self) -> None:
        """From now on also return the mean of every tap, [B, N], by `tap_key`."""
        graph, means = self.network.graph, {}
        output = output_node(graph)
        features: dict[str, fx.Node] = output.args[0]  # type: ignore[assignment]
        for key, node in self._tap_nodes.items():
            if key not in features:
                with graph.inserting_after(node):
                    means[key] = graph.call_function(torch.mean, (node, (2, 3)))
        if means:
            output.args = ({**features, **means},)
            graph.lint()
            self.network.recompile()
            self._pack_again()

    @property
    def num_classes(self) -> int:
        """The number of the source's own classes."""
        return self.blueprint.get_parameter(f"{self.anatomy.classifier}.weight").shape[0]

    def count_parameters(self) -> int:
        """Count the original network's parameters, BatchNorm's included."""
        return sum(parameter.numel() for parameter in self.blueprint.parameters())

    def _check_finite(self) -> None:
        """Check that every folded weight is a finite number.

        Raises:
            SourceError: One is not, as where a norm's scale and a convolution's weight overflow.
        """
        for name, value in [*self.network.named_parameters(), *self.network.named_buffers()]:
            if not value.isfinite().all():
                msg = (
                    f"the weights ({self.weights.origin}) cannot be used: {name} of the "
                    f"{self.architecture}, with its norm folded in, has values that are infinite "
                    "or NaN. Take other weights."
                )
                raise SourceError(msg)


def output_key(convolution: str) -> str:
    """Return the key among the source's features of what a convolution puts out."""
    return f"{convolution}.output"


def tap_key(tap: Tap) -> str:
    """Return the key among the source's features of a tap's mean, [B, N]."""
    return f"{tap.name}.mean" if tap.is_map else tap.name


def _take_taps(network: fx.GraphModule, anatomy: Anatomy) -> dict[str, fx.Node]:
    """Take the taps out of what a folded network returns; return their nodes by `tap_key`."""
    output = output_node(network.graph)
    features: dict[str, fx.Node] = dict(output.args[0])  # type: ignore[arg-type]
    taps = {tap_key(tap): features.pop(tap_key(tap)) for tap in anatomy.taps if tap.is_map}
    output.args = (features,)
    network.recompile()
    return taps


def _fold(traced: fx.GraphModule, anatomy: Anatomy) -> fx.GraphModule:
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

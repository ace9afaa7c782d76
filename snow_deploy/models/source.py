"""The frozen source: one pass over an image yields every tensor that deltas subscribe to."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snow_deploy.errors import SourceError
from snow_deploy.models import onednn
from snow_deploy.models.anatomy import (
    dissect,
    on_meta_device,
    output_node,
    protect_tensors,
    trace,
)
from snow_deploy.models.features import Features
from snow_deploy.models.finite_values import all_finite
from snow_deploy.models.fold_source import fold_source, output_key, take_taps
from snow_deploy.models.module_weights import weights_of_module
from snow_deploy.models.network_facts import facts_of_network
from snow_deploy.models.streaming import FeatureStream, split_at_features
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snow_deploy.models.anatomy import Anatomy
    from snow_deploy.models.source_weights import SourceWeights
    from snow_runtime.graph.image_size import ImageSize
    from snow_runtime.graph.manifest import Interpolation, Preprocessing


class Source(nn.Module):
    """The frozen network, folded for evaluation.

    Every BatchNorm is folded into the convolution before it (or into a constant affine), and
    dropout is removed: nothing is left that training mode could change, and a pass is
    cheaper than the original's. No parameter requires a gradient, and a pass records none.
    """

    def __init__(self, weights: SourceWeights, image_size: ImageSize | None = None) -> None:
        """Build, trace and fold.

        Args:
            weights: The network with its weights.
            image_size: Side of the pictures that it will read in pixels, or height and width; None
                for those that the weights were made for.

        Raises:
            SourceError: The weights do not fit, are not finite once folded, or torch.fx cannot
                trace the architecture.
        """
        super().__init__()
        if image_size is not None:
            weights = replace(weights, image_size=image_size)
        traced = trace(weights.build())
        self.weights = weights  # unfolded, for whole networks that begin with them
        self.architecture = weights.architecture
        self.fingerprint = weights.fingerprint()
        # The deltas' blueprint, kept out of the module tree: it is no part of the function.
        self._blueprint = [on_meta_device(traced)]
        example = torch.zeros(1, 3, *height_width(weights.image_size), device="meta")
        self.anatomy: Anatomy = dissect(self.blueprint, example)
        self.network = fold_source(traced, self.anatomy)
        self._tap_nodes = take_taps(self.network, self.anatomy)
        self._check_finite()
        self.network.to(memory_format=torch.channels_last)
        self.packed: list[fx.GraphModule] = []  # out of the module tree: the weights are there
        self._packed_for: tuple[int, ImageSize, torch.dtype] = 0, 0, torch.float32
        self.requires_grad_(requires_grad=False)
        self.train(mode=False)

    @classmethod
    def of(
        cls,
        network: nn.Module,
        *,
        image_size: ImageSize | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        crop_share: float | None = None,
        interpolation: Interpolation | None = None,
        labels: Sequence[str] | None = None,
        name: str | None = None,
    ) -> Source:
        """Take any network that can be traced, with its weights; it stays as it is.

        What is None comes from its `pretrained_cfg`, as timm's networks have it; without one it is
        224 pixels, ImageNet's mean and deviation, 224 of 256 and `bilinear`.

        Args:
            network: Network from [B, 3, S, S] to logits [B, classes], on any device, in any mode.
            image_size: Side S of its pictures in pixels, or height and width.
            mean: Mean of each RGB channel of pictures scaled to [0, 1].
            std: Standard deviation of each RGB channel of the same.
            crop_share: Share of the resized short side that a picture shows, above 0 and up to 1.
            interpolation: How pictures are resized.
            labels: The network's own classes.
            name: Name in the store and in messages; None for that of its class.

        Raises:
            SourceError: It is no network, cannot be traced, has attention or no classifier at its
                end, cannot read pictures of that size, or its values are not those of a trained
                network; or one of the others is none that it can be.
        """
        if not isinstance(network, nn.Module):
            msg = (
                f"{network!r:.80} is a {type(network).__name__} and no network, expected a "
                "torch.nn.Module with its weights. Build it first; a network by name is "
                "snow_deploy.Source(snow_deploy.load_weights('imagenet', 'resnet50'))."
            )
            raise SourceError(msg)
        given = {
            "image_size": image_size,
            "mean": mean,
            "std": std,
            "crop_share": crop_share,
            "interpolation": interpolation,
            "labels": labels,
            "name": name,
        }
        return cls(weights_of_module(network, facts_of_network(network, given)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Source:
        """Copy the network; what describes it is shared.

        Python would go from node to node of the graphs, deeper than it may in a long network.
        """
        made = Source.__new__(Source)
        made.__dict__ = {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in self.__dict__.items()
        }
        made.network = copy.deepcopy(self.network, memo)
        nodes = {node.name: node for node in made.network.graph.nodes}
        taps = {key: nodes[node.name] for key, node in self._tap_nodes.items()}
        made.__dict__ |= {"_tap_nodes": taps, "packed": []}
        return made

    @property
    def preprocessing(self) -> Preprocessing:
        """How its pictures are prepared, in training as on the device."""
        return self.weights.preprocessing(self.weights.image_size)

    @property
    def blueprint(self) -> fx.GraphModule:
        """The original layers and graph, on the meta device: shapes without weights."""
        return self._blueprint[0]

    def train(self, mode: bool = True) -> Source:  # noqa: ARG002, FBT001, FBT002
        """Stay in eval mode, whatever is asked."""
        return super().train(mode=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Run the source once.

        Under no_grad, not inference mode: the pooling weights' gradient needs the features,
        and inference-mode tensors cannot be saved for a backward pass.

        Args:
            images: [B, 3, H, W] float32, normalised.

        Returns:
            One tensor per subscription by its name, [B, N, H', W'] (a squeeze convolution's
            is [B, N, 1, 1]); `head`, what the classifier reads, [B, F]; `logits`, [B, classes].
        """
        return Features(self._network_for(images)(images), self.fingerprint)

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

    def pack(
        self, batch_size: int, image_size: ImageSize, dtype: torch.dtype = torch.float32
    ) -> None:
        """Let passes on the CPU be as fast as they can be, where torch has oneDNN.

        They take another copy of the weights and give the same features within rounding. What
        changes `network` afterwards is not seen by them.

        Args:
            batch_size: Pictures in the passes to come; others give the same answers.
            image_size: Their side in pixels, or height and width; likewise.
            dtype: Data type of the passes that are meant: float32, or what autocast makes of them.
                Passes in another run `network`, as all do where oneDNN does not compute in it.

        Raises:
            SourceError: A weight is not finite; oneDNN's ReLU would make zeros of the answers.
        """
        self._check_finite()
        on_cpu = next(self.network.parameters()).device.type == "cpu"
        if on_cpu and onednn.is_available(dtype):
            image = torch.zeros(batch_size, 3, *height_width(image_size))
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
            if not all_finite(value):
                msg = (
                    f"the weights ({self.weights.origin}) cannot be used: {name} of the "
                    f"{self.architecture}, with its norm folded in, has values that are infinite "
                    "or NaN. Take other weights."
                )
                raise SourceError(msg)

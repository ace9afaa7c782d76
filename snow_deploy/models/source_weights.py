"""A source's weights, as they are kept, and the network that they make."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import find_classifier
from snow_deploy.models.architectures import (
    COUNTER,
    Triple,
    build_architecture,
    has_old_stem,
    move_stride,
    network_keys,
    take_old_stem,
    unfilled,
    unfilled_network,
)
from snow_deploy.models.finite_values import all_finite
from snow_deploy.models.plain.description import build_described
from snow_export.own_layers import FixedFilter2d
from snow_runtime.graph.image_size import height_width, size_of
from snow_runtime.graph.manifest import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Preprocessing,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_runtime.graph.image_size import ImageSize

_LONG = 100  # characters of a key in a message


@dataclass(frozen=True)
class SourceWeights:
    """A source as it is kept: everything its function depends on, and nothing else.

    Attributes:
        architecture: Torchvision's name, such as `resnet50`; or `timm:NAME`; or, of somebody's own,
            `package.module:factory`.
        state: Parameters and buffers by the network's key, float32, on the CPU.
        stride_in_1x1: A bottleneck's stride sits on its first 1x1 convolution (the original
            ResNet) instead of the 3x3 (torchvision's).
        mean: Mean of each RGB channel of pictures scaled to [0, 1].
        std: Standard deviation of each RGB channel of the same.
        labels: The source's own classes; None where nothing names them.
        origin: Origin of the weights, for people.
        graph: The network itself, as `models.plain.description` writes it; None where torchvision
            builds it by the architecture's name.
        image_size: Side of the pictures that it was made for in pixels, or height and width.
        crop_share: Share of the resized short side that the picture shows; None for ImageNet's
            proportion, 224 of 256.
        interpolation: How pictures are resized.
        code_sha256: SHA-256 (hex) of the file that made the network; empty where none did.
    """

    architecture: str
    state: Mapping[str, Tensor]
    stride_in_1x1: bool = False
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    labels: tuple[str, ...] | None = None
    origin: str = "unknown"
    graph: str | None = None
    image_size: ImageSize = 224
    crop_share: float | None = None
    interpolation: Interpolation = "bilinear"
    code_sha256: str = ""

    def preprocessing(
        self, image_size: ImageSize, crop_share: float | None = None
    ) -> Preprocessing:
        """Return how pictures are prepared for the source.

        Args:
            image_size: Side in pixels, or height and width.
            crop_share: Share of the resized picture that is shown; None for the source's own.
        """
        share = crop_share or self.crop_share
        if share is None:
            usual = Preprocessing.for_size(image_size, self.mean, self.std)
            return replace(usual, interpolation=self.interpolation)
        sides = (max(side, math.floor(side / share)) for side in height_width(image_size))
        return Preprocessing(image_size, size_of(*sides), self.mean, self.std, self.interpolation)

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of the architecture, normalisation and every tensor."""
        facts: list[Any] = [self.architecture, self.stride_in_1x1, self.mean, self.std]
        if self.graph is not None:
            facts += [self.graph, self.crop_share, self.interpolation]
        return hash_tensors(self.state, json.dumps(facts))

    def build(self) -> nn.Module:
        """Build the network with these weights, in eval mode.

        Raises:
            SourceError: The tensors do not fit the architecture.
        """
        network: nn.Module
        if self.graph is None:
            network = self._placed(unfilled_network(self.architecture, self._num_classes()))
        else:
            with unfilled():
                network = build_described(self.graph)
        state = network.state_dict()  # with the format versions that some networks insist on
        wanted = {key for key in state if not key.endswith(COUNTER)}
        missing, unexpected = sorted(wanted - set(self.state)), sorted(set(self.state) - wanted)
        if missing or unexpected:
            msg = (
                f"the weights ({self.origin}) do not fit {self.architecture}: "
                f"{some('missing', missing)}, {some('unexpected', unexpected)}. "
                "Name the architecture they belong to with --source."
            )
            raise SourceError(msg)
        state.update(self.state)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an old MNASNet's, which advises newer weights
                network.load_state_dict(state)
        except RuntimeError as error:
            msg = f"the weights ({self.origin}) do not fit {self.architecture}: {error}"
            raise SourceError(msg) from error
        return network.eval()

    def build_anew(self) -> nn.Module:
        """Build the same network with fresh random weights, in training mode.

        They are drawn as torchvision draws them for its architecture, else as torch's layers draw
        them. Weights that no layer holds, such as a layer scale, begin at the mean of the source's.
        """
        if self.graph is not None:
            network = build_described(self.graph)
            with torch.no_grad():
                for name, weight in free_weights(network).items():
                    fresh = self.state[name]
                    trained = isinstance(weight, nn.Parameter)
                    weight.copy_(fresh.mean().expand_as(fresh) if trained else fresh)
                for name, layer in network.named_modules():
                    if isinstance(layer, FixedFilter2d):
                        layer.weight.copy_(self.state[f"{name}.weight"])
            return network.train()
        return self._placed(build_architecture(self.architecture, self._num_classes())).train()

    def with_labels(self, labels: Sequence[str]) -> SourceWeights:
        """Name the source's classes.

        Raises:
            SourceError: There are more or fewer labels than classes.
        """
        if len(labels) != self._num_classes():
            msg = (
                f"{len(labels)} labels were given for a source of {self._num_classes()} classes; "
                "give one label a class, one a line"
            )
            raise SourceError(msg)
        return replace(self, labels=tuple(labels))

    def check_values(self) -> None:
        """Check that every number can be one of a trained network.

        Raises:
            SourceError: A value is infinite or NaN, or a variance is negative.
        """
        for key, value in self.state.items():
            fault = find_fault(key, value)
            if fault is not None:
                msg = (
                    f"the weights ({self.origin}) cannot be used: {fault}. Take a checkpoint from "
                    "before its training went wrong, or fetch the file again."
                )
                raise SourceError(msg)

    @property
    def has_classifier(self) -> bool:
        """Tell whether the source can answer: zeros stand for a classifier that was missing."""
        weight = self.state.get(self._classifier())
        return weight is not None and bool(weight.any())

    def _placed(self, network: nn.Module) -> nn.Module:
        shapes = {key: tuple(value.shape) for key, value in self.state.items()}
        if has_old_stem(self.architecture, shapes):
            take_old_stem(network)
        if self.stride_in_1x1:
            move_stride(network, self.architecture)
        return network

    def _classifier(self) -> str:
        """Return the key of the classifier's weight."""
        if self.graph is not None:
            with torch.device("meta"):
                return f"{find_classifier(build_described(self.graph)).target}.weight"
        return f"{network_keys(self.architecture).classifier}.weight"

    def _num_classes(self) -> int:
        """Read the number of classes off the classifier's last key, its first dimension."""
        key = self._classifier()
        if self.graph is None:
            key = list(network_keys(self.architecture).shapes)[-1]
        last = self.state.get(key)
        if last is None or last.ndim == 0:
            msg = (
                f"the weights ({self.origin}) have no {key!r}, the classifier of "
                f"{self.architecture}. Name the architecture they belong to with --source."
            )
            raise SourceError(msg)
        return last.shape[0]


def free_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that no layer holds, of a network that was built from a description."""
    containers = [(n, m) for n, m in network.named_modules() if type(m) is nn.Module or n == ""]
    found: dict[str, Tensor] = {}
    for name, module in containers:
        begin = f"{name}." if name else ""
        found |= {f"{begin}{key}": value for key, value in module.named_parameters(recurse=False)}
        found |= {f"{begin}{key}": value for key, value in module.named_buffers(recurse=False)}
    return found


def from_network(network: nn.Module, weights: SourceWeights) -> SourceWeights:
    """Return `weights` with the tensors of a network that was trained here."""
    state = {
        key: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for key, value in network.state_dict().items()
        if not key.endswith(COUNTER)
    }
    return replace(weights, state=state)


def find_fault(key: str, value: Tensor) -> str | None:
    """Say what is wrong with a trained network's tensor; None where nothing is."""
    if not all_finite(value):
        wrong = value.numel() - int(value.isfinite().sum())
        return f"{wrong} of the {value.numel()} values of {key} are infinite or NaN"
    if key.endswith("running_var") and bool((value < 0).any()):
        return (
            f"{int((value < 0).sum())} of the {value.numel()} variances in {key} are below zero, "
            f"the least {float(value.min()):g}"
        )
    return None


def hash_tensors(state: Mapping[str, Tensor], preamble: str = "") -> str:
    """Return the SHA-256 (hex) of a preamble and of tensors with their names and types."""
    digest = hashlib.sha256(preamble.encode())
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def some(what: str, keys: Sequence[str], limit: int = 3) -> str:
    """Count keys and name the first of them, as in `2 missing (fc.weight, fc.bias)`."""
    short = [key if len(key) <= _LONG else f"{key[:_LONG]}…" for key in keys[:limit]]
    shown = ", ".join(short) + (", …" if len(keys) > limit else "")
    return f"{len(keys)} {what}" + (f" ({shown})" if keys else "")

"""Where a source comes from: torchvision's weights by name, or a file of tensors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - what reading a foreign file raises
from typing import TYPE_CHECKING, Any

import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models.resnet import Bottleneck

from snow_deploy.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_PORTS = ("googlenet", "inception_v3")  # from TensorFlow, with heads for training only
_EXPECT_HALVES = (*_PORTS, "efficientnet_v2_l")  # their ImageNet weights want pictures in [-1, 1]
_COUNTER = "num_batches_tracked"  # training bookkeeping, no part of the function
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # the ports' heads for training only

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SourceWeights:
    """A source as it is kept: everything its function depends on, and nothing else.

    Attributes:
        architecture: torchvision's name, such as `resnet50`.
        state: Parameters and buffers by torchvision's key, float32, on the CPU.
        stride_in_1x1: A bottleneck's stride sits on its first 1x1 convolution (the original
            ResNet) instead of the 3x3 (torchvision's).
        mean: Per RGB channel, of pictures scaled to [0, 1].
        std: Likewise.
        labels: The source's own classes; None where nothing tells them.
        origin: Where the weights came from, for people.
    """

    architecture: str
    state: Mapping[str, Tensor]
    stride_in_1x1: bool = False
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    labels: tuple[str, ...] | None = None
    origin: str = "unknown"

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of the architecture, normalisation and every tensor."""
        facts = [self.architecture, self.stride_in_1x1, self.mean, self.std]
        return hash_tensors(self.state, json.dumps(facts))

    def build(self) -> nn.Module:
        """Build torchvision's network with these weights, in eval mode.

        Raises:
            SourceError: The tensors do not fit the architecture.
        """
        network = self._placed(_unfilled_network(self.architecture, self._num_classes()))
        state = network.state_dict()  # with the format versions that some networks insist on
        wanted = {key for key in state if not key.endswith(_COUNTER)}
        missing, unexpected = sorted(wanted - set(self.state)), sorted(set(self.state) - wanted)
        if missing or unexpected:
            msg = (
                f"the weights ({self.origin}) do not fit {self.architecture}: "
                f"{_some('missing', missing)}, {_some('unexpected', unexpected)}. "
                "Name the architecture they belong to with --source."
            )
            raise SourceError(msg)
        state.update(self.state)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            msg = f"the weights ({self.origin}) do not fit {self.architecture}: {error}"
            raise SourceError(msg) from error
        return network.eval()

    def build_anew(self) -> nn.Module:
        """Build the same network with torchvision's fresh random weights, in training mode."""
        return self._placed(build_network(self.architecture, self._num_classes())).train()

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

    def _placed(self, network: nn.Module) -> nn.Module:
        if self.stride_in_1x1:
            _move_stride(network, self.architecture)
        return network

    def _num_classes(self) -> int:
        """Read the number of classes off the classifier's bias, torchvision's last key."""
        key = list(_unfilled_network(self.architecture, 1000).state_dict())[-1]
        bias = self.state.get(key)
        if bias is None or bias.ndim == 0:
            msg = (
                f"the weights ({self.origin}) have no {key!r}, the classifier of "
                f"{self.architecture}. Name the architecture they belong to with --source."
            )
            raise SourceError(msg)
        return bias.shape[0]


def hash_tensors(state: Mapping[str, Tensor], preamble: str = "") -> str:
    """Return the SHA-256 (hex) of a preamble and of tensors with their names and types."""
    digest = hashlib.sha256(preamble.encode())
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def architectures() -> list[str]:
    """Return the names of torchvision's classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def build_network(architecture: str, num_classes: int) -> nn.Module:
    """Build one of torchvision's classification networks with fresh weights.

    Raises:
        SourceError: torchvision has no network of that name.
    """
    if architecture not in architectures():
        msg = (
            f"torchvision has no network called {architecture!r}. "
            f"Choose one of: {', '.join(architectures())}"
        )
        raise SourceError(msg)
    # These two draw their weights slowly, and warn, unless told not to.
    ported = {"init_weights": False, "aux_logits": False}
    options = ported if architecture in _PORTS else {}
    network: nn.Module = torchvision.models.get_model(
        architecture, num_classes=num_classes, **options
    )
    return network


class _Unfilled(TorchFunctionMode):
    """Draws no weights for new layers: that takes longer than reading the real ones."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Skip torch.nn.init; what it does not let skip gets the mean, fast and in range."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func is Tensor.normal_:  # by kaiming_normal_ and trunc_normal_
            return args[0].fill_(kwargs.get("mean", args[1] if len(args) > 1 else 0.0))
        return func(*args, **kwargs)


def _unfilled_network(architecture: str, num_classes: int) -> nn.Module:
    """Build a network whose weights arrive afterwards, every one of them."""
    with _Unfilled():
        return build_network(architecture, num_classes)


def load_weights(weights: str, architecture: str) -> SourceWeights:
    """Load a source by torchvision's weight name or from a file.

    Args:
        weights: `imagenet` (torchvision's IMAGENET1K_V1), any of torchvision's weight names
            for the architecture, or the path of a .safetensors, .pth or .pt file. A file is
            read as tensors only; nothing in it is executed. A safetensors file may carry the
            metadata `architecture`, `stride_in_1x1`, `labels` (a JSON list) and
            `preprocessing` (JSON with `mean` and `std`).
        architecture: torchvision's name.

    Raises:
        SourceError: Unknown name, missing or damaged file, tensors that do not fit.
    """
    if Path(weights).suffix in {".safetensors", ".pth", ".pt"}:
        loaded = _load_file(Path(weights), architecture)
    elif Path(weights).is_file():
        msg = f"{weights} is neither .safetensors, .pth nor .pt; convert the weights to one"
        raise SourceError(msg)
    else:
        loaded = _load_torchvision(weights, architecture)
    loaded.build()  # fails here, with the file's name, rather than in the middle of a run
    return loaded


def from_network(network: nn.Module, weights: SourceWeights) -> SourceWeights:
    """Return `weights` with the tensors of a network that was trained here."""
    return replace(weights, state=_clean(network.state_dict()))


def _load_torchvision(name: str, architecture: str) -> SourceWeights:
    _unfilled_network(architecture, 1000)  # refuses an unknown architecture
    family = torchvision.models.get_model_weights(architecture)
    known = {member.name.lower(): member for member in family}
    wanted = "imagenet1k_v1" if name.lower() == "imagenet" else name.lower()
    if wanted not in known:
        msg = (
            f"{architecture} has no weights called {name!r}. Give the path of a .safetensors or "
            f".pth file, `imagenet`, or one of: {', '.join(member.name for member in family)}"
        )
        raise SourceError(msg)
    member = known[wanted]
    if not member.meta.get("categories"):
        msg = (
            f"{member.name} of {architecture} has no classifier that answers anything; choose "
            "other weights, such as imagenet"
        )
        raise SourceError(msg)
    try:
        state = member.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        msg = (
            f"could not download {member.name} for {architecture}: {error}. Fetch {member.url} "
            "on a machine with access and give its path: --weights FILE"
        )
        raise SourceError(msg) from error
    mean, std = _normalisation(architecture)
    return SourceWeights(
        architecture,
        _clean(state),
        mean=mean,
        std=std,
        labels=tuple(member.meta["categories"]),
        origin=f"torchvision {member}",
    )


def _load_file(path: Path, architecture: str) -> SourceWeights:
    if not path.is_file():
        msg = f"there is no weights file {path}; give the path of a .safetensors or .pth file"
        raise SourceError(msg)
    try:
        tensors, metadata = _read_tensors(path)
        state = _clean(tensors)
    except UnpicklingError as error:  # torch's text advises to read it without care
        msg = (
            f"{path} holds other things than tensors, or is damaged. Save the state dict alone, as "
            ".safetensors or by torch.save."
        )
        raise SourceError(msg) from error
    except Exception as error:
        msg = f"{path} cannot be read as a file of tensors: {error}. Download or save it again."
        raise SourceError(msg) from error
    declared = metadata.get("architecture", architecture)
    if declared != architecture:
        msg = f"{path} says it is a {declared}, not a {architecture}; add --source {declared}"
        raise SourceError(msg)
    mean, std = _normalisation(architecture)
    try:
        preprocessing = json.loads(metadata.get("preprocessing", "{}"))
        labels = json.loads(metadata["labels"]) if "labels" in metadata else None
        loaded = SourceWeights(
            architecture,
            state,
            stride_in_1x1=metadata.get("stride_in_1x1", "false").lower() == "true",
            mean=_triple(preprocessing.get("mean", mean)),
            std=_triple(preprocessing.get("std", std)),
            origin=path.name,
        )
        return loaded if labels is None else loaded.with_labels([str(label) for label in labels])
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"the metadata of {path} cannot be read: {error}. Write it anew, or leave it out."
        raise SourceError(msg) from error


def _normalisation(architecture: str) -> tuple[Triple, Triple]:
    """Return the mean and deviation that torchvision's weights expect."""
    return (_HALF, _HALF) if architecture in _EXPECT_HALVES else (IMAGENET_MEAN, IMAGENET_STD)


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    content: Any = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        msg = "it holds no state dict"
        raise ValueError(msg)
    foreign = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        msg = f"it holds other things than tensors ({foreign[0]!r}); save the state dict alone"
        raise ValueError(msg)
    return content, {}


def _clean(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep what the function depends on: float32 tensors on the CPU, without wrappers' prefix."""
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    return {
        key: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for key, value in plain.items()
        if not key.endswith(_COUNTER) and not key.startswith(_AUXILIARY)
    }


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _move_stride(network: nn.Module, architecture: str) -> None:
    """Put each bottleneck's stride on its first convolution, as the original ResNet has it."""
    blocks = [layer for layer in network.modules() if isinstance(layer, Bottleneck)]
    if not blocks:
        msg = f"stride_in_1x1 is for bottleneck ResNets; {architecture} has no bottleneck"
        raise SourceError(msg)
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def _some(what: str, keys: list[str], limit: int = 3) -> str:
    shown = ", ".join(keys[:limit]) + (", …" if len(keys) > limit else "")
    return f"{len(keys)} {what}" + (f" ({shown})" if keys else "")

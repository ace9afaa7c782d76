"""torchvision's classification networks by name: built with fresh weights, or ready for others."""

from __future__ import annotations

import difflib
import math
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models.resnet import Bottleneck

from snow_deploy.errors import SourceError
from snow_runtime.graph.manifest import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

Triple = tuple[float, float, float]

COUNTER = "num_batches_tracked"
"""Last part of the name of a norm's training bookkeeping, no part of the function."""

_HALF = (0.5, 0.5, 0.5)
_PORTS = ("googlenet", "inception_v3")  # from TensorFlow, with heads for training only
_EXPECT_HALVES = (*_PORTS, "efficientnet_v2_l")  # their ImageNet weights want pictures in [-1, 1]
_OLD_STEM = "layers.0.weight"  # of MNASNet
_OLD_STEM_WIDTH = 32  # whatever the network's width, in its first version


@dataclass(frozen=True)
class NetworkKeys:
    """What the weights of an architecture are called, and how large they are.

    Attributes:
        architecture: Torchvision's name.
        shapes: Shape of every parameter and statistic by its key, with 1000 classes; no counters.
        indices: Keys of integers, which only transformers have.
        classifier: Name of the last layer with weights.
        stem: Key of the first convolution's weight.
        children: Names of the outermost layers.
    """

    architecture: str
    shapes: Mapping[str, tuple[int, ...]]
    indices: frozenset[str]
    classifier: str
    stem: str
    children: frozenset[str]

    def is_head(self, name: str) -> bool:
        """Tell whether a key is the classifier's."""
        return name.rpartition(".")[0] == self.classifier

    def is_setting(self, name: str) -> bool:
        """Tell whether a key is of one integer, which a checkpoint may lack."""
        return name in self.indices and math.prod(self.shapes[name]) == 1


def architectures() -> list[str]:
    """Return the names of torchvision's classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def build_architecture(architecture: str, num_classes: int) -> nn.Module:
    """Build one of torchvision's classification networks with fresh weights.

    Raises:
        SourceError: Torchvision has no network of that name.
    """
    if architecture not in architectures():
        near = difflib.get_close_matches(architecture, architectures(), 3)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        hint = _own_function(architecture) or hint
        msg = (
            f"torchvision has no network called {architecture!r}. {hint}"
            "timm's are called timm:NAME, and your own package.module:function. "
            f"Choose one of: {', '.join(architectures())}"
        )
        raise SourceError(msg)
    # These two draw their weights slowly, and warn, unless they are asked not to.
    ported = {"init_weights": False, "aux_logits": False}
    options = ported if architecture in _PORTS else {}
    network: nn.Module = torchvision.models.get_model(
        architecture, num_classes=num_classes, **options
    )
    return network


def _own_function(name: str) -> str:
    """Say how a function of a file here is named as a source."""
    module, _, last = name.rpartition(".")
    if not module or not Path(f"{module.replace('.', '/')}.py").is_file():
        return ""
    return f"Did you mean {module}:{'FUNCTION' if last == 'py' else last}? "


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


def unfilled_network(architecture: str, num_classes: int) -> nn.Module:
    """Build a network whose weights arrive afterwards, every one of them."""
    with unfilled():
        return build_architecture(architecture, num_classes)


def unfilled() -> AbstractContextManager[Any]:
    """Leave out the drawing of weights wherever layers are made inside."""
    return _Unfilled()


def has_old_stem(architecture: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell a MNASNet of torchvision's first version, whose stem had one width for all.

    Args:
        architecture: Torchvision's name.
        shapes: Shapes of the weights, by key.
    """
    if not architecture.startswith("mnasnet") or architecture == "mnasnet1_0":
        return False
    return shapes.get(_OLD_STEM, (0,))[0] == _OLD_STEM_WIDTH


def take_old_stem(network: nn.Module) -> None:
    """Give a MNASNet the stem of torchvision's first version, in place, by torchvision's means."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises newer weights
        network._load_from_state_dict({}, "", {"version": 1}, False, [], [], [])  # noqa: FBT003, SLF001


@cache
def network_keys(architecture: str, *, old_stem: bool = False) -> NetworkKeys:
    """Return the keys and shapes of an architecture's weights.

    Raises:
        SourceError: Torchvision has no network of that name.
    """
    # RegNet's constructor reads values, which the meta device has none of.
    device = "cpu" if architecture.startswith("regnet") else "meta"
    with torch.device(device):
        network = unfilled_network(architecture, 1000)
        if old_stem:
            take_old_stem(network)
    state = network.state_dict()
    shapes = {key: tuple(v.shape) for key, v in state.items() if not key.endswith(COUNTER)}
    return NetworkKeys(
        architecture,
        shapes,
        frozenset(key for key in shapes if not state[key].is_floating_point()),
        classifier=list(shapes)[-1].rpartition(".")[0],
        stem=next(key for key, shape in shapes.items() if len(shape) == 4),
        children=frozenset(name for name, _ in network.named_children()),
    )


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the architectures that weights fit, but for the number of classes.

    Args:
        shapes: Shapes of the weights, by torchvision's key.
    """
    regnet = any(key.startswith("trunk_output.") for key in shapes)
    found: dict[str, int] = {}
    for architecture in architectures():
        if architecture.startswith("regnet") and not regnet:
            continue  # the largest of them takes a second to build
        keys = network_keys(architecture)
        body = {key: shape for key, shape in keys.shapes.items() if not keys.is_head(key)}
        if all(shapes.get(key) == shape for key, shape in body.items()):
            found[architecture] = len(body)
    most = max(found.values(), default=0)  # a ResNet-34 has all that a ResNet-18 has
    return [architecture for architecture, count in found.items() if count == most]


def normalisation(architecture: str) -> tuple[Triple, Triple]:
    """Return the mean and deviation that torchvision's weights expect."""
    return (_HALF, _HALF) if architecture in _EXPECT_HALVES else (IMAGENET_MEAN, IMAGENET_STD)


def has_bottlenecks(architecture: str) -> bool:
    """Tell whether the stride of an architecture's blocks may sit in one of two convolutions."""
    return "layer1.0.conv3.weight" in network_keys(architecture).shapes


def move_stride(network: nn.Module, architecture: str) -> None:
    """Put each bottleneck's stride on its first convolution, as the original ResNet has it.

    Raises:
        SourceError: The network has no bottlenecks.
    """
    blocks = [layer for layer in network.modules() if isinstance(layer, Bottleneck)]
    if not blocks:
        msg = f"stride_in_1x1 is for bottleneck ResNets; {architecture} has no bottleneck"
        raise SourceError(msg)
    for block in blocks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)

"""The networks that the benchmarks compare: a source, deltas on it, and whole models.

Nothing is trained. Weights, selections and BatchNorm statistics are random, and every norm has
seen random pictures, so that activations keep a normal size in fp16 and nothing folds away that
would not in a trained network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks._chosen_features import CHOSEN, draw_features
from benchmarks._readouts import readouts
from snow_deploy.models.anatomy import HEAD
from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.schemes import build_network
from snow_deploy.models.source import Source
from snow_deploy.models.weights import SourceWeights, build_architecture, from_network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snow_deploy.models.network import Scheme

PAPER_CLASSES = (101, 47, 40, 196, 200)
"""Classes of the paper's five tasks (SNOW, table 3); the source's own head is the sixth."""
_SETTLING = (8, 3, 64, 64)  # pictures that set the norms' statistics


@dataclass(frozen=True)
class Scenario:
    """What is compared.

    Attributes:
        architecture: torchvision's name.
        image_size: Side of the square that the networks see, in pixels.
        source_classes: Of the source's own head.
        task_classes: Of the tasks beside it; taken again from the start where more are asked for.
        seed: Of all weights.
        delta: Shape of the deltas.
    """

    architecture: str = "resnet50"
    image_size: int = 224
    source_classes: int = 1000
    task_classes: tuple[int, ...] = PAPER_CLASSES
    seed: int = 0
    delta: DeltaOptions = field(default_factory=DeltaOptions)


class Fleet:
    """The networks of a scenario; the same seed gives the same ones."""

    def __init__(self, scenario: Scenario) -> None:
        """Build the source."""
        torch.manual_seed(scenario.seed)
        self.scenario = scenario
        self.source_weights = _random_weights(scenario.architecture, scenario.source_classes)
        self.source = Source(self.source_weights)
        self._deltas: dict[str, nn.Module] = {}

    def tasks(self, count: int) -> dict[str, int]:
        """Return the names and classes of `count` tasks beside the source's own."""
        classes = islice(cycle(self.scenario.task_classes), count)
        return {f"task{number}": width for number, width in enumerate(classes, 1)}

    def deltas(self, count: int) -> dict[str, nn.Module]:
        """Return `count` deltas in eval mode, the same ones whoever asks."""
        tasks = self.tasks(count)
        for name, width in tasks.items():
            if name not in self._deltas:
                self._deltas[name] = self.delta(width).eval()
        return {name: self._deltas[name] for name in tasks}

    def delta(self, classes: int) -> Delta:
        """Build one delta with random selections."""
        delta = Delta(self.source, classes, self.scenario.delta, CHOSEN)
        if delta.tap_readout is not None:
            delta.tap_readout.index.copy_(draw_features(delta.tap_readout.feature_widths))
            nn.init.normal_(delta.tap_readout.linear.weight, std=0.05)
        pictures = torch.randn(_SETTLING)
        with torch.no_grad():
            for pooling in delta.poolings().values():
                pooling.weight.normal_(1.0, 0.1)
            settle(delta, pictures, self.source(pictures))
        return delta

    def of_scheme(self, scheme: Scheme, count: int) -> dict[str, nn.Module]:
        """Build `count` networks of a scheme, in eval mode."""
        if scheme == "readout":
            return readouts(self.source, self.tasks(count), self.scenario.seed)
        torch.manual_seed(self.scenario.seed)
        pictures = torch.randn(_SETTLING)
        found: dict[str, nn.Module] = {}
        for name, classes in self.tasks(count).items():
            network = build_network(self.source, classes, _OfScheme(scheme, self.scenario.delta))
            settle(network, pictures, self.source(pictures))
            found[name] = network.eval()
        return found

    def probes(self, count: int) -> dict[str, nn.Module]:
        """Build `count` linear classifiers on the frozen features (the paper's FO)."""
        width = self.source.anatomy.head_channels
        tasks = self.tasks(count)
        return {name: FeatureClassifier(width, classes) for name, classes in tasks.items()}

    def whole_models(self, count: int) -> dict[str, Source]:
        """Build `count` networks of the source's size, one a task (the paper's FT).

        Each is folded for evaluation exactly as the source is.
        """
        architecture = self.scenario.architecture
        return {
            name: Source(_random_weights(architecture, classes))
            for name, classes in self.tasks(count).items()
        }


@dataclass(frozen=True)
class _OfScheme:
    scheme: Scheme
    delta: DeltaOptions


class FeatureClassifier(nn.Module):
    """A linear classifier on the source's pooled features, in a delta's place."""

    def __init__(self, width: int, classes: int) -> None:
        """Take the number of features and of classes."""
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, images: Tensor, features: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """Answer [B, classes]."""
        logits: Tensor = self.fc(torch.flatten(features[HEAD], 1))
        return logits


def _random_weights(architecture: str, classes: int) -> SourceWeights:
    network = build_architecture(architecture, classes)
    settle(network, torch.randn(_SETTLING))
    return from_network(network, SourceWeights(architecture, {}, origin="random"))


@torch.no_grad()
def settle(network: nn.Module, *inputs: object) -> None:
    """Give every BatchNorm a random affine and the statistics of what it sees."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.0)
        norm.bias.normal_(0.0, 0.1)
        norm.momentum = 1.0  # the statistics of this one batch
    network.train()(*inputs)
    for norm in norms:
        norm.momentum = 0.1
    network.eval()

"""What a delta costs beside a readout: parameters, multiply-adds, and time to train."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from snow_deploy.models.multiply_adds import network_macs, source_macs
from snow_deploy.models.schemes import build_network
from snow_deploy.models.source import Source
from snow_deploy.training.objective import make_criterion
from snow_deploy.training.precision import autocast_dtype
from snow_runtime.graph.image_size import height_width

if TYPE_CHECKING:
    from snow_deploy.data.pictures import Splits
    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.options import TrainOptions

_TIMED_STEPS: Final = 2
_LARGEST_BATCH: Final = 32  # of the steps that are timed


@dataclass(frozen=True)
class NetworkCost:
    """What one task's network costs.

    Attributes:
        parameters: The task's own.
        share: Multiply-adds of one picture over the source's.
    """

    parameters: int
    share: float


@dataclass(frozen=True)
class DeltaCost:
    """What a delta would cost, and what a readout does.

    Attributes:
        delta: The delta's.
        readout: The readout's.
        picture_s: Seconds that a training step takes for each of its pictures, measured here. The
            loading of pictures is not in it.
    """

    delta: NetworkCost
    readout: NetworkCost
    picture_s: float


def compare_costs(
    weights: SourceWeights, splits: Splits, delta: TrainOptions, features: int
) -> DeltaCost:
    """Count a delta and a readout, and time a few steps of the delta's training.

    Args:
        weights: The source's.
        splits: The task's data; no picture is read.
        delta: How the delta would be trained.
        features: K, how many features the readout reads, and a delta's classifier that reads taps.

    Raises:
        SourceError: A delta makes no sense on this source.
    """
    classes, size = len(splits.labels), delta.image_size
    with torch.random.fork_rng(devices=[]):
        source = Source(weights)
        network = build_network(source, classes, delta, features=features).eval()
        whole = source_macs(source, size)
        own = network_macs(source, network, size)
        picture_s = _time_steps(source, network, splits, delta)
    reads = classes * features
    return DeltaCost(
        NetworkCost(network.count_parameters(), own / whole),
        NetworkCost(reads + classes, reads / whole),
        picture_s,
    )


def _time_steps(
    source: Source, network: TaskNetwork, splits: Splits, options: TrainOptions
) -> float:
    """Return the seconds that a step takes for each picture; the first step is not counted."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = autocast_dtype(options.precision, device)
    batch, size = min(options.batch_size, _LARGEST_BATCH), options.image_size
    height, width = height_width(size)
    classes = len(splits.labels)
    source.to(device)
    network.to(device).train()
    source.pack(batch, size, dtype)
    images = torch.rand(batch, 3, height, width, device=device)
    images = images.to(memory_format=torch.channels_last)
    several = splits.answers == "several"
    targets = torch.zeros((batch, classes) if several else batch, device=device)
    targets = targets if several else targets.long()
    criterion = make_criterion(splits.answers, options.recipe.label_smoothing)
    began = 0.0
    for step in range(1 + _TIMED_STEPS):
        if step == 1:
            began = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            features = source.stream(images, network.reads)
            loss, _ = network.loss(images, features, targets, criterion)
        torch.autograd.backward([loss])
        loss.item()  # waits for a GPU
    network.eval()
    return (time.perf_counter() - began) / (_TIMED_STEPS * batch)

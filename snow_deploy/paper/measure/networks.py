"""Untrained networks in a source's form: what a scheme costs doesn't depend on what it knows."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from snow_deploy.models.schemes import build_network
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting
from snow_deploy.models.weights import SourceWeights, build_architecture, from_network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.source import Source
    from snow_deploy.training.options import TrainOptions

_SETTLING = (4, 3, 64, 64)


@cache
def random_weights(architecture: str, source_classes: int, seed: int = 0) -> SourceWeights:
    """Return random weights whose activations keep a normal size; made once a process.

    Args:
        architecture: Torchvision's name.
        source_classes: Number of classes of the source's own head.
        seed: Seed of the weights.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = build_architecture(architecture, source_classes)
        norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the statistics of one batch
        network.train()(torch.randn(_SETTLING))
    return from_network(network, SourceWeights(architecture, {}, origin="random"))


def new_task(source: Source, options: TrainOptions, classes: Sequence[int]) -> TaskNetwork:
    """Build the network of the last of several tasks, as training it begins.

    Args:
        source: What it stands on.
        options: The scheme and, of SNOW, the delta's shape.
        classes: Number of classes of each task, in order. `lf` has learned those before the last
            one already.
    """
    if options.scheme != "lf":
        return build_network(source, classes[-1], options)
    network = build_network(source, classes[-1], options, classes[:-1])
    if len(classes) > 1 and isinstance(network, LearningWithoutForgetting):
        before = build_network(source, classes[-2], options, classes[:-2])
        network.follow(before.state_dict())
    return network


def count_together(source: Source, options: TrainOptions, classes: Sequence[int]) -> int:
    """Count the parameters of the source and of all tasks, as they are kept.

    With `lf` that is one network with a head for each task, the source's own included.

    Args:
        source: Whose own head counts as a task too.
        options: The scheme and, of SNOW, the delta's shape.
        classes: Number of classes of each task beside it.
    """
    if options.scheme == "lf":
        older = [source.num_classes, *classes[:-1]]
        return build_network(source, classes[-1], options, older).count_parameters()
    return source.count_parameters() + sum(count_tasks(source, options, classes).values())


def count_tasks(source: Source, options: TrainOptions, classes: Sequence[int]) -> Mapping[int, int]:
    """Count the parameters of each task's own network, by its place.

    Networks of different tasks differ in their classifiers alone, whose size is linear in the
    classes: two are built, the others follow.
    """
    few, more = (build_network(source, n, options).count_parameters() for n in (2, 3))
    return {place: few + (more - few) * (n - 2) for place, n in enumerate(classes)}

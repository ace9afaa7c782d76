"""The network that a run begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_deploy.errors import TrainingError
from snow_deploy.models.schemes import build_network
from snow_deploy.models.schemes.lwf import LearningWithoutForgetting
from snow_deploy.models.schemes.whole import FineTuning
from snow_deploy.models.trunk import bare_norms, unfold_norms
from snow_deploy.training.measure import held_out_samples
from snow_runtime.graph.image_size import size_text
from snow_runtime.pictures.preprocessing import normalise

if TYPE_CHECKING:
    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.models.source import Source
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_record import TaskRecord
    from snow_deploy.training.task_requests import TaskRequest
    from snow_runtime.graph.manifest import Preprocessing

_UNFOLDED_ON = 64
"""Training pictures that a folded source's norms take their statistics from."""


def task_before(store: Store, options: TrainOptions) -> TaskRecord | None:
    """Read the task that a network goes on from, and check that it can.

    Raises:
        TrainingError: It is of another scheme or image size.
    """
    if options.after is None:
        return None
    before = store.load_task(options.after)
    same = before.options.scheme == options.scheme
    if not same or before.preprocessing.image_size != options.image_size:
        msg = (
            f"task {before.name!r} is of the scheme {before.options.scheme} at "
            f"{size_text(before.preprocessing.image_size)} pixels, expected {options.scheme} at "
            f"{size_text(options.image_size)}. Name another one with --after, or train it anew."
        )
        raise TrainingError(msg)
    return before


def start_network(
    source: Source, request: TaskRequest, preprocessing: Preprocessing, before: TaskRecord | None
) -> TaskNetwork:
    """Build a task's network; it goes on from the task before, if there is one.

    Raises:
        SourceError: The scheme makes no sense on this source.
        DataError: No training picture can be read, where the network needs some.
    """
    splits = request.splits
    sizes = [len(labels) for labels in older_labels(before).values()]
    network = build_network(source, len(splits.labels), request.options, sizes)
    if before is not None and isinstance(network, LearningWithoutForgetting):
        network.follow(before.state)
    elif isinstance(network, FineTuning | LearningWithoutForgetting) and bare_norms(network):
        samples = held_out_samples(splits.train, preprocessing, _UNFOLDED_ON)
        planes = [normalise(sample, preprocessing) for sample in samples.numpy()]
        unfold_norms(network.network, torch.from_numpy(np.stack(planes)))
    return network


def older_labels(before: TaskRecord | None) -> dict[str, tuple[str, ...]]:
    """Return the labels of all tasks learned so far into the network of the task before."""
    return {} if before is None else {**before.previous_tasks, before.name: before.labels}

"""What classifiers begin as: logistic regressions, or readouts where they read taps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from snow_deploy.errors import TrainingError
from snow_deploy.models.delta import Delta
from snow_deploy.models.tap_readout import TapStart
from snow_deploy.training.feature_cache import FeatureCache
from snow_deploy.training.fit_pictures import fit_training_pictures, gather_features
from snow_deploy.training.task_requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snow_deploy.models.source import Source
    from snow_deploy.training.learner import Learner
    from snow_deploy.training.probes import Probes
    from snow_deploy.training.store import Store
    from snow_runtime.graph.manifest import Preprocessing

_FLOOR: Final = 1e-3  # added to each feature's deviation, as where a readout is fitted


def start_linear(learners: Sequence[Learner], probes: Probes) -> None:
    """Let classifiers begin as logistic regressions on the last features, as their recipes ask."""
    for learner in learners:
        linear = learner.options.recipe.classifier_start == "linear"
        if linear and not learner.options.reads_taps:
            learner.network.start_classifier(probes.fitted(learner.splits).cautious)


def start_taps(
    store: Store,
    source: Source,
    preprocessing: Preprocessing,
    learners: Sequence[Learner],
    workers: int,
) -> None:
    """Fit a readout on each such learner's training pictures, and let its classifier begin so.

    Features come from the store's cache, and are kept there. What the source's classifier reads is
    read whole, for that is what a delta always reads; the fit chooses among the other taps.

    Args:
        store: Store with the cache.
        source: The source.
        preprocessing: As on the device.
        learners: What is trained; those that read no taps are left as they are.
        workers: Processes that load pictures.

    Raises:
        TrainingError: torchrun has started several processes.
        FitError: There are too few pictures, of a class or altogether.
        DataError, StoreError: As for `FeatureCache.features`.
    """
    wanted = [learner for learner in learners if learner.options.reads_taps]
    if not wanted:
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        msg = (
            "a classifier that reads taps begins as a readout, which is fitted by one process, not "
            "by several of torchrun. Train it in one process, or leave --classifier-reads out."
        )
        raise TrainingError(msg)
    cache = FeatureCache(store, source, preprocessing, workers=workers)
    for learner in wanted:
        network = learner.network
        if isinstance(network, Delta):
            network.start_taps(_fitted(learner, cache, source.anatomy.head_channels))


def _fitted(learner: Learner, cache: FeatureCache, last: int) -> TapStart:
    """Fit a readout; the last features that it has not chosen weigh nothing at first."""
    request = TaskRequest(learner.name, learner.splits, learner.options)
    fitted = fit_training_pictures(request, cache).fitted
    index = np.union1d(fitted.index, np.arange(cache.width - last, cache.width))
    weight = np.zeros((len(fitted.bias), len(index)), np.float32)
    weight[:, np.searchsorted(index, fitted.index)] = fitted.weight
    rows = gather_features(cache, learner.splits, learner.options).rows
    chosen = rows[:, index].astype(np.float32)
    return TapStart(
        index=torch.from_numpy(index),
        mean=torch.from_numpy(chosen.mean(0)),
        deviation=torch.from_numpy(chosen.std(0)) + _FLOOR,
        weight=torch.from_numpy(weight),
        bias=torch.from_numpy(fitted.bias),
    )

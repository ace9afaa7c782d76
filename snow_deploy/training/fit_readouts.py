"""Readouts of a store: features from the cache, a fit in place of training, tasks in the store."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from snow_deploy.data.multilabel import targets_of
from snow_deploy.data.workers import workers_watched
from snow_deploy.errors import TrainingError
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.training.feature_cache import FeatureCache, View
from snow_deploy.training.measure import held_out_samples, measure_logits
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.pooling_ranking import PoolingRanking, one_torch_thread
from snow_deploy.training.resume import plan_fits
from snow_deploy.training.run_facts import RunFacts
from snow_deploy.training.task_lock import exclusive
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.errors import FitError
from snow_runtime.readout.fit import FitOptions, fit_readout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Pictures, Splits
    from snow_deploy.training.measure import Measured
    from snow_deploy.training.options import ReadoutOptions, TrainOptions
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest
    from snow_runtime.progress import ProgressCallback
    from snow_runtime.readout.fit import FittedReadout


_USUAL_VIEWS: Final = 2


@dataclass(frozen=True)
class TrainingFeatures:
    """Features of the training pictures, in every view.

    Attributes:
        rows: float16 [M, F], the centres first.
        targets: int64 [M], or bool [M, C] where any number of labels may be right.
        pictures: int64 [M], which picture each row is a view of.
        unreadable: Names of those that could not be read.
    """

    rows: NDArray[np.float16]
    targets: NDArray[np.int64] | NDArray[np.bool_]
    pictures: NDArray[np.int64]
    unreadable: frozenset[str]


@dataclass(frozen=True)
class Fit:
    """A readout that was fitted, and is not measured yet.

    Attributes:
        fitted: What it is.
        pictures: How many pictures it was fitted on.
        unreadable: Names of those that could not be read.
        took_s: Seconds that it took, without the features.
    """

    fitted: FittedReadout
    pictures: int
    unreadable: frozenset[str]
    took_s: float


def fit_tasks(
    store: Store,
    requests: Sequence[TaskRequest],
    settings: RunSettings,
    progress: ProgressCallback | None = None,
    *,
    fits: Mapping[str, Fit] = MappingProxyType({}),
    alone: bool = True,
) -> TrainingOutcome:
    """Fit readouts and put them into the store, each when it is fitted.

    Features that the store's cache has are not computed again, and no picture is opened for them.

    Args:
        store: Store that holds a source.
        requests: The tasks, of the scheme `readout`.
        settings: Settings of the run; what is about training by steps is not read.
        progress: Callback that gets what share of a pass over pictures is done.
        fits: Fits that are there already by task name; they are not made again.
        alone: Whether the run trains nothing beside them. A task that is there already, or cannot
            be fitted, then ends a run of one; else the others go on.

    Returns:
        The stored tasks, with the metrics of a trained one; in the place of `images_per_s` they
        have `cross_validated_accuracy` and its `cross_validated_error`, one standard error, the
        number of `features`, the `penalty`, of how many pictures (`fit_pictures`), and `fit_s`,
        the seconds that the fit took.

    Raises:
        StoreError: The store has no source, cannot be written, or its cache is damaged.
        SourceError: The source cannot read pictures of that size.
        TrainingError: A single task is there already, another process fits it, or torchrun has
            started several.
        FitError: There are too few pictures, of a class or altogether.
        DataError: No picture could be read.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        msg = (
            "a readout is fitted by one process, not by several of torchrun. Start it by itself; "
            "it takes seconds."
        )
        raise TrainingError(msg)
    with exclusive(store, [each.name for each in requests]), workers_watched():
        weights = store.source_weights()
        source = Source(weights)
        facts = {
            each.name: RunFacts(
                each.options, each.splits.labels, source.fingerprint, each.splits.fingerprint
            )
            for each in requests
        }
        alone = alone and len(requests) == 1
        todo = plan_fits(
            store, facts, alone=alone, resume=settings.resume, overwrite=settings.overwrite
        )
        records, failures = [], dict[str, str]()
        for request in requests:
            if request.name not in todo.names:
                continue
            size = request.options.image_size
            check_pictures(source, size)
            preprocessing = weights.preprocessing(size)
            cache = FeatureCache(store, source, preprocessing, workers=settings.workers)
            try:
                fit = fits.get(request.name) or fit_training_pictures(request, cache, progress)
                record = _measured(request, source, cache, fit, progress)
            except FitError as error:
                if alone:
                    raise
                failures[request.name] = str(error)
                continue
            store.save_task(record)
            records.append(record)
    return TrainingOutcome(tuple(records), todo.trained, failures)


def gather_features(
    cache: FeatureCache,
    splits: Splits,
    options: TrainOptions,
    progress: ProgressCallback | None = None,
) -> TrainingFeatures:
    """Return the training pictures' features in every view that is asked for.

    Raises:
        TrainingError: More than one view is asked for of pictures whose crops would be others.
        DataError, StoreError: As for `FeatureCache.features`.
    """
    views = count_views(options.readout, splits)
    if views > 1 and splits.augmentation == "none":
        msg = (
            f"{views} views of each picture were asked for, but crops and flips would change what "
            "these pictures show, or they vary enough as they are. Leave --views out."
        )
        raise TrainingError(msg)
    crop = options.recipe.smallest_crop
    found = [
        cache.features(splits.train, View(number, options.seed, crop), progress)
        for number in range(views)
    ]
    places = np.concatenate([each.places for each in found])
    targets = targets_of(splits.train)[places]
    return TrainingFeatures(
        np.concatenate([each.rows for each in found]),
        targets > 0 if targets.ndim == 2 else targets.astype(np.int64),
        places,
        frozenset().union(*(each.unreadable for each in found)),
    )


def count_views(options: ReadoutOptions, splits: Splits) -> int:
    """Return how often each training picture is looked at."""
    if options.views is not None:
        return options.views
    return _USUAL_VIEWS if splits.augmentation == "photo" else 1


def fit_training_pictures(
    request: TaskRequest, cache: FeatureCache, progress: ProgressCallback | None = None
) -> Fit:
    """Fit a readout on a task's training pictures; no other picture is looked at.

    Raises:
        FitError: There are too few pictures, of a class or altogether.
        TrainingError, DataError, StoreError: As for `gather_features`.
    """
    splits, options = request.splits, request.options
    given = gather_features(cache, splits, options, progress)
    start = time.perf_counter()
    how = FitOptions(
        features=options.readout.features,
        class_weights=options.readout.class_weights,
        seed=options.seed,
    )
    with one_torch_thread():
        fitted = fit_readout(
            *(given.rows, given.targets, splits.labels, how, given.pictures),
            ranker=PoolingRanking(options.seed),
        )
    took_s = time.perf_counter() - start
    return Fit(fitted, len(np.unique(given.pictures)), given.unreadable, took_s)


def measure_fit(
    fit: Fit,
    pictures: Pictures,
    cache: FeatureCache,
    progress: ProgressCallback | None = None,
) -> tuple[Measured, tuple[str, ...]]:
    """Return what a readout reaches on pictures, and the names of unreadable ones.

    Raises:
        TrainingError, DataError, StoreError: As for `FeatureCache.features`.
    """
    fitted = fit.fitted
    found = cache.features(pictures, progress=progress)
    logits = found.rows[:, fitted.index].astype(np.float32) @ fitted.weight.T + fitted.bias
    measured = measure_logits(pictures, found.places.tolist(), torch.from_numpy(logits))
    return measured, found.unreadable


def _measured(
    request: TaskRequest,
    source: Source,
    cache: FeatureCache,
    fit: Fit,
    progress: ProgressCallback | None,
) -> TaskRecord:
    """Measure a readout on the final pictures, and put together what the store keeps of it."""
    splits, options, fitted = request.splits, request.options, fit.fitted
    network = load_fit(source, len(splits.labels), fitted)
    pictures = splits.final[1]
    measured, unreadable = measure_fit(fit, pictures, cache, progress)
    if not math.isfinite(measured.loss):
        msg = (
            f"the fitted answers of {request.name} are not finite; see whether the source is sound"
        )
        raise FitError(msg)
    measured.answers.write(cache.store.run_path(request.name))
    return TaskRecord(
        name=request.name,
        labels=splits.labels,
        state=network.state_dict(),
        source_sha256=source.fingerprint,
        preprocessing=cache.preprocessing,
        options=options,
        samples=held_out_samples(pictures, cache.preprocessing),
        metrics={
            **measured.metrics,
            "cross_validated_accuracy": fitted.chosen.accuracy,
            "cross_validated_error": fitted.chosen.standard_error,
            "features": float(len(fitted.index)),
            "penalty": fitted.chosen.penalty,
            "fit_pictures": float(fit.pictures),
            "fit_s": fit.took_s,
            "parameters": float(network.count_parameters()),
            "skipped": float(len(fit.unreadable | set(unreadable))),
        },
        data_sha256=splits.fingerprint,
        splits=splits.entries,
        answers=splits.answers,
    )


def load_fit(source: Source, classes: int, fitted: FittedReadout) -> Readout:
    """Build the network of a fit, in eval mode."""
    network = Readout(source, classes, len(fitted.index))
    network.load_state_dict(
        {
            "index": torch.from_numpy(fitted.index),
            "classifier.weight": torch.from_numpy(fitted.weight),
            "classifier.bias": torch.from_numpy(fitted.bias),
        }
    )
    return network.eval()

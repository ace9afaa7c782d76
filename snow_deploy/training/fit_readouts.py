"""Readouts of a store: features from the cache, a fit in place of training, tasks in the store."""

from __future__ import annotations

import math
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from snow_deploy.data.workers import workers_watched
from snow_deploy.errors import TrainingError
from snow_deploy.models.schemes.readout import Readout
from snow_deploy.models.source import Source
from snow_deploy.models.source_checks import check_pictures
from snow_deploy.training.feature_cache import FeatureCache
from snow_deploy.training.fit_pictures import fit_training_pictures
from snow_deploy.training.held_out_answers import tell_confidence
from snow_deploy.training.measure import held_out_samples, measure_logits
from snow_deploy.training.outcome import TrainingOutcome
from snow_deploy.training.reliability_file import write_reliability
from snow_deploy.training.resume import plan_fits
from snow_deploy.training.run_facts import RunFacts
from snow_deploy.training.task_lock import exclusive
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_deploy.data.pictures import Pictures
    from snow_deploy.training.fit_pictures import Fit
    from snow_deploy.training.measure import Measured
    from snow_deploy.training.run import RunSettings
    from snow_deploy.training.store import Store
    from snow_deploy.training.task_requests import TaskRequest
    from snow_runtime.progress import ProgressCallback
    from snow_runtime.readout.fit import FittedReadout


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
    _refuse_torchrun()
    with exclusive(store, [each.name for each in requests]), workers_watched():
        source = Source(store.source_weights())
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
            cache = _cache_for(request, store, source, settings.workers)
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


def _refuse_torchrun() -> None:
    """Refuse to fit in several processes.

    Raises:
        TrainingError: Torchrun has started several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        msg = (
            "a readout is fitted by one process, not by several of torchrun. Start it by itself; "
            "it takes seconds."
        )
        raise TrainingError(msg)


def _cache_for(request: TaskRequest, store: Store, source: Source, workers: int) -> FeatureCache:
    """Return the store's features of pictures of a task's size."""
    size = request.options.image_size
    check_pictures(source, size)
    preprocessing = source.weights.preprocessing(size, request.options.crop_share)
    return FeatureCache(store, source, preprocessing, workers=workers)


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
    confidence = tell_confidence(request.name, fit.held_out, options.right_share, fit.familiarity)
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
            **write_reliability(cache.store.run_path(request.name), measured, confidence),
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
        confidence=confidence,
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

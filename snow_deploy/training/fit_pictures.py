"""A fit of a readout on a task's training pictures, from the features of a store's cache."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from snow_deploy.data.multilabel import targets_of
from snow_deploy.errors import TrainingError
from snow_deploy.training.feature_cache import View
from snow_deploy.training.pooling_ranking import PoolingRanking, one_torch_thread
from snow_runtime.confidence.find import HeldOutAnswers, familiarity_of
from snow_runtime.readout.fit import FitOptions, fit_readout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_deploy.data.pictures import Splits
    from snow_deploy.training.feature_cache import FeatureCache
    from snow_deploy.training.options import TrainOptions
    from snow_deploy.training.readout_options import ReadoutOptions
    from snow_deploy.training.task_requests import TaskRequest
    from snow_runtime.graph.familiarity_entry import FamiliarityEntry
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
        held_out: What each picture was answered by the fit that had no part of it.
        familiarity: What the pictures look like; None of too few.
    """

    fitted: FittedReadout
    pictures: int
    unreadable: frozenset[str]
    took_s: float
    held_out: HeldOutAnswers
    familiarity: FamiliarityEntry | None


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
    first = np.unique(given.pictures, return_index=True)[1]
    held_out = HeldOutAnswers(fitted.logits, given.targets[first], "cross-validation")
    known = familiarity_of(given.rows[first], held_out, cache.taps)
    return Fit(fitted, len(first), given.unreadable, took_s, held_out, known)

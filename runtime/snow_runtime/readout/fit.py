"""Fitting a readout: which features, how strongly regularised, and what that reaches.

Everything is chosen by cross-validation on the pictures that are fitted on. Axes: M rows, several
to a picture where it was looked at in several views; F features; C classes; K chosen features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from snow_runtime.readout.checks import check_pictures
from snow_runtime.readout.cross_validation import (
    HeldOut,
    LabelledFeatures,
    cross_validate,
    rank_features,
)
from snow_runtime.readout.folds import split_into_folds
from snow_runtime.readout.threads import few_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ClassWeights = Literal["equal", "balanced"]
"""Every picture counts the same, or every class does."""

_MANY_ROWS: Final = 2000
_FLOOR: Final = 1e-3  # added to each feature's deviation: what never varies stays quiet


@dataclass(frozen=True)
class FitOptions:
    """How a readout is fitted.

    Attributes:
        features: K, how many features to read; None chooses among `sizes` and all of them.
        sizes: Numbers of features that are tried.
        penalties: Strengths of the L2 regularisation that are tried, from the strongest on.
        folds: Parts of the pictures that are held out in turn; None takes 5, or 3 where there are
            many pictures.
        class_weights: Whether every picture counts the same, or every class does.
        seed: Seed of the folds.
    """

    features: int | None = None
    sizes: tuple[int, ...] = (512, 2048)
    penalties: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    folds: int | None = None
    class_weights: ClassWeights = "equal"
    seed: int = 0


@dataclass(frozen=True)
class Trial:
    """What one number of features reaches on held-out pictures.

    Attributes:
        features: K.
        penalty: The best penalty for them.
        accuracy: 0 to 1, the mean over all held-out pictures.
        standard_error: Of that accuracy.
    """

    features: int
    penalty: float
    accuracy: float
    standard_error: float


@dataclass(frozen=True)
class FittedReadout:
    """A linear classifier on chosen features as they are, not standardised.

    Attributes:
        index: int64 `[K]`, ascending, which of the F features.
        weight: float32 `[C, K]`.
        bias: float32 `[C]`.
        chosen: What this reaches, by cross-validation. Where several labels may be right at once,
            accuracies are of (picture, label) pairs.
        trials: What each number of features reached, in order.
        right: float32 `[P]`, what share of each picture's labels was right when it was held out,
            by the picture's number.
    """

    index: NDArray[np.int64]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    chosen: Trial
    trials: tuple[Trial, ...]
    right: NDArray[np.float32] = field(repr=False)


def fit_readout(
    features: NDArray[np.float16] | NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    labels: Sequence[str],
    options: FitOptions = FitOptions(),
    pictures: NDArray[np.int64] | None = None,
) -> FittedReadout:
    """Fit a readout on pooled features.

    Args:
        features: `[M, F]`, finite.
        targets: int64 `[M]`, the class of each row; or bool `[M, C]` where several labels may be
            right at once.
        labels: The C names.
        options: How it is fitted.
        pictures: int64 `[M]`, which picture each row is a view of, the first one as the device sees
            it; None where each row is one.

    Returns:
        The readout, the same whenever the same is fitted.

    Raises:
        FitError: There are too few pictures, of a class or altogether, or a feature is not finite.
        MissingDependencyError: scipy is not installed.
    """
    pictures = np.arange(len(features)) if pictures is None else pictures
    check_pictures(features, targets, labels, pictures)
    with few_threads(len(features)):
        return _fit(features, targets, labels, options, pictures)


def _fit(
    features: NDArray[np.float16] | NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    labels: Sequence[str],
    options: FitOptions,
    pictures: NDArray[np.int64],
) -> FittedReadout:
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64) + _FLOOR
    labelled = LabelledFeatures(
        _standardised(features, mean, deviation),
        _one_hot(targets, len(labels)),
        _shares(targets, len(labels), options.class_weights),
        targets.ndim == 2,
        np.unique(pictures, return_index=True)[1],
    )
    count = options.folds or (5 if len(features) < _MANY_ROWS else 3)
    folds = split_into_folds(targets, pictures, count, options.seed)
    tried = _try_sizes(labelled, folds, options)
    chosen = _smallest_as_good(tried)
    index = np.arange(features.shape[1])
    if chosen.features < len(index):
        ranking = rank_features(_fitted(labelled, tried[-1].penalty, options.penalties)[0])
        index = np.sort(ranking[: chosen.features])
    weight, bias = _fitted(labelled.columns(index), chosen.penalty, options.penalties)
    whole = weight / deviation[index]
    return FittedReadout(
        index,
        whole.astype(np.float32),
        (bias - whole @ mean[index]).astype(np.float32),
        _trial(chosen),
        tuple(_trial(each) for each in tried),
        chosen.right,
    )


def _try_sizes(
    labelled: LabelledFeatures, folds: NDArray[np.int64], options: FitOptions
) -> list[HeldOut]:
    """Cross-validate each number of features that is asked for, all of them last.

    The features of a fold are ranked by the fit on the other folds alone.
    """
    width = labelled.features.shape[1]
    whole = cross_validate([labelled], folds, options.penalties, with_weights=True)
    asked = options.sizes if options.features is None else (options.features,)
    tried = []
    rankings = [rank_features(weight) for weight in whole.weights]
    for size in asked:
        if size < width:
            each = [labelled.columns(ranking[:size]) for ranking in rankings]
            tried.append(cross_validate(each, folds, options.penalties))
    if options.features is not None and tried:
        return tried
    return [*tried, whole]


def _smallest_as_good(tried: Sequence[HeldOut]) -> HeldOut:
    """Return the fewest features that are within a standard error of the best number.

    The error is that of the difference, picture by picture: they are the same pictures.
    """
    best = max(tried, key=lambda each: each.accuracy)
    for each in tried:
        behind = best.right - each.right
        if behind.mean() <= _standard_error(behind):
            return each
    return best


def _trial(found: HeldOut) -> Trial:
    error = _standard_error(found.right)
    return Trial(found.features, found.penalty, found.accuracy, error)


def _standard_error(values: NDArray[np.float32]) -> float:
    return float(values.std()) / math.sqrt(len(values))


def _fitted(
    labelled: LabelledFeatures, penalty: float, penalties: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit on all rows: weights `[C, F]` and bias `[C]` on the standardised features."""
    space = labelled.space()
    every = np.ones(len(labelled.features), np.bool_)
    stronger = [each for each in penalties if each > penalty]  # each is a start for the next
    *_, found = labelled.path(space, every, [*stronger, penalty], precise=True)
    return space.weight(found).astype(np.float64), found.bias.astype(np.float64)


def _standardised(
    features: NDArray[np.float16] | NDArray[np.float32],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> NDArray[np.float32]:
    found = features.astype(np.float32)
    found -= mean.astype(np.float32)
    found /= deviation.astype(np.float32)
    return found


def _one_hot(targets: NDArray[np.int64] | NDArray[np.bool_], classes: int) -> NDArray[np.float32]:
    if targets.ndim == 2:
        return np.asarray(targets, np.float32)
    return np.asarray(np.eye(classes, dtype=np.float32)[targets])


def _shares(
    targets: NDArray[np.int64] | NDArray[np.bool_], classes: int, weights: ClassWeights
) -> NDArray[np.float32]:
    """Return what each row counts in the loss: together 1."""
    shares = np.ones(len(targets))
    if weights == "balanced" and targets.ndim == 1:
        shares = 1 / np.bincount(targets, minlength=classes)[targets]
    return np.asarray(shares / shares.sum(), np.float32)

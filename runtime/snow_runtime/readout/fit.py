"""Fitting a readout: which features, how strongly regularised, and what that reaches.

Everything is chosen by cross-validation on the pictures that are fitted on. Axes: M rows, several
to a picture where it was looked at in several views; F features; C classes; K chosen features.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from snow_runtime.errors import FitError
from snow_runtime.readout.checks import check_fittable
from snow_runtime.readout.cross_validation import (
    HeldOut,
    LabelledFeatures,
    cross_validate,
    rank_features,
)
from snow_runtime.readout.folds import split_into_folds
from snow_runtime.readout.threads import one_thread, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from snow_runtime.readout.logistic import Linear

ClassWeights = Literal["equal", "balanced"]
"""Every picture counts the same, or every class does."""
RankedBy = Literal["all", "weights", "another"]

_MANY_ROWS: Final = 2000
_STRONGER: Final = 4
_SUMMED_ROWS: Final = 32
_BLOCK_COLUMNS: Final = 2048
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
        class_weights: Whether every picture counts the same, or every class does. Where several
            labels may be right at once: whether a label's yes and no count the same.
        seed: Seed of the folds.
        right_share: Share of right answers, in (0, 1), that those given are to have; None gives
            every answer.
    """

    features: int | None = None
    sizes: tuple[int, ...] = (512, 2048)
    penalties: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    folds: int | None = None
    class_weights: ClassWeights = "equal"
    seed: int = 0
    right_share: float | None = None


class Ranker(Protocol):
    """Another way to rank features than by their weights."""

    def __call__(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
        *,
        rows: NDArray[np.int64],
        count: int,
        several: bool,
    ) -> NDArray[np.int64]:
        """Return all features, int64 `[F]`, the best first.

        Args:
            features: float32 `[M, F]`, standardised.
            targets: float32 `[M, C]`, one-hot, or any of 0 and 1 with `several`.
            rows: int64 `[N]`, which rows may be looked at.
            count: K, how many of them are going to be read.
            several: Whether several labels may be right at once.
        """


@dataclass(frozen=True)
class Trial:
    """What one number of features reaches on held-out pictures.

    Attributes:
        features: K.
        penalty: The best penalty for them.
        accuracy: 0 to 1, the mean over all held-out pictures.
        standard_error: Standard error of the accuracy.
        ranked_by: Ranking of the features: by the lengths of their `weights` (Head2Toe), by
            `another` ranker, or `all` are read.
    """

    features: int
    penalty: float
    accuracy: float
    standard_error: float
    ranked_by: RankedBy


@dataclass(frozen=True)
class FittedReadout:
    """A linear classifier on chosen features as they are, not standardised.

    Attributes:
        index: int64 `[K]`, ascending, which of the F features.
        weight: float32 `[C, K]`.
        bias: float32 `[C]`.
        chosen: Trial that this is, by cross-validation. Where several labels may be right at once,
            accuracies are of (picture, label) pairs.
        trials: Every trial, in order.
        right: float32 `[P]`, what share of each picture's labels was right when it was held out,
            by the picture's number.
        logits: float32 `[P, C]`, the logits of each picture when it was held out, likewise.
    """

    index: NDArray[np.int64]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    chosen: Trial
    trials: tuple[Trial, ...]
    right: NDArray[np.float32] = field(repr=False)
    logits: NDArray[np.float32] = field(repr=False)


def fit_readout(
    features: NDArray[np.float16] | NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    labels: Sequence[str],
    options: FitOptions = FitOptions(),
    pictures: NDArray[np.int64] | None = None,
    *,
    ranker: Ranker | None = None,
    groups: NDArray[np.int64] | None = None,
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
        ranker: Another ranking to try for the number of features and the penalty that were chosen;
            the better one is kept.
        groups: int64 `[M]`, which rows are held out together, views of one picture among them; None
            where those alone are.

    Returns:
        The readout, the same whenever the same is fitted.

    Raises:
        FitError: There are too few pictures, of a class or altogether, or a feature is not finite.
        MissingDependencyError: scipy is not installed.
    """
    pictures = np.arange(len(features)) if pictures is None else pictures
    check_fittable(features, targets, labels, pictures)
    together = pictures if groups is None else groups
    count = options.folds or (5 if len(features) < _MANY_ROWS else 3)
    folds = split_into_folds(targets, together, count, options.seed)
    if not folds.any():
        msg = (
            f"All {len(folds)} pictures belong together, expected two groups of them or more: one "
            "is held out while the other is fitted on. Add pictures of another moment."
        )
        raise FitError(msg)
    with one_thread():
        return _fit(features, targets, labels, options, pictures, folds=folds, ranker=ranker)


def _fit(
    features: NDArray[np.float16] | NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    labels: Sequence[str],
    options: FitOptions,
    pictures: NDArray[np.int64],
    *,
    folds: NDArray[np.int64],
    ranker: Ranker | None,
) -> FittedReadout:
    standardised, mean, deviation = _standardise(features)
    labelled = LabelledFeatures(
        standardised,
        _one_hot(targets, len(labels)),
        _shares(targets, len(labels), options.class_weights),
        targets.ndim == 2,
        np.unique(pictures, return_index=True)[1],
    )
    weights, whole = _try_all(labelled, folds, options)
    # Fewer features vary less together, and want no stronger a penalty than all of them.
    weaker = [each for each in options.penalties if each <= _STRONGER * whole.found.penalty]
    options = replace(options, penalties=tuple(weaker))
    tried = _try_sizes(labelled, folds, options, [rank_features(weight) for weight in weights])
    if options.features is None or not tried:
        tried.append(whole)
    chosen = _smallest_as_good(tried)
    if ranker is not None and chosen.ranked_by == "weights":
        one = replace(options, penalties=(chosen.found.penalty,))
        another = _try_ranker(labelled, folds, one, chosen.found.features, ranker)
        tried.append(another)
        if another.found.accuracy > chosen.found.accuracy:
            chosen = another
    index = np.arange(features.shape[1])
    if chosen.ranked_by == "weights":
        index = rank_features(np.mean(weights, axis=0))
    elif chosen.ranked_by == "another" and ranker is not None:
        count = chosen.found.features
        every = labelled.features, labelled.targets
        rows = np.arange(len(labelled.features))
        index = ranker(*every, rows=rows, count=count, several=labelled.several)
    index = np.sort(index[: chosen.found.features])
    weight, bias = _fitted(labelled.columns(index), chosen.found.penalty)
    unscaled = weight / deviation[index]
    return FittedReadout(
        index,
        unscaled.astype(np.float32),
        (bias - unscaled @ mean[index]).astype(np.float32),
        chosen.trial,
        tuple(each.trial for each in tried),
        chosen.found.right,
        chosen.found.logits,
    )


@dataclass(frozen=True)
class _Tried:
    found: HeldOut
    ranked_by: RankedBy

    @property
    def trial(self) -> Trial:
        found = self.found
        error = _standard_error(found.right)
        return Trial(found.features, found.penalty, found.accuracy, error, self.ranked_by)


def _try_all(
    labelled: LabelledFeatures, folds: NDArray[np.int64], options: FitOptions
) -> tuple[tuple[NDArray[np.float32], ...], _Tried]:
    """Cross-validate all features; return each fold's weights, and what they reach."""
    whole = cross_validate([labelled], folds, options.penalties, with_weights=True)
    return whole.weights, _Tried(replace(whole, weights=()), "all")


def _try_sizes(
    labelled: LabelledFeatures,
    folds: NDArray[np.int64],
    options: FitOptions,
    rankings: Sequence[NDArray[np.int64]],
) -> list[_Tried]:
    """Cross-validate each number of features; a fold's are ranked by the other folds alone."""
    width = labelled.features.shape[1]
    asked = options.sizes if options.features is None else (options.features,)
    return [
        _Tried(
            cross_validate(
                [labelled.columns(ranking[:size]) for ranking in rankings], folds, options.penalties
            ),
            "weights",
        )
        for size in asked
        if size < width
    ]


def _try_ranker(
    labelled: LabelledFeatures,
    folds: NDArray[np.int64],
    options: FitOptions,
    count: int,
    ranker: Ranker,
) -> _Tried:
    """Cross-validate another ranking of the features, made anew for each fold."""

    def rank(part: int) -> tuple[LabelledFeatures, Iterator[Linear]]:
        rows = folds != part
        ranking = ranker(
            *(labelled.features, labelled.targets),
            rows=np.flatnonzero(rows),
            count=count,
            several=labelled.several,
        )
        ranked = labelled.columns(ranking[:count])
        path = ranked.path(rows, options.penalties)
        return ranked, itertools.chain([next(path)], path)  # begun at once: no thread has to wait

    with side_by_side() as pool:
        parts, paths = zip(*pool.map(rank, range(int(folds.max()) + 1)), strict=True)
    return _Tried(cross_validate(parts, folds, options.penalties, paths=paths), "another")


def _smallest_as_good(tried: Sequence[_Tried]) -> _Tried:
    """Return the fewest features that are within a standard error of the best number.

    The error is that of the difference, picture by picture: they are the same pictures.
    """
    best = max(tried, key=lambda each: each.found.accuracy)
    for each in tried:
        behind = best.found.right - each.found.right
        if behind.mean() <= _standard_error(behind):
            return each
    return best


def _standard_error(values: NDArray[np.float32]) -> float:
    return float(values.std()) / math.sqrt(len(values))


def _fitted(
    labelled: LabelledFeatures, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit on all rows: weights `[C, F]` and bias `[C]` on the standardised features."""
    every = np.ones(len(labelled.features), np.bool_)
    (found,) = labelled.path(every, [penalty], precise=True)
    return labelled.space.weight(found).astype(np.float64), found.bias.astype(np.float64)


def _standardise(
    features: NDArray[np.float16] | NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the features standardised, `[M, F]`, their means and their deviations, `[F]`."""
    found = np.empty(features.shape, np.float32)
    mean, deviation = np.empty(features.shape[1]), np.empty(features.shape[1])

    def fill(start: int) -> None:
        some = slice(start, start + _BLOCK_COLUMNS)
        block = found[:, some]
        block[:] = features[:, some]
        mean[some] = _sum_rows(block) / len(block)
        block -= mean[some].astype(np.float32)
        deviation[some] = np.sqrt(_sum_rows(block, squared=True) / len(block)) + _FLOOR
        block /= deviation[some].astype(np.float32)

    with side_by_side() as pool:
        for _ in pool.map(fill, range(0, features.shape[1], _BLOCK_COLUMNS)):
            pass
    return found, mean, deviation


def _sum_rows(rows: NDArray[np.float32], *, squared: bool = False) -> NDArray[np.float64]:
    """Add rows up as exactly as in double precision, nearly, and in a quarter of its time."""
    whole = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _SUMMED_ROWS):
        some = rows[start : start + _SUMMED_ROWS]
        whole += np.square(some).sum(axis=0) if squared else some.sum(axis=0)
    return whole


def _one_hot(targets: NDArray[np.int64] | NDArray[np.bool_], classes: int) -> NDArray[np.float32]:
    if targets.ndim == 2:
        return np.asarray(targets, np.float32)
    return np.asarray(np.eye(classes, dtype=np.float32)[targets])


def _shares(
    targets: NDArray[np.int64] | NDArray[np.bool_], classes: int, weights: ClassWeights
) -> NDArray[np.float32]:
    """Return what each row counts in the loss, `[M]`, or each label of it, `[M, C]`: together 1."""
    shares = np.ones(len(targets))
    if weights == "balanced" and targets.ndim == 1:
        shares = 1 / np.bincount(targets, minlength=classes)[targets]
    elif weights == "balanced":
        shares = 1 / np.where(targets, targets.sum(axis=0), (~targets).sum(axis=0))
    return np.asarray(shares / shares.sum(axis=0), np.float32)

"""What regressions on a part of the pictures reach on the others.

Axes: M rows, several to a picture where it was looked at in several views; F features; C classes.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.readout.logistic import (
    Linear,
    PictureSpace,
    cross_entropy,
    regularisation_path,
)
from snow_runtime.readout.threads import side_by_side

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from numpy.typing import NDArray

_PATIENCE: Final = 2  # penalties, each weaker, that may be worse before no other is tried


@dataclass(frozen=True)
class LabelledFeatures:
    """Standardised features and what is right.

    Attributes:
        features: float32 `[M, F]`.
        targets: float32 `[M, C]`, one-hot, or any of 0 and 1 with `several`.
        shares: float32 `[M]` or `[M, C]`, what each row, or each label of it, counts in the loss.
        several: Whether several labels may be right at once.
        first: int64 `[P]`, the row of each picture as the device sees it: what is judged.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    shares: NDArray[np.float32]
    several: bool
    first: NDArray[np.int64]

    def columns(self, index: NDArray[np.int64]) -> LabelledFeatures:
        """Return the same pictures with some features alone."""
        if len(index) == self.features.shape[1]:
            return self
        return replace(self, features=self.features[:, index])

    @cached_property
    def space(self) -> PictureSpace:
        """The features in as few axes as they need."""
        return PictureSpace.of(self.features, self.first)

    def path(
        self,
        rows: NDArray[np.bool_],
        penalties: Sequence[float],
        *,
        precise: bool = False,
    ) -> Iterator[Linear]:
        """Fit on some rows with each penalty, from the strongest on."""
        shares = self.shares[rows] / self.shares[rows].sum(axis=0)
        targets = self.targets[rows]
        return regularisation_path(
            self.space.rows[rows],
            targets,
            shares,
            penalties,
            several=self.several,
            precise=precise,
        )

    def right(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what share of each picture's labels is right, 0 or 1 where one is: `[P]`."""
        targets = self.targets[self.first]
        if self.several:
            return np.asarray(((logits > 0) == (targets > 0)).mean(axis=1, dtype=np.float32))
        return np.asarray(targets[np.arange(len(logits)), logits.argmax(axis=1)])

    def loss(self, logits: NDArray[np.float32]) -> float:
        """Return the mean cross-entropy of logits `[P, C]`."""
        targets = self.targets[self.first]
        return float(cross_entropy(logits, targets, several=self.several).mean())


@dataclass(frozen=True)
class HeldOut:
    """What is reached on pictures that had no part in the fit.

    Attributes:
        features: How many features are read.
        penalty: The best penalty.
        right: float32 `[P]`; see `LabelledFeatures.right`.
        loss: The mean cross-entropy.
        logits: float32 `[P, C]`, of each picture by the fit that had no part of it.
        weights: float32 `[C, F]` of each fold's fit, where all features are read.
    """

    features: int
    penalty: float
    right: NDArray[np.float32] = field(repr=False)
    loss: float
    logits: NDArray[np.float32] = field(repr=False)
    weights: tuple[NDArray[np.float32], ...] = field(default=(), repr=False)

    @property
    def accuracy(self) -> float:
        """The share of answers that are right, 0 to 1."""
        return float(self.right.mean())


def cross_validate(
    labelled: Sequence[LabelledFeatures],
    folds: NDArray[np.int64],
    penalties: Sequence[float],
    *,
    with_weights: bool = False,
    paths: Sequence[Iterator[Linear]] = (),
) -> HeldOut:
    """Fit on all folds but one, for each of them and each penalty.

    Args:
        labelled: The features that each fold's fit reads; or the same for all, once.
        folds: int64 `[M]`, each row's fold.
        penalties: Strengths, from the strongest to the weakest. Where the loss has risen for two,
            those that are weaker still are left out.
        with_weights: Whether to return each fold's weights.
        paths: Each fold's fits with these penalties, where somebody has begun them.

    Returns:
        What the penalty with the most right answers reaches; of equal ones the one with the least
        loss.
    """
    parts = range(int(folds.max()) + 1)
    each = [labelled[0]] * len(parts) if len(labelled) == 1 else labelled
    paths = paths or [each[part].path(folds != part, penalties) for part in parts]
    one = labelled[0]
    held = [np.flatnonzero(folds[one.first] == part) for part in parts]
    if len(labelled) == 1:
        _ = one.space  # once, not by each of the threads
    best: HeldOut | None = None
    models: tuple[Linear, ...] = ()
    least, risen = np.inf, 0
    with side_by_side() as pool, closing(_fit_ahead(pool, paths, len(penalties))) as fits:
        for penalty, fitted in zip(penalties, fits, strict=True):
            logits = np.empty((len(one.first), one.targets.shape[1]), np.float32)
            for part in parts:
                rows = each[part].space.rows[one.first[held[part]]]
                logits[held[part]] = fitted[part].logits(rows)
            loss = one.loss(logits)
            found = HeldOut(one.features.shape[1], penalty, one.right(logits), loss, logits)
            if best is None or (found.accuracy, -loss) > (best.accuracy, -best.loss):
                best, models = found, fitted
            risen = 0 if loss < least else risen + 1
            least = min(loss, least)
            if risen == _PATIENCE:
                break
        if best is None:
            msg = "there is no penalty to try"
            raise ValueError(msg)
        if not with_weights:
            return best
        weights = pool.map(lambda part: each[part].space.weight(models[part]), parts)
        return replace(best, weights=tuple(weights))


def _fit_ahead(
    pool: ThreadPoolExecutor, paths: Sequence[Iterator[Linear]], count: int
) -> Generator[tuple[Linear, ...]]:
    """Yield each penalty's fits; the next penalty's go on meanwhile.

    Three folds on two threads leave one idle for a third of the time where each penalty waits for
    the one before.
    """

    def advance(path: Iterator[Linear], before: Future[Linear] | None) -> Linear:
        if before is not None:
            before.result()  # it was begun earlier: threads may overtake one another
        return next(path)

    def begin(before: Sequence[Future[Linear] | None]) -> list[Future[Linear]]:
        return [pool.submit(advance, *each) for each in zip(paths, before, strict=True)]

    following = begin([None] * len(paths))
    try:
        for number in range(count):
            current = following
            following = begin(current) if number + 1 < count else []
            yield tuple(each.result() for each in current)
    finally:
        for each in following:
            each.cancel()


def rank_features(weight: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Order features by the length of their weights over the classes (Head2Toe): int64 `[F]`."""
    return np.argsort(-np.square(weight).sum(axis=0), kind="stable")

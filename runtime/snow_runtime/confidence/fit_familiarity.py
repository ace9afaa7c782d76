"""Fitting what a task's training pictures look like.

Axes: M pictures; F features of the graph; K features that are looked at; R axes; C labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.confidence.familiarity import (
    FamiliarSpace,
    energies,
    in_steps,
    last_of_each_width,
    normed_features,
    pack_space,
    space_of,
    standardised,
)
from snow_runtime.graph.familiarity_entry import FamiliarityEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from snow_runtime.graph.features_entry import TapEntry

KEPT: Final = 0.96
"""Share of the rightly answered held-out pictures that stays within the bound."""
MOST_PICTURES: Final = 2000
"""More of them hardly move a space of so few axes."""
FEWEST_PICTURES: Final = 48
_FEWEST_RIGHT: Final = 24
_AXES: Final = 64
_TO_AN_AXIS: Final = 8  # pictures, and features
_FOLDS: Final = 4
_FLOOR: Final = 0.3  # of the mean deviation, added to each: what hardly varies stays quiet
_SPARE_AXES: Final = 16
_ALIKE: Final = 0.1  # of the held-out pictures' deviation
_ITERATIONS: Final = 4


@dataclass(frozen=True)
class KnownPictures:
    """Pictures whose features are known.

    Attributes:
        features: `[M, F]`.
        logits: `[M, C]`, of a network that was not trained on them; None of those that a space is
            only laid through.
        right: bool `[M]`, whether it answers them rightly.
    """

    features: NDArray[np.floating[Any]]
    logits: NDArray[np.floating[Any]] | None = None
    right: NDArray[np.bool_] | None = None

    def some(self, most: int) -> KnownPictures:
        """Take at most so many, spread evenly over all."""
        if len(self.features) <= most:
            return self
        rows = np.linspace(0, len(self.features) - 1, most).astype(np.int64)
        return KnownPictures(
            self.features[rows],
            None if self.logits is None else self.logits[rows],
            None if self.right is None else self.right[rows],
        )


def fit_familiarity(
    trained: KnownPictures,
    taps: Sequence[TapEntry],
    held_out: KnownPictures | None = None,
    *,
    several: bool = False,
) -> FamiliarityEntry | None:
    """Lay the space through the training pictures, and find the bound on others.

    Args:
        trained: Pictures that the space is laid through.
        taps: Whose features they are, in order.
        held_out: Pictures that the bound is found on; None holds parts of `trained` out in turn,
            which then needs logits of cross-validation.
        several: Whether several labels may be right at once; energies are then left out.

    Returns:
        None of fewer pictures than `FEWEST_PICTURES`. Where too few are answered rightly, the bound
        keeps its share of all.
    """
    trained = trained.some(MOST_PICTURES)
    judged = trained if held_out is None else held_out.some(MOST_PICTURES)
    if min(len(trained.features), len(judged.features)) < FEWEST_PICTURES:
        return None
    chosen = last_of_each_width(taps)
    rows = normed_features(trained.features, taps, chosen)
    whole = _fitted(rows)
    if held_out is None:
        distances = _cross_fitted(rows)
    else:
        others = normed_features(judged.features, taps, chosen)
        distances = _space(whole).distances(others)
    logits, right = judged.logits, judged.right
    if logits is None or right is None:
        msg = "pictures to find a bound on need logits"
        raise ValueError(msg)
    if int(right.sum()) < _FEWEST_RIGHT:
        right = np.ones_like(right)
    count = int(right.sum())
    rank = math.ceil((count + 1) * KEPT)
    parts = [distances.astype(np.float64), *([] if several else [energies(logits)])]
    moments = [_moments(values) for values in parts]
    score = np.sum([standardised(v, m) for v, m in zip(parts, moments, strict=True)], axis=0)
    return FamiliarityEntry(
        taps=chosen,
        features=rows.shape[1],
        axes=whole[2].shape[1],
        pictures=len(rows),
        held_out=len(judged.features),
        kept=KEPT,
        distance=moments[0],
        energy=() if several else moments[1],
        bound=float(np.sort(score[right])[rank - 1]),
        space=pack_space(*whole),
    )


def rescaled(
    entry: FamiliarityEntry,
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    now: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> FamiliarityEntry:
    """Move an entry's means and deviations as much as another precision moves the values.

    Args:
        entry: The entry, of the graph before.
        before: Distances and energies of some pictures, float64 `[M]` each, by that graph.
        now: Those of the same pictures by the other one.
    """
    from dataclasses import replace

    moved = []
    for moments, old, new in zip((entry.distance, entry.energy), before, now, strict=True):
        if not moments:
            moved.append(moments)
            continue
        (old_mean, old_width), (new_mean, new_width) = _moments(old), _moments(new)
        # Pictures that are nearly alike tell where values moved to, and not how they spread.
        ratio = new_width / old_width if old_width >= _ALIKE * moments[1] else 1.0
        moved.append((new_mean + (moments[0] - old_mean) * ratio, moments[1] * ratio))
    return replace(entry, distance=moved[0], energy=moved[1])


def distances_of(
    entry: FamiliarityEntry, features: NDArray[np.floating[Any]], taps: Sequence[TapEntry]
) -> NDArray[np.float64]:
    """Give pictures' squared distances from an entry's space, float64 `[M]`."""
    normed = normed_features(features, taps, entry.taps)
    return space_of(entry).distances(normed).astype(np.float64)


def _cross_fitted(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each row's distance from a space that it had no part in, float32 `[M]`."""
    fold = np.arange(len(rows)) % _FOLDS
    found = np.empty(len(rows), np.float32)
    for part in range(_FOLDS):
        space = _space(_fitted(rows[fold != part]))
        found[fold == part] = space.distances(rows[fold == part])
    return found


def _fitted(
    rows: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the centre and scales `[K]`, and the axes `[K, R]` that rows vary most in."""
    centre, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = deviation + _FLOOR * max(float(deviation.mean()), 1e-9)
    found = (rows - centre) / scale
    count = max(1, min(_AXES, *(size // _TO_AN_AXIS for size in rows.shape)))
    return centre, scale, in_steps(_principal_axes(found, count))


def _principal_axes(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return principal axes `[K, R]` by subspace iteration (Halko, Martinsson & Tropp, 2011)."""
    width = min(count + _SPARE_AXES, *rows.shape)
    draws = np.random.PCG64(np.random.SeedSequence([0])).random_raw(rows.shape[1] * width)
    signs = (np.asarray(draws) >> np.uint64(63)).astype(np.float32) * 2 - 1
    basis = signs.reshape(rows.shape[1], width)
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(rows.T @ (rows @ basis))[0]
    _, _, turned = np.linalg.svd(rows @ basis, full_matrices=False)
    return np.asarray((basis @ turned.T)[:, :count], np.float32)


def _space(
    fitted: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
) -> FamiliarSpace:
    centre, scale, axes = fitted
    return FamiliarSpace(centre, np.asarray(1 / scale, np.float32), axes)


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, the second one above 0."""
    return float(values.mean()), max(float(values.std()), 1e-9)

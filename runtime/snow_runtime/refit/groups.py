"""Which pictures tell much the same, and so are held out together and counted once.

Frames that one camera gave within seconds are one moment, and copies are one picture. Were one of
them fitted on while another one is held out, the answer would be known beforehand.

Axes: M pictures; F features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PROJECTED: Final = 128  # distances keep to some 10 % then (Johnson & Lindenstrauss, 1984)
_PAIRS: Final = 2000  # whose distances the median is taken of
_LARGEST_SHARE: Final = 0.5  # of a class's pictures that one group may hold


@dataclass(frozen=True)
class GroupOptions:
    """When pictures belong together.

    Attributes:
        moment_s: Frames of one camera are of one moment as long as no more than this lies between
            one and the next, in seconds;
        longest_moment_s: and no moment takes longer.
        near_distance: Features are those of a copy within this share of the median distance of two
            pictures.
        near_s: Longest time, in seconds, between two frames of a camera that count as copies: a
            scene that stands still for hours is no copy, for that is what is asked about later.
    """

    moment_s: float = 10.0
    longest_moment_s: float = 120.0
    near_distance: float = 0.1
    near_s: float = 900.0


@dataclass(frozen=True, eq=False)
class Taken:
    """Where and when pictures were taken.

    Attributes:
        cameras: int64 `[M]`, which camera each is of.
        times: float64 `[M]`, when, in seconds.
        timed: bool `[M]`, whether the time means something; it does not for imported files.
    """

    cameras: NDArray[np.int64]
    times: NDArray[np.float64]
    timed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which pictures belong together.

    Attributes:
        moments: int64 `[M]`, by moments and copies: what counts once.
        held_out: int64 `[M]`, what is held out together: the same, but for classes that would have
            too few groups to be held out at all.
        copies: Numbers of pictures that are copies or nearly, the first one and the others of each.
        split: Classes whose moments were taken apart; nothing is known of them at other moments.
    """

    moments: NDArray[np.int64]
    held_out: NDArray[np.int64]
    copies: tuple[tuple[int, ...], ...] = ()
    split: tuple[int, ...] = field(default=())


def group_pictures(
    features: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    taken: Taken,
    options: GroupOptions = GroupOptions(),
) -> Groups:
    """Find out which pictures belong together.

    Args:
        features: `[M, F]`.
        classes: int64 `[M]`, which class each is of.
        taken: Where and when they were taken.
        options: When they belong together.
    """
    moments = moments_in(taken, options)
    leaders = leaders_of(features, taken, options)
    both = _joined(moments, leaders)
    held_out, split = both.copy(), []
    singles = np.arange(len(both))
    for number in np.unique(classes):
        rows = classes == number
        for level, finer in enumerate((both, moments, singles)):
            if _can_be_held_out(finer[rows]) or finer is singles:
                held_out[rows] = finer[rows] + level * len(both)
                if level:
                    split.append(int(number))
                break
    copies = [np.flatnonzero(leaders == one) for one in np.unique(leaders)]
    return Groups(
        _numbered(both),
        _numbered(held_out),
        tuple(tuple(rows.tolist()) for rows in copies if len(rows) > 1),
        tuple(split),
    )


def moments_in(taken: Taken, options: GroupOptions) -> NDArray[np.int64]:
    """Number the moments, int64 `[M]`: each is called by its first picture's number."""
    found = np.arange(len(taken.times))
    order = np.lexsort((found, taken.times, taken.cameras))
    first = before = -1
    for row in order.tolist():
        if not taken.timed[row]:
            continue
        same = before >= 0 and taken.cameras[row] == taken.cameras[before]
        if (
            same
            and taken.times[row] - taken.times[before] <= options.moment_s
            and taken.times[row] - taken.times[first] <= options.longest_moment_s
        ):
            found[row] = first
        else:
            first = row
        before = row
    return found


def leaders_of(
    features: NDArray[np.floating[Any]], taken: Taken, options: GroupOptions
) -> NDArray[np.int64]:
    """Call each picture by the first one that it is a copy of, or nearly, int64 `[M]`.

    A copy is near that first one, so that no chain of small steps leads from one picture to quite
    another.
    """
    rows = _projected(features)
    found = np.arange(len(rows))
    limit = options.near_distance * _median_distance(rows)
    leaders: list[int] = []
    heads = np.empty_like(rows)
    for row in np.lexsort((found, taken.times)).tolist():
        known = np.array(leaders, np.int64)
        if len(known):
            distances = np.linalg.norm(heads[: len(known)] - rows[row], axis=1)
            near = (distances <= limit) & _may_be_copies(taken, known, row, options)
            if near.any():
                found[row] = known[near][distances[near].argmin()]
                continue
        heads[len(leaders)] = rows[row]
        leaders.append(row)
    return found


def _may_be_copies(
    taken: Taken, others: NDArray[np.int64], row: int, options: GroupOptions
) -> NDArray[np.bool_]:
    if not taken.timed[row]:
        return np.ones(len(others), np.bool_)
    apart = np.abs(taken.times[others] - taken.times[row])
    same = (taken.cameras[others] == taken.cameras[row]) & (apart <= options.near_s)
    return np.asarray(same | ~taken.timed[others])


def _can_be_held_out(groups: NDArray[np.int64]) -> bool:
    """Tell whether most of a class is left to be fitted on while any one group is held out."""
    counts = np.unique(groups, return_counts=True)[1]
    return len(counts) > 1 and counts.max() <= max(1, _LARGEST_SHARE * len(groups))


def _projected(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Give features in few random directions, float32 `[M, 128]`; equal ones stay equal."""
    rows = np.asarray(features, np.float32)
    if rows.shape[1] <= _PROJECTED:
        return rows
    draws = np.random.PCG64(np.random.SeedSequence([0])).random_raw(rows.shape[1] * _PROJECTED)
    signs = (np.asarray(draws) >> np.uint64(63)).astype(np.float32) * 2 - 1
    basis = signs.reshape(rows.shape[1], _PROJECTED)
    parts = [rows[start : start + 256] @ basis for start in range(0, len(rows), 256)]
    return np.concatenate(parts) if parts else np.empty((0, _PROJECTED), np.float32)


def _median_distance(rows: NDArray[np.float32]) -> float:
    if len(rows) < 2:
        return 0.0
    rng = np.random.default_rng(0)
    left, right = rng.integers(len(rows), size=(2, _PAIRS))
    apart = left != right
    return float(np.median(np.linalg.norm(rows[left[apart]] - rows[right[apart]], axis=1)))


def _joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put together what either of two groupings does; both name groups by one of their pictures."""
    root = list(range(len(first)))

    def top(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for grouping in (first, second):
        for row, other in enumerate(grouping.tolist()):
            one, two = top(row), top(other)
            root[max(one, two)] = min(one, two)
    return np.array([top(row) for row in range(len(root))], np.int64)


def _numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(groups, return_inverse=True)[1].reshape(-1)


def classes_of(targets: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number what pictures are labelled with, int64 `[M]`; each set of labels is a class."""
    if targets.ndim == 1:
        return np.asarray(targets, np.int64)
    return np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)


def names_of(split: Sequence[int], labels: Sequence[str], *, several: bool) -> tuple[str, ...]:
    """Name classes whose moments were taken apart; sets of labels have no name."""
    return () if several else tuple(labels[each] for each in split)

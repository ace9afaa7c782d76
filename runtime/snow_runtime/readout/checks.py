"""What pictures must be for a readout to be fitted on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from snow_runtime.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_A_CLASS: Final = 2
"""Pictures: one is held out while the other is fitted on."""


def check_fittable(
    features: NDArray[np.float16] | NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.bool_],
    labels: Sequence[str],
    pictures: NDArray[np.int64],
) -> None:
    """Refuse what no readout can be fitted on.

    Args:
        features: `[M, F]`.
        targets: int64 `[M]`, or bool `[M, C]`.
        labels: The C names.
        pictures: int64 `[M]`, which picture each row is a view of.

    Raises:
        FitError: The shapes do not belong together, a class has too few pictures, there are more
            classes than pictures, or a feature is NaN or infinite.
    """
    rows = len(features)
    if features.ndim != 2 or len(targets) != rows or len(pictures) != rows or rows == 0:
        shapes = f"{list(features.shape)}, {list(targets.shape)} and {list(pictures.shape)}"
        msg = (
            f"Features, targets and pictures have the shapes {shapes}, expected [M, F], one target "
            "and one picture for each of the M rows, M being 1 or more."
        )
        raise FitError(msg)
    if len(labels) < 2 and targets.ndim == 1:
        msg = f"There is one class, {', '.join(labels)}, expected two or more. Add another."
        raise FitError(msg)
    _check_classes(targets, labels, pictures)
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(axis=1)).argmax())
        msg = (
            f"The features of picture {int(pictures[bad])} are NaN or infinite, expected finite "
            "ones. Export the graph again in fp32; see whether the source's weights are sound."
        )
        raise FitError(msg)


def _check_classes(
    targets: NDArray[np.int64] | NDArray[np.bool_],
    labels: Sequence[str],
    pictures: NDArray[np.int64],
) -> None:
    first = np.unique(pictures, return_index=True)[1]
    several = targets.ndim == 2
    if several:
        counts = [(int(column.sum()), int((~column).sum())) for column in targets[first].T]
        lacking = [
            f"{label} ({with_it} with it, {without} without)"
            for label, (with_it, without) in zip(labels, counts, strict=True)
            if min(with_it, without) < FEWEST_A_CLASS
        ]
        wanted = f"{FEWEST_A_CLASS} or more with each label, and as many without it"
    else:
        counted = np.bincount(targets[first], minlength=len(labels))
        if len(labels) > len(first):
            msg = (
                f"There are {len(labels)} classes and {len(first)} pictures, expected "
                f"{FEWEST_A_CLASS} or more pictures of each class. Add pictures."
            )
            raise FitError(msg)
        lacking = [
            f"{label} ({count})"
            for label, count in zip(labels, counted, strict=True)
            if count < FEWEST_A_CLASS
        ]
        wanted = f"{FEWEST_A_CLASS} or more of each class"
    if lacking:
        msg = (
            f"Too few pictures: {', '.join(lacking)}, expected {wanted}. Add pictures, or leave "
            "it out."
        )
        raise FitError(msg)

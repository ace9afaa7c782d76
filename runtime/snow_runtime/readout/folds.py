"""Parts of labelled pictures that are held out in turn, with every class in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def split_into_folds(
    targets: NDArray[np.int64] | NDArray[np.bool_],
    pictures: NDArray[np.int64],
    folds: int,
    seed: int,
) -> NDArray[np.int64]:
    """Deal the pictures of each class out to the folds, in an order drawn by a seed.

    Args:
        targets: int64 `[M]`, the class of each row; or bool `[M, C]`, of which each set of labels
            counts as a class.
        pictures: int64 `[M]`, which picture each row is a view of; all views of one stay together.
        folds: How many there are to be.
        seed: The order's.

    Returns:
        int64 `[M]`, each row's fold.
    """
    if targets.ndim == 2:
        targets = np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    numbers, first, place = np.unique(pictures, return_index=True, return_inverse=True)
    # The raw stream, as NumPy does not promise that a permutation stays the same.
    draws = np.asarray(np.random.PCG64(np.random.SeedSequence([seed])).random_raw(len(numbers)))
    order = np.lexsort((draws, targets[first]))
    fold = np.empty(len(numbers), np.int64)
    fold[order] = np.arange(len(numbers)) % folds
    return fold[place.reshape(-1)]

"""Which pictures are worth a label next: those in doubt, and unlike each other.

Doubt alone asks about the same hard scene again and again. So each picture counts its doubt times
its distance from the nearest one that has a label or was chosen before, a greedy mix of uncertainty
and of the k-centre choice of Sener and Savarese (ICLR 2018).

Axes: M pictures without a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def most_useful_first(
    doubt: NDArray[np.float32],
    between: NDArray[np.float32],
    nearest_labelled: NDArray[np.float32],
    chosen: int,
) -> list[int]:
    """Order pictures by what their label would tell.

    Args:
        doubt: How undecided each is, float32 `[M]` in [0, 1].
        between: Distances `[M, M]` of them.
        nearest_labelled: Distance of the nearest labelled picture, float32 `[M]`; infinite where
            none is labelled.
        chosen: How many are chosen one by one; the rest follows by doubt.

    Returns:
        All places in [0, M); of equals the first comes first.
    """
    far = float(between.max(initial=1.0))
    distance = np.minimum(nearest_labelled, far).astype(np.float32)
    left = np.ones(len(doubt), bool)
    order = []
    for _ in range(min(chosen, len(doubt))):
        worth = np.where(left, doubt * distance, -1)
        best = int(np.argmax(worth))
        order.append(best)
        left[best] = False
        np.minimum(distance, between[best], out=distance)
    rest = np.flatnonzero(left)
    return [*order, *(int(each) for each in rest[np.argsort(-doubt[rest], kind="stable")])]

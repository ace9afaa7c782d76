"""What the nearest labelled pictures say about others, and how sure that is.

Each of the k nearest votes with a weight that falls off with its distance, as in Wu, Xiong, Yu and
Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination" (CVPR 2018). What
they are worth together falls off more slowly, and beside them stands one vote that is spread evenly
over the labels. So a picture far from all that are labelled is answered with a shrug, and one
neighbour alone with less than certainty.

Axes: M pictures without a label; N labelled ones; C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAREST: Final = 7
VOTE_REACH: Final = 0.1
"""Share of the typical distance further away at which a vote has fallen to 1/e of the nearest's."""
WORTH_REACH: Final = 0.5
"""Share of the typical distance at which a neighbour is worth 1/e of one vote."""


def neighbours_say(
    to_labelled: NDArray[np.float32], label_of: NDArray[np.int64], labels: int, typical: float
) -> NDArray[np.float32]:
    """Let the nearest labelled pictures vote.

    Args:
        to_labelled: Distances `[M, N]`.
        label_of: Place of the label of each labelled picture, int64 `[N]`, in [0, C).
        labels: How many labels there are: C.
        typical: Typical distance of two pictures.

    Returns:
        Share of each label, float32 `[M, C]`; each row sums to one.
    """
    unlabelled, labelled = to_labelled.shape
    votes = np.zeros((unlabelled, labels), np.float32)
    worth = np.zeros((unlabelled, 1), np.float32)
    if labelled:
        k = min(NEAREST, labelled)
        nearest = np.argpartition(to_labelled, k - 1, axis=1)[:, :k]  # [M, k]
        far = np.take_along_axis(to_labelled, nearest, 1) / typical
        weights = np.exp((far.min(1, keepdims=True) - far) / VOTE_REACH)
        np.add.at(votes, (np.arange(unlabelled)[:, None], label_of[nearest]), weights)
        votes /= weights.sum(1, keepdims=True)
        worth = np.exp(-far / WORTH_REACH).sum(1, keepdims=True)
    return np.asarray((worth * votes + 1 / labels) / (worth + 1), np.float32)


def mean_opinion(
    neighbours: NDArray[np.float32], model: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Take the mean of what the neighbours and the model say (a linear opinion pool, Stone 1961).

    Where both are sure of different labels, the mean is of neither: it is a picture to look at.

    Args:
        neighbours: Shares `[M, C]`.
        model: Probabilities `[M, C]`, a row of NaN where the model says nothing; None where it
            never does.
    """
    if model is None:
        return neighbours
    says = ~np.isnan(model).any(1, keepdims=True)
    return np.where(says, (neighbours + np.nan_to_num(model)) / 2, neighbours)


def doubt(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how near the second label is to the first, float32 `[M]` in [0, 1]; 1 is undecided."""
    if shares.shape[1] < 2:
        return np.ones(len(shares), np.float32)
    best = np.sort(shares, axis=1)
    return np.asarray(1 - (best[:, -1] - best[:, -2]), np.float32)

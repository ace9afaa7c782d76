"""Pictures that are nearly the same, in groups, so that one look labels all of a group.

The picture with the most others close by comes first and takes them; so it goes on with what is
left (Daura et al., "Peptide Folding: When Simulation Meets Experiment", 1999, group structures so).
No member is further from that picture than the radius: a scene that changes slowly does not chain
into one long group, as it does where each member only needs to be near another one.

Axes: M pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR: Final = 0.2
"""Share of the typical distance up to which two pictures are nearly the same."""


def groups_alike(between: NDArray[np.float32], radius: float) -> list[list[int]]:
    """Group pictures that are nearly the same.

    Args:
        between: Distances `[M, M]`.
        radius: Largest distance from the picture in the middle of a group.

    Returns:
        Groups of places in [0, M), the largest first; each begins with the picture in its middle,
        and the others follow by their distance from it. Every picture is in one group.
    """
    close = between <= radius
    np.fill_diagonal(close, val=True)
    left = np.ones(len(between), bool)
    counts = close.sum(1)
    found = []
    while left.any():
        middle = int(np.argmax(np.where(left, counts, -1)))
        members = np.flatnonzero(close[middle] & left)
        members = members[np.argsort(between[middle, members], kind="stable")]
        found.append([middle, *(int(each) for each in members if each != middle)])
        left[members] = False
        counts -= close[:, members].sum(1)
    return found

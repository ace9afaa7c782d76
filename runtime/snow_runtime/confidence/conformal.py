"""Sets of labels that hold the right one at a stated level.

Split conformal prediction with the score of least ambiguous sets (Sadinle, Lei & Wasserman, JASA
2019; "LAC"): a label is in the set from one probability on. Axes: M pictures; C labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

LEVELS: Final = (0.8, 0.9, 0.95, 0.99)


def set_bounds(
    probabilities: NDArray[np.floating[Any]],
    targets: NDArray[np.int64],
    levels: Iterable[float] = LEVELS,
) -> dict[str, float]:
    """Find from which probability on a label is in the set of each level.

    Args:
        probabilities: `[M, C]`, of pictures that were not trained on.
        targets: int64 `[M]`, the right label of each.
        levels: In how many cases, 0 to 1, the right label is to be in the set.

    Returns:
        The least probability by level. Levels for which there are too few pictures are left out:
        M of them serve up to M / (M + 1).
    """
    count = len(targets)
    ordered = np.sort(np.asarray(probabilities, np.float64)[np.arange(count), targets])[::-1]
    found = {}
    for level in levels:
        rank = math.ceil((count + 1) * level - 1e-9)
        if 1 <= rank <= count:
            found[f"{level:g}"] = float(ordered[rank - 1])
    return found


def bound_at(bounds: Mapping[str, float], level: float) -> float:
    """Return the bound of a level, or of the next higher one that is known; without one, 0."""
    known = sorted((float(text), bound) for text, bound in bounds.items())
    return next((bound for each, bound in known if each >= level - 1e-9), 0.0)

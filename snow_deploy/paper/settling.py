"""How selections change over training: what was tried, and when they come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

History = dict[str, "NDArray[np.int64]"]
"""What `selections.npz` holds: `epoch` [R], and for each subscription [R, K] channels."""


def poolings(history: History) -> dict[str, NDArray[np.int64]]:
    """Return the chosen channels [R, K] by subscription, in the source's order."""
    return {name: chosen for name, chosen in history.items() if name != "epoch"}


def share_final(history: History) -> NDArray[np.float64]:
    """Return, at each moment [R], the share of chosen channels that are chosen at the end too."""
    kept = [
        np.isin(chosen, chosen[-1]).sum(axis=1).astype(float)
        for chosen in poolings(history).values()
    ]
    total = sum(chosen.shape[1] for chosen in poolings(history).values())
    final: NDArray[np.float64] = np.sum(kept, axis=0) / total
    return final


def share_tried(history: History, channels: Mapping[str, int]) -> float:
    """Return the share of all source channels that evaluation read at some recorded moment.

    Args:
        history: History of one run.
        channels: N by subscription.
    """
    tried = {name: len(np.unique(chosen)) for name, chosen in poolings(history).items()}
    return sum(tried.values()) / sum(channels[name] for name in tried)


def settled_at(history: History, share: float = 0.95) -> float:
    """Return the epoch from which on at least this share of the final channels is chosen."""
    below = np.flatnonzero(share_final(history) < share)
    place = 0 if len(below) == 0 else int(below[-1]) + 1
    return float(history["epoch"][place])

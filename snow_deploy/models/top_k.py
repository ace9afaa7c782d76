"""Which K of N channels come out of a pooling, and at which place each (ADR 9)."""

from __future__ import annotations

import torch
from torch import Tensor


def top_channels(scores: Tensor, k: int) -> Tensor:
    """Return the indices of the `k` largest scores, ascending.

    Of equal scores the lower index wins, on every device and in every library: the sort is
    stable. `torch.topk` makes no such promise.

    Args:
        scores: [..., N], any float dtype.
        k: How many to choose, 1 <= k <= N.

    Returns:
        [..., k] int64, strictly ascending.
    """
    return torch.sort(top_channels_descending(scores, k)).values


def top_channels_descending(scores: Tensor, k: int) -> Tensor:
    """Return the indices of the `k` largest scores, [..., k], the largest first.

    So `torch.topk` gives them to the paper's Algorithm 1. Of equal scores the lower index comes
    first.
    """
    return _descending(scores)[..., :k]


@torch.no_grad()
def arranged_top_channels(scores: Tensor, weights: Tensor, places: Tensor, k: int) -> Tensor:
    """Return the top K, each at its place; of several at one place the heaviest keeps it.

    The others take the free places. Nothing here waits for a value of the GPU's. Where the scores
    are the weights, one sort is enough.

    Args:
        scores: [G, N], for G poolings at once: what they choose by.
        weights: [G, N], without noise; the same tensor as the scores where there is none.
        places: [G, N] int64, where of K each channel belongs.
        k: How many to choose, 1 <= k <= N.

    Returns:
        [G, k] int64, the channel that comes out at each place.
    """
    chosen = _descending(scores)[:, :k]
    if scores is not weights:
        chosen = torch.sort(chosen).values
        chosen = chosen.gather(1, _descending(weights.gather(1, chosen)))
    wanted = places.gather(1, chosen)
    ranks = torch.arange(k, device=chosen.device).expand_as(chosen)
    holders = torch.full_like(chosen, k).scatter_reduce(1, wanted, ranks, "amin")
    free, waiting = holders == k, holders.gather(1, wanted) != ranks
    queue = chosen.new_empty(len(chosen), k + 1)  # the last of each row is nobody's
    queue.scatter_(1, torch.where(waiting, waiting.cumsum(1) - 1, k), ranks)
    next_of_queue = queue.gather(1, (free.cumsum(1) - 1).clamp_(min=0))
    return chosen.gather(1, torch.where(free, next_of_queue, holders))


def _descending(scores: Tensor) -> Tensor:
    return torch.sort(scores, descending=True, stable=True).indices

"""Channel pooling: the learned choice of K among N source channels (SNOW, Algorithm 1)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from snow_deploy.errors import TrainingError

PoolingNorm = Literal["before", "after", "none"]
"""Where a BatchNorm stands: on the chosen maps before they are weighted, after it, or nowhere."""


def top_channels(scores: Tensor, k: int) -> Tensor:
    """Return the indices of the `k` largest scores, ascending.

    Of equal scores the lower index wins, on every device and in every library: the sort is
    stable. `torch.topk` makes no such promise.

    Args:
        scores: [N], any float dtype.
        k: How many to choose, 1 <= k <= N.

    Returns:
        [k] int64, strictly ascending.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    return torch.sort(order[:k]).values


class ChannelPooling(nn.Module):
    """One subscription: N source channels in, K out.

    Training draws fresh noise for every call, takes the top K of ``w + n``, n ~ N(0, sigma2),
    and multiplies the chosen maps by those noisy weights, so that only chosen weights get a
    gradient. Evaluation takes the top K of ``w`` and has no randomness. A BatchNorm may be
    added, and a ReLU may follow (SNOW, section 3.2).

    A BatchNorm right behind the weights takes every scale out again, theirs too: they get no
    gradient and the choice stays what it began as. Before the weights it leaves them in force.

    A chosen channel comes out at the place at which it came out last, where that is free; what
    reads this layer can so learn what comes at which place (ADR 9).

    Shapes: [B, N, H, W] -> [B, K, H, W].

    Attributes:
        exploration: Factor on the noise's deviation, for training loops that let it fade.
        places: [N] int64, where of K each channel came out last in training.
    """

    places: Tensor

    def __init__(
        self,
        channels: int,
        k: int,
        *,
        sigma2: float = 1e-3,
        norm: PoolingNorm = "none",
        relu: bool = False,
    ) -> None:
        """Start every channel with the same weight, one.

        Args:
            channels: N, the source tensor's channels.
            k: K, the channels to keep.
            sigma2: Variance (not deviation) of the exploration noise.
            norm: Where a BatchNorm of K channels stands.
            relu: Follow with ReLU.

        Raises:
            TrainingError: `k` is not between 1 and `channels`, `sigma2` is negative, or there
                is no such place for a norm.
        """
        super().__init__()
        if not 1 <= k <= channels:
            msg = f"channel pooling cannot keep {k} of {channels} channels; choose 1 to {channels}"
            raise TrainingError(msg)
        if not sigma2 >= 0:
            msg = f"sigma2 is a variance and cannot be {sigma2}; give 0 or more (paper: 0.001)"
            raise TrainingError(msg)
        if norm not in get_args(PoolingNorm):
            places = ", ".join(get_args(PoolingNorm))
            msg = f"a pooling's norm stands in one of {places}, not {norm!r}; choose one of them"
            raise TrainingError(msg)
        self.channels = channels
        self.k = k
        self.sigma2 = sigma2
        self.exploration = 1.0
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_buffer("places", torch.arange(channels) % k)
        self.norm = None if norm == "none" else nn.BatchNorm2d(k)
        self.norm_first = norm == "before"
        self.relu = nn.ReLU() if relu else None

    @torch.no_grad()
    def selection(self) -> tuple[int, ...]:
        """Return the K channels that evaluation reads, ascending."""
        return tuple(top_channels(self.weight, self.k).tolist())

    @torch.no_grad()
    def order(self) -> tuple[int, ...]:
        """Return the K channels that evaluation reads, in the order in which they come out."""
        return tuple(self._choose(self.weight).tolist())

    def forward(self, features: Tensor) -> Tensor:
        """Pool [B, N, H, W] to [B, K, H, W]."""
        scores: Tensor = self.weight
        deviation = self.sigma2**0.5 * self.exploration
        if self.training and deviation > 0:
            scores = scores + torch.randn_like(scores) * deviation
        chosen = self._choose(scores)
        if self.training:
            self.places[chosen] = torch.arange(self.k, device=chosen.device)
        pooled, weights = _gather(features, chosen), scores[chosen]
        if self.norm is None:
            pooled = pooled * weights.view(1, -1, 1, 1)
        elif self.norm_first:
            pooled = self._weighted_norm(self.norm, pooled, weights)
        else:
            pooled = self.norm(pooled * weights.view(1, -1, 1, 1))
        if self.relu is not None:
            pooled = self.relu(pooled)
        return pooled

    @torch.no_grad()
    def _choose(self, scores: Tensor) -> Tensor:
        """Return the top K of scores [N], each at its place; of several the heaviest keeps it.

        The others take the free places. Nothing here waits for a value of the GPU's. Without
        noise the scores are the weights, and one sort is enough.
        """
        chosen = torch.sort(scores, descending=True, stable=True).indices[: self.k]
        if scores is not self.weight:
            chosen = torch.sort(chosen).values
            heaviest = torch.sort(self.weight[chosen], descending=True, stable=True).indices
            chosen = chosen[heaviest]
        wanted = self.places[chosen]
        ranks = torch.arange(self.k, device=chosen.device)
        holders = torch.full_like(ranks, self.k).scatter_reduce(0, wanted, ranks, "amin")
        free, waiting = holders == self.k, holders[wanted] != ranks
        queue = ranks.new_empty(self.k + 1)  # its last entry is nobody's
        queue.scatter_(0, torch.where(waiting, waiting.cumsum(0) - 1, self.k), ranks)
        return chosen[torch.where(free, queue[free.cumsum(0) - 1], holders)]

    def _weighted_norm(self, norm: nn.BatchNorm2d, pooled: Tensor, weights: Tensor) -> Tensor:
        """Return norm(pooled) * weights in one pass: the weights go into the norm's affine."""
        if self.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        return nn.functional.batch_norm(
            pooled,
            norm.running_mean,
            norm.running_var,
            norm.weight * weights,
            norm.bias * weights,
            self.training,
            0.0 if norm.momentum is None else norm.momentum,
            norm.eps,
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        """Load; what was trained before there were places gave its channels out ascending."""
        weight, key = state_dict.get(f"{prefix}weight"), f"{prefix}places"
        if key not in state_dict and weight is not None and weight.shape == self.weight.shape:
            places = torch.arange(self.channels) % self.k
            places[top_channels(weight, self.k).cpu()] = torch.arange(self.k)
            state_dict[key] = places
        super()._load_from_state_dict(state_dict, prefix, *others, **named)

    def extra_repr(self) -> str:
        """Describe the pooling in `print(module)`."""
        return f"{self.channels} -> {self.k}, sigma2={self.sigma2}"


def _gather(features: Tensor, chosen: Tensor) -> Tensor:
    """Take channels [K] of [B, N, H, W], reading and writing channels_last.

    `index_select` returns plain memory order whatever it reads: on a CPU it took 4 to 20 times
    as long at ResNet-50's shapes (measured, 32 pictures at 128 px), and the concatenation copied
    again.
    """
    rows = features.permute(0, 2, 3, 1)
    index = chosen.expand(*rows.shape[:3], -1)
    return torch.gather(rows, 3, index).permute(0, 3, 1, 2)

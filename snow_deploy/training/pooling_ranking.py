"""Ranking features by channel pooling that is trained with SGD, as a delta's subscriptions are."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from snow_deploy.data.seeding import keyed_permutation, keyed_seed
from snow_deploy.models.pooling import ChannelPooling
from snow_deploy.training.objective import make_criterion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class PoolingRanking:
    """Trains a pooling and a classifier behind it on standardised features.

    Attributes:
        seed: Seed of order and noise.
        steps: Steps of SGD, each with a batch of the rows.
        batch_size: Rows of a batch.
        rate: Learning rate of the classifier; falls to zero along a cosine.
        pooling_rate: That of the pooling weights.
    """

    seed: int = 0
    steps: int = 200
    batch_size: int = 128
    rate: float = 0.02
    pooling_rate: float = 1.0

    def __call__(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
        *,
        rows: NDArray[np.int64],
        count: int,
        several: bool,
    ) -> NDArray[np.int64]:
        """Return all features, the ones with the largest pooling weights first: int64 [F].

        Args:
            features: float32 [M, F], standardised.
            targets: float32 [M, C], one-hot, or any of 0 and 1 with `several`.
            rows: int64 [N], which rows are trained on.
            count: K, how many the pooling keeps.
            several: Whether several labels may be right at once.
        """
        every = torch.from_numpy(features)
        wanted = torch.from_numpy(targets) if several else torch.from_numpy(targets.argmax(1))
        pooling = ChannelPooling(every.shape[1], count)
        pooling.generator = torch.Generator().manual_seed(keyed_seed("ranking", self.seed))
        classifier = nn.Linear(count, targets.shape[1])
        nn.init.zeros_(classifier.weight)
        nn.init.zeros_(classifier.bias)
        optimizer = torch.optim.SGD(
            [
                {"params": list(classifier.parameters()), "lr": self.rate, "weight_decay": 1e-4},
                {"params": [pooling.weight], "lr": self.pooling_rate},
            ],
            momentum=0.9,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        criterion = make_criterion("several" if several else "one")
        epoch = -(-len(rows) // self.batch_size)
        for step in range(self.steps):
            order = keyed_permutation(len(rows), "ranking", self.seed, step // epoch)
            start = step % epoch * self.batch_size
            batch = torch.from_numpy(rows[order[start : start + self.batch_size]])
            pooling.exploration = max(0.0, 1 - 4 * step / self.steps)
            read = every.index_select(0, batch)[:, :, None, None]
            loss = criterion(classifier(pooling(read).flatten(1)), wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return np.argsort(-pooling.weight.detach().numpy(), kind="stable")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute in one thread: several rankings go on at a time, each of small steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

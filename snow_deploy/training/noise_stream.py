"""A task's own stream of random numbers, whatever else is drawn between its steps."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoiseStream:
    """Torch's random state of one task: put in place for its steps, kept between them.

    Layers draw from torch's global generators (a pooling its noise, a dropout its mask), so it is
    those that are swapped: the CPU's and the current CUDA device's.
    """

    def __init__(self) -> None:
        """Begin unseeded; `seed` comes first."""
        self._cpu: torch.Tensor | None = None
        self._cuda: torch.Tensor | None = None

    def seed(self, seed: int) -> None:
        """Begin the stream that `torch.manual_seed(seed)` begins."""
        torch.manual_seed(seed)
        self._keep()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from this stream inside the block."""
        if self._cpu is not None:
            torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda)
        yield
        self._keep()

    def _keep(self) -> None:
        self._cpu = torch.get_rng_state()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            self._cuda = torch.cuda.get_rng_state()

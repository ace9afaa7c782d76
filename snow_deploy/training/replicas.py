"""Several processes with a copy of the networks each: what they tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed

if TYPE_CHECKING:
    from collections.abc import Iterable


class Replicas(DDPStrategy):
    """Processes as torchrun starts them, without DistributedDataParallel around the module.

    That one waits for a single backward pass over all parameters; here every task has a backward
    pass of its own, after which `average_gradients` does the same for its parameters alone.
    """

    def configure_ddp(self) -> None:
        """Wrap nothing."""


def world_size() -> int:
    """Return how many processes train together."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over the processes; a missing one counts as zero."""
    if world_size() == 1:
        return
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    _spread(flat / world_size(), gradients)


@torch.no_grad()
def share_state(tensors: Iterable[Tensor]) -> None:
    """Give every process the first one's values."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for shared in by_dtype.values():
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in shared])
        distributed.broadcast(flat, 0)
        _spread(flat, shared)


def all_agree(holds: bool, device: torch.device) -> bool:  # noqa: FBT001
    """Tell whether something holds in every process."""
    if world_size() == 1:
        return holds
    votes = torch.tensor(float(holds), device=device)
    distributed.all_reduce(votes, distributed.ReduceOp.MIN)
    return bool(votes)


def _spread(flat: Tensor, tensors: list[Tensor]) -> None:
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))

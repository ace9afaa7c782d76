"""Several processes with a copy of the networks each: what they tell each other."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed

from snow_deploy.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OF_OTHERS: Final = ("gloo", "nccl", "connection closed by peer", "connection reset by peer")
"""What torch's messages have in them where another process of the group is gone."""


class Replicas(DDPStrategy):
    """Processes as torchrun starts them, without DistributedDataParallel around the module.

    That one waits for a single backward pass over all parameters; here every task has a backward
    pass of its own, after which `average_gradients` does the same for its parameters alone.
    """

    def configure_ddp(self) -> None:
        """Wrap nothing."""


def count_processes() -> int:
    """Return how many processes share a step: those that torchrun has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_several_machines() -> bool:
    """Tell whether torchrun has started processes on other machines too."""
    here, everywhere = (os.environ.get(f"{which}WORLD_SIZE", "1") for which in ("LOCAL_", ""))
    return int(everywhere) > int(here)


@contextmanager
def others_watched(advice: str) -> Iterator[None]:
    """Turn what torch says of another process that has ended into an error with advice.

    Args:
        advice: How to go on.

    Raises:
        TrainingError: Another process of the run has ended, or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip()
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not any(
            sign in text.lower() for sign in _OF_OTHERS
        ):
            raise
        msg = (
            "another process of this run has ended, or its machine cannot be reached any more "
            f"({text.splitlines()[0]}). Look there for the reason, and end what is left of the "
            f"run. Then start it on all machines again: {advice}"
        )
        raise TrainingError(msg) from error


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

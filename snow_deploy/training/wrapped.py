"""A task's network out of what training loops put around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from snow_deploy.errors import TrainingError
from snow_deploy.models.network import TaskNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

_AROUND = (DataParallel, DistributedDataParallel, AveragedModel)


def unwrap_network(network: nn.Module) -> TaskNetwork:
    """Return the network that DistributedDataParallel, torch.compile or averaging has wrapped.

    Args:
        network: A delta, or one in any number of wrappers.

    Raises:
        TrainingError: It is none of ours.
    """
    inner = network
    for inner in _unwrapped(network):
        if isinstance(inner, TaskNetwork):
            return inner
    held = (
        [name for name, part in inner.named_modules() if isinstance(part, TaskNetwork)]
        if isinstance(inner, nn.Module)
        else []
    )
    advice = "Give the snow_deploy.Delta that was trained."
    if held:
        advice = f"It holds some: give its part {held[0]!r}."
    msg = f"a {type(inner).__name__} is no network of a task, expected a Delta. {advice}"
    raise TrainingError(msg)


def _unwrapped(network: Any) -> Iterator[Any]:
    """Yield a module, and what is inside it, layer by layer."""
    while network is not None:
        yield network
        if isinstance(network, _AROUND):
            network = network.module
        else:
            network = getattr(network, "_orig_mod", None)  # of torch.compile

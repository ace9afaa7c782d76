"""Refuses networks whose layers say nothing of what they compute, or hold no values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snow_deploy.errors import SourceError


def refuse_layers(network: nn.Module, what: str) -> None:
    """Refuse TorchScript, quantised layers, and tensors that have no values.

    Args:
        network: Any network.
        what: The network, for people.

    Raises:
        SourceError: It holds some; the message says where, and what to do.
    """
    for name, layer in network.named_modules():
        place = f" at {name}" if name else ""
        if isinstance(layer, torch.jit.ScriptModule):
            msg = (
                f"{what} is TorchScript{place}, which says nothing of its layers. Return the "
                "network from which it was made, with its weights."
            )
            raise SourceError(msg)
        if ".quantized" in type(layer).__module__:
            msg = (
                f"{what} is quantised{place} ({type(layer).__name__}), expected layers of floating "
                "point numbers. Return the network as it was before; snow-deploy quantises what it "
                "exports."
            )
            raise SourceError(msg)
    empty = [key for key, value in network.state_dict(keep_vars=True).items() if _is_empty(value)]
    if empty:
        msg = (
            f"{what} holds {len(empty)} tensors on torch's meta device, which are shapes without "
            f"values, such as {empty[0]}. Make the network on the CPU, not under "
            "torch.device('meta') or init_empty_weights()."
        )
        raise SourceError(msg)


def _is_empty(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_meta

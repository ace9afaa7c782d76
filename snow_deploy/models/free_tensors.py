"""Tensors that no layer of a network holds, such as layer scales, in a narrower copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_deploy.models.resized_layers import divide

if TYPE_CHECKING:
    from torch import fx

    from snow_deploy.models.source import Source

_LAYER_SCALE = 1e-6
"""What torchvision's begin as."""


def free_tensor(source: Source, node: fx.Node, width: int) -> Tensor:
    """Return what a tensor of the source begins as in a copy: divided like the widths.

    What meets the image itself keeps its size, and what is not trained its values. What is
    trained begins at the mean of the source's, and torchvision's layer scales where they do.

    Args:
        source: The original.
        node: Node of its blueprint that reads the tensor.
        width: Each layer of the copy has 1 / width of the original's channels.
    """
    name = str(node.target)
    original: Any = source.blueprint
    for part in name.split("."):
        original = getattr(original, part)
    meets_image = any(
        reader.op == "placeholder" for user in node.users for reader in user.all_input_nodes
    )
    divisor = 1 if meets_image else width
    shape = [divide(size, divisor) if size > 1 else size for size in original.shape]
    if source.weights.graph is None:
        return nn.Parameter(torch.full(shape, _LAYER_SCALE))
    values = source.weights.state[name]
    if isinstance(original, nn.Parameter):
        return nn.Parameter(torch.full(shape, float(values.mean())))
    return values[tuple(slice(size) for size in shape)].clone()

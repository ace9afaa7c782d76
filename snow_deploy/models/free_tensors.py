"""Tensors that no layer of a network holds, such as layer scales, in a narrower copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snow_deploy.models.channel_shapes import EXPANSIONS
from snow_deploy.models.resized_layers import divide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import fx

    from snow_deploy.models.source import Source

    Shape = Sequence[int]

_LAYER_SCALE = 1e-6
"""What torchvision's begin as."""


def free_tensor(
    source: Source, node: fx.Node, width: int, met: Sequence[tuple[Shape, Shape]] = ()
) -> Tensor:
    """Return what a tensor of the source begins as in a copy: divided like the widths.

    An axis as long as that of what it meets is so in the copy, too. Where nothing that it meets is
    as long, the heights and widths of maps stay, and all that meets the image. What is not trained
    keeps its values. What is trained begins at the mean of the source's, and torchvision's layer
    scales where they do.

    Args:
        source: The original.
        node: Node of its blueprint that reads the tensor.
        width: Each layer of the copy has 1 / width of the original's channels.
        met: Shapes of what it is computed with, in the original and in the copy.
    """
    name = str(node.target)
    original: Any = source.blueprint
    for part in name.split("."):
        original = getattr(original, part)
    meets_image = any(
        reader.op == "placeholder" for user in node.users for reader in user.all_input_nodes
    )
    divisor = 1 if meets_image else width
    shape = [
        _size(size, axis - original.ndim, divisor, met) for axis, size in enumerate(original.shape)
    ]
    if source.weights.graph is None:
        return nn.Parameter(torch.full(shape, _LAYER_SCALE))
    values = source.weights.state[name]
    if isinstance(original, nn.Parameter):
        return nn.Parameter(torch.full(shape, float(values.mean())))
    return values[tuple(slice(size) for size in shape)].clone()


def companions(node: fx.Node) -> set[fx.Node]:
    """Return what a tensor is computed with, also once it has been expanded."""
    readers = list(node.users)
    for user in readers:
        if user.target in EXPANSIONS:
            readers += user.users
    return {each for user in readers for each in user.all_input_nodes} - {node, *readers}


def _size(size: int, axis: int, divisor: int, met: Sequence[tuple[Shape, Shape]]) -> int:
    """Return the size of an axis, counted from the last one, in the copy."""
    if size == 1:
        return 1
    for before, now in met:
        if len(before) >= -axis and before[axis] == size:
            return now[axis]
    is_of_map = any(len(before) == _AXES_OF_MAPS and axis >= _HEIGHT for before, _ in met)
    return size if is_of_map else divide(size, divisor)


_AXES_OF_MAPS, _HEIGHT = 4, -2

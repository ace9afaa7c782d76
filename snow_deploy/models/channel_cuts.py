"""Where a narrower copy of a network cuts its channels: splits and slices by numbers."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.models.resized_layers import divide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import fx

_SPLITS = frozenset({torch.split, torch.functional.split, "split"})


_ARITHMETIC = frozenset(
    {
        *(operator.add, operator.iadd, operator.mul, operator.imul, operator.sub),
        *(torch.add, torch.mul, torch.sub, "add", "add_", "mul", "mul_", "sub"),
    }
)


def is_arithmetic(node: fx.Node) -> bool:
    """Tell whether a node adds, subtracts or multiplies value by value."""
    return node.target in _ARITHMETIC


def divided_cuts(
    node: fx.Node, width: int, channels: Callable[[], int], arriving: Callable[[], int]
) -> tuple[Any, ...] | None:
    """Return the arguments of a split or slice of channels, with its numbers divided.

    Args:
        node: Node of the original.
        width: Each layer has 1 / width of the original's channels.
        channels: Channels that the original cuts, by a call.
        arriving: The same of the copy.

    Returns:
        What takes the place of `node.args`; None where it cuts no channels by number.
    """
    if width == 1 or node.kwargs.keys() - {"dim"}:
        return None
    if node.target is operator.getitem:
        return _slices(node, width)
    if node.target not in _SPLITS or len(node.args) < 2:
        return None
    sizes: Any = node.args[1]
    axis = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    if axis != 1 or not isinstance(sizes, int | list | tuple):
        return None
    if isinstance(sizes, int):
        whole = channels()
        sizes = [min(sizes, whole - start) for start in range(0, whole, sizes)]
    if not all(isinstance(size, int) for size in sizes):
        return None
    return (node.args[0], _shares(sizes, width, arriving()), *node.args[2:])


def _slices(node: fx.Node, width: int) -> tuple[Any, ...] | None:
    index = node.args[1]
    if not isinstance(index, tuple) or len(index) < 2 or not isinstance(index[1], slice):
        return None
    cut = index[1]
    numbers = [each for each in (cut.start, cut.stop) if each is not None]
    if not numbers or not all(isinstance(each, int) and each >= 0 for each in numbers):
        return None
    start, stop = (None if n is None else divide(n, width) for n in (cut.start, cut.stop))
    return (node.args[0], (index[0], slice(start, stop, cut.step), *index[2:]))


def _shares(sizes: Sequence[int], width: int, arriving: int) -> list[int]:
    """Cut what arrives at the same places, divided; each part gets a channel at least."""
    ends, total = list[int](), 0
    for place, size in enumerate(sizes):
        total += size
        left = len(sizes) - place - 1  # parts still to come
        least = (ends[-1] if ends else 0) + 1
        ends.append(max(least, min(divide(total, width), arriving - left)))
    ends[-1] = arriving
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]

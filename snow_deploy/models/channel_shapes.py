"""Where a narrower copy of a network gives tensors another shape by numbers.

Code that asks a tensor for its channels follows the width by itself. Numbers that someone wrote, or
that torch.export made of such a question, are those of the original's width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from snow_deploy.models.resized_layers import divide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import fx

    Shape = Sequence[int]

RESHAPES = frozenset({torch.reshape, "reshape", "view"})
EXPANSIONS = frozenset({"expand"})
_AXES_OF_MAPS = 4


def divided_shape(
    node: fx.Node, shapes: tuple[Shape, Shape], arrives: Shape, width: int
) -> tuple[Any, ...] | None:
    """Return the arguments of a reshape or an expansion, with its numbers for what arrives.

    Args:
        node: Node of the original.
        shapes: What it reads and makes in the original, for one picture.
        arrives: What the copy's reads.
        width: Each layer has 1 / width of the original's channels.

    Returns:
        What takes the place of `node.args`; None where there is no number to change.
    """
    read, made = shapes
    value, *asked = node.args
    listed = len(asked) == 1 and isinstance(asked[0], list | tuple)
    sizes: list[Any] = list(asked[0]) if listed else asked  # type: ignore[arg-type]
    if node.kwargs or len(read) != len(arrives) or len(sizes) != len(made):
        return None
    if node.target in RESHAPES:
        found = _reshaped(sizes, shapes, arrives)
    else:
        found = _expanded(sizes, shapes, arrives, width)
    if found == sizes:
        return None
    return (value, found) if listed else (value, *found)


def _reshaped(sizes: Sequence[Any], shapes: tuple[Shape, Shape], arrives: Shape) -> list[Any]:
    """Change one number of each group of axes that holds more or less than it did."""
    read, made = shapes
    found = list(sizes)
    for taken, given in _groups(read, made):
        before, now = (math.prod(shape[axis] for axis in taken) for shape in (read, arrives))
        if before == now or not all(isinstance(sizes[axis], int) for axis in given):
            continue
        if any(sizes[axis] == -1 for axis in given):
            continue
        is_map = given.stop == len(made) >= _AXES_OF_MAPS
        for axis in given if is_map else sorted(given, key=lambda each: -made[each]):
            others = before // made[axis]
            if now % others == 0:
                found[axis] = now // others
                break
    return found


def _groups(read: Shape, made: Shape) -> Iterator[tuple[range, range]]:
    """Yield the smallest runs of axes of two shapes that hold as many values."""
    at = to = 0
    while at < len(read) and to < len(made):
        begin, other = at, to
        at, to = at + 1, to + 1
        one, two = read[begin], made[other]
        while one != two:
            if one < two:
                one, at = one * read[at], at + 1
            else:
                two, to = two * made[to], to + 1
        yield range(begin, at), range(other, to)


def _expanded(
    sizes: Sequence[Any], shapes: tuple[Shape, Shape], arrives: Shape, width: int
) -> list[Any]:
    read, made = shapes
    found = list(sizes)
    first = len(made) - len(read)  # new axes come before the others
    for axis, size in enumerate(sizes):
        if not isinstance(size, int) or size == -1:
            continue
        before = read[axis - first] if axis >= first else 1
        if before == made[axis] != 1:
            found[axis] = arrives[axis - first]
        elif axis == 1 and size > 1:
            found[axis] = divide(size, width)
    return found

"""Operations that only move values: reshapes, transposes, splits, slices, channel shuffles.

What they do together is read off by letting them move numbers: each value of the tensor that they
begin at is its own position. So no spelling needs a rule.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from snow_export.fuse.stack import Last

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snow_export.fuse.stack import Value


@dataclass(frozen=True)
class Moved:
    """What is left of a tensor [B, C, H, W] (or [B, C]) after some movements.

    Attributes:
        channels: Which of the C there are, in order; None for all as they were.
        form: `first`, as the tensor was; `last`, channels on the last axis, pixels in order before;
            `flat`, [B, C * H * W]; `rows`, [B, C, H * W].
    """

    channels: tuple[int, ...] | None
    form: str


def is_movement(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Tell whether a node only moves the values of one tensor."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _LAYERS)
    return node.target in _FUNCTIONS or node.target in _METHODS


@dataclass(frozen=True, eq=False)
class Moving:
    """A value on its way through movements.

    Attributes:
        value: Where it began.
        shapes: Shapes of each task's tensor there, [B, C, ...].
        numbers: Positions by task: its values' positions at the beginning, where they are now; or a
            tuple of such tensors.
    """

    value: Value
    shapes: tuple[tuple[int, ...], ...]
    numbers: tuple[Any, ...]


def begin(value: Value | Last, shapes: Sequence[tuple[int, ...]]) -> Moving:
    """Number the values of each task's tensor, of these shapes, before anything moves them."""
    if not isinstance(value, Last):
        return Moving(value, tuple(shapes), tuple(_positions(shape) for shape in shapes))
    whole = tuple((shape[0], shape[-1], *value.pixels) for shape in shapes)
    numbers = (
        _positions(before).flatten(2).transpose(1, 2).reshape(shape)
        for before, shape in zip(whole, shapes, strict=True)
    )
    return Moving(value.value, whole, tuple(numbers))


def follow(
    moving: Moving,
    column: Sequence[fx.Node],
    deltas: Sequence[fx.GraphModule],
    values: Sequence[Mapping[fx.Node, Any]],
) -> Moving:
    """Let one more movement have its way.

    Args:
        moving: What arrives.
        column: The movement in each delta.
        deltas: The deltas.
        values: Values of their nodes in the example pass, for sizes that the movement reads.
    """
    tasks = zip(deltas, column, moving.numbers, values, strict=True)
    return replace(moving, numbers=tuple(_move(*task) for task in tasks))


def _positions(shape: tuple[int, ...]) -> Tensor:
    return torch.arange(torch.Size(shape).numel()).view(shape)


def _move(
    traced: fx.GraphModule, node: fx.Node, numbers: Any, values: Mapping[fx.Node, Any]
) -> Any:
    moved = node.all_input_nodes[0]
    args, kwargs = fx.node.map_arg(
        (node.args, node.kwargs), lambda arg: numbers if arg is moved else values[arg]
    )
    if node.op == "call_module":
        return traced.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        # Numbers may lie otherwise in memory than the values do.
        method = "reshape" if node.target == "view" else str(node.target)
        return getattr(args[0], method)(*args[1:], **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def where_channels_went(numbers: Tensor, shape: tuple[int, ...]) -> Moved | None:
    """Say where the values of a tensor of some shape have gone; None if not channel by channel."""
    whole = _positions(shape)
    if numbers.shape[:1] != whole.shape[:1]:
        return None
    pixels = whole[0, 0].numel()
    by_pixel = whole.flatten(2) if whole.ndim > 2 else whole.unsqueeze(2)  # [B, C, H * W]
    tries = []
    if numbers.ndim == whole.ndim and numbers.shape[2:] == whole.shape[2:]:
        tries.append(("first", numbers.reshape(len(whole), -1, pixels)))
    if numbers.ndim > 2 and numbers[0].numel() == numbers.shape[-1] * pixels:
        last = numbers.reshape(len(whole), pixels, -1).transpose(1, 2)
        tries.append(("last", last))
    if numbers.ndim == 3 and numbers.shape[2] == pixels:
        tries.append(("rows", numbers))
    if numbers.ndim == 2 and numbers.shape[1] % pixels == 0:
        tries.append(("flat", numbers.reshape(len(whole), -1, pixels)))
    for form, seen in tries:
        chosen = seen[0, :, 0] // pixels  # of the first picture, a channel's first pixel
        if int(chosen.max()) < whole.shape[1] and torch.equal(seen, by_pixel[:, chosen]):
            every = torch.equal(chosen, torch.arange(whole.shape[1]))
            return Moved(None if every else tuple(chosen.tolist()), form)
    return None


_LAYERS: Final = (nn.Flatten, nn.Unflatten, nn.ChannelShuffle)
_FUNCTIONS: Final[frozenset[Any]] = frozenset(
    {
        functional.channel_shuffle,
        operator.getitem,
        torch.channel_shuffle,
        torch.chunk,
        torch.clone,
        torch.detach,
        torch.flatten,
        torch.index_select,
        torch.movedim,
        torch.narrow,
        torch.permute,
        torch.reshape,
        torch.select,
        torch.split,
        torch.squeeze,
        torch.swapaxes,
        torch.tensor_split,
        torch.transpose,
        torch.unbind,
        torch.unflatten,
        torch.unsqueeze,
    }
)
_METHODS: Final = frozenset(
    {
        "chunk",
        "clone",
        "contiguous",
        "detach",
        "reshape",
        "reshape_as",
        "split",
        "squeeze",
        "tensor_split",
        "unbind",
        "unflatten",
        "unsqueeze",
        "view",
        "view_as",
    }
)

"""Takes calls out of a graph that ask for a type, a device or a memory format that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from snow_deploy.errors import SourceError
from snow_deploy.models.anatomy import on_meta_device
from snow_export.trace.nodes import run_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

_CASTS = frozenset({"to", "float", "type", "type_as"})
_MOVES = frozenset({"cpu", "cuda"})


def drop_casts(plain: fx.GraphModule, image_shape: Sequence[int], what: str) -> None:
    """Take casts out that change nothing, in place.

    Args:
        plain: Network of float32 weights on the CPU.
        image_shape: [B, 3, H, W] of what it reads.
        what: The network, for people.

    Raises:
        SourceError: Shapes of its tensors depend on the values of others.
    """
    for node in [each for each in plain.graph.nodes if each.op == "call_method"]:
        if node.target in _MOVES or (node.target == "to" and _without_device(node)):
            _drop(node)
    blank = on_meta_device(plain)
    try:
        values = run_nodes(blank, torch.zeros(*image_shape, device="meta"))
    except NotImplementedError as error:
        reason = str(error).strip().partition(" raises")[0].partition("\n")[0].rstrip(".")
        msg = (
            f"the shapes that {what} works with cannot be told from the picture's alone "
            f"({reason}). Leave out what picks pixels or channels by their values, such as nonzero."
        )
        raise SourceError(msg) from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        msg = f"the graph of {what} cannot be run on shapes alone: {reason}"
        raise SourceError(msg) from error
    made: dict[str, Any] = {node.name: value for node, value in values.items()}
    for node in [each for each in plain.graph.nodes if each.op == "call_method"]:
        if node.target in _CASTS and isinstance(node.args[0], fx.Node):
            before, after = made[node.args[0].name], made[node.name]
            if isinstance(before, Tensor) and before.dtype == after.dtype:
                _drop(node)
    plain.graph.lint()
    plain.recompile()


def _without_device(node: fx.Node) -> bool:
    """Leave the device out of a `to`; tell whether nothing else was asked for."""
    value, *asked = node.args
    node.args = (value, *(each for each in asked if not _is_device(each)))
    node.kwargs = {
        key: each
        for key, each in node.kwargs.items()
        if key not in {"device", "non_blocking", "copy", "memory_format"}
    }
    return len(node.args) == 1 and not node.kwargs


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device | str)


def _drop(node: fx.Node) -> None:
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    node.graph.erase_node(node)

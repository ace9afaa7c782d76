"""Rules for sums, norms and extremes over some axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snow_export.errors import ExportError

if TYPE_CHECKING:
    from torch import fx

    from snow_export.emit.emitter import CallRule, Emitter


def _reduction(op: str) -> CallRule:
    def rule(emitter: Emitter, node: fx.Node, value: Any, *how: Any) -> str:
        axes, keep = how[-2:]
        rank = len(emitter.shape(value))
        listed = range(rank) if axes is None else [axes] if isinstance(axes, int) else axes
        wanted = sorted(axis % rank for axis in listed)
        if 0 in wanted:
            msg = f"{node.name} reduces axes {axes}, the batch among them; it cannot export"
            raise ExportError(msg)
        name, options = emitter.name(value), {"keepdims": int(keep)}
        if op == "ReduceSum":  # whose axes became an input before the others' did
            axis = emitter.constant(f"{node.name}.axes", np.array(wanted, np.int64))
            return emitter.add(op, [name, axis], node.name, **options)
        return emitter.add(op, [name], node.name, axes=wanted, **options)

    return rule


REDUCTIONS: dict[Any, CallRule] = {
    torch.sum: _reduction("ReduceSum"),
    torch.amax: _reduction("ReduceMax"),
    torch.amin: _reduction("ReduceMin"),
    torch.norm: _reduction("ReduceL2"),
}
"""By function: in the spelling of `trace.spelling`, whose norms are Euclidean."""

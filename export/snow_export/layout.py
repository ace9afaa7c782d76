"""Layout: trained deltas as heads, side by side or fused where their shapes are equal."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_export.fuse.fused_graph import CannotFuse
from snow_export.fuse.fuser import FusedDeltas, Fuser
from snow_export.inspect.owners import TAP_READOUT
from snow_export.network import TaskHead
from snow_export.readout_head import ReadoutHead, split_readouts
from snow_export.trace.delta_graph import signature, trace_delta
from snow_export.trace.fold import fold_norms, fold_poolings
from snow_export.trace.freeze import freeze

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor, fx, nn

    from snow_runtime.graph.manifest import Layout

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arranged:
    """Heads, and how they came about.

    Attributes:
        heads: Modules with `tasks`; images and features in, a tuple of logits out.
        unfused: Why a group of equal shape stays side by side, by its tasks.
    """

    heads: list[nn.Module]
    unfused: dict[tuple[str, ...], str]


def arrange(
    networks: Mapping[str, nn.Module],
    layout: Layout,
    example: tuple[Tensor, Mapping[str, Tensor]],
    never_fused: Collection[str] = (),
    given_out: Collection[str] = (),
) -> Arranged:
    """Freeze trained deltas and lay them out.

    Args:
        networks: The networks by task name; not frozen yet, and left as they are.
        layout: `separate`; or `fused`: deltas of equal shape become one network, deltas of
            unequal shape fall into groups; or `summed`: fused, but local and subscribed
            channels are convolved each for themselves and added up, not concatenated. Readouts,
            those too that are a part of a delta, become one head in every layout.
        example: Images and the source's features of them, for the shapes.
        never_fused: Tasks whose networks are never fused: as wide as the source, they gain nothing.
        given_out: Keys of the source's pooled features that the graph gives out.
    """
    readouts, others = split_readouts(networks)
    product = TAP_READOUT if readouts.keys() & others.keys() else "fc"
    joined = [ReadoutHead(readouts, given_out, product)] if readouts else []
    frozen = {task: freeze(each) for task, each in others.items()}
    traced = {task: fold_poolings(fold_norms(trace_delta(delta))) for task, delta in frozen.items()}
    if layout == "separate":
        return Arranged([*(TaskHead(*each) for each in traced.items()), *joined], {})
    groups: dict[object, dict[str, fx.GraphModule]] = {}
    for task, delta in traced.items():
        groups.setdefault(task if task in never_fused else signature(delta), {})[task] = delta
    heads: list[nn.Module] = [*joined]
    unfused: dict[tuple[str, ...], str] = {}
    for group in groups.values():
        names = tuple(group)
        if len(group) > 1:
            try:
                fuser = Fuser(list(group.values()), example, summed=layout == "summed")
                heads.append(FusedDeltas(fuser.build(), names))
                continue
            except CannotFuse as reason:
                unfused[names] = str(reason)
                _LOGGER.warning("%s stay side by side: %s", ", ".join(names), reason)
        heads += [TaskHead(task, delta) for task, delta in group.items()]
    return Arranged(heads, unfused)

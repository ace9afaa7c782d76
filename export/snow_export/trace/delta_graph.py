"""A frozen delta as a graph of layers, and what two of them must share to be fused."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from snow_export.errors import ExportError
from snow_export.own_layers import OWN_LAYERS
from snow_export.trace.freeze import StaticPooling
from snow_export.trace.nodes import layer_of
from snow_export.trace.spelling import respell

DERIVED_LAYERS = (nn.LayerNorm, nn.BatchNorm2d, nn.Conv2d, *OWN_LAYERS)
"""Layers of torch's that are written as such where a network has a class of its own for them."""


def trace_delta(delta: nn.Module) -> fx.GraphModule:
    """Trace a frozen delta down to layers, poolings whole: (images, features) to logits.

    Raises:
        ExportError: torch.fx cannot trace it.
    """
    try:
        graph = _DeltaTracer().trace(delta)
    except Exception as error:
        msg = f"torch.fx cannot trace a delta for fusing: {error}"
        raise ExportError(msg) from error
    traced = fx.GraphModule(delta, graph)
    respell(traced)
    return traced


def signature(delta: fx.GraphModule) -> tuple[Any, ...]:
    """Return what two traced deltas must share to be fused: all but weights and class count."""
    position = {node: index for index, node in enumerate(delta.graph.nodes)}
    last = _last_weighted(delta)
    rows = []
    for node in delta.graph.nodes:
        arguments = fx.node.map_arg((node.args, node.kwargs), lambda arg: position[arg])
        layer = layer_of(delta, node)
        facts = None if layer is None else _facts(layer, classifier=node is last)
        rows.append((node.op, str(node.target), repr(arguments), facts))
    return tuple(rows)


class _DeltaTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, fx.GraphModule):
            return False
        whole = isinstance(m, (StaticPooling, *DERIVED_LAYERS))
        return whole or super().is_leaf_module(m, module_qualified_name)


def _facts(layer: nn.Module, *, classifier: bool) -> tuple[Any, ...]:
    """Describe a layer without its weights."""
    shapes = tuple(tuple(tensor.shape) for tensor in layer.state_dict().values())
    if classifier:  # classes may differ, what the classifier reads may not
        shapes = tuple(shape[1:] for shape in shapes)
        return (type(layer).__name__, shapes)
    return (type(layer).__name__, shapes, repr(layer))


def _last_weighted(delta: fx.GraphModule) -> fx.Node | None:
    node: fx.Node
    for node in reversed(delta.graph.nodes):
        if isinstance(layer_of(delta, node), nn.Linear | nn.Conv2d):
            return node
    return None

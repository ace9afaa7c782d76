"""How much of a graph's arithmetic some of its layers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_export.inspect.cost import node_macs
from snow_export.inspect.shapes import free_inputs, infer_shapes, weights_as_inputs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx


def multiply_adds(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiply-adds of every node that has some, by its name.

    Those of one batch: for shares it does not matter how large that is.

    Raises:
        GraphError: The graph's shapes do not follow from its inputs.
    """
    light = weights_as_inputs(model)
    _, shapes = infer_shapes(light, free_inputs(model))
    counted = {node.name: node_macs(node, shapes) for node in light.graph.node}
    return {name: macs for name, macs in counted.items() if macs}


def share(macs: Mapping[str, int], names: Collection[str]) -> float:
    """Return the share of all multiply-adds that these nodes do, 0 to 1."""
    return sum(macs.get(name, 0) for name in names) / max(1, sum(macs.values()))

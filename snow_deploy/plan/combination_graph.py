"""The graph of a combination of variants, made in memory, and what a run of it has to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from snow_deploy.models.source import Source
from snow_deploy.stages.export_request import request_for
from snow_export.export import build_graph
from snow_export.inspect.cost import measure_cost
from snow_export.inspect.launches import Workload, estimate_workload, source_part
from snow_export.inspect.owners import SOURCE
from snow_runtime.errors import MissingDependencyError
from snow_runtime.graph.half_precision import to_fp16

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from snow_deploy.models.weights import SourceWeights
    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.engine.build import CompiledPlan

ESTIMATED: Final = "estimated from the graph"
"""Where the count of layers is from, if TensorRT-RTX is not installed."""


@dataclass(frozen=True)
class CountedGraph:
    """What a run of a graph has to do, and the source's part of it.

    Attributes:
        whole: All of it.
        source: What the source alone has to do, which every combination needs.
    """

    whole: Workload
    source: Workload


class GraphCounter:
    """Makes graphs of variants on one source, and counts them.

    Args:
        weights: The source's.
        target: What TensorRT-RTX compiles for.
        compiles: Whether to ask it at all.

    Attributes:
        layers_from: Where the numbers of layers are from.
        made: How many graphs were made.
    """

    def __init__(self, weights: SourceWeights, target: str, *, compiles: bool = True) -> None:
        self._weights = weights
        self._target = target
        self.made = 0
        self.layers_from = ESTIMATED
        self._compiles = compiles and self._find_compiler()

    def count(self, records: Sequence[TaskRecord]) -> CountedGraph:
        """Make the fused graph of these tasks, and count it.

        Raises:
            ExportError: It cannot be made.
            EngineError: It cannot be compiled.
        """
        model = self._graph(records)
        self.made += 1
        whole, source = estimate_workload(model), estimate_workload(source_part(model))
        if not self._compiles:
            return CountedGraph(whole, source)
        plan = self._compile(model)
        cost = measure_cost(model, [_name(number) for number in range(len(records))])
        owners = [cost.owner_of_layer(layer.nodes) for layer in plan.compute_layers]
        return CountedGraph(
            replace(whole, layers=len(owners)), replace(source, layers=owners.count(SOURCE))
        )

    def _graph(self, records: Sequence[TaskRecord]) -> onnx.ModelProto:
        # Each gets a name of its own: variants of several stores may be called alike.
        named = [replace(record, name=_name(number)) for number, record in enumerate(records)]
        return build_graph(request_for(Source(self._weights), named))

    def _compile(self, model: onnx.ModelProto) -> CompiledPlan:
        from snow_runtime.engine.build import compile_graph

        return compile_graph(to_fp16(model).SerializeToString(), self._target)

    def _find_compiler(self) -> bool:
        from snow_runtime.engine.backend import find_backend

        try:
            compiler = find_backend("tensorrt-rtx").title
        except MissingDependencyError:
            return False
        self.layers_from = f"compiled by {compiler} for {self._target}"
        return True


def _name(number: int) -> str:
    return f"t{number}"

"""From trained networks to one ONNX graph: freeze, export, describe, verify.

These names are public:

- writing a graph: `export_graph`, `build_graph`, `ExportRequest`, `GraphOptions`, `TaskParity`
- comparing it with the trained networks: `verify`, `Verification`, `Rung`
- what a file holds: `inspect_graph`, `inspect_engine`, `Inspection`, `GraphFacts`, `EngineFacts`,
  `TrainingFacts`, `OwnerShare`
- what it costs: `measure_cost`, `GraphCost`, `OwnerCost`
- errors: `ExportError`, `ParityError`

Everything else, every module of this package included, is internal and may change in any release.
Public names are imported when they are first used: inspecting needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_export.errors import ExportError, ParityError
from snow_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from snow_export.export import ExportRequest, GraphOptions, build_graph, export_graph
    from snow_export.inspect.cost import GraphCost, OwnerCost, measure_cost
    from snow_export.inspect.inspect_engine import inspect_engine
    from snow_export.inspect.inspect_graph import inspect_graph
    from snow_export.inspect.inspection import (
        EngineFacts,
        GraphFacts,
        Inspection,
        OwnerShare,
        TrainingFacts,
    )
    from snow_export.parity import TaskParity
    from snow_export.verification import Rung, Verification, verify

__all__ = [
    "EngineFacts",
    "ExportError",
    "ExportRequest",
    "GraphCost",
    "GraphFacts",
    "GraphOptions",
    "Inspection",
    "OwnerCost",
    "OwnerShare",
    "ParityError",
    "Rung",
    "TaskParity",
    "TrainingFacts",
    "Verification",
    "build_graph",
    "export_graph",
    "inspect_engine",
    "inspect_graph",
    "measure_cost",
    "verify",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "export": ("ExportRequest", "GraphOptions", "build_graph", "export_graph"),
            "inspect.cost": ("GraphCost", "OwnerCost", "measure_cost"),
            "inspect.inspect_engine": ("inspect_engine",),
            "inspect.inspect_graph": ("inspect_graph",),
            "inspect.inspection": (
                "EngineFacts",
                "GraphFacts",
                "Inspection",
                "OwnerShare",
                "TrainingFacts",
            ),
            "parity": ("TaskParity",),
            "verification": ("Rung", "Verification", "verify"),
        },
    )

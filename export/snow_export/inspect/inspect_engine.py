"""What an engine holds, by the record beside it; neither torch nor TensorRT is needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from snow_export.inspect.inspection import EngineFacts, Inspection
from snow_runtime.engine.files import read_engine

if TYPE_CHECKING:
    from pathlib import Path


def inspect_engine(path: Path) -> Inspection:
    """Tell what an engine of `snow-deploy build-engine` holds.

    Raises:
        EngineError: The plan or its record is missing or damaged, or they do not belong together.
    """
    record, _ = read_engine(path)
    manifest = record.manifest
    return Inspection(
        kind="engine",
        path=str(path),
        size_bytes=record.plan_bytes,
        sha256=record.plan_sha256,
        source=manifest.source,
        tasks=manifest.tasks,
        preprocessing={task.name: manifest.preprocessing for task in manifest.tasks},
        shares=(),
        engine=EngineFacts(
            built_by=record.title,
            built_on=str(record.host),
            built_at=record.built_at,
            graph=record.graph,
            graph_sha256=record.graph_sha256,
            layout=manifest.layout,
            options=record.options.to_dict(),
            inputs=dict(record.inputs),
            achieved=asdict(record.achieved),
            compute_layers=record.compute_layers,
            build_s=record.build_s,
        ),
        features=manifest.features,
        versions=dict(manifest.versions),
    )

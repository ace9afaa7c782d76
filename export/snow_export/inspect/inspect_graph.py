"""What an exported graph holds; torch is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_export.inspect.cost import measure_cost
from snow_export.inspect.inspection import GraphFacts, Inspection, OwnerShare
from snow_runtime.errors import GraphError
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from pathlib import Path


def inspect_graph(path: Path) -> Inspection:
    """Tell what a graph of `snow-deploy export` holds.

    Raises:
        GraphError: It is missing, damaged, no valid ONNX, or carries no manifest.
        ManifestError: Its manifest is malformed, or contradicts the graph.
    """
    file = read_graph(path)
    manifest = file.manifest
    if manifest is None:
        msg = (
            f"{path} carries no manifest, so nothing tells its tasks; expected a graph made by "
            f"'snow-deploy export'. What it costs to run, 'snow-deploy cost {path}' tells of any."
        )
        raise GraphError(msg)
    cost = measure_cost(file.skeleton, file.tasks)
    size = manifest.preprocessing.image_size
    return Inspection(
        kind="graph",
        path=str(path),
        size_bytes=file.size_bytes,
        sha256=file.content_sha256,
        source=manifest.source,
        tasks=manifest.tasks,
        preprocessing={task.name: manifest.preprocessing for task in manifest.tasks},
        shares=tuple(OwnerShare(row.owner, row.parameters, row.macs, size) for row in cost.owners),
        graph=GraphFacts(
            layout=manifest.layout,
            precision=manifest.precision,
            input=manifest.input,
            inputs=file.inputs,
            outputs=file.outputs,
            opset=max(item.version for item in file.skeleton.opset_import if not item.domain),
            nodes=len(file.skeleton.graph.node),
            quantisation=manifest.quantisation,
            pieces=manifest.pieces,
        ),
        features=manifest.features,
        versions=manifest.versions,
    )

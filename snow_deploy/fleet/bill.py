"""What a release consists of, as a CycloneDX document: for those who have to list what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_runtime import __version__
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.update.release import Release


def bill_of_materials(release: Release, graph: Path) -> bytes:
    """Write a release's bill of materials, CycloneDX 1.6 as JSON.

    Args:
        release: The release.
        graph: Its graph.

    Raises:
        GraphError: The graph cannot be read.
    """
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    manifest = read_graph(graph).manifest
    bill = Bom()
    whole = Component(
        name=release.name,
        version=str(release.number),
        type=ComponentType.APPLICATION,
        bom_ref=f"release/{release.name}",
    )
    bill.metadata.component = whole
    parts = []
    for file in release.files:
        model = file.path == release.model or file.path in release.readouts
        part = Component(
            name=file.path,
            type=ComponentType.MACHINE_LEARNING_MODEL if model else ComponentType.FILE,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
            bom_ref=f"file/{file.path}",
        )
        if file.path == release.model and manifest is not None:
            facts = {
                "source": manifest.source.architecture,
                "source-sha256": manifest.source.sha256,
                **{f"task:{task.name}": task.sha256 or "" for task in manifest.tasks},
            }
            part.properties.update(
                Property(name=f"snow-deploy:{name}", value=value) for name, value in facts.items()
            )
        parts.append(part)
    made_by = {} if manifest is None else manifest.versions
    for name, version in {**made_by, "snow-deploy": __version__}.items():
        parts.append(
            Component(
                name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"library/{name}"
            )
        )
    bill.components.update(parts)
    bill.register_dependency(whole, parts)
    return JsonV1Dot6(bill).output_as_string(indent=1).encode()

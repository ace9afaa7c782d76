"""The exporter: a source and trained deltas in, one checked ONNX file out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from snow_export.emit import EXAMPLE_BATCH
from snow_export.errors import ExportError
from snow_export.layout import arrange
from snow_export.network import SOURCE, Head, SharedNetwork
from snow_export.onnx_graph import to_onnx
from snow_export.parity import check_parity, compare, onnx_answers, torch_answers
from snow_runtime.files import atomic_write
from snow_runtime.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from snow_export.parity import TaskParity
    from snow_runtime.manifest import Layout, Preprocessing, SourceEntry, TaskEntry


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        source: [B, 3, S, S] to a mapping of features.
        source_entry: What the manifest says of it.
        deltas: By task name; not frozen yet.
        tasks: The manifest's entries in the order of the outputs. One called `source` asks for
            the source's own head.
        preprocessing: From a picture to the input; its image size is the graph's.
        pictures: [M, 3, S, S] float32, preprocessed pictures for the parity check; M other
            than the batch that the network is traced with.
        versions: Of the packages that make the graph.
        layout: `fused` or `separate` deltas.
    """

    source: nn.Module
    source_entry: SourceEntry
    deltas: Mapping[str, nn.Module]
    tasks: tuple[TaskEntry, ...]
    preprocessing: Preprocessing
    pictures: Tensor
    versions: Mapping[str, str]
    layout: Layout = "fused"


def export_graph(request: ExportRequest, path: Path) -> list[TaskParity]:
    """Write one ONNX graph with every task's head; return how close it is to torch.

    The file is checked as it lies on the disk, by ONNX Runtime, and takes its name only when
    it has passed.

    Raises:
        ExportError: The request contradicts itself, torch cannot export the network, or the
            file cannot be written.
        ParityError: The file answers otherwise than the torch network.
    """
    outputs = tuple(task.name for task in request.tasks)
    if sorted(set(outputs) - {SOURCE}) != sorted(request.deltas):
        msg = f"the manifest lists {list(outputs)}, but the deltas are {list(request.deltas)}"
        raise ExportError(msg)
    pictures = request.pictures
    if len(pictures) == EXAMPLE_BATCH:
        pictures = torch.cat([pictures, pictures[:1]])
    trained = [Head(name, delta.eval()) for name, delta in request.deltas.items()]
    reference = torch_answers(SharedNetwork(request.source, trained, outputs), pictures)
    example = pictures[:1].repeat(EXAMPLE_BATCH, 1, 1, 1)
    arranged = arrange(request.deltas, request.layout, (example, request.source(example)))
    network = SharedNetwork(request.source, arranged.heads, outputs)
    manifest = Manifest(
        source=request.source_entry,
        preprocessing=request.preprocessing,
        tasks=request.tasks,
        layout=request.layout,
        versions=dict(request.versions),
    )
    content = to_onnx(network, manifest).SerializeToString(deterministic=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
            file.flush()
            found = compare(reference, onnx_answers(Path(file.name), pictures.numpy()))
            check_parity(found)
    except OSError as error:
        msg = f"{path} cannot be written: {error}. Choose another -o, or free space."
        raise ExportError(msg) from error
    return found

"""Graph files that say what a plan reads of them: their manifest. They compute nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from snow_runtime.graph.image_size import height_width
from snow_runtime.graph.manifest import METADATA_KEY, Manifest, Quantisation, SourceEntry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snow_deploy.training.task_record import TaskRecord
    from snow_runtime.graph.manifest import Precision


def write_graph(
    path: Path, records: Sequence[TaskRecord], precision: Precision, made_from: str = "0" * 64
) -> Path:
    """Write a graph of these tasks that gives the picture's mean for every answer."""
    first = records[0]
    size = height_width(first.preprocessing.image_size)
    outputs = [
        helper.make_tensor_value_info(it.name, TensorProto.FLOAT, ["batch", len(it.labels)])
        for it in records
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *size])
    nodes = [helper.make_node("ReduceMean", ["image"], [it.name], name=it.name) for it in records]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", [image], outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    quantisation = Quantisation(made_from, "entropy", 512, "d" * 64, "fp16", 1)
    manifest = Manifest(
        SourceEntry("resnet18", first.source_sha256, 1),
        first.preprocessing,
        tuple(record.entry({}) for record in records),
        precision=precision,
        quantisation=quantisation if precision == "int8" else None,
    )
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    return path

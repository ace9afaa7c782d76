"""A small graph that tells colours, with a manifest: what it answers is known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from snow_runtime.graph.manifest import (
    METADATA_KEY,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

COLOURS = ("red", "green", "blue")
_SIZE = 32
_SURE = 12.0


def write_colour_graph(path: Path, tags: tuple[str, str]) -> None:
    """Write a graph with the tasks `colour`, one of three, and `tags`, of which both may be right.

    Args:
        path: The file.
        tags: Labels: what is bright, and what is more red than blue.
    """
    weights: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {
        "colour": (_SURE * np.eye(3, dtype="f4"), np.zeros(3, "f4")),
        "tags": (
            _SURE * np.array([[1, 1], [1, 0], [1, -1]], "f4"),
            np.array([-0.5, -0.4], "f4") * _SURE,
        ),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    nodes += [helper.make_node("Gemm", ["features", f"{o}.w", f"{o}.b"], [o]) for o in weights]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("batch", 3, _SIZE, _SIZE))],
        [
            helper.make_tensor_value_info(o, TensorProto.FLOAT, ("batch", w.shape[1]))
            for o, (w, _) in weights.items()
        ],
        [
            numpy_helper.from_array(value, f"{o}.{letter}")
            for o, both in weights.items()
            for letter, value in zip("wb", both, strict=True)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: _manifest(tags).to_json()})
    onnx.save(model, path)


def _manifest(tags: tuple[str, str]) -> Manifest:
    return Manifest(
        SourceEntry("small", "a" * 64, 0),
        Preprocessing(_SIZE, _SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        (
            TaskEntry("colour", "colour", COLOURS),
            TaskEntry("tags", "tags", tags, answers="several"),
        ),
    )

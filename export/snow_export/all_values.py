"""Every value inside a graph, layer by layer, as ONNX Runtime computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from snow_runtime.backends.import_onnxruntime import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch


class AllValuesSession:
    """A graph that answers with the values of all its nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Open any graph of this project's; optimisations that would merge nodes are off."""
        self._names = [name for node in model.graph.node for name in node.output if name]
        declared = {output.name for output in model.graph.output}
        exposed = onnx.ModelProto()
        exposed.CopyFrom(model)
        exposed.graph.output.extend(
            helper.make_empty_tensor_value_info(name)
            for name in self._names
            if name not in declared
        )
        self._input = exposed.graph.input[0].name
        self._session = _session(exposed)

    def run(self, batch: Batch) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield (name, value) of every node's outputs, in the order of the graph.

        ONNX Runtime holds them all until the run ends: a hundred megabytes and more a picture.
        """
        values = self._session.run(self._names, {self._input: batch})
        yield from zip(self._names, values, strict=True)


def with_any_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph of this exporter that takes any number of pictures."""
    free = onnx.ModelProto()
    free.CopyFrom(model)
    for value in (*free.graph.input, *free.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return free


def first_divergence(
    reference: onnx.ModelProto, model: onnx.ModelProto, batch: Batch, tolerance: float
) -> tuple[str, float] | None:
    """Return the first value that differs and its error relative to the reference's largest.

    Values are matched by name, so both graphs must come from this exporter. None: every value
    that both graphs have agrees.
    """
    expected = dict(AllValuesSession(reference).run(batch))
    for name, value in AllValuesSession(model).run(batch):
        if name not in expected or expected[name].shape != value.shape:
            continue
        scale = max(1.0, float(np.abs(expected[name]).max()))
        error = float(np.abs(expected[name].astype(np.float64) - value).max()) / scale
        if not error <= tolerance:
            return name, error
    return None


def _session(model: onnx.ModelProto) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

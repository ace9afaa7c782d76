"""Every value inside a graph, layer by layer, as ONNX Runtime computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snow_runtime.session import Batch

_AT_ONCE = 64
"""Values taken out of one run; a large graph's would fill the memory together."""


def run_exposed(model: onnx.ModelProto, batch: Batch) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield (name, value) of every node's outputs, in the order of the graph.

    Args:
        model: Any graph of this project's; optimisations that would merge nodes are off.
        batch: Its input.
    """
    names = [name for node in model.graph.node for name in node.output if name]
    declared = {output.name for output in model.graph.output}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in declared
    )
    session = _session(exposed)
    feed = {exposed.graph.input[0].name: batch}
    for start in range(0, len(names), _AT_ONCE):
        wanted = names[start : start + _AT_ONCE]
        yield from zip(wanted, session.run(wanted, feed), strict=True)


def first_divergence(
    reference: onnx.ModelProto, model: onnx.ModelProto, batch: Batch, tolerance: float
) -> tuple[str, float] | None:
    """Return the first value that differs and its error relative to the reference's largest.

    Values are matched by name, so both graphs must come from this exporter. None: every value
    that both graphs have agrees.
    """
    expected = dict(run_exposed(reference, batch))
    for name, value in run_exposed(model, batch):
        if name not in expected or expected[name].shape != value.shape:
            continue
        scale = max(1.0, float(np.abs(expected[name]).max()))
        error = float(np.abs(expected[name].astype(np.float64) - value).max()) / scale
        if not error <= tolerance:
            return name, error
    return None


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

"""The float graph that calibration starts from, and the values inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from snow_calibration.errors import CalibrationError
from snow_calibration.pictures import as_input
from snow_export.all_values import with_any_batch
from snow_runtime.backends.import_onnxruntime import import_onnxruntime
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest

    Values = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class FloatGraph:
    """A graph that can be calibrated.

    Attributes:
        model: Its content.
        manifest: What it says about itself.
        sha256: SHA-256 of its content, weights in other files included.
        size_bytes: Size of the same, in bytes.
    """

    model: onnx.ModelProto
    manifest: Manifest
    sha256: str
    size_bytes: int


def readouts_of(manifest: Manifest) -> frozenset[str]:
    """Return the names of the tasks that are readouts: their products stay in floating point."""
    return frozenset(task.name for task in manifest.tasks if task.scheme == "readout")


def readers_of_taps(manifest: Manifest) -> frozenset[str]:
    """Return the names of the tasks that are readouts, or have one as a part of their answer."""
    parts = (task.name for task in manifest.tasks if task.tap_selections)
    return readouts_of(manifest).union(parts)


def read_float_graph(path: Path) -> FloatGraph:
    """Read a graph that can be calibrated: of this project, in fp32, nothing quantised yet.

    Raises:
        GraphError: The file cannot be read.
        CalibrationError: It is another graph.
    """
    found = read_graph(path)
    if found.manifest is None:
        msg = f"{path} carries no manifest; calibrate a file that 'snow-deploy export' wrote"
        raise CalibrationError(msg)
    quantised = sum(node.op_type == "QuantizeLinear" for node in found.skeleton.graph.node)
    if quantised or found.manifest.precision == "int8":
        msg = (
            f"{path} is quantised already ({quantised} QuantizeLinear nodes). Calibrate the fp32 "
            "graph that it was made from."
        )
        raise CalibrationError(msg)
    if found.manifest.precision != "fp32":
        msg = (
            f"{path} is {found.manifest.precision}, expected fp32. Export it with --precision "
            "fp32; calibrate makes the rest of it half precision with --rest fp16."
        )
        raise CalibrationError(msg)
    return FloatGraph(found.model, found.manifest, found.sha256, found.size_bytes)


def observer(
    model: onnx.ModelProto, manifest: Manifest, tensors: Sequence[str]
) -> Callable[[NDArray[np.uint8]], Values]:
    """Return what maps one picture [1, S, S, 3] uint8 to the values of tensors in ONNX Runtime.

    A graph of a fixed batch is run on one picture all the same: its ranges are the same.
    """
    exposed = with_any_batch(model)
    known = {value.name for value in (*exposed.graph.output, *exposed.graph.input)}
    exposed.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in tensors if name not in known
    )
    session = open_quiet_session(exposed)
    first = model.graph.input[0]
    made = [name for name in tensors if name != first.name]

    def run(pixels: NDArray[np.uint8]) -> Values:
        feed = as_input(pixels, manifest)
        values: Values = dict(zip(made, session.run(made, {first.name: feed}), strict=True))
        if first.name in tensors:
            values[first.name] = feed.astype(np.float32, copy=False)
        return values

    return run


def open_quiet_session(model: onnx.ModelProto) -> Any:
    """Open a graph in memory on the CPU, quietly."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # as the runtime does
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

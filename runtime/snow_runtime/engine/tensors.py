"""What an engine reads and writes, and where in memory each of its outputs goes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from snow_runtime.errors import EngineError, ManifestError
from snow_runtime.graph.agreement import TensorSpec, check_agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.graph.manifest import Manifest

# TensorRT's names; it has more types, none of which an input or output of ours has
_DTYPES: Final = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
_ALIGNMENT: Final = 256  # bytes, as of all that the driver allocates


@dataclass(frozen=True)
class OutputTensor:
    """An output.

    Attributes:
        name: Its name.
        dtype: What the engine writes, float32 or float16 for logits.
        shape: Shape without the batch axis.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def size_bytes(self, rows: int) -> int:
        """Size of a batch of `rows`, rounded up to where the next output may start."""
        exact = rows * prod(self.shape) * self.dtype.itemsize
        return -(-exact // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True)
class EngineTensors:
    """What an engine reads and writes.

    Attributes:
        input_name: Name of its one input.
        input_dtype: float32 or uint8.
        picture: Axes of one picture, `[3, S, S]` or `[S, S, 3]`.
        least: The smallest batch of its first profile.
        most: The largest.
        outputs: All of them, those of no task included, for TensorRT wants to write them all.
        logits: Names of those that answer the tasks, in the manifest's order.
    """

    input_name: str
    input_dtype: np.dtype[Any]
    picture: tuple[int, int, int]
    least: int
    most: int
    outputs: tuple[OutputTensor, ...]
    logits: tuple[str, ...]

    @property
    def batch_size(self) -> int | None:
        """How many pictures every batch has; None if that is open."""
        return self.most if self.least == self.most else None

    def input_bytes(self, rows: int) -> int:
        """Size of a batch of `rows`."""
        return rows * prod(self.picture) * self.input_dtype.itemsize

    def output_bytes(self, rows: int) -> int:
        """Size of all outputs of a batch of `rows`, one after the other."""
        return sum(output.size_bytes(rows) for output in self.outputs)

    def output_starts(self, rows: int) -> dict[str, int]:
        """Give where each output of a batch of `rows` starts among them, in bytes, by name."""
        sizes = [output.size_bytes(rows) for output in self.outputs]
        starts = accumulate(sizes, initial=0)
        return {output.name: start for output, start in zip(self.outputs, starts, strict=False)}

    def view_input(self, memory: NDArray[np.uint8], rows: int) -> NDArray[Any]:
        """Show the beginning of `memory` as a batch of `rows`, `[rows, …]`."""
        flat = memory[: self.input_bytes(rows)].view(self.input_dtype)
        return flat.reshape(rows, *self.picture)

    def view_logits(self, memory: NDArray[np.uint8], rows: int) -> dict[str, NDArray[Any]]:
        """Show the tasks' outputs of a batch of `rows` in `memory`, `[rows, C]` by name."""
        outputs = {output.name: output for output in self.outputs}
        starts = self.output_starts(rows)
        views = {}
        for name in self.logits:
            dtype, shape = outputs[name].dtype, (rows, *outputs[name].shape)
            end = starts[name] + prod(shape) * dtype.itemsize
            views[name] = memory[starts[name] : end].view(dtype).reshape(shape)
        return views


def read_tensors(engine: Any, module: Any, manifest: Manifest) -> EngineTensors:
    """Ask an engine for its inputs and outputs, and check that they are the manifest's.

    Args:
        engine: TensorRT's `ICudaEngine`.
        module: The library that it is of.
        manifest: What it has to be.

    Raises:
        EngineError: They are not, or of a shape or dtype that cannot be served.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    modes = {name: engine.get_tensor_mode(name) for name in names}
    inputs = [name for name in names if modes[name] == module.TensorIOMode.INPUT]
    outputs = [name for name in names if modes[name] == module.TensorIOMode.OUTPUT]
    try:
        check_agreement(
            manifest,
            [_spec(engine, name) for name in inputs],
            [_spec(engine, name, half="float32") for name in outputs],
        )
    except ManifestError as error:
        msg = (
            f"The engine is not of its manifest. {error} Then build the engine anew with "
            "'snow-deploy build-engine'."
        )
        raise EngineError(msg) from error
    least, most = _batches(engine, inputs[0])
    return EngineTensors(
        inputs[0],
        np.dtype(_dtype(engine, inputs[0])),
        manifest.input.picture_shape(manifest.preprocessing.image_size),
        least,
        most,
        tuple(_output(engine, name, most) for name in outputs),
        tuple(manifest.outputs),
    )


def _spec(engine: Any, name: str, half: str = "float16") -> TensorSpec:
    dtype = _dtype(engine, name)
    shape = tuple(None if axis < 0 else int(axis) for axis in engine.get_tensor_shape(name))
    return TensorSpec(name, half if dtype == "float16" else dtype, shape)


def _dtype(engine: Any, name: str) -> str:
    dtype = engine.get_tensor_dtype(name)
    if dtype.name not in _DTYPES:
        msg = (
            f"The engine's tensor {name!r} is of type {dtype.name}, expected one of "
            f"{', '.join(_DTYPES)}. Build it from a graph of 'snow-deploy export'."
        )
        raise EngineError(msg)
    return _DTYPES[dtype.name]


def _batches(engine: Any, name: str) -> tuple[int, int]:
    fixed = int(engine.get_tensor_shape(name)[0])
    if fixed > 0:
        return fixed, fixed
    shapes = engine.get_tensor_profile_shape(name, 0)
    least, _, most = (int(shape[0]) for shape in shapes)
    return least, most


def _output(engine: Any, name: str, most: int) -> OutputTensor:
    batch, *shape = (int(axis) for axis in engine.get_tensor_shape(name))
    if batch not in (-1, most) or min(shape, default=1) < 1:
        msg = (
            f"The engine's output {name!r} has the shape {[batch, *shape]}, expected the batch "
            "first and the rest fixed. Build it from a graph of 'snow-deploy export'."
        )
        raise EngineError(msg)
    return OutputTensor(name, np.dtype(_dtype(engine, name)), tuple(shape))

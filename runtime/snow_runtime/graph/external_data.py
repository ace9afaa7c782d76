"""Weights that a graph keeps in files beside it: found, checked, and read only where needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import onnx
from onnx import helper
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_tensor,
    uses_external_data,
)

from snow_runtime.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LARGEST_BYTES: Final = 2**31 - 2**24
"""Of a graph in one piece: protobuf's messages end at 2 GiB, and its nodes take their share."""
SMALL_BYTES: Final = 2**18
"""Constants up to this size are read with the graph: shapes, scales and zero points are."""
_CHUNK_BYTES: Final = 2**22


@dataclass(frozen=True)
class ExternalWeights:
    """One tensor's bytes in another file.

    Attributes:
        name: The tensor's.
        file: File that they lie in.
        offset: Offset of the first, in bytes.
        size_bytes: How many they are.
    """

    name: str
    file: Path
    offset: int
    size_bytes: int


def find_external_weights(path: Path, model: onnx.ModelProto) -> tuple[ExternalWeights, ...]:
    """Return what a graph keeps in other files.

    Args:
        path: The graph's own file.
        model: Its content; weights in other files not read yet.

    Raises:
        GraphError: They lie elsewhere than in the graph's own folder, or a file is too short.
        ValueError: An offset or a length is no number, or a name none of a file.
    """
    folder = path.parent.resolve()
    found = []
    for tensor in _external(model):
        data = ExternalDataInfo(tensor)
        target = (folder / data.location).resolve()
        if not target.is_relative_to(folder) or target == folder:
            msg = (
                f"{path} keeps the weights of {tensor.name!r} in {data.location!r}, outside its "
                f"own folder; only files in {folder} are read. Move them there and save the "
                "graph anew, or save it as one file."
            )
            raise GraphError(msg)
        size_bytes = _size_bytes(tensor)
        if data.length and data.length != size_bytes:
            msg = (
                f"{path} gives the weights of {tensor.name!r} {data.length} bytes, expected "
                f"{size_bytes} for the shape {list(tensor.dims)}. Save the graph anew."
            )
            raise GraphError(msg)
        needed = (data.offset or 0) + size_bytes
        size = target.stat().st_size if target.is_file() else None
        if size is None or size < needed:
            seen = "does not exist" if size is None else f"has {size} bytes"
            msg = (
                f"{path} keeps the weights of {tensor.name!r} in {data.location!r}, which {seen}, "
                f"expected {needed} bytes or more. Copy both files again."
            )
            raise GraphError(msg)
        found.append(ExternalWeights(tensor.name, target, data.offset or 0, size_bytes))
    return tuple(found)


def read_external_weights(
    path: Path, model: onnx.ModelProto, up_to: int | None = None
) -> onnx.ModelProto:
    """Read weights from other files into a model, in place, and return it.

    Args:
        path: The graph's own file.
        model: Its content; checked by `find_external_weights`.
        up_to: Largest tensor that is read, in bytes; None reads all.

    Raises:
        OSError: A file cannot be read.
    """
    for tensor in _external(model):
        if up_to is None or _size_bytes(tensor) <= up_to:
            load_external_data_for_tensor(tensor, str(path.parent))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    return model


def hash_with_weights(content_sha256: str, weights: Iterable[ExternalWeights]) -> str:
    """Return the SHA-256 (hex) of a graph's own hash and of its weights in other files.

    Raises:
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256(content_sha256.encode())
    for part in weights:
        with part.file.open("rb") as stream:
            stream.seek(part.offset)
            left = part.size_bytes
            while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()


def _external(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from (tensor for tensor in _tensors(model) if uses_external_data(tensor))


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant of a graph, of its functions and of the graphs inside its nodes."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _of_graph(inner)


def _size_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes a tensor's values take, packed as ONNX packs them.

    Raises:
        ValueError: It has no type of a fixed size.
    """
    count = 1
    for axis in tensor.dims:
        count *= axis
    bits = _BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    if bits is None:
        try:
            bits = 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except KeyError as error:
            msg = f"the type of {tensor.name!r} has no size"
            raise ValueError(msg) from error
    return -(-count * bits // 8)


_BITS: Final = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
"""Types of which several share a byte."""

"""A graph's file as stretches: its large tensors, each by its name, and the structure around them.

The stretches put together are the file again, byte for byte: nothing is parsed and written anew.
Tensors are found where protobuf's encoding has them; in a file that holds none, or that is encoded
otherwise, there is one stretch.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from snow_runtime.update.release import LARGEST_PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRUCTURE: Final = ""
"""Name of the stretches that are no tensor."""
LEAST_BYTES: Final = 1 << 16
"""Smaller tensors stay in the structure, which is compressed against the one before."""
_GRAPH, _INITIALIZER, _NAME, _RAW_DATA = 7, 5, 8, 9  # fields of onnx.proto
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Stretch:
    """Some bytes of a file.

    Attributes:
        name: Name of the tensor, with the number of its part; empty for the structure.
        offset: Where it begins, in bytes.
        size_bytes: How many bytes it has.
    """

    name: str
    offset: int
    size_bytes: int


def stretches_of(path: Path, tensors: list[Stretch] | None = None) -> list[Stretch]:
    """Cut a file into stretches, in their order.

    Args:
        path: The file.
        tensors: Its large tensors, where they are known; None looks for those of an ONNX graph.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    if tensors is None:
        tensors = graph_tensors(path) if path.suffix == ".onnx" else []
    found: list[Stretch] = []
    end = 0
    for tensor in sorted(tensors, key=lambda each: each.offset):
        if tensor.size_bytes < LEAST_BYTES or tensor.offset < end:
            continue
        found += _pieces(STRUCTURE, end, tensor.offset)
        end = tensor.offset + tensor.size_bytes
        found += _pieces(tensor.name, tensor.offset, end)
    return [*found, *_pieces(STRUCTURE, end, size)]


def graph_tensors(path: Path) -> list[Stretch]:
    """Return where an ONNX file keeps the values of its large constants; of another file, none."""
    if not path.stat().st_size:
        return []
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            return list(_tensors(content))
        except (IndexError, ValueError):  # it is no protobuf
            return []


def external_tensors(path: Path) -> dict[Path, list[Stretch]]:
    """Return what a graph keeps in other files, by file.

    Raises:
        GraphError: It cannot be read.
    """
    from snow_runtime.graph.onnx_file import read_graph

    found: dict[Path, list[Stretch]] = {}
    for part in read_graph(path).weights:
        stretch = Stretch(part.name, part.offset, part.size_bytes)
        found.setdefault(part.file, []).append(stretch)
    return found


def _pieces(name: str, begin: int, end: int) -> Iterator[Stretch]:
    """Cut a stretch where it is larger than a piece may be."""
    for number, offset in enumerate(range(begin, end, LARGEST_PIECE_BYTES)):
        own = f"{name}#{number}" if name else STRUCTURE
        yield Stretch(own, offset, min(LARGEST_PIECE_BYTES, end - offset))


def _tensors(content: mmap.mmap) -> Iterator[Stretch]:
    for number, offset, size in _fields(content, 0, len(content)):
        if number != _GRAPH:
            continue
        for inner, at, length in _fields(content, offset, offset + size):
            if inner == _INITIALIZER:
                yield from _values(content, at, at + length)


def _values(content: mmap.mmap, begin: int, end: int) -> Iterator[Stretch]:
    name, values = "", None
    for number, offset, size in _fields(content, begin, end):
        if number == _NAME:
            name = content[offset : offset + size].decode()
        elif number == _RAW_DATA:
            values = (offset, size)
    if name and values is not None:
        yield Stretch(name, *values)


def _fields(content: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, the place and the size of each field of a message that has a length.

    Raises:
        ValueError, IndexError: It is no message.
    """
    at = begin
    while at < end:
        key, at = _varint(content, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _LENGTH:
            size, at = _varint(content, at)
            if at + size > end:
                msg = "a field is longer than its message"
                raise ValueError(msg)
            yield key >> 3, at, size
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            msg = f"kind {kind} is none of a field"
            raise ValueError(msg)
    if at != end:
        msg = "a message ends within a field"
        raise ValueError(msg)


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            msg = "a number has more than 64 bits"
            raise ValueError(msg)

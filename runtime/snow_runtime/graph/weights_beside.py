"""A graph with the weights that may lie beside it, on machines that have no `onnx` too.

Those do not tell which files a graph's weights lie in, and take it for its one file.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from snow_runtime.files import sha256_file

if TYPE_CHECKING:
    from pathlib import Path


def sha256_of_graph(path: Path) -> str:
    """Return the SHA-256 (hex) of a graph, of the weights beside it too.

    Raises:
        GraphError: It is no graph that can be read.
        OSError: It cannot be read.
    """
    if not _has_onnx():
        return sha256_file(path)
    from snow_runtime.graph.onnx_file import read_graph

    return read_graph(path).sha256


def whole_graph(path: Path) -> bytes:
    """Return a graph as one file, with the weights beside it in it.

    Raises:
        GraphError: It is no graph that can be read, or is too large for one file.
        OSError: It cannot be read.
    """
    if _has_onnx():
        from snow_runtime.graph.onnx_file import read_graph

        graph = read_graph(path)
        if graph.weights:
            return bytes(graph.model.SerializeToString())
    return path.read_bytes()


def _has_onnx() -> bool:
    return importlib.util.find_spec("onnx") is not None

"""What a path holds: tells stores, their files and graphs apart. Imports torch for stores only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.errors import SnowDeployError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_export.inspection import Inspection

_ENGINES = (".engine", ".plan", ".trt")


def inspect_path(path: Path) -> Inspection:
    """Tell what a store's folder, one of its files or a graph holds.

    Raises:
        SnowError: It is none of them, or damaged; the message says which.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        from snow_deploy.inspect_store import inspect_store

        return inspect_store(path)
    if suffix == ".onnx":
        from snow_export.inspect_graph import inspect_graph

        return inspect_graph(path)
    if suffix == ".safetensors":
        from snow_deploy.inspect_store import inspect_stored_file

        return inspect_stored_file(path)
    if path.name.lower().endswith((*_ENGINES, ".engine.json")):
        msg = (
            f"{path} is an engine, and engines cannot be inspected yet; expected a store, one of "
            "its files or a graph. Inspect the graph that the engine was built from."
        )
        raise SnowDeployError(msg)
    what = "is of no kind known here" if path.exists() else "does not exist"
    msg = (
        f"{path} {what}, expected a store's folder, a source or task in it (.safetensors) or a "
        "graph (.onnx). Check the path."
    )
    raise SnowDeployError(msg)

"""What a path holds: tells stores, their files, graphs, engines and readouts apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.errors import SnowDeployError
from snow_runtime.model import is_engine
from snow_runtime.readout.file import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from snow_export.inspect.inspection import Inspection

_RECORD = ".engine.json"


def inspect_path(path: Path) -> Inspection:
    """Tell what a store's folder, one of its files, a graph, an engine or a readout holds.

    Raises:
        SnowError: It is none of them, or damaged; the message says which.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        from snow_deploy.stages.inspect_store import inspect_store

        return inspect_store(path)
    if suffix == ".onnx":
        from snow_export.inspect.inspect_graph import inspect_graph

        return inspect_graph(path)
    if suffix == ".safetensors":
        from snow_deploy.stages.inspect_store import inspect_stored_file

        return inspect_stored_file(path)
    if suffix == SUFFIX:
        from snow_export.inspect.inspect_readout import inspect_readout

        return inspect_readout(path)
    if path.name.endswith(_RECORD):
        path = path.with_name(path.name.removesuffix(".json"))
    if is_engine(path):
        from snow_export.inspect.inspect_engine import inspect_engine

        return inspect_engine(path)
    what = "is of no kind known here" if path.exists() else "does not exist"
    msg = (
        f"{path} {what}, expected a store's folder, a source or task in it (.safetensors), a "
        "graph (.onnx), an engine (.engine) or a readout (.readout). Check the path."
    )
    raise SnowDeployError(msg)

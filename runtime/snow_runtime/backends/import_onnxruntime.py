"""Importing ONNX Runtime so that it sends nothing anywhere.

From version 1.29 on its Linux wheels report each process and session to Microsoft, and write a
device id and a database below `~/.cache/Microsoft` (microsoft/onnxruntime#27379). It decides once,
when it is first imported in a process. An application that imports it before this package does
decides for itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from types import ModuleType

OPT_OUT: Final = "ORT_DISABLE_TELEMETRY"
"""The variable that ONNX Runtime looks at; a value that the user gave it stays."""


def silence_onnxruntime() -> None:
    """Tell an ONNX Runtime that is not imported yet to send nothing, unless the user said else."""
    os.environ.setdefault(OPT_OUT, "1")


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off. The only way in: ruff refuses any other.

    Raises:
        MissingDependencyError: It is not installed, or cannot be loaded here.
    """
    silence_onnxruntime()
    try:
        import onnxruntime  # noqa: TID251 - here, and nowhere else
    except ImportError as error:
        install = f"{pip_install('cpu')} (with an NVIDIA GPU: {pip_install('gpu')})"
        msg = f"ONNX Runtime runs the graph and cannot be imported: {error}. Install it: {install}."
        raise MissingDependencyError(msg) from error
    module: ModuleType = onnxruntime
    return module

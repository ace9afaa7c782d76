"""What ships to the device: load an exported SNOW graph and ask it about pictures.

>>> import snow_runtime
>>> with snow_runtime.load("snow.onnx") as model:  # doctest: +SKIP
...     result = model(snow_runtime.load_image("photo.jpg"))
...     print(result["food"].label, result["food"].probability)

Importing this package costs next to nothing: NumPy, Pillow and ONNX Runtime are loaded when a
function that needs them is first used. PyTorch is never imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from snow_runtime._version import __version__
from snow_runtime.errors import (
    BuiltElsewhereError,
    CameraError,
    EngineError,
    GraphError,
    HalfError,
    InputError,
    ManifestError,
    MissingDependencyError,
    SnowError,
)

if TYPE_CHECKING:
    from snow_runtime.cameras import CameraGroup, open_camera
    from snow_runtime.graph.manifest import Manifest
    from snow_runtime.model import Model, load
    from snow_runtime.pictures.arrays import OnStream
    from snow_runtime.pictures.preprocessing import load_image, prepare
    from snow_runtime.results import Result, TaskResult
    from snow_runtime.swap import SwappableModel

__all__ = [
    "BuiltElsewhereError",
    "CameraError",
    "CameraGroup",
    "EngineError",
    "GraphError",
    "HalfError",
    "InputError",
    "Manifest",
    "ManifestError",
    "MissingDependencyError",
    "Model",
    "OnStream",
    "Result",
    "SnowError",
    "SwappableModel",
    "TaskResult",
    "__version__",
    "load",
    "load_image",
    "open_camera",
    "prepare",
]

_LAZY = {
    "CameraGroup": "cameras",
    "open_camera": "cameras",
    "Manifest": "graph.manifest",
    "Model": "model",
    "OnStream": "pictures.arrays",
    "Result": "results",
    "SwappableModel": "swap",
    "TaskResult": "results",
    "load": "model",
    "load_image": "pictures.preprocessing",
    "prepare": "pictures.preprocessing",
}

if not TYPE_CHECKING:  # hidden from type checkers, which would let any misspelt name through

    def __getattr__(name: str) -> object:
        """Import a public name from its module on first use (PEP 562)."""
        if name not in _LAZY:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names, the lazy ones included."""
    return sorted({*globals(), *__all__})

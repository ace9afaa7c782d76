"""What the Python bindings of a TensorRT offer to those who build and inspect engines.

`surfaces/` holds it for the versions that the engine package has to work with. A file is made by

    python surface.py tensorrt_bindings > surfaces/tensorrt-11.4.json

where that version's bindings can be imported (`pip install tensorrt-cu13-bindings`, without its
libraries): the bindings need TensorRT's libraries for nine C functions only, none of which is
called on import, so libraries made of a few lines of C take their place.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

SURFACES: Final = Path(__file__).with_name("surfaces")

CLASSES: Final = (
    "Builder",
    "IBuilderConfig",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITimingCache",
    "INetworkDefinition",
    "ILayer",
    "ITensor",
    "OnnxParser",
    "OnnxParserRefitter",
    "ParserError",
    "Refitter",
    "Runtime",
    "IRuntimeConfig",
    "ICudaEngine",
    "IExecutionContext",
    "EngineInspector",
    "IHostMemory",
    "ILogger",
    "ISerializationConfig",
)
ENUMERATIONS: Final = (
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "OnnxParserFlag",
    "ComputeCapability",
    "HardwareCompatibilityLevel",
    "ProfilingVerbosity",
    "MemoryPoolType",
    "LayerInformationFormat",
    "DeviceType",
    "DataType",
    "LayerType",
    "TensorIOMode",
    "TensorLocation",
    "EngineValidity",
    "EngineInvalidityDiagnostics",
    "SerializationFlag",
    "EngineStat",
    "ILogger.Severity",
)
_LEFT_OUT: Final = {"INetworkDefinition": "add_"}  # how networks are made without ONNX

_C: Final = """
void* createInferBuilder_INTERNAL(void) { return 0; }
void* createInferRefitter_INTERNAL(void) { return 0; }
void* createInferRuntime_INTERNAL(void) { return 0; }
void* createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
void* createNvOnnxParser_INTERNAL(void) { return 0; }
void* getBuilderPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
void* getPluginRegistry(void) { return 0; }
int initLibNvInferPlugins(void) { return 0; }
"""
_LIBRARY: Final = re.compile(rb"(?<=\0)(libnv(?:infer|infer_plugin|onnxparser)\.so\.\d+)(?=\0)")


def read(name: str) -> dict[str, Any]:
    """Read one of the committed surfaces, such as `tensorrt-10.3`."""
    found: dict[str, Any] = json.loads((SURFACES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def names() -> list[str]:
    return sorted(path.stem for path in SURFACES.glob("*.json"))


def dump(module: Any) -> dict[str, Any]:
    """List the public names of its classes, and the members of its enumerations with their values.

    What the version lacks is absent.
    """
    classes = {}
    for name in CLASSES:
        if hasattr(module, name):
            public = (it for it in dir(getattr(module, name)) if not it.startswith("_"))
            unwanted = _LEFT_OUT.get(name)
            classes[name] = sorted(it for it in public if not unwanted or unwanted not in it)
    enumerations = {}
    for name in ENUMERATIONS:
        outer, _, inner = name.partition(".")
        found = getattr(module, outer, None)
        found = getattr(found, inner) if inner else found
        if found is not None:
            values = {key: int(value) for key, value in found.__members__.items()}
            enumerations[name] = dict(sorted(values.items(), key=lambda it: (it[1], it[0])))
    return {
        "version": str(module.__version__),
        "classes": dict(sorted(classes.items())),
        "enumerations": dict(sorted(enumerations.items())),
    }


def to_text(surface: dict[str, Any]) -> str:
    """Write a surface as JSON with a class on each line."""
    parts = [f'{{\n"version": {json.dumps(surface["version"])}']
    for kind in ("classes", "enumerations"):
        lines = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(members)}" for name, members in surface[kind].items()
        )
        parts.append(f'"{kind}": {{\n{lines}\n}}')
    return ",\n".join(parts) + "\n}\n"


def load(name: str) -> Any:
    """Import bindings; where their libraries are missing, over stand-ins of these.

    Only in a process of its own: the stand-ins stay loaded.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if "cannot open shared object file" not in str(error):
            raise
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    with tempfile.TemporaryDirectory() as folder:
        for binding in Path(spec.origin).parent.glob("*.so"):
            # The loader takes a library that is loaded already for the one of the same soname.
            for library in sorted(set(_LIBRARY.findall(binding.read_bytes()))):
                ctypes.CDLL(str(_compile(Path(folder), library.decode())))
        return importlib.import_module(name)


def _compile(folder: Path, soname: str) -> Path:
    source, library = folder / "library.c", folder / soname
    source.write_text(_C, encoding="utf-8")
    options = ["-shared", "-fPIC", f"-Wl,-soname,{soname}"]
    subprocess.run(["cc", *options, "-o", library, source], check=True)
    return library


def main() -> None:
    sys.stdout.write(to_text(dump(load(sys.argv[1]))))


if __name__ == "__main__":
    main()

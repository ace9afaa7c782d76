"""The runtime: loading, inspecting and refitting engines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from tests.runtime.engine.standin_parts.build import HEADER_BYTES
from tests.runtime.engine.standin_parts.gate import Enumeration, Gated
from tests.runtime.engine.standin_parts.graph import UnreadableError, read_graph
from tests.runtime.engine.standin_parts.network import MEMBERS, need, start
from tests.runtime.engine.standin_parts.text import engine_to_json, engine_to_lines

if TYPE_CHECKING:
    from tests.runtime.engine.standin_parts.network import ILogger


class Runtime(Gated):
    _data: ClassVar[dict[str, Any]] = {"DLA_core": -1, "engine_host_code_allowed": False}

    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        start(self, logger)
        self._values["engine_header_size"] = HEADER_BYTES

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._standin.behaviour.dla_cores

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        content = bytes(serialized_engine)
        fault, _ = self._examine(content)
        if fault is None:
            try:
                plan = json.loads(content[HEADER_BYTES:])
            except ValueError:
                fault = "Serialization assertion failed: the plan is damaged"
        if fault is not None:
            self._standin.log("ERROR", f"IRuntime::deserializeCudaEngine: {fault}")
            return None
        return self._standin.make("ICudaEngine", plan)

    def get_engine_validity(self, buffer: bytes) -> tuple[Any, int]:
        fault, diagnostics = self._examine(bytes(buffer))
        valid = "VALID" if fault is None else "INVALID"
        return self._standin.member("EngineValidity", valid), diagnostics

    def _examine(self, content: bytes) -> tuple[str | None, int]:
        """Return why a plan cannot be loaded, and the bit of it in EngineInvalidityDiagnostics."""
        standin = self._standin
        magic, _, rest = content[:HEADER_BYTES].partition(b" ")
        words = rest.decode(errors="replace").split()
        if magic != (b"vtrt" if standin._rtx else b"ftrt") or len(words) != 2:
            return "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.", 32
        version, targets = words
        gpu = standin.behaviour.gpu
        if version != standin.__version__ and b"VERSION_COMPATIBLE" not in content:
            return f"expecting library version {standin.__version__} got {version}, rebuild", 1
        if gpu is None:
            return "CUDA driver version is insufficient for CUDA runtime version", 0
        if gpu not in targets.split(",") and b'"compatible": true' not in content:
            return f"generated on an incompatible device, expecting {targets} got {gpu}", 2
        return None, 0


class ICudaEngine(Gated):
    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        self._plan = plan
        self._io: dict[str, dict[str, Any]] = {it["Name"]: it for it in plan["io"]}
        self._values = {
            "num_layers": plan["num_layers"],
            "num_io_tensors": len(self._io),
            "num_optimization_profiles": 1,
            "refittable": bool({"REFIT", "STRIP_PLAN"} & set(plan["flags"])),
            "profiling_verbosity": self._standin.member("ProfilingVerbosity", plan["verbosity"]),
        }

    def get_tensor_name(self, index: int) -> str:
        return list(self._io)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self._standin.member("TensorIOMode", self._io[name]["IOMode"].upper())

    def get_tensor_dtype(self, name: str) -> Any:
        dtype = self._io[name]["DataType"]
        return self._standin.member("DataType", MEMBERS.get(dtype, dtype.upper()))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._io[name]["Dimensions"])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        profile = self._io[name]["ProfileInfo"][profile_index]
        return [tuple(profile[it]) for it in ("MinShape", "OptShape", "MaxShape")]

    def create_engine_inspector(self) -> Any:
        return self._standin.make("EngineInspector", self._plan)


class EngineInspector(Gated):
    _data: ClassVar[dict[str, Any]] = {"execution_context": None}

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        self._plan = plan

    def get_engine_information(self, format: Enumeration) -> str:  # noqa: A002
        layers, io = self._plan["layers"], self._plan["io"]
        if format._name == "JSON":
            return engine_to_json(layers, io, self._standin._style)
        return engine_to_lines(layers, io)


class Refitter(Gated):
    def __init__(self, engine: ICudaEngine, logger: ILogger) -> None:
        super().__init__()
        need(logger)
        if not engine._values["refittable"]:
            self._standin.log("ERROR", "The engine was not built with REFIT or STRIP_PLAN.")
            msg = "pybind11::init(): factory function returned nullptr"
            raise TypeError(msg)
        self._engine = engine

    def get_missing_weights(self) -> list[str]:
        return [] if self._engine._plan["weights"] else ["weights"]

    def refit_cuda_engine(self) -> bool:
        return bool(self._engine._plan["weights"])


class OnnxParserRefitter(Gated):
    def __init__(self, refitter: Refitter, logger: ILogger) -> None:
        super().__init__()
        need(logger)
        self._refitter = refitter
        self._errors: list[UnreadableError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._standin.make("ParserError", self._errors[index])

    def refit_from_bytes(self, model: bytes) -> bool:
        try:
            read_graph(model)
        except UnreadableError as error:
            self._errors.append(error)
            return False
        self._refitter._engine._plan["weights"] = "w"
        return True

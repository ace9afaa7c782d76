"""The builder, its configuration and the plans that it makes."""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING, Any, ClassVar

from tests.runtime.engine.standin_parts.gate import Enumeration, Gated
from tests.runtime.engine.standin_parts.graph import Compiled, compile_graph
from tests.runtime.engine.standin_parts.network import start
from tests.runtime.engine.standin_parts.text import engine_to_lines, io_to_dict, layer_to_dict

if TYPE_CHECKING:
    from tests.runtime.engine.standin import StandIn
    from tests.runtime.engine.standin_parts.graph import Graph
    from tests.runtime.engine.standin_parts.network import (
        ILogger,
        INetworkDefinition,
        IOptimizationProfile,
    )

HEADER_BYTES = 64
_NO_TIMING_CACHE = "TensorRT-RTX 1.2. Timing cache operations are no-ops in TensorRT-RTX."


class ITimingCache(Gated):
    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    def serialize(self) -> Any:
        self._standin.deprecated(_NO_TIMING_CACHE)
        return self._standin.make("IHostMemory", self._content)

    def reset(self) -> bool:
        self._standin.deprecated(_NO_TIMING_CACHE)
        self._content = self._content[:HEADER_BYTES]
        return True


class IBuilderConfig(Gated):
    _data: ClassVar[dict[str, Any]] = {
        "profiling_verbosity": ("ProfilingVerbosity", "LAYER_NAMES_ONLY"),
        "hardware_compatibility_level": ("HardwareCompatibilityLevel", "NONE"),
        "default_device_type": ("DeviceType", "GPU"),
        "DLA_core": -1,
        "builder_optimization_level": 3,
        "avg_timing_iterations": 1,
        "max_aux_streams": -1,
        "num_compute_capabilities": 0,
        "progress_monitor": None,
    }

    def __init__(self) -> None:
        super().__init__()
        self._flags = {"TF32"}
        self._limits: dict[str, int] = {"WORKSPACE": 1 << 40}
        self._targets: dict[int, str] = {}
        self._profiles: list[IOptimizationProfile] = []
        self._timing_cache: ITimingCache | None = None

    def set_flag(self, flag: Enumeration) -> None:
        self._flags.add(flag._name)

    def clear_flag(self, flag: Enumeration) -> None:
        self._flags.discard(flag._name)

    def get_flag(self, flag: Enumeration) -> bool:
        return flag._name in self._flags

    def set_memory_pool_limit(self, pool: Enumeration, pool_size: int) -> None:
        self._limits[pool._name] = pool_size

    def get_memory_pool_limit(self, pool: Enumeration) -> int:
        return self._limits.get(pool._name, 0)

    def set_compute_capability(self, compute_capability: Enumeration, index: int) -> bool:
        if index >= self._values["num_compute_capabilities"]:
            self._standin.log("ERROR", "Index of compute capability is not in a valid range.")
            return False
        self._targets[index] = compute_capability._name.lower()
        return True

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not profile._is_valid():
            self._standin.log("ERROR", "Invalid optimization profiles.")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        content = bytes(serialized_timing_cache)
        if self._standin._rtx and content:
            self._standin.log("WARNING", "Failed to deserialize timing cache.")
            content = b""
        return self._standin.make("ITimingCache", content or self._cache_header())

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self._standin.deprecated(_NO_TIMING_CACHE)
        if not isinstance(cache, ITimingCache):
            msg = "set_timing_cache(): incompatible function arguments"
            raise TypeError(msg)
        header, own = cache._content[:HEADER_BYTES], self._cache_header()
        same = header[:32] == own[:32] if ignore_mismatch else header == own
        if not same:
            self._standin.log("ERROR", "The timing cache was made by another TensorRT or GPU.")
            return False
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> Any:
        self._standin.deprecated(_NO_TIMING_CACHE)
        return self._timing_cache

    def _cache_header(self) -> bytes:
        standin = self._standin
        version = f"ptrt {standin.__version__}".encode().ljust(32)
        return version + (standin.behaviour.gpu or "").encode().ljust(32)


class CanceledError(Exception):
    """The progress monitor has said no."""


class Builder(Gated):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        start(self, logger)

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._standin.behaviour.dla_cores

    def create_network(self, flags: int = 0) -> Any:
        known = self._standin._classes["NetworkDefinitionCreationFlag"].__members__.values()
        if flags & ~sum(1 << int(it) for it in known):
            self._standin.log("ERROR", f"Unknown network creation flags {flags}.")
            return None
        return self._standin.make("INetworkDefinition", flags)

    def create_builder_config(self) -> Any:
        return self._standin.make("IBuilderConfig")

    def create_optimization_profile(self) -> Any:
        return self._standin.make("IOptimizationProfile")

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        failure = self._standin.behaviour.fails_to_build or self._fault(network, config)
        try:
            self._report(config, failed=failure is not None)
        except CanceledError:
            failure = "Error Code 7: BuildCanceled (Build canceled by user)"
        if failure is not None:
            self._standin.log("ERROR", f"IBuilder::buildSerializedNetwork: {failure}")
            return None
        if config._timing_cache is not None and not self._standin._rtx:
            config._timing_cache._content = config._cache_header() + b"tactics"
        plan = _plan(self._standin, network._graph, config)
        detailed = config._values["profiling_verbosity"]._name == "DETAILED"
        if self._standin._rtx and detailed and self._standin.behaviour.lists_layers:
            self._standin.log("VERBOSE", engine_to_lines(plan["layers"], plan["io"]))
        return self._standin.make("IHostMemory", _pack(self._standin, plan))

    def _fault(self, network: INetworkDefinition, config: IBuilderConfig) -> str | None:
        graph, values = network._graph, config._values
        if not graph.outputs:
            return "Error Code 4: API Usage Error (Network must have at least one output)"
        given = config._profiles[0]._shapes if config._profiles else {}
        if any(-1 in it.shape and it.name not in given for it in graph.inputs):
            return "Error Code 4: API Usage Error (no optimization profile has been defined)"
        on_dla = values["default_device_type"]._name == "DLA"
        if on_dla and not 0 <= values["DLA_core"] < self._standin.behaviour.dla_cores:
            return "Error Code 3: API Usage Error (DLA core is not in a valid range)"
        return None

    def _report(self, config: IBuilderConfig, *, failed: bool) -> None:
        """Go through nested phases; on cancelling, open ones are finished too."""
        monitor, behaviour = config._values["progress_monitor"], self._standin.behaviour
        if monitor is None:
            return

        def step(phase: str, number: int) -> None:
            if behaviour.at_step is not None:
                behaviour.at_step(phase, number)
            try:
                goes_on = monitor.step_complete(phase, number)
            except BaseException:  # noqa: BLE001 - TensorRT prints what a callback raises, and stops
                traceback.print_exc(file=sys.stderr)
                goes_on = False
            if not goes_on:
                raise CanceledError

        outer, inner = "Building engine", "Timing graph nodes"
        opened: list[str] = []
        try:
            for phase, parent in ((outer, None), (inner, outer)):
                monitor.phase_start(phase, parent, behaviour.steps)
                opened.append(phase)
            for number in range(1 if failed else behaviour.steps):
                step(inner, number)
            monitor.phase_finish(opened.pop())
            for number in range(0 if failed else behaviour.steps):
                step(outer, number)
        finally:
            for phase in reversed(opened):
                monitor.phase_finish(phase)


def _plan(standin: StandIn, graph: Graph, config: IBuilderConfig) -> dict[str, Any]:
    verbosity = config._values["profiling_verbosity"]._name
    compiled = compile_graph(graph, standin.behaviour.computes_in or {})
    if standin._style != "sentence":  # streams are the compiler backend's
        compiled.append(Compiled("", "signal"))
    layers = [layer_to_dict(it, index, standin._style) for index, it in enumerate(compiled)]
    if not standin.behaviour.names_nodes:
        layers = [{**it, "Metadata": ""} for it in layers]
    listed = {"DETAILED": layers, "LAYER_NAMES_ONLY": [it["Name"] for it in layers], "NONE": []}
    shapes = config._profiles[0]._shapes if config._profiles else {}
    io = [io_to_dict(it, "Input", shapes.get(it.name, (it.shape,) * 3)) for it in graph.inputs]
    io += [io_to_dict(it, "Output", ()) for it in graph.outputs]
    targets = [target for _, target in sorted(config._targets.items())] if standin._rtx else []
    return {
        "targets": targets or [standin.behaviour.gpu or "sm86"],
        "compatible": config._values["hardware_compatibility_level"]._name != "NONE",
        "flags": sorted(config._flags),
        "num_layers": len(layers),
        "layers": listed[verbosity],
        "verbosity": verbosity,
        "io": io,
        "weights": "" if "STRIP_PLAN" in config._flags else "w" * 4096,
    }


def _pack(standin: StandIn, plan: dict[str, Any]) -> bytes:
    head = f"{'v' if standin._rtx else 'f'}trt {standin.__version__} {','.join(plan['targets'])}"
    assert len(head) <= HEADER_BYTES
    return head.encode().ljust(HEADER_BYTES) + json.dumps(plan).encode()

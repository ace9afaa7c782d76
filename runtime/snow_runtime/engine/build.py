"""Compiling a graph into a plan, by whichever TensorRT is here.

The network is strongly typed in all versions: what a layer computes in is what the graph says.
"""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snow_runtime.engine.backend import find_backend, start_tensorrt
from snow_runtime.engine.configure import TensorShapes, add_profile, configure
from snow_runtime.engine.layers import SYNCHRONISATION, parse_inspection, parse_log
from snow_runtime.engine.log import collect_log
from snow_runtime.engine.options import BuildOptions
from snow_runtime.engine.progress import BuildProgress
from snow_runtime.errors import EngineError, GraphError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.engine.backend import Backend
    from snow_runtime.engine.layers import CompiledLayer
    from snow_runtime.engine.log import Log
    from snow_runtime.progress import ProgressCallback


@dataclass(frozen=True)
class CompiledPlan:
    """A compiled plan.

    Attributes:
        backend: What compiled it, by name.
        version: Version of that library.
        options: What it was to be.
        content: The plan itself.
        layers: All of them, synchronisation included.
        convolutions: ONNX names of the network's convolutions and matrix products.
        inputs: Their shapes.
        build_s: Time that compiling took, in seconds.
        timing_cache: What was learnt about kernels, for the next build; empty where nothing is.
        notices: What did not go as asked for, in sentences.
    """

    backend: str
    version: str
    options: BuildOptions
    content: bytes = field(repr=False)
    layers: tuple[CompiledLayer, ...] = field(repr=False)
    convolutions: tuple[str, ...] = field(repr=False)
    inputs: tuple[TensorShapes, ...]
    build_s: float
    timing_cache: bytes = field(default=b"", repr=False)
    notices: tuple[str, ...] = ()

    @property
    def compute_layers(self) -> tuple[CompiledLayer, ...]:
        """The layers that launch a kernel."""
        return tuple(layer for layer in self.layers if layer.kind not in SYNCHRONISATION)

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values; the layers only counted."""
        compute = self.compute_layers
        return {
            "backend": self.backend,
            "version": self.version,
            "targets": list(self.options.targets),
            "batch": self.options.batches[1],
            "build_s": round(self.build_s, 3),
            "plan_bytes": len(self.content),
            "compute_layers": len(compute),
            "by_kind": dict(Counter(layer.kind for layer in compute).most_common()),
            "by_dtype": dict(Counter(layer.dtype for layer in compute).most_common()),
            "synchronisation_layers": len(self.layers) - len(compute),
        }


def compile_graph(
    content: bytes, target: str = "sm86", *, batch: int = 1, beside: Path | None = None
) -> CompiledPlan:
    """Compile an ONNX graph with TensorRT-RTX as it is, for a GPU that need not be here.

    Args:
        content: A serialised ONNX model.
        target: One of :data:`snow_runtime.engine.backend.TARGETS`.
        batch: Pictures a run, where the graph leaves it open.
        beside: The file beside which the weights lie that are not in `content`.

    Raises:
        MissingDependencyError: TensorRT-RTX is not installed.
        GraphError: It cannot read the graph.
        EngineError: It does not know the target, or cannot compile the graph.
    """
    backend = find_backend("tensorrt-rtx")
    options = BuildOptions(targets=(target,)).with_batches(batch, batch, batch)
    return build_plan(content, backend, options, beside=beside)


def build_plan(
    content: bytes,
    backend: Backend,
    options: BuildOptions,
    *,
    beside: Path | None = None,
    workspace_bytes: int | None = None,
    timing_cache: bytes = b"",
    progress: ProgressCallback | None = None,
) -> CompiledPlan:
    """Compile an ONNX graph.

    Args:
        content: A serialised ONNX model in the precision that the options name.
        backend: What to compile with.
        options: What the plan is to be.
        beside: The file beside which the weights lie that are not in `content`.
        workspace_bytes: What a layer may use here, where that is not what the options ask for.
        timing_cache: What earlier builds have learnt; ignored where it comes from elsewhere.
        progress: Callback that gets the phase and the share of the whole that is done.

    Raises:
        GraphError: TensorRT cannot read the graph.
        EngineError: It cannot do what the options ask for, or cannot compile the graph.
        KeyboardInterrupt: Ctrl-C was pressed; nothing is left behind.
    """
    build_progress = BuildProgress(progress)
    with (
        warnings.catch_warnings(),
        collect_log(backend.module) as log,
        build_progress.interruptible(),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # of what one version keeps for others
        limit = workspace_bytes if workspace_bytes is not None else options.workspace_bytes
        # A function of its own: TensorRT's objects die, and talk while they do, before Ctrl-C may
        # raise again. It would be lost in their callbacks.
        return _build(
            content,
            backend,
            options,
            log,
            build_progress,
            beside=beside,
            workspace_bytes=limit,
            timing_cache=timing_cache,
        )


def _build(
    content: bytes,
    backend: Backend,
    options: BuildOptions,
    log: Log,
    progress: BuildProgress,
    *,
    beside: Path | None,
    workspace_bytes: int | None,
    timing_cache: bytes,
) -> CompiledPlan:
    trt = backend.module
    builder = start_tensorrt(backend, trt.Builder, log)
    network, parser = _parse(backend, builder, content, beside, log)
    config = configure(backend, builder, options)
    if workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    inputs = add_profile(builder, network, config, options)
    notices = _use_timing_cache(backend, config, timing_cache)
    config.progress_monitor = progress.monitor(trt)
    began = time.perf_counter()
    serialised = builder.build_serialized_network(network, config)
    build_s = time.perf_counter() - began
    if serialised is None:
        if progress.failure is not None:
            raise progress.failure
        if progress.interrupted:
            raise KeyboardInterrupt
        raise _cannot_compile(backend, options, log)
    content = bytes(serialised)
    convolutions = _convolutions(trt, network)
    learnt = _learnt(backend, config)
    del parser, serialised  # the parser owns the weights that the network reads: not before this
    return CompiledPlan(
        backend=backend.name,
        version=backend.version,
        options=options,
        content=content,
        layers=_layers(backend, content, options, log),
        convolutions=convolutions,
        inputs=inputs,
        build_s=build_s,
        timing_cache=learnt,
        notices=tuple(notices),
    )


def _parse(
    backend: Backend, builder: Any, content: bytes, beside: Path | None, log: Log
) -> tuple[Any, Any]:
    """Read the graph into a strongly typed network."""
    trt = backend.module
    # TensorRT 11 has deprecated the flag: all its networks are strongly typed.
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(content, *([] if beside is None else [str(beside)])):
        why = _first_error(parser, log)
        msg = (
            f"{backend.title} cannot read the graph: {why} Export it again with 'snow-deploy "
            "export'; other graphs may hold operators that TensorRT lacks."
        )
        raise GraphError(msg)
    return network, parser


def _use_timing_cache(backend: Backend, config: Any, content: bytes) -> list[str]:
    if not backend.times_kernels:
        return []
    cache = config.create_timing_cache(content)  # None of what is damaged
    if cache is None or not config.set_timing_cache(cache, False):  # noqa: FBT003
        config.set_timing_cache(config.create_timing_cache(b""), True)  # noqa: FBT003
        notice = "The timing cache comes from another TensorRT or GPU: it was not used, and what "
        return [notice + "this build has learnt takes its place."]
    return []


def _learnt(backend: Backend, config: Any) -> bytes:
    if not backend.times_kernels:
        return b""
    cache = config.get_timing_cache()
    return b"" if cache is None else bytes(cache.serialize())


def _convolutions(trt: Any, network: Any) -> tuple[str, ...]:
    kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return tuple(_onnx_name(layer) for layer in layers if layer.type in kinds)


def _onnx_name(layer: Any) -> str:
    """Return the node that a layer was parsed from; of two alike, TensorRT renames the second."""
    found = re.search(r"\[ONNX Layer: ([^\]]+)\]", str(layer.metadata))
    return found[1] if found else str(layer.name)


def _layers(
    backend: Backend, plan: bytes, options: BuildOptions, log: Log
) -> tuple[CompiledLayer, ...]:
    """List the compiled layers: TensorRT-RTX by its log, TensorRT by the inspector.

    TensorRT 10 writes a list to its log too, but says nothing of weights in it.
    """
    layers = parse_log(log.layers) if backend.cross_compiles else ()
    if layers:
        return layers
    trt = backend.module
    runtime = start_tensorrt(backend, trt.Runtime, log)
    if options.version_compatible:
        runtime.engine_host_code_allowed = True  # the plan was built just now
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        msg = (
            f"{backend.title} compiled the graph, but neither lists its layers in the log nor "
            f"loads it here: {log.last_error} If other code of this process uses TensorRT, its "
            "logger gets them: build in a process of its own."
        )
        raise EngineError(msg)
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        return parse_inspection(text)
    except (ValueError, AttributeError, TypeError) as error:
        msg = (
            f"{backend.title} lists the compiled layers in a form that is not known here: {error}. "
            "Please report this, with the versions that 'snow-deploy doctor' prints."
        )
        raise EngineError(msg) from error


def _first_error(parser: Any, log: Log) -> str:
    if not parser.num_errors:
        return "it gives no reason."
    error = parser.get_error(0)
    if error.desc().strip() in {"", "false"}:  # of an assertion without words; the log has more
        return str(log.last_error)
    return f"{error.desc().strip().rstrip('.')} (node {error.node_name()!r})."


def _cannot_compile(backend: Backend, options: BuildOptions, log: Log) -> EngineError:
    targets = f" for {', '.join(options.targets)}" if options.targets else ""
    return EngineError(
        f"{backend.title} cannot compile the graph{targets}: {log.last_error} With too little "
        "memory: close other programs, add swap, or give a smaller --max-batch or --workspace. "
        "Otherwise try --fp32 to see whether the precision is to blame."
    )

"""What TensorRT-RTX makes of a graph: the compute layers of the compiled plan.

TensorRT-RTX compiles for any of its targets on a machine without a GPU. The plan cannot be run
there, but its layers can be counted: each compute layer is one kernel launch, and at batch 1 a GPU
is bound by launches. The network is strongly typed, so the graph's own precision is what counts.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from snow_runtime.errors import GraphError, MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType

TARGETS: Final = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""Compute capabilities that TensorRT-RTX 1.x compiles for; neither Jetson's nor the H100's."""
SYNCHRONISATION: Final = frozenset({"signal", "wait"})
"""Kinds of layers that order the streams and launch nothing."""

_LAYER: Final = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+),(?P<rest>.*)$")
_DATATYPE: Final = re.compile(r"Outputs: \[ \{.*?Datatype: (\w+)")
_NODE: Final = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_ONE_AT_A_TIME: Final = threading.Lock()  # all builders of a process share one logger


@dataclass(frozen=True)
class CompiledLayer:
    """One layer of a plan.

    Attributes:
        name: TensorRT's own.
        kind: such as ``correlation``, ``kgen``, ``runtime_fusion``, ``maxpool``, ``signal``.
        dtype: of its first output, in TensorRT's words (``Half``); empty for synchronisation.
        nodes: the ONNX nodes that it computes; none for what TensorRT added itself.
    """

    name: str
    kind: str
    dtype: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CompiledGraph:
    """A compiled plan, without the plan.

    Attributes:
        target: the compute capability, such as ``sm86``.
        tensorrt_rtx: the compiler's version.
        batch: pictures a run.
        build_s: time that compiling took, in seconds.
        plan_bytes: size of the plan.
        layers: all of them, synchronisation included.
    """

    target: str
    tensorrt_rtx: str
    batch: int
    build_s: float
    plan_bytes: int
    layers: tuple[CompiledLayer, ...] = field(repr=False)

    @property
    def compute_layers(self) -> tuple[CompiledLayer, ...]:
        """The layers that launch a kernel."""
        return tuple(layer for layer in self.layers if layer.kind not in SYNCHRONISATION)

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values; the layers only counted."""
        compute = self.compute_layers
        return {
            "target": self.target,
            "tensorrt_rtx": self.tensorrt_rtx,
            "batch": self.batch,
            "build_s": round(self.build_s, 3),
            "plan_bytes": self.plan_bytes,
            "compute_layers": len(compute),
            "by_kind": dict(Counter(layer.kind for layer in compute).most_common()),
            "by_dtype": dict(Counter(layer.dtype for layer in compute).most_common()),
            "synchronisation_layers": len(self.layers) - len(compute),
        }


def compile_graph(content: bytes, target: str = "sm86", *, batch: int = 1) -> CompiledGraph:
    """Compile an ONNX graph and list the layers of the plan.

    Args:
        content: a serialised ONNX model with its weights inside.
        target: one of :data:`TARGETS`; no such GPU needs to be there.
        batch: pictures a run, where the graph leaves it open.

    Raises:
        MissingDependencyError: TensorRT-RTX is not installed.
        GraphError: it does not know the target, refuses the graph, or lists no layers.
    """
    trt = _import_tensorrt_rtx()
    with _ONE_AT_A_TIME:
        log = _logger()
        log.lines.clear()
        builder = trt.Builder(log)
        network, parser = _parse(trt, builder, content, log)
        config = _configure(trt, builder, target)
        config.add_optimization_profile(_profile(builder, network, batch))
        start = time.perf_counter()
        plan = builder.build_serialized_network(network, config)
        build_s = time.perf_counter() - start
        lines = list(log.lines)
        del parser  # it owns the weights that the network reads: not before this
    if plan is None:
        raise GraphError(
            f"TensorRT-RTX {trt.__version__} cannot compile the graph for {target}: "
            f"{_last_complaint(lines)} Try another target, or fp32 instead of fp16."
        )
    return CompiledGraph(
        target=target,
        tensorrt_rtx=str(trt.__version__),
        batch=batch,
        build_s=build_s,
        plan_bytes=int(plan.nbytes),
        layers=_layers(trt, lines),
    )


def parse_layer(line: str) -> CompiledLayer | None:
    """Read one line of the compiler's layer list; None for any other line of its log."""
    found = _LAYER.match(line)
    if found is None:
        return None
    rest = found["rest"]
    dtype = _DATATYPE.search(rest)
    nodes = tuple(dict.fromkeys(_NODE.findall(rest)))
    return CompiledLayer(found["name"], found["kind"], dtype[1] if dtype else "", nodes)


def _import_tensorrt_rtx() -> ModuleType:
    try:
        import tensorrt_rtx_bindings
    except ImportError as error:
        raise MissingDependencyError(
            f"TensorRT-RTX counts the compiled layers and cannot be imported: {error}. Install it "
            "(no GPU is needed): pip install 'snow-deploy[rtx]'."
        ) from error
    module: ModuleType = tensorrt_rtx_bindings
    return module


@lru_cache(maxsize=1)
def _logger() -> Any:
    """Make the process's one logger: TensorRT ignores a second, and its first must not die."""
    trt = _import_tensorrt_rtx()

    class Logger(trt.ILogger):  # type: ignore[misc,name-defined] # the base is untyped
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            wanted = severity <= trt.ILogger.Severity.WARNING or "LayerType: " in msg
            if wanted:
                self.lines += msg.splitlines()

    return Logger()


def _parse(trt: ModuleType, builder: Any, content: bytes, log: Any) -> tuple[Any, Any]:
    """Read the graph into a strongly typed network."""
    strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(content):
        raise GraphError(
            f"TensorRT-RTX {trt.__version__} cannot read the graph: {_first_error(parser)} "
            "Export it again with 'snow-deploy export'; other graphs may hold operators that "
            "TensorRT-RTX lacks."
        )
    return network, parser


def _configure(trt: ModuleType, builder: Any, target: str) -> Any:
    capability = getattr(trt.ComputeCapability, target.upper(), None)
    if target not in TARGETS or capability is None:
        raise GraphError(
            f"TensorRT-RTX {trt.__version__} does not compile for {target!r}, expected one of "
            f"{', '.join(TARGETS)}. Choose one of them."
        )
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # lists the layers in the log
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)
    return config


def _profile(builder: Any, network: Any, batch: int) -> Any:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        first, *rest = tuple(tensor.shape) or (1,)
        if min(rest, default=1) < 1:
            raise GraphError(
                f"The graph's input {tensor.name!r} has the shape {[first, *rest]}, expected "
                "fixed sizes but for the batch. Export it with a fixed picture size."
            )
        shape = (batch if first < 0 else first, *rest)
        profile.set_shape(tensor.name, shape, shape, shape)
    return profile


def _layers(trt: ModuleType, lines: list[str]) -> tuple[CompiledLayer, ...]:
    layers = tuple(layer for line in lines if (layer := parse_layer(line)) is not None)
    if not layers:
        raise GraphError(
            f"TensorRT-RTX {trt.__version__} compiled the graph but listed no layers, expected "
            "them in its log. If other code in this process uses TensorRT-RTX, its logger gets "
            "them: count the layers in a process of their own."
        )
    return layers


def _first_error(parser: Any) -> str:
    if not parser.num_errors:
        return "it gives no reason."
    error = parser.get_error(0)
    return f"{error.desc().strip().rstrip('.')} (node {error.node_name()!r})."


def _last_complaint(lines: list[str]) -> str:
    complaints = [line.strip() for line in lines if parse_layer(line) is None and line.strip()]
    return f"{complaints[-1].rstrip('.')}." if complaints else "it gives no reason."

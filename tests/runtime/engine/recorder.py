"""Small builds that run over a stand-in and over the real TensorRT-RTX alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from tests.onnx_models import small_model

if TYPE_CHECKING:
    from numpy.typing import NDArray


def graph(element: int = TensorProto.FLOAT) -> bytes:
    """Make a graph of a convolution, its Relu, and a fully connected layer."""
    dtype = helper.tensor_dtype_to_np_dtype(element)
    weights = {"w": (16, 3, 3, 3), "b": (16,), "g": (16, 5), "gb": (5,)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="stem/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="stem/relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "gb"], ["y"], name="head"),
    ]
    constants = {name: np.ones(it, dtype) for name, it in weights.items()}
    model = small_model(nodes, {"x": ("batch", 3, 8, 8)}, {"y": ("batch", 5)}, constants, element)
    content: bytes = model.SerializeToString()
    return content


def quantised_graph() -> bytes:
    """Make a graph of a convolution between Q and DQ, with INT8 weights."""
    q = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *q], ["xq"], name="x.q"),
        helper.make_node("DequantizeLinear", ["xq", *q], ["xd"], name="x.dq"),
        helper.make_node("DequantizeLinear", ["w", *q], ["wd"], name="w.dq"),
        helper.make_node("Conv", ["xd", "wd"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.int8),
        "w": np.ones((16, 16, 3, 3), np.int8),
    }
    model = small_model(nodes, {"x": (1, 16, 8, 8)}, {"y": (1, 16, 6, 6)}, constants)
    content: bytes = model.SerializeToString()
    return content


class Recorder:
    """Builds a graph, and keeps what was said."""

    def __init__(self, trt: Any, stop_after: int | None = None) -> None:
        self.trt = trt
        messages: list[tuple[str, str]] = []
        events: list[tuple[Any, ...]] = []
        self.messages, self.events = messages, events

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                messages.append((severity.name, msg))

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(self, phase_name: str, parent_phase: Any, num_steps: int) -> None:
                events.append(("start", phase_name, parent_phase, num_steps))

            def step_complete(self, phase_name: str, step: int) -> bool:
                events.append(("step", phase_name, step))
                steps = [it for it in events if it[0] == "step"]
                return stop_after is None or len(steps) < stop_after

            def phase_finish(self, phase_name: str) -> None:
                events.append(("finish", phase_name))

        self.logger, self.monitor = Logger(), Monitor()
        self.builder = trt.Builder(self.logger)
        self.config = self.builder.create_builder_config()
        self.config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        self.config.progress_monitor = self.monitor

    def parse(self, content: bytes) -> Any:
        flag = self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        self.network = self.builder.create_network(1 << int(flag))
        parser = self.trt.OnnxParser(self.network, self.logger)
        self.parsed = parser.parse(content)
        return parser

    def build(self, content: bytes) -> Any:
        parser = self.parse(content)
        tensor = self.network.get_input(0)
        profile = self.builder.create_optimization_profile()
        for_any = tuple(tensor.shape)[1:]
        first = abs(tensor.shape[0])
        profile.set_shape(tensor.name, (first, *for_any), (first, *for_any), (first, *for_any))
        self.config.add_optimization_profile(profile)
        plan = self.builder.build_serialized_network(self.network, self.config)
        del parser
        return plan

    def network_layers(self) -> list[list[str]]:
        """Give type, name and metadata of what comes from ONNX; the parser counts its own way."""
        layers = [self.network.get_layer(it) for it in range(self.network.num_layers)]
        return [
            [it.type.name, re.sub(r"_\d+$", "", it.name), it.metadata]
            for it in layers
            if it.metadata
        ]

    def convolutions(self) -> list[list[str]]:
        """Give first ONNX node, type of input, weights and output of each convolution's layer."""
        found = []
        for line in "\n".join(message for _, message in self.messages).splitlines():
            if "LayerType: correlation" in line:
                sections = re.split(r", (?=Inputs|Constants|Outputs|TacticName)", line)
                types = [re.findall(r" Datatype: (\w+)", it)[0] for it in sections[1:4]]
                found.append([re.findall(r"\[ONNX Layer: ([^\]]+)\]", line)[0], *types])
        return found


def record(trt: Any) -> dict[str, Any]:
    """Do with a module what the stand-in has to do as the real one does."""
    result: dict[str, Any] = {}
    half = TensorProto.FLOAT16
    for name, content in {"fp32": graph(), "fp16": graph(half), "int8": quantised_graph()}.items():
        run = Recorder(trt)
        plan = run.build(content)
        result[name] = {
            "built": plan is not None and plan.nbytes == len(bytes(plan)),
            "layers": run.network_layers(),
            "convolutions": run.convolutions(),
            "first": run.events[0][:3],
            "last": run.events[-1],
            "balanced": sum(it[0] == "start" for it in run.events)
            == sum(it[0] == "finish" for it in run.events),
            "inputs": [
                (it.name, tuple(it.shape), it.dtype.name) for it in [run.network.get_input(0)]
            ],
        }
        del plan, run
    stopped = Recorder(trt, stop_after=2)
    result["stopped"] = [
        stopped.build(graph()) is None,
        sum(it[0] == "step" for it in stopped.events),
        stopped.events[-1],
        [it for it, message in stopped.messages if "BuildCanceled" in message],
    ]
    rubbish = Recorder(trt)
    parser = rubbish.parse(b"rubbish")
    result["rubbish"] = [rubbish.parsed, parser.num_errors, parser.get_error(0).node_name()]
    validity = trt.Runtime(rubbish.logger).get_engine_validity(b"rubbish")
    result["validity"] = [validity[0].name, int(validity[1])]
    result["unknown flag"] = rubbish.builder.create_network(1 << 1) is None
    return result

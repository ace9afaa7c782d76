from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from tests.runtime.engine import surface
from tests.runtime.engine.recorder import Recorder, graph, quantised_graph, record
from tests.runtime.engine.standin import StandIn

NAMES = surface.names()
RTX = "tensorrt-rtx-1.7"


@pytest.mark.tensorrt
def test_it_does_what_the_real_one_does() -> None:
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("tensorrt_rtx_bindings is not installed")
    code = (
        "import json, tensorrt_rtx_bindings as trt\n"
        "from tests.runtime.engine.recorder import record\n"
        "print(json.dumps(record(trt)))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    root = Path(__file__).parents[3]
    real = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert real.returncode == 0, real.stderr

    expected = json.loads(real.stdout)

    assert json.loads(json.dumps(record(StandIn(RTX)))) == expected
    assert expected["int8"]["convolutions"][0][1:3] == ["Int8", "Int8"]


def test_names_that_a_version_lacks() -> None:
    eleven, rtx = StandIn("tensorrt-11.4"), StandIn(RTX)

    with pytest.raises(AttributeError, match=r"^TensorRT 11\.4\.0\.106 has no ComputeCapability"):
        _ = eleven.ComputeCapability
    with pytest.raises(AttributeError, match=r"^TensorRT 11\.4\.0\.106 has no BuilderFlag\.FP16$"):
        _ = eleven.BuilderFlag.FP16
    config = Recorder(eleven).config
    with pytest.raises(AttributeError, match=r"has no IBuilderConfig\.num_compute_capabilities$"):
        config.num_compute_capabilities = 1
    with pytest.raises(AttributeError, match=r"has no IBuilderConfig\.set_compute_capability$"):
        config.set_compute_capability(None, 0)
    assert not hasattr(eleven.IBuilderConfig, "set_compute_capability")
    assert hasattr(rtx.IBuilderConfig, "set_compute_capability")
    assert hasattr(Recorder(rtx).config, "num_compute_capabilities")
    assert eleven.missed == {
        ("ComputeCapability", ""),
        ("BuilderFlag", "FP16"),
        ("IBuilderConfig", "num_compute_capabilities"),
        ("IBuilderConfig", "set_compute_capability"),
    }


def test_names_that_it_has_and_does_not_imitate() -> None:
    config = Recorder(StandIn(RTX)).config

    assert hasattr(config, "set_tactic_sources")
    with pytest.raises(NotImplementedError, match=r"IBuilderConfig\.set_tactic_sources"):
        config.set_tactic_sources(0)
    with pytest.raises(AttributeError, match="does not imitate setting"):
        config.runtime_platform = None


@pytest.mark.parametrize("name", NAMES)
def test_what_was_touched_is_in_the_surface(name: str) -> None:
    standin = StandIn(name)
    assert standin.touched == set()

    Recorder(standin).build(graph())

    known = surface.read(name)
    for title, member in standin.touched:
        members = known["classes"].get(title) or known["enumerations"][title]
        assert not member or member in members, (title, member)
    assert {
        ("Builder", ""),
        ("Builder", "build_serialized_network"),
        ("IBuilderConfig", "progress_monitor"),
        ("ILogger", "log"),
        ("IProgressMonitor", "step_complete"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("ITensor", "shape"),
    } <= standin.touched
    # What the stand-in asks itself, and what a subclass adds, are no uses.
    assert not standin.touched & {("IBuilderConfig", "get_flag"), ("INetworkDefinition", "flags")}


def test_enumerations_are_pybind11s() -> None:
    standin = StandIn("tensorrt-10.3")
    severity, flags = standin.ILogger.Severity, standin.BuilderFlag

    assert severity.ERROR < severity.WARNING <= severity.WARNING
    assert standin.ILogger.ERROR is severity.ERROR
    assert (flags.REFIT.name, flags.REFIT.value, int(flags.REFIT)) == ("REFIT", 4, 4)
    assert flags.REFIT != 4
    assert flags.WEIGHTLESS == flags.STRIP_PLAN
    with pytest.raises(TypeError, match="enumeration of matching type"):
        _ = severity.ERROR <= 1
    with pytest.raises(TypeError, match="<<"):
        _ = 1 << flags.REFIT
    with pytest.raises(TypeError, match="ProfilingVerbosity"):
        Recorder(standin).config.profiling_verbosity = 2


def inspect(standin: StandIn, run: Recorder, plan: bytes) -> dict[str, Any]:
    engine = standin.Runtime(run.logger).deserialize_cuda_engine(plan)
    json_format = standin.LayerInformationFormat.JSON
    text = engine.create_engine_inspector().get_engine_information(json_format)
    found: dict[str, Any] = json.loads(text)
    assert len(found["Layers"]) == engine.num_layers
    return found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "tensorrt-10.3",
            {"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"},
        ),
        ("tensorrt-10.16", {"Format/Datatype": "Int8"}),
        ("tensorrt-11.4", {"Datatype": "Int8", "Format": "(NHWC) Channel major format"}),
    ],
)
def test_the_inspectors_json(name: str, said: dict[str, str]) -> None:
    standin = StandIn(name)
    run = Recorder(standin)

    found = inspect(standin, run, run.build(quantised_graph()))

    (layer,) = [it for it in found["Layers"] if "[ONNX Layer: conv]" in it["Metadata"]]
    assert said.items() <= layer["Inputs"][0].items()
    if name == "tensorrt-10.3":
        assert layer["Weights"] == {"Type": "Int8", "Count": 16 * 16 * 3 * 3}
        assert layer["Name"] == "conv + x.dq + w.dq + relu"
    else:
        assert said.items() <= layer["Constants"][0].items()
    if name == "tensorrt-11.4":
        assert [(it["Name"], it["IOMode"]) for it in found["I/O Tensors"]] == [
            ("x", "Input"),
            ("y", "Output"),
        ]
    else:
        assert found["Bindings"] == ["x", "y"]
    assert not any("LayerType" in message for _, message in run.messages)  # that is RTX's way


@pytest.mark.parametrize("name", NAMES)
def test_a_node_that_computes_in_another_type(name: str) -> None:
    standin = StandIn(name, computes_in={"stem/conv": "Float"})
    run = Recorder(standin)

    found = inspect(standin, run, run.build(graph(TensorProto.FLOAT16)))

    types = {it["Metadata"]: json.dumps(it) for it in found["Layers"]}
    (conv,) = [text for nodes, text in types.items() if "stem/conv" in nodes]
    (head,) = [text for nodes, text in types.items() if "head" in nodes]
    assert re.search("Float|FP32", conv)
    assert not re.search("Half|FP16", conv)
    assert re.search("Half|FP16", head)


@pytest.mark.parametrize(("verbosity", "layers"), [("NONE", 0), ("LAYER_NAMES_ONLY", 6)])
def test_verbosity(verbosity: str, layers: int) -> None:
    standin = StandIn("tensorrt-11.4")
    run = Recorder(standin)
    run.config.profiling_verbosity = getattr(standin.ProfilingVerbosity, verbosity)

    engine = standin.Runtime(run.logger).deserialize_cuda_engine(run.build(graph()))
    inspector = engine.create_engine_inspector()
    found = json.loads(inspector.get_engine_information(standin.LayerInformationFormat.JSON))

    assert len(found["Layers"]) == layers
    assert all(isinstance(it, str) for it in found["Layers"])


def test_an_engines_inputs_and_outputs() -> None:
    standin = StandIn("tensorrt-10.16")
    run = Recorder(standin)

    engine = standin.Runtime(run.logger).deserialize_cuda_engine(run.build(graph()))

    assert [engine.get_tensor_name(it) for it in range(engine.num_io_tensors)] == ["x", "y"]
    assert engine.get_tensor_mode("x") == standin.TensorIOMode.INPUT
    assert engine.get_tensor_dtype("y") == standin.DataType.FLOAT
    assert engine.get_tensor_shape("y") == (-1, 5)
    assert engine.get_tensor_profile_shape("x", 0) == [(1, 3, 8, 8)] * 3


@pytest.mark.parametrize("name", NAMES)
def test_plans_are_the_same_each_time_and_load_where_they_belong(name: str) -> None:
    def build(**behaviour: Any) -> bytes:
        return bytes(Recorder(StandIn(name, **behaviour)).build(graph()))

    def load(content: bytes, **behaviour: Any) -> str | None:
        standin = StandIn(name, **behaviour)
        run = Recorder(standin)
        if standin.Runtime(run.logger).deserialize_cuda_engine(content) is not None:
            return None
        (error,) = [message for severity, message in run.messages if severity == "ERROR"]
        return str(error)

    plan = build()
    assert plan == build()
    assert load(plan) is None
    assert "library version" in (load(plan, version="10.3.1") or "")
    assert "incompatible device" in (load(plan, gpu="sm87") or "")
    assert "magicTag" in (load(b"rubbish") or "")
    assert "damaged" in (load(plan[:100]) or "")


def test_whether_a_plan_of_tensorrt_rtx_runs_here() -> None:
    def validity(content: bytes, **behaviour: Any) -> tuple[str, int]:
        standin = StandIn(RTX, **behaviour)
        runtime = standin.Runtime(Recorder(standin).logger)
        found, diagnostics = runtime.get_engine_validity(content[: runtime.engine_header_size])
        return found.name, diagnostics

    standin = StandIn(RTX, gpu=None)  # it builds without one
    run = Recorder(standin)
    run.config.num_compute_capabilities = 2
    assert run.config.set_compute_capability(standin.ComputeCapability.SM86, 0)
    assert run.config.set_compute_capability(standin.ComputeCapability.SM120, 1)
    assert not run.config.set_compute_capability(standin.ComputeCapability.SM89, 2)
    plan = bytes(run.build(graph()))

    why = standin.EngineInvalidityDiagnostics
    assert validity(plan) == ("VALID", 0)
    assert validity(plan, gpu="sm120") == ("VALID", 0)
    assert validity(plan, gpu="sm89") == ("INVALID", int(why.UNSUPPORTED_CC))
    assert validity(plan, version="1.8.0.1") == ("INVALID", int(why.VERSION_MISMATCH))
    assert validity(b"ftrt 10.3.0 sm86") == ("INVALID", int(why.MALFORMED_ENGINE))
    assert validity(plan, gpu=None) == ("INVALID", 0)


def test_tensorrt_without_a_gpu_gives_no_builder() -> None:
    with pytest.raises(TypeError, match="factory function returned nullptr"):
        Recorder(StandIn("tensorrt-10.3", gpu=None))


def test_a_logger_that_was_not_initialised_is_refused() -> None:
    standin = StandIn(RTX)

    class Logger(standin.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="a logger, initialised"):
        standin.Builder(Logger())


@pytest.mark.parametrize("name", NAMES)
def test_builds_that_fail(name: str) -> None:
    run = Recorder(StandIn(name, fails_to_build="out of memory"))
    assert run.build(graph()) is None
    assert run.messages[-1] == ("ERROR", "IBuilder::buildSerializedNetwork: out of memory")
    assert run.events[-1] == ("finish", "Building engine")

    open_batch = Recorder(StandIn(name))
    parser = open_batch.parse(graph())
    plan = open_batch.builder.build_serialized_network(open_batch.network, open_batch.config)
    assert plan is None
    assert "optimization profile" in open_batch.messages[-1][1]
    del parser


def test_what_a_progress_monitor_raises_only_stops_the_build(
    capsys: pytest.CaptureFixture[str],
) -> None:
    standin = StandIn("tensorrt-10.3")
    run = Recorder(standin)

    class Monitor(standin.IProgressMonitor):  # type: ignore[misc,name-defined]
        def phase_start(self, *_: Any) -> None: ...
        def phase_finish(self, *_: Any) -> None: ...
        def step_complete(self, *_: Any) -> bool:
            raise KeyboardInterrupt

    run.config.progress_monitor = Monitor()

    assert run.build(graph()) is None
    assert "BuildCanceled" in run.messages[-1][1]
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_timing_caches() -> None:
    def run(**behaviour: Any) -> Recorder:
        return Recorder(StandIn("tensorrt-10.3", **behaviour))

    def set_cache(into: Recorder, content: bytes, *, ignore_mismatch: bool = False) -> bool:
        cache = into.config.create_timing_cache(content)
        return bool(into.config.set_timing_cache(cache, ignore_mismatch))

    first = run()
    assert set_cache(first, b"")
    first.build(graph())
    learnt = bytes(first.config.get_timing_cache().serialize())

    assert learnt.endswith(b"tactics")
    assert set_cache(run(), learnt)
    assert not set_cache(run(version="10.4.0"), learnt, ignore_mismatch=True)
    assert not set_cache(run(gpu="sm87"), learnt)
    assert set_cache(run(gpu="sm87"), learnt, ignore_mismatch=True)
    assert not set_cache(run(), b"rubbish")


def test_tensorrt_rtx_has_deprecated_its_timing_cache() -> None:
    config = Recorder(StandIn(RTX)).config
    cache = config.create_timing_cache(b"rubbish")

    with pytest.warns(DeprecationWarning, match="no-ops in TensorRT-RTX"):
        assert config.set_timing_cache(cache, False)


def test_refitting_a_plan_without_weights() -> None:
    standin = StandIn("tensorrt-10.3")
    run = Recorder(standin)
    whole = run.build(graph())
    run.config.set_flag(standin.BuilderFlag.STRIP_PLAN)
    plan = run.build(graph())
    assert plan.nbytes < whole.nbytes

    runtime = standin.Runtime(run.logger)
    with pytest.raises(TypeError, match="nullptr"):
        standin.Refitter(runtime.deserialize_cuda_engine(whole), run.logger)
    refitter = standin.Refitter(runtime.deserialize_cuda_engine(plan), run.logger)
    parser = standin.OnnxParserRefitter(refitter, run.logger)

    assert not refitter.refit_cuda_engine()
    assert not parser.refit_from_bytes(b"rubbish")
    assert "Failed to parse" in parser.get_error(0).desc()
    assert parser.refit_from_bytes(graph())
    assert refitter.get_missing_weights() == []
    assert refitter.refit_cuda_engine()


def test_deep_learning_accelerators() -> None:
    def build(cores: int) -> tuple[int, bool]:
        standin = StandIn("tensorrt-10.3", dla_cores=cores)
        run = Recorder(standin)
        run.config.default_device_type = standin.DeviceType.DLA
        run.config.DLA_core = 1
        return run.builder.num_DLA_cores, run.build(graph()) is not None

    assert build(2) == (2, True)
    assert build(1) == (1, False)

"""The one builder over stand-ins of every TensorRT that it serves."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from snow_runtime.engine.backend import find_backend
from snow_runtime.engine.cache import EngineCache
from snow_runtime.engine.files import read_plan, read_record
from snow_runtime.engine.load import open_engine
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import (
    BuiltElsewhereError,
    EngineError,
    GraphError,
    HalfError,
    MissingDependencyError,
)
from snow_runtime.install_hint import pip_install
from tests.runtime.engine import surface
from tests.runtime.engine.records import MANIFEST
from tests.runtime.engine.standin_parts import build as parts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.engine.conftest import Install

SURFACES = surface.names()
TENSORRT = [name for name in SURFACES if "rtx" not in name]
FP16 = BuildOptions("fp16")
TEN_IN_THE_LOG = (
    "Name: source/conv, LayerType: CaskConvolution, Inputs: [ { Name: image, Location: Device, "
    "Dimensions: [1,3,8,8], Format/Datatype: Row major linear FP32 }], Outputs: [ { Name: a, "
    "Location: Device, Dimensions: [1,4,4,4], Format/Datatype: Row major linear FP32 }], "
    "ParameterType: Convolution, TacticName: sm80_xmma, StreamId: 0, Metadata: [ONNX Layer: "
    "source/conv]"
)
MISSED_ON_PURPOSE = {
    ("ComputeCapability", ""),  # which of the two libraries it is
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
}


def build(graph: Path, options: BuildOptions = FP16, **more: Any) -> Any:
    return build_engine(graph, graph.with_suffix(".engine"), options, **more)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_same_code_builds_with_each(
    graph: Path, install: Install, name: str, precision: Any
) -> None:
    module = install(name)

    built = build(graph, BuildOptions(precision, max_batch=4))

    record = read_record(graph.with_suffix(".engine"))
    assert record == built.record
    assert read_plan(graph.with_suffix(".engine"), record)
    assert record.achieved.by_precision == {precision: 4}
    assert record.version == module.__version__
    assert (record.host.gpu, record.host.target) == ("A GPU", "sm86")
    assert record.options.targets == (("sm86",) if "rtx" in name else ())
    assert built.notices == ()
    assert module.missed <= MISSED_ON_PURPOSE


@pytest.mark.parametrize("name", SURFACES)
def test_all_options_at_once(graph: Path, install: Install, name: str, tmp_path: Path) -> None:
    module = install(name, dla_cores=2)
    rtx = "rtx" in name
    options = BuildOptions(
        "fp16",
        min_batch=2,
        opt_batch=2,
        max_batch=2,
        workspace_bytes=64 << 20,
        optimization_level=5,
        hardware_compatible=not rtx,
        version_compatible=not rtx,
        strip_weights=True,
        dla=None if rtx else 1,
    )

    record = build(graph, options, timing_cache=None if rtx else tmp_path / "t.cache").record

    assert record.options.to_dict() | {"targets": []} == options.to_dict()
    assert (tmp_path / "t.cache").exists() is not rtx
    assert module.missed <= MISSED_ON_PURPOSE


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Collect what TensorRT itself is given: networks and configurations."""
    seen: list[tuple[Any, Any]] = []
    real = parts.Builder.build_serialized_network

    def build_and_keep(builder: Any, network: Any, config: Any) -> Any:
        seen.append((network, config))
        return real(builder, network, config)

    monkeypatch.setattr(parts.Builder, "build_serialized_network", build_and_keep)
    return seen


@pytest.mark.parametrize("name", SURFACES)
def test_tensorrt_itself_gets_what_was_asked_for(
    graph: Path, install: Install, name: str, configured: list[tuple[Any, Any]]
) -> None:
    install(name, dla_cores=2)
    rtx = "rtx" in name
    options = BuildOptions(
        "fp16",
        workspace_bytes=64 << 20,
        optimization_level=5,
        hardware_compatible=not rtx,
        version_compatible=not rtx,
        strip_weights=True,
        dla=None if rtx else 1,
    )
    build(graph)
    build(graph, options)

    (_, plain), (_, config) = configured
    assert "TF32" not in plain._flags | config._flags
    assert plain._limits["WORKSPACE"] == 1 << 40
    assert config._limits["WORKSPACE"] == 64 << 20
    assert config._values["builder_optimization_level"] == 5
    assert "STRIP_PLAN" in config._flags
    assert ("REFIT" in config._flags) is rtx
    assert ("VERSION_COMPATIBLE" in config._flags) is not rtx
    assert ("GPU_FALLBACK" in config._flags) is not rtx
    assert config._values["DLA_core"] == (-1 if rtx else 1)
    level = config._values["hardware_compatibility_level"]
    assert level._name == ("NONE" if rtx else "AMPERE_PLUS")
    device = config._values["default_device_type"]
    assert device._name == ("GPU" if rtx else "DLA")
    assert config._values["profiling_verbosity"]._name == "DETAILED"
    assert sorted(config._targets.values()) == (["sm86"] if rtx else [])


@pytest.mark.parametrize("name", SURFACES)
def test_the_network_is_strongly_typed(
    graph: Path, install: Install, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, given = install(name), []
    real = parts.Builder.create_network

    def create(builder: Any, flags: int = 0) -> Any:
        given.append(flags)
        return real(builder, flags)

    monkeypatch.setattr(parts.Builder, "create_network", create)
    build(graph)

    strong = module._classes["NetworkDefinitionCreationFlag"].__members__["STRONGLY_TYPED"]
    assert given == [1 << int(strong)]


@pytest.mark.parametrize("name", TENSORRT)
def test_a_version_compatible_plan_may_run_its_own_code(
    graph: Path, install: Install, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runtime.engine.standin_parts import run as parts_run

    install(name)
    allowed = []
    real = parts_run.Runtime.deserialize_cuda_engine

    def deserialise(runtime: Any, content: bytes) -> Any:
        allowed.append(runtime.engine_host_code_allowed)
        return real(runtime, content)

    monkeypatch.setattr(parts_run.Runtime, "deserialize_cuda_engine", deserialise)
    for compatible in (False, True):
        build(graph, BuildOptions("fp16", version_compatible=compatible))
        open_engine(graph.with_suffix(".engine"))

    assert allowed == [False, False, True, True]


@pytest.mark.parametrize("name", TENSORRT)
def test_the_inspector_is_believed_and_not_the_log(
    graph: Path, install: Install, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT 10 lists layers in its log too, without weights; form of a public build log."""
    module = install(name)
    real = parts.Builder.build_serialized_network

    def talk(builder: Any, network: Any, config: Any) -> Any:
        module.log("VERBOSE", "Layers:\n" + TEN_IN_THE_LOG)
        return real(builder, network, config)

    monkeypatch.setattr(parts.Builder, "build_serialized_network", talk)

    assert build(graph).record.achieved.share == 1.0


def test_a_progress_that_fails_is_heard(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")

    def fail(phase: str, share: float) -> None:
        msg = f"no screen for {phase} at {share}"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="no screen for"):
        build(graph, progress=fail)
    assert not graph.with_suffix(".engine").exists()


def test_the_accelerator_takes_one_batch_size_and_is_not_verified(
    graph: Path, install: Install
) -> None:
    install("tensorrt-10.3", dla_cores=1, computes_in={"source/conv": "Float"})

    with pytest.raises(EngineError, match="takes one batch size"):
        build(graph, BuildOptions("fp16", max_batch=4, dla=0))
    (notice,) = build(graph, BuildOptions("fp16", dla=0)).notices
    assert "neither their precision nor their share is verified" in notice


def test_weights_in_another_file_count(graph: Path, install: Install, tmp_path: Path) -> None:
    install("tensorrt-10.3")
    cache = EngineCache(tmp_path / "cache")
    model = onnx.load(graph)
    onnx.save(model, graph, save_as_external_data=True, location="g.data", size_threshold=0)
    first = build(graph, cache=cache)
    data = graph.with_name("g.data")
    data.write_bytes(bytes(data.stat().st_size))

    second = build(graph, cache=cache)

    assert (first.cached, second.cached) == (False, False)
    assert first.record.graph_sha256 != second.record.graph_sha256
    with pytest.raises(EngineError, match=r"g\.data belongs to the graph"):
        build_engine(graph, data, FP16)


def test_places_that_are_no_files(graph: Path, install: Install, tmp_path: Path) -> None:
    install("tensorrt-10.3")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(EngineError, match="is no ordinary file"):
        build_engine(graph, pipe, FP16)
    assert pipe.is_fifo()


def test_a_link_is_written_through(graph: Path, install: Install, tmp_path: Path) -> None:
    install("tensorrt-10.3")
    (tmp_path / "store").mkdir()
    link = tmp_path / "current.engine"
    link.symlink_to(tmp_path / "store" / "v1.engine")

    build_engine(graph, link, FP16)

    assert link.is_symlink()
    assert open_engine(link).record.graph == "../snow.onnx"
    assert (tmp_path / "store" / "v1.engine.json").exists()


def test_a_cache_that_cannot_be_used_stops_nothing(
    graph: Path, install: Install, tmp_path: Path
) -> None:
    install("tensorrt-10.3")
    (tmp_path / "file").write_bytes(b"")

    built = build(graph, cache=EngineCache(tmp_path / "file" / "engines"))

    assert built.notices[0].startswith("The engine cache was not used: ")


@pytest.mark.parametrize("name", SURFACES)
def test_an_engine_of_another_precision_is_refused_by_name(
    graph: Path, install: Install, name: str
) -> None:
    install(name, computes_in={"source/conv": "Float", "food/deep": "Float"})

    with pytest.raises(EngineError, match=r"not fp16: 2 of 4 .*: source/conv \(fp32\), food/deep"):
        build(graph)
    assert not graph.with_suffix(".engine").exists()
    accepted = build(graph, BuildOptions("fp16", least_share=0.5)).record
    assert accepted.achieved.others == {"source/conv": "fp32", "food/deep": "fp32"}


def test_fused_layers_are_found_by_their_names_where_there_is_no_metadata(
    graph: Path, install: Install
) -> None:
    install("tensorrt-10.3", names_nodes=False)

    assert build(graph).record.achieved.share == 1.0


def test_a_list_that_names_no_nodes_verifies_nothing(graph: Path, install: Install) -> None:
    install("tensorrt-rtx-1.7", names_nodes=False)

    with pytest.raises(EngineError, match=r"0 of 4 .*\(unknown\)"):
        build(graph)


def test_without_a_list_in_the_log_the_inspector_is_asked(graph: Path, install: Install) -> None:
    install("tensorrt-rtx-1.7", lists_layers=False)

    assert build(graph).record.achieved.share == 1.0


def test_without_a_list_and_without_a_gpu_nothing_is_claimed(graph: Path, install: Install) -> None:
    install("tensorrt-rtx-1.7", lists_layers=False, gpu=None)

    with pytest.raises(EngineError, match="neither lists its layers in the log nor loads it"):
        build(graph)


@pytest.mark.parametrize("name", SURFACES)
def test_a_build_that_fails_says_why(graph: Path, install: Install, name: str) -> None:
    install(name, fails_to_build="Could not find any implementation for node food/deep.")

    with pytest.raises(EngineError, match=r"cannot compile .*any implementation for node food/de"):
        build(graph)
    assert not graph.with_suffix(".engine").exists()


@pytest.mark.parametrize("name", SURFACES)
def test_ctrl_c_stops_at_the_next_step(graph: Path, install: Install, name: str) -> None:
    import signal

    seen = []

    def press(phase: str, step: int) -> None:
        seen.append((phase, step))
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)

    install(name, at_step=press)

    with pytest.raises(KeyboardInterrupt):
        build(graph)
    assert len(seen) == 2
    assert not graph.with_suffix(".engine").exists()


@pytest.mark.parametrize("name", TENSORRT)
def test_what_it_learns_serves_the_next_build(
    graph: Path, install: Install, name: str, tmp_path: Path
) -> None:
    install(name)
    cache = tmp_path / "t.cache"

    assert build(graph, timing_cache=cache).notices == ()
    learnt = cache.read_bytes()
    assert learnt
    assert build(graph, timing_cache=cache).notices == ()
    install(name, gpu="sm89")
    cache.write_bytes(b"of another TensorRT")
    (notice,) = build(graph, timing_cache=cache).notices
    assert "comes from another TensorRT or GPU" in notice
    assert cache.read_bytes() not in (b"", b"of another TensorRT")


def test_tensorrt_does_not_build_without_a_gpu(graph: Path, install: Install) -> None:
    install("tensorrt-10.3", gpu=None)

    with pytest.raises(EngineError, match=r"there is none here .*--backend tensorrt-rtx"):
        build(graph, backend_name="tensorrt")
    with pytest.raises(MissingDependencyError, match="TensorRT-RTX cannot be imported"):
        build(graph)


def test_a_gpu_that_does_not_start(
    graph: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runtime.libcuda import LibCuda

    install("tensorrt-10.3", gpu=None)
    monkeypatch.setattr("snow_runtime.machine.driver._open", lambda _: LibCuda(("A GPU", 8, 6)))

    with pytest.raises(EngineError, match=r"10\.3\.0 does not start: .*snow-deploy doctor"):
        build(graph)


def test_tensorrt_does_not_build_for_other_gpus(graph: Path, install: Install) -> None:
    install("tensorrt-11.4")

    with pytest.raises(EngineError, match="builds for the GPU that it runs on, and --target sm89"):
        build(graph, BuildOptions("fp16", ("sm89",)), backend_name="tensorrt")


@pytest.mark.parametrize(("cores", "core", "said"), [(0, 0, "no deep"), (2, 2, "2 of them")])
def test_an_accelerator_that_is_not_there(
    graph: Path, install: Install, cores: int, core: int, said: str
) -> None:
    install("tensorrt-10.3", dla_cores=cores)

    with pytest.raises(EngineError, match=rf"--dla {core} was asked for, .* finds {said}"):
        build(graph, BuildOptions("fp16", dla=core))


def test_auto_takes_tensorrt_where_a_gpu_is(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = install("tensorrt-rtx-1.7")
    install("tensorrt-10.16")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)

    assert find_backend().name == "tensorrt"
    assert find_backend(cross=True).name == "tensorrt-rtx"
    assert find_backend("tensorrt-rtx").title == f"TensorRT-RTX {rtx.__version__}"


def test_a_package_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name == "tensorrt":
            msg = "libnvinfer.so.10: cannot open shared object file"
            raise OSError(msg)
        msg = f"No module named {name!r}"
        raise ModuleNotFoundError(msg, name=name)

    monkeypatch.setattr("snow_runtime.engine.backend.gpu_here", object)
    with pytest.raises(MissingDependencyError) as caught:
        find_backend(load=load)
    assert "TensorRT cannot be imported: libnvinfer.so.10: cannot open" in str(caught.value)
    assert pip_install("rtx") in str(caught.value)


@pytest.mark.parametrize(
    ("has", "wanted", "said"),
    [
        ("fp32", "int8", "'snow-deploy calibrate'"),
        ("fp16", "fp32", "Give --fp16, or export"),
        ("fp16", "int8", "'snow-deploy calibrate'"),
        ("int8", "fp16", "Give --int8, or the graph that it was calibrated from"),
        ("int8", "fp32", "Give --int8"),
    ],
)
def test_a_precision_that_the_graph_does_not_have(
    graph: Path, install: Install, has: str, wanted: Any, said: str
) -> None:
    install("tensorrt-10.3")
    says(graph, precision=has)

    with pytest.raises(EngineError, match=f"is {has}, and {wanted} was asked for. .*{said}"):
        build(graph, BuildOptions(wanted))


def test_without_a_precision_the_graph_is_built_as_it_is(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")

    assert build(graph, BuildOptions()).record.options.precision == "fp32"


def test_a_weight_that_no_half_can_hold(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")
    model = onnx.load(graph)
    weight = next(it for it in model.graph.initializer if it.name == "w3")
    value = onnx.numpy_helper.to_array(weight).copy()
    value.flat[0] = 1e6
    weight.CopyFrom(onnx.numpy_helper.from_array(value, "w3"))
    onnx.save(model, graph)

    with pytest.raises(HalfError, match="w3 reaches"):
        build(graph)


def test_a_graph_that_says_nothing_about_itself(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")
    model = onnx.load(graph)
    del model.metadata_props[:]
    onnx.save(model, graph)

    with pytest.raises(GraphError, match="carries no manifest"):
        build(graph)


def test_a_graph_that_fixes_its_batch(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")
    model = onnx.load(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, graph)

    assert build(graph).record.inputs["image"] == ((4, 3, 8, 8),) * 3
    with pytest.raises(EngineError, match="takes batches of 4 only"):
        build(graph, BuildOptions("fp16", max_batch=8))


def test_the_graph_is_not_overwritten(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")

    before = graph.read_bytes()

    with pytest.raises(EngineError, match="belongs to the graph and would be lost"):
        build_engine(graph, graph, FP16)
    other = graph.rename(graph.with_name("net.json"))
    with pytest.raises(EngineError, match=r"net\.json belongs to the graph"):
        build_engine(other, other.with_name("net"), FP16)
    assert other.read_bytes() == before


def test_a_cache_that_is_full_does_not_lose_the_engine(
    graph: Path, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("tensorrt-10.3")

    def full(*_: object) -> None:
        msg = "no space on cache, choose another -o"
        raise EngineError(msg) from OSError("no space")

    monkeypatch.setattr("snow_runtime.engine.cache.write_engine", full)
    cache = EngineCache(tmp_path / "cache")
    built = build(graph, cache=cache)

    said = f"The engine was not kept in the cache, {cache.folder}: no space."
    assert built.notices == (said,)
    assert graph.with_suffix(".engine").exists()


class TestOpening:
    @pytest.mark.parametrize("name", SURFACES)
    def test_where_it_was_built(self, graph: Path, install: Install, name: str) -> None:
        module = install(name)
        build(graph)

        opened = open_engine(graph.with_suffix(".engine"))

        assert opened.record == read_record(graph.with_suffix(".engine"))
        assert opened.backend.module is module
        names = [opened.engine.get_tensor_name(i) for i in range(opened.engine.num_io_tensors)]
        assert names == ["image", "food"]

    @pytest.mark.parametrize("name", SURFACES)
    def test_weights_come_from_the_graph(self, graph: Path, install: Install, name: str) -> None:
        install(name)
        engine = graph.with_suffix(".engine")
        build(graph, BuildOptions("fp16", strip_weights=True))
        open_engine(engine)
        graph.rename(graph.with_name("other.onnx"))

        with pytest.raises(EngineError, match=r"graph .*snow\.onnx is not there, and it holds the"):
            open_engine(engine)

    def test_a_plan_that_tensorrt_refuses(self, graph: Path, install: Install) -> None:
        install("tensorrt-10.3")
        build(graph)
        engine = graph.with_suffix(".engine")
        record = read_record(engine)
        content = b"not a plan"
        from tests.runtime.engine.records import engine_in

        engine_in(
            graph.parent, content, host=record.host, version=record.version, manifest=MANIFEST
        )

        with pytest.raises(BuiltElsewhereError, match=r"does not load .*build-engine"):
            open_engine(engine)

    def test_a_new_tensorrt_builds_anew_if_told(self, graph: Path, install: Install) -> None:
        install("tensorrt-10.3")
        build(graph, BuildOptions("fp16", max_batch=4))
        engine = graph.with_suffix(".engine")
        install("tensorrt-11.4")

        with pytest.raises(BuiltElsewhereError, match=r"needs TensorRT 10\.3\.0 exactly"):
            open_engine(engine)
        opened = open_engine(engine, rebuild="auto")

        assert opened.record.version.startswith("11.4")
        assert opened.record.options.batches == (1, 4, 4)
        assert read_record(engine) == opened.record

    def test_another_library_and_gpu(self, graph: Path, install: Install) -> None:
        install("tensorrt-rtx-1.7", gpu=None)
        build(graph, BuildOptions("fp16", ("sm80", "sm86")))
        engine = graph.with_suffix(".engine")
        install("tensorrt-10.3", gpu="sm87")

        with pytest.raises(BuiltElsewhereError, match="it is an engine of TensorRT-RTX"):
            open_engine(engine)
        opened = open_engine(engine, rebuild="auto")

        assert opened.record.backend == "tensorrt"
        assert opened.record.host.target == "sm87"

    def test_a_damaged_plan_is_built_anew_if_told(self, graph: Path, install: Install) -> None:
        install("tensorrt-10.16")
        build(graph)
        engine = graph.with_suffix(".engine")
        engine.write_bytes(engine.read_bytes()[:-1])

        with pytest.raises(EngineError, match="is truncated"):
            open_engine(engine)
        assert open_engine(engine, rebuild="auto").record.achieved.share == 1.0

    def test_a_graph_that_has_changed_builds_nothing(self, graph: Path, install: Install) -> None:
        install("tensorrt-10.3")
        build(graph)
        install("tensorrt-11.4")
        says(graph, precision="fp16")

        with pytest.raises(EngineError, match=r"exactly.* has changed since, and it is what it"):
            open_engine(graph.with_suffix(".engine"), rebuild="auto")

    @pytest.mark.parametrize("name", SURFACES)
    def test_a_missing_driver_costs_no_engine(
        self, graph: Path, install: Install, name: str
    ) -> None:
        install(name)
        build(graph)
        engine = graph.with_suffix(".engine")
        before = engine.read_bytes()
        install(name, gpu=None)

        with pytest.raises(BuiltElsewhereError, match="no GPU that works"):
            open_engine(engine, rebuild="auto")
        assert engine.read_bytes() == before
        assert sorted(path.name for path in graph.parent.glob("*.engine*")) == [
            "snow.engine",
            "snow.engine.json",
        ]


def says(graph: Path, **fields: Any) -> None:
    """Change what a graph's manifest says, and nothing else."""
    model = onnx.load(graph)
    (entry,) = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), **fields})
    onnx.save(model, graph)

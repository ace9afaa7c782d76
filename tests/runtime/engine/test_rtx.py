"""Builds by the real TensorRT-RTX, which needs no GPU; it cannot load them without one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from snow_runtime.engine.backend import find_backend
from snow_runtime.engine.build import build_plan, compile_graph
from snow_runtime.engine.cache import EngineCache
from snow_runtime.engine.files import read_plan, read_record
from snow_runtime.engine.load import open_engine
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.engine.paths import record_path
from snow_runtime.errors import BuiltElsewhereError, EngineError, GraphError
from snow_runtime.files import sha256_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeModel

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx_bindings") is None,
        reason="TensorRT-RTX is not installed",
    ),
]
FP16 = BuildOptions("fp16", ("sm86",))
BUILD_FOR_EVER = """
import signal
import sys
from pathlib import Path
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
graph, output = map(Path, sys.argv[1:])
while True:
    print("building", flush=True)
    build_engine(graph, output, BuildOptions("fp16", ("sm86",)), backend_name="tensorrt-rtx")
"""


def build(graph: Path, options: BuildOptions = FP16, **more: Any) -> Any:
    output = graph.with_suffix(".engine")
    return build_engine(graph, output, options, backend_name="tensorrt-rtx", **more)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_is_what_was_asked_for(graph: Path, precision: Any) -> None:
    built = build(graph, BuildOptions(precision, ("sm80", "sm120"), max_batch=4))

    engine = graph.with_suffix(".engine")
    record = read_record(engine)
    assert record == built.record
    assert read_plan(engine, record)
    assert record.achieved.by_precision == {precision: 4}
    assert record.achieved.share == 1.0
    assert record.manifest.precision == precision
    assert record.inputs == {"image": ((1, 3, 8, 8), (4, 3, 8, 8), (4, 3, 8, 8))}
    assert record.options.targets == ("sm80", "sm120")
    assert record.graph == "snow.onnx"
    assert record.graph_sha256 == sha256_file(graph)
    assert 1 <= record.compute_layers < 20
    assert (built.cached, built.notices) == (False, ())


def test_the_same_graph_gives_the_same_plan(graph: Path) -> None:
    assert build(graph).record.plan_sha256 == build(graph).record.plan_sha256


def test_one_plan_for_several_gpus_has_the_layers_of_one(graph: Path) -> None:
    one = build(graph).record
    several = build(graph, BuildOptions("fp16")).record

    assert several.options.targets == ("sm80", "sm86", "sm89", "sm120")
    assert several.compute_layers == one.compute_layers


def test_without_a_gpu_it_is_not_loaded(graph: Path) -> None:
    build(graph)
    engine = graph.with_suffix(".engine")

    with pytest.raises(BuiltElsewhereError, match="there is no GPU that works"):
        open_engine(engine)
    damaged = bytearray(engine.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    engine.write_bytes(damaged)
    with pytest.raises(EngineError, match="damaged, or was swapped"):
        open_engine(engine)


def test_the_second_build_comes_from_the_cache(graph: Path, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    first, second = build(graph, cache=cache), build(graph, cache=cache)
    other = build(graph, BuildOptions("fp32", ("sm86",)), cache=cache)

    assert (first.cached, second.cached, other.cached) == (False, True, False)
    assert second.record == first.record


def test_two_builds_at_once_build_once(graph: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from snow_runtime.engine.cache import EngineCache\n"
        "from snow_runtime.engine.make import build_engine\n"
        "from snow_runtime.engine.options import BuildOptions\n"
        "graph, output, cache = map(Path, sys.argv[1:])\n"
        "built = build_engine(graph, output, BuildOptions('fp16', ('sm86',)),\n"
        "    backend_name='tensorrt-rtx', cache=EngineCache(cache))\n"
        "print(built.cached, built.record.plan_sha256)\n"
    )
    engine = tmp_path / "snow.engine"
    command = [sys.executable, "-c", script, str(graph), str(engine), str(tmp_path / "cache")]

    def work(_: int) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    with ThreadPoolExecutor(2) as pool:
        (one, first), (two, second) = pool.map(work, range(2))

    assert {one, two} == {"True", "False"}
    assert first == second == sha256_file(engine)
    assert read_plan(engine, read_record(engine))


@pytest.mark.slow
def test_a_kill_in_the_middle(graph: Path) -> None:
    engine = graph.with_suffix(".engine")
    for after_s in (0.0, 0.2, 0.5, 0.9):
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD_FOR_EVER, str(graph), str(engine)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after_s)
        process.kill()
        process.communicate()

        if record_path(engine).exists() or engine.exists():
            try:
                content = read_plan(engine, read_record(engine))
            except EngineError:  # between the two renamings the record describes the old plan
                continue
            assert hashlib.sha256(content).hexdigest() == read_record(engine).plan_sha256


def test_ctrl_c_leaves_nothing(graph: Path, tmp_path: Path) -> None:
    engine = tmp_path / "out" / "snow.engine"
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD_FOR_EVER, str(graph), str(engine)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode in (1, -signal.SIGINT)
    assert b"KeyboardInterrupt" in said
    names = sorted(path.name for path in engine.parent.iterdir())
    assert names == ["snow.engine", "snow.engine.json"]
    assert read_plan(engine, read_record(engine))


def test_a_target_that_it_does_not_know(graph: Path) -> None:
    with pytest.raises(EngineError, match=r"does not compile for 'sm90', expected some of sm75"):
        compile_graph(graph.read_bytes(), "sm90")
    assert not graph.with_suffix(".engine").exists()


def test_content_that_is_no_graph() -> None:
    with pytest.raises(GraphError, match="cannot read the graph: "):
        compile_graph(b"no graph")


def test_a_picture_of_any_size(make_model: MakeModel) -> None:
    content = make_model(size="side").SerializeToString()

    with pytest.raises(GraphError, match="expected fixed sizes but for the batch"):
        compile_graph(content)


def test_graphs_one_after_another(graph: Path) -> None:
    content = graph.read_bytes()
    first, second = compile_graph(content), compile_graph(content, "sm89", batch=4)

    assert (first.options.targets, second.options.targets) == (("sm86",), ("sm89",))
    for plan in (first, second):
        document = json.loads(json.dumps(plan.to_dict()))
        assert document["compute_layers"] == len(plan.compute_layers) <= 20
        assert document["plan_bytes"] == len(plan.content)
        assert set(document["by_dtype"]) == {"Float"}
    assert (first.to_dict()["batch"], second.to_dict()["batch"]) == (1, 4)


def test_what_tensorrt_rtx_lacks_is_refused(graph: Path, tmp_path: Path) -> None:
    for options, said in (
        (BuildOptions("fp16", hardware_compatible=True), r"Give --target sm80,sm86"),
        (BuildOptions("fp16", version_compatible=True), "no --version-compatible"),
        (BuildOptions("fp16", strip_weights=True), "strips weights only where a GPU is"),
        (BuildOptions("fp16", dla=0), "finds no deep learning accelerator here"),
    ):
        with pytest.raises(EngineError, match=said):
            build(graph, options)
    with pytest.raises(EngineError, match="has no timing cache"):
        build(graph, timing_cache=tmp_path / "timing.cache")
    assert not graph.with_suffix(".engine").exists()


def test_an_engine_in_another_precision_is_not_written(graph: Path) -> None:
    """The graph says fp16 and is fp32, as a tool's output might be."""
    model = onnx.load(graph)
    (entry,) = model.metadata_props
    entry.value = entry.value.replace('"precision":"fp32"', '"precision":"fp16"')
    onnx.save(model, graph)

    with pytest.raises(EngineError, match=r"not fp16: 0 of 4 .*source/conv \(fp32\)"):
        build(graph)
    assert not graph.with_suffix(".engine").exists()
    assert build(graph, BuildOptions("fp16", ("sm86",), least_share=0)).record.achieved.share == 0


def test_progress_runs_to_its_end(graph: Path) -> None:
    shares: list[float] = []
    backend = find_backend("tensorrt-rtx")

    build_plan(graph.read_bytes(), backend, FP16, progress=lambda _, share: shares.append(share))

    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert len(set(shares)) > 3

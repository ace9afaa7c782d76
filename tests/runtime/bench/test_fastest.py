from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from snow_runtime.bench import fastest
from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.fastest import build_fastest, check_keep, keep, kept_as, medians_ms
from snow_runtime.engine.files import read_plan, read_record
from snow_runtime.engine.make import BuiltEngine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.graph.onnx_file import read_graph
from tests.runtime.engine.records import PLAN, engine_in, record_of

if TYPE_CHECKING:
    from tests.conftest import MakeModel


def document(times: dict[str, float | None], *, interrupted: bool = False) -> dict[str, Any]:
    contenders = [
        {"name": name, "latency": None if time is None else {"p50_ms": time}}
        for name, time in times.items()
    ]
    return {"interrupted": interrupted, "contenders": contenders}


def test_the_least_median_is_the_fastest() -> None:
    assert list(medians_ms(document({"a": 3.0, "b": 1.5, "c": 2.0}))) == ["b", "c", "a"]


@pytest.mark.parametrize("found", [{"a": 1.0, "b": None}])
def test_a_contender_that_was_not_measured(found: dict[str, float | None]) -> None:
    with pytest.raises(BenchError, match="none can be called the fastest"):
        medians_ms(document(found))
    with pytest.raises(BenchError, match="Let the measurement end"):
        medians_ms(document({"a": 1.0}, interrupted=True))


def test_an_engine_is_kept_with_its_record(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    engine = engine_in(tmp_path / "a")

    keep(engine, tmp_path / "b" / "best.engine")

    record = read_record(tmp_path / "b" / "best.engine")
    assert read_plan(tmp_path / "b" / "best.engine", record) == PLAN
    assert record.graph == "../a/snow.onnx"  # seen from where it now lies


def test_a_graph_is_kept(tmp_path: Path, make_model: MakeModel) -> None:
    onnx.save(make_model(), tmp_path / "a.onnx")

    keep(tmp_path / "a.onnx", tmp_path / "best.onnx")
    assert (tmp_path / "best.onnx").read_bytes() == (tmp_path / "a.onnx").read_bytes()
    with pytest.raises(BenchError, match="Give another --keep"):
        keep(tmp_path / "a.onnx", tmp_path / "a.onnx" / "best.onnx")


def test_a_graph_is_kept_with_the_weights_beside_it(tmp_path: Path, make_model: MakeModel) -> None:
    """Elsewhere another graph's file may have the name of its weights."""
    path, elsewhere = tmp_path / "a.onnx", tmp_path / "kept"
    elsewhere.mkdir()
    (elsewhere / "w.bin").write_bytes(b"of another graph")
    onnx.save(make_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)

    keep(path, elsewhere / "best.onnx")

    assert read_graph(elsewhere / "best.onnx").weights == ()
    assert onnx.load(elsewhere / "best.onnx") == onnx.load(path)


GRAPHS, ENGINES = [Path("a.onnx"), Path("b.onnx")], [Path("a.engine"), Path("b.engine")]


@pytest.mark.parametrize(
    ("models", "name", "fits"),
    [
        (GRAPHS, "best.onnx", True),
        (GRAPHS, "best.engine", False),
        (GRAPHS, "best", False),
        (ENGINES, "best.engine", True),
        (ENGINES, "best.onnx", False),
        (ENGINES, "best.plan", False),
        ([*GRAPHS, *ENGINES], "best", True),
        ([*GRAPHS, *ENGINES], "best.onnx", True),
        ([*GRAPHS, *ENGINES], "best.v2", False),
    ],
)
def test_the_name_to_keep_it_by_fits_what_it_is(
    tmp_path: Path, models: list[Path], name: str, fits: bool
) -> None:
    output = tmp_path / name
    if fits:
        check_keep(output, models)
        assert kept_as(output, models[-1]).name == f"best{models[-1].suffix}"
        assert kept_as(output, models[0]).name == f"best{models[0].suffix}"
    else:
        with pytest.raises(BenchError, match=r"best.*expected '\.(onnx|engine)'"):
            check_keep(output, models)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_of_another_name_is_kept_as_one(tmp_path: Path) -> None:
    engine = engine_in(tmp_path)
    other = engine.with_name("a.plan")
    for suffix in ("", ".json"):
        engine.with_name(engine.name + suffix).rename(other.with_name(other.name + suffix))

    check_keep(tmp_path / "best.engine", [other])
    with pytest.raises(BenchError, match=r"expected '\.engine'"):
        check_keep(tmp_path / "best.plan", [other])


def test_a_folder_that_cannot_be_written_to_is_seen_first(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Give another --keep"):
        check_keep(tmp_path / "nowhere" / "best.onnx", GRAPHS)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Give a machine with a GPU, which builds plans of their names and takes these times."""
    times: dict[str, float] = {}

    def build(graph: Path, output: Path, options: BuildOptions, **_: Any) -> BuiltEngine:
        assert options.precision == "fp16"
        engine = engine_in(output.parent, graph.name.encode())
        for suffix in ("", ".json"):
            engine.with_name(engine.name + suffix).rename(output.with_name(output.name + suffix))
        return BuiltEngine(record_of(graph.name.encode()), cached=False, notices=())

    class Measured:
        def to_dict(self) -> dict[str, Any]:
            return document(dict(times))

    monkeypatch.setattr(fastest, "gpu_here", object)
    monkeypatch.setattr(fastest, "build_engine", build)
    monkeypatch.setattr(fastest, "bench", lambda _: Measured())
    return times


def test_the_fastest_of_the_layouts_is_kept(tmp_path: Path, machine: dict[str, float]) -> None:
    machine.update({"fused.engine": 2.0, "summed.engine": 1.0})
    graphs = [tmp_path / "fused.onnx", tmp_path / "summed.onnx"]
    for graph in graphs:
        graph.write_bytes(b"")
    output = tmp_path / "best.engine"

    built, times = build_fastest(graphs, output, BuildOptions("fp16"))

    assert times == {str(graphs[1]): 1.0, str(graphs[0]): 2.0}
    assert built.record == read_record(output)
    assert read_plan(output, built.record) == b"summed.onnx"


@pytest.mark.usefixtures("machine")
def test_two_graphs_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="one name"):
        build_fastest([tmp_path / "a" / "x.onnx", tmp_path / "x.onnx"], tmp_path, BuildOptions())


def test_without_a_gpu_there_is_nothing_to_time_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "gpu_here", lambda: None)

    with pytest.raises(BenchError, match="no GPU here that works"):
        build_fastest([tmp_path / "x.onnx"], tmp_path / "y.engine", BuildOptions())

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.bench import run
from snow_runtime.bench.contender import Contender
from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.options import BenchOptions
from snow_runtime.bench.run import bench
from snow_runtime.bench.startup import Start
from snow_runtime.doctor import Machine
from snow_runtime.files import sha256_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Graph

STAGES = {"preprocess", "copy", "inference", "postprocess"}


def no_library(name: str) -> Any:
    raise OSError(name)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root = tmp_path / "root"
    root.mkdir()
    return Machine(root, dict, library=no_library)


@pytest.fixture
def options(graph: Graph) -> BenchOptions:
    other = graph.path.with_name("other.onnx")
    shutil.copy(graph.path, other)
    return BenchOptions(
        (graph.path, other),
        threads=1,
        duration_s=0.2,
        camera=(32, 24),
        starts=1,
    )


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan as if calls took a millisecond, however busy this machine is."""
    monkeypatch.setattr(run, "warm_up", lambda *_: 1e-3)


@pytest.fixture
def no_starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Start nothing, and write down what would have been started."""
    names: list[str] = []

    def start(path: Path, _options: BenchOptions) -> Start:
        names.append(path.name)
        return Start(1.0, 0.5, 10, 30, 40)

    monkeypatch.setattr(run, "start_once", start)
    return names


@pytest.mark.usefixtures("fast")
def test_the_whole_of_it(options: BenchOptions, machine: Machine) -> None:
    heard: list[tuple[str, float]] = []

    document = bench(options, lambda *said: heard.append(said), machine).to_dict()

    document = json.loads(json.dumps(document, allow_nan=False))
    assert document["interrupted"] is False
    assert document["rounds"] == 8
    first, second = document["contenders"]
    for contender, path in ((first, options.models[0]), (second, options.models[1])):
        assert contender["name"] == path.name
        assert contender["file_bytes"] == path.stat().st_size
        assert contender["sha256"] == sha256_file(path)
        assert contender["tasks"] == ["food", "birds"]
        assert contender["providers"] == ["CPUExecutionProvider"]
        assert contender["rounds"] == 8
        assert contender["calls"] >= 8
        assert contender["start_up"]["starts"] == len(contender["each_start"]) == 1
        assert set(contender["stages"]) == STAGES
        assert contender["stages"]["copy"] is None
        assert contender["stages"]["inference"]["p50_ms"] < contender["latency"]["p99_ms"]
        rate = 1e3 * options.batch / contender["latency"]["mean_ms"]
        assert contender["frames_per_s"] == pytest.approx(rate)
    (ratio,) = document["ratios"]
    assert (ratio["name"], ratio["to"]) == ("other.onnx", "graph.onnx")
    medians = [contender["latency"]["p50_ms"] for contender in (second, first)]
    assert ratio["latency"]["value"] == pytest.approx(medians[0] / medians[1])
    assert ratio["latency"]["low"] <= ratio["latency"]["high"]
    assert document["versions"]["snow-deploy"]
    assert document["state"]["before"] is not None
    assert document["state"]["after"] is not None
    assert any(note.startswith("copy: ") for note in document["notes"])
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {phase for phase, _ in heard} >= {"starting graph.onnx", "loading other.onnx"}


@pytest.mark.usefixtures("fast")
def test_starts_alternate_too(
    options: BenchOptions, machine: Machine, no_starts: list[str]
) -> None:
    bench(replace(options, starts=2), machine=machine)

    assert no_starts == ["graph.onnx", "other.onnx", "other.onnx", "graph.onnx"]


@pytest.mark.usefixtures("no_starts", "fast")
def test_one_contender_has_no_ratio(graph: Graph, machine: Machine) -> None:
    options = BenchOptions((graph.path,), duration_s=0.05, camera=(32, 24), batch=3)

    document = bench(options, machine=machine).to_dict()

    assert document["ratios"] == []
    assert document["options"]["batch"] == 3


def stop_at(monkeypatch: pytest.MonkeyPatch, last: int, error: type[BaseException]) -> None:
    """Let so many calls pass, of all contenders together, then raise."""
    call, calls = Contender.call, iter(range(last))

    def stopped(self: Contender, frames: Any) -> Any:
        if next(calls, None) is None:
            raise error
        return call(self, frames)

    monkeypatch.setattr(Contender, "call", stopped)


@pytest.mark.usefixtures("no_starts")
@pytest.mark.parametrize("calls", [0, 7, 10, 60, 500])
def test_ctrl_c_leaves_what_was_measured(
    options: BenchOptions, machine: Machine, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    stop_at(monkeypatch, calls, KeyboardInterrupt)

    document = bench(replace(options, duration_s=30), machine=machine).to_dict()

    document = json.loads(json.dumps(document, allow_nan=False))
    assert document["interrupted"] is True
    assert document["state"]["after"] is None
    first, second = document["contenders"]
    assert first["start_up"]["total_s"] == 1.5
    assert first["calls"] + second["calls"] <= max(0, calls - 10)  # all but the warm-up
    for contender in (first, second):
        assert (contender["latency"] is None) == (contender["calls"] == 0)


def test_ctrl_c_during_the_starts(
    options: BenchOptions, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(path: Path, _options: BenchOptions) -> Start:
        if path == options.models[1]:
            raise KeyboardInterrupt
        return Start(1.0, 0.5)

    monkeypatch.setattr(run, "start_once", start)

    document = bench(options, machine=machine).to_dict()

    assert document["interrupted"] is True
    assert document["rounds"] is None
    first, second = document["contenders"]
    assert first["start_up"]["load_s"] == 1.0
    assert second["start_up"] is None
    assert second["latency"] is None


@pytest.mark.usefixtures("no_starts")
def test_contenders_are_closed_whatever_happens(
    options: BenchOptions, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = Contender.close

    def watched(self: Contender) -> None:
        closed.append(self.path.name)
        close(self)

    monkeypatch.setattr(Contender, "close", watched)
    stop_at(monkeypatch, 3, RuntimeError)
    with pytest.raises(RuntimeError):
        bench(options, machine=machine)

    assert sorted(closed) == ["graph.onnx", "other.onnx"]


@pytest.mark.usefixtures("no_starts")
def test_a_duration_too_short_for_one_call(graph: Graph, machine: Machine) -> None:
    with pytest.raises(BenchError, match=r"too short for one call.*--duration"):
        bench(BenchOptions((graph.path,), duration_s=1e-7), machine=machine)

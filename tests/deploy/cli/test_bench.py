from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli.bench import _keep, _lines, command
from snow_runtime.bench import run
from snow_runtime.bench.contender import Contender
from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.options import BenchOptions
from snow_runtime.bench.startup import Start

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SMALL = ["--camera-size", "32x24", "--threads", "1"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), *SMALL])


@pytest.fixture
def other(graph_path: Path) -> Path:
    path = graph_path.with_name("other.onnx")
    shutil.copy(graph_path, path)
    return path


@pytest.fixture
def no_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Start(1.5, 0.25, 10_000_000, 30_000_000, 40_000_000)
    monkeypatch.setattr(run, "start_once", lambda *_: start)


def test_the_table(graph_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "warm_up", lambda *_: 1e-3)  # however busy this machine is
    result = invoke(graph_path, "--against", other, "--duration", 0.2)

    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    latency = [row for row in rows if "latency" in row[:2]]
    assert [row[0] for row in latency] == ["snow.onnx", "other.onnx"]
    for stage in ("preprocess", "inference", "postprocess"):
        assert len([row for row in rows if row and row[0] == stage]) == 2
    assert ["copy", "-", "-", "-", "-"] in rows
    assert "other.onnx over snow.onnx: latency " in result.stdout
    assert " with 95% confidence)" in result.stdout
    assert "batch 1, frames 32x24 bgr, 1 threads, 0.2 s of calls each, 8 rounds" in result.stdout


@pytest.mark.usefixtures("no_starts")
def test_json(graph_path: Path) -> None:
    result = invoke(graph_path, "--quick", "--batch", 2, "--colour", "rgb", "--json")

    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["options"] == {
        "batch": 2,
        "threads": 1,
        "duration_s": 1.0,
        "camera": {"width": 32, "height": 24, "colour": "rgb"},
        "starts": 1,
        "seed": 0,
    }
    (contender,) = document["contenders"]
    assert contender["start_up"]["total_s"] == 1.75
    assert contender["stages"]["copy"] is None
    assert document["ratios"] == []
    assert document["machine"]["usable_cores"] >= 1


@pytest.mark.usefixtures("no_starts")
@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_prints_what_was_measured_so_far(
    graph_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    call, calls = Contender.call, iter(range(40))

    def stopped(self: Contender, frames: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return call(self, frames)

    monkeypatch.setattr(Contender, "call", stopped)

    result = invoke(graph_path, "--against", other, *(["--json"] if as_json else []))

    assert result.exit_code == 130
    assert "interrupted: this is what was measured so far" in result.stderr
    if as_json:
        assert json.loads(result.stdout)["interrupted"] is True
    else:
        assert "snow.onnx" in result.stdout
        assert "40.0 MB" not in result.stdout  # sizes are over those before
        assert "+30.0 MB" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--camera-size", "1280"], "'1280' is no width and height in pixels, such as 1280x720"),
        (["--camera-size", "0x720"], "'0x720' is no width"),
        (["--duration", "0"], "--duration"),
        (["--duration", "nan"], "'nan' is no finite number"),
        (["--duration", "inf"], "'inf' is no finite number"),
        (["--batch", "0"], "--batch"),
        (["--quick", "--duration", "3"], "--quick and --duration contradict each other"),
    ],
)
def test_what_cannot_be_meant(graph_path: Path, arguments: list[str], expected: str) -> None:
    result = CliRunner().invoke(command, [str(graph_path), *arguments])

    assert result.exit_code == 2
    assert expected in result.stderr


def test_errors_reach_the_group_that_prints_them(graph_path: Path, tmp_path: Path) -> None:
    missing = invoke(graph_path, "--against", tmp_path / "missing.onnx")
    twice = invoke(graph_path, "--against", graph_path)

    assert isinstance(missing.exception, BenchError)
    assert "there is no such file" in str(missing.exception)
    assert "2 contenders are called 'snow.onnx'" in str(twice.exception)


def test_lines_of_a_measurement_that_did_not_begin(graph_path: Path) -> None:
    from snow_runtime.bench.report import BenchReport, ContenderEntry

    report = BenchReport(
        BenchOptions((graph_path,)), [ContenderEntry(graph_path, 1_000_000, "0" * 64)]
    )

    lines = list(_lines(report.to_dict()))

    assert lines[1].split() == ["snow.onnx", "latency", "-", "-", "-", "-", "-", "0"]
    assert lines[4].split()[:3] == ["snow.onnx", "1.0", "MB"]
    assert "? cores of ?, governor ?, no GPU" in lines[-1]


@pytest.mark.usefixtures("no_starts")
def test_the_fastest_is_kept(graph_path: Path, other: Path, tmp_path: Path) -> None:
    best = tmp_path / "best.onnx"

    result = invoke(graph_path, "--against", other, "--duration", 0.2, "--keep", best)

    assert result.exit_code == 0, result.stderr
    assert best.read_bytes() in (graph_path.read_bytes(), other.read_bytes())
    assert f"kept as {best}" in result.stderr


def test_what_cannot_be_kept_is_said_before_anything_is_measured(
    graph_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "bench", None)
    for name in ("best.engine", "nowhere/best.onnx"):
        found = invoke(graph_path, "--quick", "--keep", tmp_path / name)
        assert isinstance(found.exception, BenchError)
        assert "Give another --keep" in str(found.exception)


def test_the_fastest_of_both_kinds_is_kept_by_what_it_is(
    graph_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contenders = [
        {"name": name, "path": str(path), "latency": {"p50_ms": ms}}
        for name, path, ms in (("a.onnx", graph_path, 1.0), ("a.engine", tmp_path / "a.engine", 2))
    ]

    _keep({"interrupted": False, "contenders": contenders}, tmp_path / "best.engine")

    assert (tmp_path / "best.onnx").read_bytes() == graph_path.read_bytes()
    assert "best.onnx and not best.engine, by what it is" in capsys.readouterr().err

"""`snow-deploy plan` as it is typed; what it finds is tested where it is made."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.bench import run
from snow_runtime.bench.startup import Start

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from snow_deploy.training.store import Store


@pytest.fixture
def plan(trained_store: Store) -> Any:
    def invoke(*arguments: object) -> Result:
        given = ["plan", "--store", trained_store.root, *arguments]
        return CliRunner().invoke(main, [*map(str, given)])

    return invoke


def test_a_prediction_is_called_one(plan: Any, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "frontier.svg"

    result = plan(
        *("--device", "orin-nx-16gb", "--fps", 30, "--cameras", 2, "--no-compile"),
        *("--explain", "-o", picture),
    )

    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    (best,) = (line for line in lines if line.startswith("best within"))
    assert "33.3333 ms for 2 pictures" in best
    assert "ms predicted, fp16" in best
    assert not any("measured" in line and "ms measured" in line for line in lines)
    assert any("layers: estimated from the graph, in the place of sm87" in line for line in lines)
    assert any("by a model of the Jetson Orin NX 16 GB, not measured" in line for line in lines)
    rows = [line for line in lines if "ResNet-50" in line]
    assert [row.split()[0] for row in rows].count("orin-nx-16gb") == 2
    sums = next(line for line in lines if line.startswith("predicted ") and " = " in line)
    total, launches, memory, arithmetic = (
        float(found) for found in re.findall(r"(?:predicted|=|\+) ([\d.]+) (?:ms|for)", sums)
    )
    assert total == pytest.approx(launches + memory + arithmetic, abs=0.03)
    assert b"<svg" in picture.read_bytes()


def test_json_says_which_times_are_predicted(plan: Any) -> None:
    result = plan("--device", "Jetson TX2", "--no-compile", "--graphs", 0, "--json")

    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["device"]["name"] == "tx2"
    assert document["best"] is None
    assert document["frontier"][0]["predicted_ms"] > 0
    assert document["frontier"][0]["measured_ms"] is None
    assert document["layers_from"] == "estimated from the graph"
    assert len(document["model_errors"]) == 16
    assert set(document["tasks"]) == {"digit", "shape"}
    (variant,) = document["tasks"]["digit"].values()
    assert variant["accuracy"]["fp16"]["pictures"] == 20


def test_what_bench_measured_takes_the_place_of_predictions(
    plan: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bench --json` of a graph of this store is all that is needed."""
    start = Start(1.0, 1.0, 1, 2, 3)
    monkeypatch.setattr(run, "start_once", lambda *_: start)
    measured = CliRunner().invoke(
        main,
        [*("bench", str(graph), "--json", "--quick"), *("--camera-size", "32x24")],
    )
    assert measured.exit_code == 0, measured.stderr
    file = tmp_path / "bench.json"
    file.write_text(measured.stdout)
    (contender,) = json.loads(measured.stdout)["contenders"]
    assert (contender["precision"], contender["layout"]) == ("fp32", "fused")

    result = plan("--bench", file, "--budget-ms", 10_000)

    assert result.exit_code == 0, result.stderr
    ms = contender["stages"]["inference"]["p50_ms"]
    assert f"best within 10000 ms: {ms:.2f} ms measured, fp32" in result.stdout
    assert f"{graph.name} in {file}" in result.stdout
    assert "predicted" not in result.stdout


def test_a_missing_compiler_is_told(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)

    result = plan("--task", "shape", "--device", "l4", "--graphs", 0)

    assert result.exit_code == 0, result.stderr
    assert "layers: estimated from the graph. ~: composed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "orin-nano"], "Did you mean 'orin-nano-8gb-super'?"),
        ([], "there is nothing to tell a time by"),
        (["--device", "l4", "--budget-ms", "1", "--fps", "9"], "--budget-ms and --fps are both"),
        (["--device", "l4", "-o", "plan.txt"], "plan.txt says no kind of picture"),
        (["--device", "tx2", "--precision", "int8"], "computes in fp32, fp16, and int8 was asked"),
        (["--device", "l4", "--task", "shape=shape,digit"], "are no variants of one task"),
        (["--bench", "missing.json"], "missing.json is no measurement that can be read"),
    ],
)
def test_what_is_refused(plan: Any, arguments: list[str], message: str) -> None:
    result = plan(*arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_budget_that_nothing_meets_writes_no_plot(plan: Any, tmp_path: Path) -> None:
    picture = tmp_path / "frontier.png"

    result = plan(
        "--device", "l4", "--budget-ms", 0.001, "--graphs", 0, "--no-compile", "-o", picture
    )

    assert result.exit_code == 1
    assert "error: Nothing fits into 0.001 ms. The fastest combination is" in result.stderr
    assert not picture.exists()

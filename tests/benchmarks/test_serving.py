"""The serving benchmark's report, on networks small enough for a test; no time is asserted."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import serving
from benchmarks._readouts import FitScenario, readouts
from benchmarks._scenario import Fleet, Scenario

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 3  # the source's own head and two more


@pytest.fixture(scope="module")
def settings() -> serving.ServingSettings:
    return serving.ServingSettings(
        Scenario("resnet18", 64, source_classes=7, task_classes=(5, 3)),
        rounds=1,
        runs=1,
        threads=1,
        torch_threads=1,
        task_counts=(1, TASKS),
        compiled=False,
        fit=FitScenario(60, 50, 3, 20),
    )


@pytest.fixture(scope="module")
def report(settings: serving.ServingSettings) -> dict[str, Any]:
    return serving.measure(settings)


@pytest.mark.slow
def test_report_has_every_figure_of_the_benchmark(report: dict[str, Any]) -> None:
    for key in (
        "compiled_layers_source",
        "compiled_layers_separate",
        "compiled_layers_fused",
        "macs_over_source",
        "separate_models_over_shared",
        "shared_over_source",
        "rtx_build_s",
        "export_s",
        "compiled_layers_readout",
        "readout_over_source",
        "readout_fit_s",
    ):
        assert key in report


def test_report_is_plain_json(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_what_was_not_compiled_is_null(report: dict[str, Any]) -> None:
    assert report["rtx"] is None
    assert [value for key, value in report.items() if key.startswith("compiled_layers")] == [
        None
    ] * 5


def test_deltas_cost_multiply_adds_but_far_fewer_than_whole_models(report: dict[str, Any]) -> None:
    # Fusing adds the classifiers' zero blocks, and nothing else here.
    assert 1 < report["macs_over_source_separate"] <= report["macs_over_source"] < TASKS - 1


def test_times_are_positive_and_ratios_follow_from_them(report: dict[str, Any]) -> None:
    times = report["ms"]
    assert all(time_ms > 0 and math.isfinite(time_ms) for time_ms in times.values())
    layouts = ("fused", "summed", "separate")
    shared = times[report["shared_layout"]]
    assert shared == min(times[name] for name in layouts)
    assert report["shared_over_source"] == shared / times["source"]
    assert report["separate_models_over_shared"] == times["separate_models"] / shared
    assert report["readout_over_source"] == times["readouts"] / times["source"]
    assert report["readout_fit_s"] > 0
    for name in layouts:
        ratio = times["separate_models"] / times[name]
        assert report[f"separate_models_over_shared_{name}"] == ratio
    assert report["export_s"] > 0


def test_one_graph_is_one_contender(report: dict[str, Any]) -> None:
    by_tasks = report["ms_by_tasks"]
    assert list(by_tasks) == ["1", str(TASKS)]
    assert by_tasks["1"] == report["ms"]["source"]
    assert by_tasks[str(TASKS)] == report["ms"]["summed"]


def test_compiled_layers_come_from_each_graph(
    settings: serving.ServingSettings, tmp_path: Path
) -> None:
    path = tmp_path / "x.onnx"
    shared = dict.fromkeys(("fused", "summed", "separate"), path)
    by_count = {1: path, 2: path, 3: path}
    graphs = serving.Graphs(path, [path], shared, path, path, by_count, export_s=2.5)
    times = {
        "source": 10.0,
        "linear": 11.0,
        "readouts": 10.5,
        "fused": 14.0,
        "summed": 12.5,
        "separate": 20.0,
    }
    times |= {"summed": 12.5, "separate": 20.0, "separate_models": 30.0}
    times |= {"tasks 1": 10.0, "tasks 2": 12.0, "tasks 3": 14.0}
    layers = {"source": 57, "separate": 574, "fused": 168, "summed": 250, "readouts": 64}
    compiled = {
        name: {"compute_layers": count, "build_s": count / 50} for name, count in layers.items()
    }
    costs = {"source": 100, "fused": 118, "summed": 119, "separate": 117}
    report = serving.assemble(settings, graphs, costs, times, compiled)
    assert report["compiled_layers_readout"] == layers.pop("readouts")
    assert report["readout_over_source"] == 1.05
    assert {name: report[f"compiled_layers_{name}"] for name in layers} == layers
    assert report["rtx_build_s"] == 168 / 50
    assert report["macs_over_source"] == 1.18
    assert report["shared_layout"] == "summed"
    assert report["separate_models_over_shared"] == 30 / 12.5
    assert report["one_more_task_ms"] == pytest.approx(2.0)
    assert report["one_more_task_over_source"] == pytest.approx(0.2)
    assert report["export_s"] == 2.5


def test_readouts_read_features_of_their_own(settings: serving.ServingSettings) -> None:
    fleet = Fleet(settings.scenario)
    found = readouts(fleet.source, fleet.tasks(TASKS), fleet.scenario.seed)

    indices = [readout.index.tolist() for readout in found.values()]  # type: ignore[operator]
    assert [len(set(index)) for index in indices] == [1024] * TASKS
    assert indices[0] != indices[1]
    assert all(index == sorted(index) for index in indices)
    classes = [readout.num_classes for readout in found.values()]
    assert classes == [5, 3, 5]


def test_slope_needs_two_graphs_with_deltas() -> None:
    assert serving.one_more_task({1: 10.0, 6: 14.0}) is None
    assert serving.one_more_task({1: 9.0, 2: 11.0, 4: 12.0, 6: 13.0}) == pytest.approx(0.5)


def test_a_fleet_is_the_same_for_everyone(settings: serving.ServingSettings) -> None:
    fleet = Fleet(settings.scenario)
    few, many = fleet.deltas(1), fleet.deltas(2)
    assert few["task1"] is many["task1"]
    selections = [delta.selections() for delta in (fleet.delta(5), fleet.delta(5))]
    assert selections[0] != selections[1]  # as after training: no two tasks choose alike


def test_last_line_is_the_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = _report()
    monkeypatch.setattr(serving, "measure", lambda _settings: report)
    output = tmp_path / "serving.json"
    assert serving.main(["--quick", "--no-rtx", "--output", str(output)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == report
    assert json.loads(output.read_text(encoding="utf-8")) == report
    assert any(line.startswith("--quick leaves out") for line in printed)


def _report() -> dict[str, Any]:
    names = ("source", "linear", "readouts", "fused", "summed", "separate", "separate_models")
    figures = dict.fromkeys(serving._FIGURES)
    facts = {"architecture": "resnet18", "image_size": 64, "tasks": 6}
    return {**facts, **figures, "ms": dict.fromkeys(names, 1.0), "ms_by_tasks": {"1": 1.0}}

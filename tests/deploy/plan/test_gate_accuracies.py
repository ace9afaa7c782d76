"""INT8 accuracies from the reports that `calibrate` writes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from snow_calibration.gate import TaskScore
from snow_calibration.ranges import Origin
from snow_calibration.report import CalibrationReport, finite
from snow_deploy.errors import PlanError
from snow_deploy.plan.accuracy import counted
from snow_deploy.plan.gate_accuracies import GateScore, read_gate_scores, score_of
from tests.deploy.plan.conftest import PICTURES
from tests.deploy.plan.graph_files import write_graph

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.training.task_record import TaskRecord

ORIGIN = Origin("f" * 64, "d" * 64, 512, "entropy")


ENDLESS = (
    '{"origin": {"graph_sha256": "f"}, "verdicts": [], "fp32": [{"task": "a", "top1": 1}], '
    '"int8": [{"task": "a", "top1": 1, "pictures": 1e999, "lost": 0, "won": 0}]}'
)


def score(
    task: str, top1: float, lost: int = 0, won: int = 0, pictures: int = PICTURES
) -> TaskScore:
    return TaskScore(task, pictures, top1, 0.0, 1.0, 0.0, lost, won)


def write_report(path: Path, fp32: TaskScore, int8: TaskScore, origin: Origin = ORIGIN) -> None:
    report = CalibrationReport(
        *(origin, "fp16", 3.0, (fp32,), (), (int8,), (), True, (), 0.9, (), (), (1, 1))
    )
    text = json.dumps(finite(report.to_dict()))
    path.with_name(path.name.removesuffix(".onnx") + ".report.json").write_text(text)


def test_the_gates_accuracy_is_found_by_the_tasks_weights(
    four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    record = four["food-snow"]
    path = write_graph(tmp_path / "snow.int8.onnx", [record], "int8", ORIGIN.graph_sha256)
    write_report(path, score("food-snow", 0.9), score("food-snow", 0.89, 6, 2))

    scores = read_gate_scores([path])

    found = score_of(record, scores)
    assert found == GateScore(PICTURES, 0.9, 0.89, 6, 2, "", str(path))
    assert found is not None
    assert found.accuracy(counted(0.9, PICTURES)) == counted(0.89, PICTURES)
    renamed = replace(record, name="other")  # it is the weights that count
    assert score_of(renamed, scores) == found
    assert score_of(four["mood-snow"], scores) is None
    assert score_of(record, {}) is None


def test_of_other_pictures_the_drop_is_taken_off() -> None:
    """The stored accuracy is of 5,000 pictures; the gate judged by 400 of them, easier ones."""
    gate = GateScore(400, 0.95, 0.94, 7, 3, "pass", "")

    found = gate.accuracy(counted(0.90, 5000))

    assert found.value == pytest.approx(0.89)
    flips = [1.0] * 7 + [-1.0] * 3 + [0.0] * 390
    mean = sum(flips) / 400
    drop_variance = sum((it - mean) ** 2 for it in flips) / 400 / 400
    assert found.error == pytest.approx((0.9 * 0.1 / 5000 + drop_variance) ** 0.5)
    assert found.pictures == 400


def test_as_many_pictures_are_not_the_same_ones() -> None:
    """What fp32 answers better than is stored is judged on easier pictures."""
    easier = GateScore(200, 0.95, 0.94, 5, 3, "pass", "")

    assert easier.accuracy(counted(0.90, 200)).value == pytest.approx(0.89)
    assert easier.accuracy(counted(0.95, 200)) == counted(0.94, 200)
    assert easier.accuracy(counted(0.90, None)) == counted(0.90 - (0.95 - 0.94), None)


def test_a_float_graph_is_refused(four: dict[str, TaskRecord], tmp_path: Path) -> None:
    path = write_graph(tmp_path / "snow.onnx", [four["food-snow"]], "fp32")
    with pytest.raises(PlanError, match="is no INT8 graph of ours"):
        read_gate_scores([path])


def test_a_missing_report_is_refused(four: dict[str, TaskRecord], tmp_path: Path) -> None:
    path = write_graph(tmp_path / "a.int8.onnx", [four["food-snow"]], "int8", "f" * 64)
    with pytest.raises(PlanError, match=r"the gate's report of .* cannot be read .*No such file"):
        read_gate_scores([path])


def test_the_report_of_another_graph_is_refused(
    four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    path = write_graph(tmp_path / "a.int8.onnx", [four["food-snow"]], "int8", "e" * 64)
    write_report(path, score("food-snow", 0.9), score("food-snow", 0.9))
    with pytest.raises(PlanError, match="is of another graph than"):
        read_gate_scores([path])


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"origin": 1}', '{"origin": {"graph_sha256": 1}, "verdicts": 3}'),
        "[" * 100_000,
        ENDLESS,
    ],
)
def test_a_damaged_report_is_refused(
    four: dict[str, TaskRecord], tmp_path: Path, text: str
) -> None:
    path = write_graph(tmp_path / "a.int8.onnx", [four["food-snow"]], "int8", "f" * 64)
    (tmp_path / "a.int8.report.json").write_text(text)
    with pytest.raises(PlanError, match=r"the gate's report of .* cannot be read"):
        read_gate_scores([path])


@pytest.mark.parametrize("change", [{"pictures": 0}, {"top1": 1.2}, {"top1": float("nan")}])
def test_impossible_scores_are_refused(
    four: dict[str, TaskRecord], tmp_path: Path, change: dict[str, float]
) -> None:
    path = write_graph(tmp_path / "a.int8.onnx", [four["food-snow"]], "int8", "f" * 64)
    good = score("food-snow", 0.9)
    write_report(path, good, replace(good, **change))  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="cannot be read"):
        read_gate_scores([path])


def test_a_report_that_names_no_graph_is_of_another_one(
    four: dict[str, TaskRecord], tmp_path: Path
) -> None:
    path = write_graph(tmp_path / "a.int8.onnx", [four["food-snow"]], "int8", "f" * 64)
    text = '{"origin": {"graph_sha256": 1}, "verdicts": [], "fp32": [], "int8": []}'
    (tmp_path / "a.int8.report.json").write_text(text)
    with pytest.raises(PlanError, match="is of another graph than"):
        read_gate_scores([path])

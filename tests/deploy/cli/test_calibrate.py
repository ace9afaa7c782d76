from __future__ import annotations

import json
from typing import TYPE_CHECKING

import onnx
from click.testing import CliRunner, Result

from snow_deploy.cli import main
from snow_runtime import load
from tests.conftest import DATA

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from snow_deploy.training.store import Store


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def data_of(store: Store) -> list[str]:
    """Give the data that the store's tasks were trained on."""
    return [part for task in store.tasks() for part in ("--data", f"{task}=demo:{task}?{DATA}")]


def calibrate(store: Store, graph: Path, folder: Path, *more: str) -> Result:
    output = str(folder / "small.onnx")
    chosen = ("--samples", "24", "--method", "minmax", "-o", output)
    return run("calibrate", str(graph), *data_of(store), *chosen, *more)


def test_a_graph_its_ranges_and_its_report(
    trained_store: Store, graph: Path, tmp_path: Path
) -> None:
    result = calibrate(trained_store, graph, tmp_path, "--max-drop", "100")

    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small.onnx",
        "small.report.json",
        "small.report.png",
        "snow.ranges.json",
    ]
    table = [line.split()[:2] for line in result.stdout.splitlines()]
    tasks = trained_store.tasks()
    assert table[1 : 1 + 3 * len(tasks)] == [
        [precision, task] for precision in ("fp32", "fp16", "int8") for task in tasks
    ]
    report = json.loads((tmp_path / "small.report.json").read_text())
    assert report["holds"] is True
    assert [score["task"] for score in report["fp32"]] == list(tasks)
    with load(tmp_path / "small.onnx") as model:
        assert [task.name for task in model.manifest.tasks] == list(tasks)

    inspected = run("inspect", "--int8", str(tmp_path / "small.onnx"))
    assert (inspected.exit_code, inspected.stdout.split(": ")[-1]) == (0, "no findings\n")
    verified = run("verify", str(tmp_path / "small.onnx"), "--store", str(trained_store.root))
    assert verified.exit_code == 1
    assert "is INT8, which rounds by design" in verified.stderr
    facts = run("inspect", str(tmp_path / "small.onnx"))
    assert "INT8  " in facts.stdout
    assert "ranges by minmax on 24 pictures" in facts.stdout


def test_a_failing_gate_is_exit_code_1_and_no_file(
    trained_store: Store, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two epochs on 48 pictures leave no accuracy to lose; test_run.py has a gate that fails.
    monkeypatch.setattr("snow_calibration.search.holds", lambda *_: False)

    result = calibrate(trained_store, graph, tmp_path, "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["holds"] is False
    assert "a task loses too much" in result.stderr
    assert "--auto" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small.rejected.report.json",
        "small.rejected.report.png",
        "snow.ranges.json",
    ]


def test_a_float_graph_does_not_pass_as_int8(graph: Path) -> None:
    result = run("inspect", "--int8", str(graph), "--json")

    assert result.exit_code == 1
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["rule"] == "not-quantised"


def test_errors_are_one_line(trained_store: Store, graph: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    model = onnx.load(graph)
    for entry in model.metadata_props:
        entry.value = entry.value.replace('"precision":"fp32"', '"precision":"fp16"')
    onnx.save(model, half)

    for result, said in (
        (calibrate(trained_store, half, tmp_path), "is fp16, expected fp32"),
        (calibrate(trained_store, graph, tmp_path, "--keep-fp16", "nothing"), "no layer is called"),
        (calibrate(trained_store, tmp_path / "none", tmp_path), "does not exist"),
        (run("calibrate", str(graph), "--data", "nonsense"), "names no known kind of data"),
    ):
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert said in result.stderr
        assert "Traceback" not in result.output

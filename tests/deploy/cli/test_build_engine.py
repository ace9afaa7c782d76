from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.engine.files import read_record
from snow_runtime.engine.make import BuiltEngine
from tests.runtime.engine.records import record_of

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["build-engine", *map(str, arguments)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Take the place of the builder; what it was asked for is in the table."""
    seen: dict[str, Any] = {}

    def build(graph: Path, output: Path, options: object, **more: Any) -> BuiltEngine:
        seen.update(graph=graph, output=output, options=options, **more)
        if more["progress"] is not None:
            more["progress"]("phase", 0.5)
        return BuiltEngine(record_of(), cached=False, notices=("Little memory.",))

    monkeypatch.setattr("snow_runtime.engine.make.build_engine", build)
    return seen


def test_what_it_prints(asked: dict[str, Any]) -> None:
    result = run("some/snow.onnx", "--fp16")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        (
            "some/snow.engine  10,240 B, TensorRT 10.3.0 for Orin (sm87), linux-aarch64, JetPack "
            "6.1 or later, batch 1 to 4, tuned for 2, built in 1.5 s"
        ),
        "fp16: 3 of 4 convolutions; 5 compute layers",
    ]
    assert result.stderr == "note: Little memory.\n"
    assert str(asked["output"]) == "some/snow.engine"
    assert asked["options"].precision == "fp16"
    assert asked["cache"].limit_bytes == 2 << 30


def test_all_options_arrive(asked: dict[str, Any], tmp_path: Path) -> None:
    words = (
        "g.onnx --int8 --backend tensorrt --min-batch 2 --opt-batch 3 --max-batch 4 --workspace 512"
        " --optimization-level 5 --hardware-compatible --version-compatible --strip-weights --dla 1"
        " --least-share 0.5 --no-cache -o e.plan --target SM86,sm89, --timing-cache"
    )
    result = run(*words.split(), tmp_path / "t")

    options = asked["options"].to_dict()
    assert result.exit_code == 0
    assert (asked["backend_name"], asked["cache"]) == ("tensorrt", None)
    assert asked["timing_cache"] == tmp_path / "t"
    assert options == {
        "precision": "int8",
        "targets": ["sm86", "sm89"],
        "min_batch": 2,
        "opt_batch": 3,
        "max_batch": 4,
        "workspace_bytes": 512 << 20,
        "optimization_level": 5,
        "hardware_compatible": True,
        "version_compatible": True,
        "strip_weights": True,
        "dla": 1,
        "least_share": 0.5,
    }


def test_json(asked: dict[str, Any]) -> None:
    document = json.loads(run("g.onnx", "--json").stdout)

    assert (document["share"], document["cached"]) == (0.75, False)
    assert document["notices"] == ["Little memory."]
    assert "manifest" not in document
    assert asked["options"].precision is None


def test_one_precision_at_a_time(asked: dict[str, Any]) -> None:
    result = run("g.onnx", "--fp16", "--int8")

    assert result.exit_code == 2
    assert "--fp16 and --int8 contradict each other" in result.stderr
    assert asked == {}


def test_batches_out_of_order(asked: dict[str, Any]) -> None:
    result = run("g.onnx", "--opt-batch", 8, "--max-batch", 4)

    assert result.exit_code == 1
    assert "in that order" in result.stderr
    assert asked == {}


def test_a_graph_that_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    result = run(tmp_path / "no.onnx", "--backend", "tensorrt-rtx")

    assert result.exit_code == 1
    assert "no.onnx does not exist" in result.stderr


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_exported_graph(graph: Path, tmp_path: Path, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    engine = tmp_path / "snow.engine"

    result = run(graph, f"--{precision}", "--target", "sm86", "--no-cache", "-o", engine)

    assert result.exit_code == 0, result.stderr
    record = read_record(engine)
    assert record.achieved.share == 1.0
    count = record.achieved.convolutions
    assert f"{precision}: {count} of {count} convolutions" in result.stdout
    assert len(record.manifest.tasks) > 1

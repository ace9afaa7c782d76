from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("pyarrow")

from snow_deploy.cli import main
from tests.runtime.readout.graphs import feature_graph
from tests.runtime.score.jobs import rows_of, write_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return feature_graph(tmp_path / "snow.onnx").path


def test_rows_are_what_predict_prints(model: Path, tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", 5)
    job = ("score", model, "--input", tmp_path / "in", "--output", tmp_path / "out")

    scored = run(*job, "--processes", 1)

    assert scored.exit_code == 0, scored.stderr
    assert scored.stdout.startswith("5 pictures\n")
    assert "1 of 1 parts" in scored.stdout
    assert "5 of 5 pictures, 1 of 1 shards" in scored.stderr
    predicted = json.loads(run("predict", model, *paths, "--json").stdout)
    for row, document in zip(rows_of(tmp_path / "out"), predicted, strict=True):
        assert row["id"] == document["photo"]
        for task, answer in document["tasks"].items():
            assert row[f"{task}_label"] == answer["label"]
            assert row[f"{task}_probability"] == answer["probability"]

    again = run(*job, "--json")
    assert json.loads(again.stdout)["scored"] == 0
    refused = run(*job, "--features")
    assert refused.exit_code == 1
    assert "--features not given, now given" in refused.stderr


def test_rows_with_errors_are_counted_and_told_by_the_exit_code(
    model: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in", 2)[0].write_bytes(b"none")
    (tmp_path / "in" / "a.tar").write_bytes(b"0" * 100)

    found = run(
        *("score", model, "--input", tmp_path / "in", "--output", tmp_path / "out"),
        *("--processes", 1, "--json"),
    )

    assert found.exit_code == 1
    document = json.loads(found.stdout)
    assert document["errors"] == {"unreadable": 1}
    assert "a.tar" in document["given_up"][0]
    (tmp_path / "in" / "a.tar").unlink()
    found = run(
        *("score", model, "--input", tmp_path / "in", "--output", tmp_path / "other"),
        *("--processes", 1),
    )
    assert found.exit_code == 3
    assert "2 pictures, 1 with an error (unreadable 1)" in found.stdout
    assert "00000.png" in found.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--actors", "2"], "--actors and --actor-gpus are for --ray"),
        (["--ray", "local", "--processes", "2"], "--processes is for this machine"),
        (["--ray", "local", "--actors", "3:2"], "no range of actors"),
        (["--ray", "local", "--actors", "0"], "no range of actors"),
        (["--shard-rows", "0"], "--shard-rows"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    model: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    found = run("score", model, "--input", "in", "--output", tmp_path / "out", *options)

    assert found.exit_code == 2
    assert says in found.stderr


def test_a_model_on_a_server_is_refused(tmp_path: Path) -> None:
    found = run("score", "grpc://host/snow", "--input", "in", "--output", tmp_path / "out")

    assert found.exit_code == 2
    assert "not a model on a server" in found.stderr


@pytest.mark.parametrize(
    ("module", "extra", "options"),
    [("pyarrow", "score", []), ("ray", "scale", ["--ray", "x:1"])],
)
def test_what_is_not_installed_is_named_with_its_extra(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    module: str,
    extra: str,
    options: list[str],
) -> None:
    write_pictures(tmp_path / "in", 1)
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    found = run("score", model, "--input", tmp_path / "in", "--output", tmp_path / "o", *options)

    assert found.exit_code == 1
    assert f"{module} is needed" in found.stderr
    assert f"[{extra}]" in found.stderr

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

pytest.importorskip("tritonclient.grpc")

from snow_deploy.cli import main
from tests.runtime.triton.reading import read_config

if TYPE_CHECKING:
    from pathlib import Path


def test_a_version_and_one_more(graph_path: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    arguments = ["triton", str(graph_path), "-o", str(models)]
    first = CliRunner().invoke(main, [*arguments, "--cpu", "--queue-delay", "0.5"])
    assert first.exit_code == 0, first.output
    assert first.output.startswith(
        f"{models}/snow/1  onnxruntime, up to 8 pictures a call; 1 task(s): food"
    )
    second = CliRunner().invoke(main, [*arguments, "--json"])
    document = json.loads(second.output)
    assert document == {
        "name": "snow",
        "version": 2,
        "folder": str(models / "snow/2"),
        "form": "onnxruntime",
        "max_batch": 8,
        "fixed_batch": None,
        "tasks": ["food"],
    }
    config = read_config(models / "snow")
    (group,) = config.instance_group
    assert group.kind == group.KIND_CPU
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


def test_the_python_form_says_what_it_needs(graph_path: Path, tmp_path: Path) -> None:
    arguments = ["triton", str(graph_path), "-o", str(tmp_path), "--form", "python"]
    done = CliRunner().invoke(main, [*arguments, "--name", "door", "--no-warm-up"])
    assert "needs snow_runtime in the Python of Triton" in done.output
    assert not read_config(tmp_path / "door").model_warmup


def test_what_cannot_be_is_one_line(graph_path: Path, tmp_path: Path) -> None:
    arguments = ["triton", str(graph_path), "-o", str(tmp_path / "models"), "--name", "a/b"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: A model of Triton cannot be called 'a/b'")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "models").exists()

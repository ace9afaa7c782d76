"""The GPU check where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check

ROOT = Path(gpu_check.__file__).resolve().parents[1]
SOURCES = [str(ROOT / part) for part in (".", "export", "calibration", "runtime")]
MISSING = ("lightning", "torchmetrics", "safetensors", "click", "jinja2", "rich", "matplotlib")


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 0
    assert "no CUDA GPU" in capsys.readouterr().out


@pytest.mark.slow
def test_a_bare_machine_is_enough() -> None:
    """Import with nothing beside torch, torchvision, onnx and onnxruntime to be found."""
    script = (
        "import sys\n"
        f"for name in {MISSING!r}: sys.modules[name] = None\n"
        f"sys.path[:0] = {SOURCES!r}\n"
        "import benchmarks.gpu_check\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_result_is_named_for_the_gpu() -> None:
    assert gpu_check.slug("NVIDIA GeForce RTX 3090") == "geforce-rtx-3090"
    assert gpu_check.slug("NVIDIA H100 80GB HBM3") == "h100-80gb-hbm3"


@pytest.mark.slow
def test_a_table_of_the_paper_is_taken_over() -> None:
    found = gpu_check.paper_table("table5", "--no-speed", "--schemes", "fo", "--source", "resnet18")

    assert [row["scheme"] for row in found["rows"]] == ["fo"]
    assert found["rows"][0]["parameters_millions"] > 11


def test_a_table_that_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_check.paper_table("table5", "--schemes", "none")["outcome"].startswith("failed: ")
    monkeypatch.setattr(gpu_check, "find_spec", lambda _name: None)
    assert gpu_check.paper_table("table5")["outcome"].startswith("left out: click, lightning")


def test_tests_are_left_out_where_they_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "find_spec", lambda _name: None)
    assert gpu_check.run_gpu_tests() == {"outcome": "left out: pytest and hypothesis not installed"}

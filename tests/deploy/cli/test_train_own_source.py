"""A network of one's own by the commands: trained on, exported, without its module afterwards."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from snow_deploy.cli import main
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = "a_network_for_the_commands"
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1),
                                  nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU())
        self.head = nn.Linear(16, 4)
        self.pretrained_cfg = {"input_size": (3, 48, 48), "mean": [0.5], "std": [0.25],
                               "crop_pct": 0.75, "interpolation": "bicubic"}

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)).view(x.shape[0], -1))

def small():
    torch.manual_seed(0)
    return Net()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / f"{MODULE}.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop(MODULE, None)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


TRAIN = (
    *("train", "--data", "demo:shape?train=24&test=12&size=48", "--store", "store"),
    *("--epochs", "1", "--batch-size", "12", "--workers", "0", "--no-baseline"),
    *("--k", "4", "--width", "4", "--precision", "fp32"),
)


def test_the_commands_need_the_module_once(folder: Path) -> None:
    run(*TRAIN, "--task", "shape", "--source", f"{MODULE}:small")
    (folder / f"{MODULE}.py").unlink()
    del sys.modules[MODULE]

    again = run(*TRAIN, "--task", "more", "--source", f"{MODULE}:small")
    out = run("export", "--store", "store", "-o", "g.onnx", "--with-source")

    assert "note" not in again  # the file is gone, which nothing needs
    assert "same top-1 100%" in out
    manifest = read_graph(folder / "g.onnx").manifest
    assert manifest is not None
    assert manifest.source.architecture == f"{MODULE}:small"
    prepared = manifest.preprocessing
    assert (prepared.image_size, prepared.resize_size, prepared.interpolation) == (
        48,
        64,
        "bicubic",
    )
    assert (prepared.mean, prepared.std) == ((0.5,) * 3, (0.25,) * 3)
    assert json.loads(manifest.to_json())["preprocessing"]["interpolation"] == "bicubic"


def test_another_source_than_the_stores_is_refused(folder: Path) -> None:
    run(*TRAIN, "--task", "shape", "--source", f"{MODULE}:small")
    (folder / f"{MODULE}.py").write_text(f"{NET}\n# changed\n", encoding="utf-8")

    said = CliRunner().invoke(main, [*TRAIN, "--task", "x", "--source", "timm:resnet18"])
    changed = run(*TRAIN, "--task", "again", "--source", f"{MODULE}:small")

    assert said.exit_code == 1
    assert f"holds a {MODULE}:small, not a timm:resnet18" in said.output
    assert "has changed since" in changed

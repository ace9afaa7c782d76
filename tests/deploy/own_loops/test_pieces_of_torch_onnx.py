"""A source with layers and functions that the exporter has no rule for, the whole way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional

import snow_deploy as snow
from snow_calibration.calibrate import calibrate
from snow_calibration.lint import lint
from snow_calibration.pictures import CalibrationPictures
from snow_deploy.cli import main
from snow_export.export import GraphOptions
from snow_runtime.graph.onnx_file import read_graph

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 32


class Odd(nn.Module):
    """Softplus for ReLU, features of length one; each piece takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.act = nn.Softplus()
        self.body = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act(self.stem(images))
        maps = functional.normalize(functional.relu(self.body(maps)) + maps, dim=1)
        answers: Tensor = self.fc(maps.mean((2, 3)))
        return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    place = tmp_path_factory.mktemp("pieces")
    torch.manual_seed(0)
    source = snow.Source.of(Odd(), image_size=SIZE, name="odd")
    store = snow.Store(place / "store")
    for name in ("a", "b"):
        delta = snow.Delta(source, 3)
        images = torch.randn(4, 3, SIZE, SIZE)
        loss = functional.cross_entropy(delta(images, source(images)), torch.tensor([0, 1, 2, 0]))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.optim.SGD(delta.parameters(), 0.01).step()
        store.add(name, delta, labels=("x", "y", "z"))
    snow.export(store, path=place / "g.onnx")  # compares with torch, at another batch
    return place


@pytest.mark.slow
def test_the_manifest_and_inspect_say_which_pieces(folder: Path) -> None:
    manifest = read_graph(folder / "g.onnx").manifest
    assert manifest is not None
    assert "source/act (Softplus)" in manifest.pieces
    assert len(manifest.pieces) >= 4  # the deltas' too
    assert any(each.endswith("(normalize)") for each in manifest.pieces)
    told = CliRunner().invoke(main, ["inspect", str(folder / "g.onnx")]).output
    assert "torch.onnx wrote  source/act (Softplus), " in told


def test_a_graph_of_rules_alone_says_nothing_of_pieces() -> None:
    from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry

    task = TaskEntry("t", "t", ("x",))
    plain = Manifest(SourceEntry("r", "a" * 64, 1), Preprocessing.for_size(32), (task,))
    assert "pieces" not in plain.to_json()
    assert Manifest.from_json(plain.to_json()).pieces == ()


def test_int8_and_half_of_it(folder: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, SIZE, SIZE, 3), np.uint8)
    samples = CalibrationPictures(tuple(map(str, range(16))), pixels)
    found = calibrate(folder / "g.onnx", samples, folder / "ranges.json", method="minmax")
    model = found.int8()
    onnx.checker.check_model(model, full_check=True)
    assert lint(model) == ()
    assert found.int8_share() > 0.9

    store: Any = snow.Store(folder / "store")
    snow.export(store, path=folder / "half.onnx", options=GraphOptions(precision="fp16"))
    manifest = read_graph(folder / "half.onnx").manifest
    assert manifest is not None
    assert len(manifest.pieces) >= 3

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import onnx
import pytest

from snow_runtime.files import sha256_file
from snow_runtime.graph import weights_beside
from snow_runtime.graph.weights_beside import sha256_of_graph, whole_graph

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeModel


def test_weights_beside_a_graph_are_a_part_of_it(tmp_path: Path, make_model: MakeModel) -> None:
    path = tmp_path / "a.onnx"
    onnx.save(make_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    before, whole = sha256_of_graph(path), whole_graph(path)
    (tmp_path / "w.bin").write_bytes(bytes((tmp_path / "w.bin").stat().st_size))

    assert sha256_of_graph(path) != before
    again, kept = onnx.load_from_string(whole), make_model()
    assert [it.raw_data for it in again.graph.initializer] == [
        it.raw_data for it in kept.graph.initializer
    ]


def test_without_onnx_it_is_its_file(
    tmp_path: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.onnx"
    onnx.save(make_model(), path)
    before = sha256_of_graph(path)
    monkeypatch.setattr(weights_beside, "_has_onnx", lambda: False)

    assert sha256_of_graph(path) == sha256_file(path) == before
    assert whole_graph(path) == path.read_bytes()


@pytest.mark.parametrize("module", ["bench.fastest", "score.shard_worker"])
def test_a_device_without_onnx_measures_and_scores(module: str) -> None:
    code = f"import sys; sys.modules['onnx'] = None; import snow_runtime.{module}"
    subprocess.run([sys.executable, "-c", code], check=True)

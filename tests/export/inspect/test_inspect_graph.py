from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import onnx
import pytest

from snow_export.inspect.inspect_graph import inspect_graph
from snow_export.inspect.inspection import OwnerShare
from snow_runtime.errors import GraphError
from snow_runtime.graph.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeModel

MANIFEST = Manifest(
    source=SourceEntry("small", "a" * 64, 112),
    preprocessing=Preprocessing.for_size(8),
    tasks=(
        TaskEntry(
            "food",
            "food",
            ("pie", "tea", "jam", "ham", "fig"),
            sha256="b" * 64,
            k_divisor=2,
            width_divisor=2,
            selections={"conv": (1, 3)},
            metrics={"accuracy": 0.5},
        ),
    ),
    layout="fused",
    versions={"onnx": "1.20"},
)


@pytest.fixture
def path(tmp_path: Path, make_model: MakeModel) -> Path:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(metadata=MANIFEST.to_json()), path)
    return path


def test_it_tells_what_the_manifest_and_the_graph_hold(path: Path) -> None:
    found = inspect_graph(path)

    assert found.kind == "graph"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.source == MANIFEST.source
    assert found.tasks == MANIFEST.tasks
    assert found.preprocessing == {"food": MANIFEST.preprocessing}
    assert found.versions == {"onnx": "1.20"}
    assert found.graph is not None
    assert (found.graph.layout, found.graph.precision, found.graph.opset) == ("fused", "fp32", 17)
    assert [share.owner for share in found.shares] == ["source", "food"]
    assert found.shares[0] == OwnerShare("source", 4 * 27 + 8, 4 * 4 * 4 * 27, 8)


def test_its_document_is_json(path: Path) -> None:
    document = json.loads(json.dumps(inspect_graph(path).to_dict()))

    assert document["tasks"][0]["selections"] == {"conv": [1, 3]}
    assert document["graph"]["inputs"] == [
        {"name": "image", "dtype": "float32", "shape": [None, 3, 8, 8]}
    ]


def test_a_graph_without_a_manifest(tmp_path: Path, make_model: MakeModel) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(make_model(), path)

    with pytest.raises(GraphError, match="carries no manifest, so nothing tells its tasks"):
        inspect_graph(path)

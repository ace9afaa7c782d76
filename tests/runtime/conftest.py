"""Small graphs for the runtime's tests, made with onnx.helper: no torch, no exporter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from snow_runtime.graph.manifest import (
    METADATA_KEY,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 8


@dataclass(frozen=True)
class Graph:
    """A graph on disk, and the plain arithmetic that it stands for."""

    path: Path
    manifest: Manifest
    weights: dict[str, NDArray[np.float32]]  # by output name, [3, C]
    biases: dict[str, NDArray[np.float32]]  # by output name, [C]

    def logits(self, output: str, batch: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Mean colour times weights plus bias, in float64: what the graph has to compute."""
        colours = batch.astype(np.float64).mean(axis=(2, 3))  # [B, 3]
        weights = self.weights[output].astype(np.float64)
        return np.asarray(colours @ weights + self.biases[output], np.float64)


class MakeGraph(Protocol):
    def __call__(
        self,
        name: str = "graph.onnx",
        *,
        manifest: Manifest | None = None,
        metadata: str | None = "manifest",
        outputs: dict[str, int] | None = None,
        input_name: str = "image",
        input_shape: tuple[str | int, ...] = ("batch", 3, SIZE, SIZE),
        input_type: str = "FLOAT",
        scale: float = 1.0,
    ) -> Graph: ...


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        source=SourceEntry("resnet18", "a" * 64, 11_689_512),
        preprocessing=Preprocessing(SIZE, SIZE, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        tasks=(
            TaskEntry(
                "food",
                "food",
                ("pizza", "soup", "crème brûlée", "tea"),
                sha256="b" * 64,
                k_divisor=8,
                width_divisor=8,
                selections={"layer1.0.conv1": (0, 3, 7)},
                metrics={"test_accuracy": 0.75},
            ),
            TaskEntry("birds", "birds", ("wren", "gull")),
        ),
        versions={"onnx": "1.20.0"},
    )


@pytest.fixture
def make_graph(tmp_path: Path, manifest: Manifest) -> MakeGraph:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    from tests.onnx_models import small_model

    default = manifest

    def make(
        name: str = "graph.onnx",
        *,
        manifest: Manifest | None = None,
        metadata: str | None = "manifest",
        outputs: dict[str, int] | None = None,
        input_name: str = "image",
        input_shape: tuple[str | int, ...] = ("batch", 3, SIZE, SIZE),
        input_type: str = "FLOAT",
        scale: float = 1.0,
    ) -> Graph:
        manifest = manifest or default
        outputs = outputs or {task.output: len(task.labels) for task in manifest.tasks}
        rng = np.random.default_rng(7)
        weights = {o: (scale * rng.normal(size=(3, c))).astype("f4") for o, c in outputs.items()}
        biases = {o: (scale * rng.normal(size=c)).astype("f4") for o, c in outputs.items()}
        nodes = [
            helper.make_node("Cast", [input_name], ["x"], to=TensorProto.FLOAT),
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
        ] + [helper.make_node("Gemm", ["features", f"{o}.w", f"{o}.b"], [o]) for o in outputs]
        model = small_model(
            nodes,
            {input_name: input_shape},
            {o: (input_shape[0], c) for o, c in outputs.items()},
            {
                f"{o}.{letter}": value
                for letter, values in (("w", weights), ("b", biases))
                for o, value in values.items()
            },
            getattr(TensorProto, input_type),
        )
        if metadata is not None:
            text = manifest.to_json() if metadata == "manifest" else metadata
            helper.set_model_props(model, {METADATA_KEY: text})
        onnx.checker.check_model(model)
        path = tmp_path / name
        onnx.save(model, path)
        return Graph(path, manifest, weights, biases)

    return make


@pytest.fixture
def graph(make_graph: MakeGraph) -> Graph:
    return make_graph()


@pytest.fixture
def frame() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def with_tasks(manifest: Manifest) -> Any:
    """Give the manifest with other fields in its first task."""

    def change(**fields: Any) -> Manifest:
        first, *others = manifest.tasks
        return replace(manifest, tasks=(replace(first, **fields), *others))

    return change

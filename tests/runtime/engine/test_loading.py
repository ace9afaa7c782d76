"""`snow_runtime.load` of an engine: from the file to answers, over stand-ins of all below."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import snow_runtime
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import BuiltElsewhereError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.engine.conftest import Install


class Session:
    """Answers zeros, and remembers what it was made with."""

    batch_size = None

    def __init__(self, engine: Any, manifest: Any, module: Any, *, contexts: int) -> None:
        self.made_with = (engine, module, contexts)
        self.manifest = manifest

    def run(self, batch: Any) -> dict[str, Any]:
        return {
            task.output: np.zeros((len(batch), len(task.labels)), np.float32)
            for task in self.manifest.tasks
        }

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snow_runtime.engine.session.EngineSession", Session)


def test_an_engine_answers_as_a_graph_does(graph: Path, install: Install) -> None:
    module = install("tensorrt-10.3")
    engine = graph.with_suffix(".engine")
    build_engine(graph, engine, BuildOptions("fp16"))

    with snow_runtime.load(engine, contexts=3) as model:
        assert model.manifest.precision == "fp16"
        result = model(np.zeros((20, 30, 3), np.uint8))
        assert list(result) == ["food"]
        assert result["food"].probability == pytest.approx(0.2)
        assert model._session.made_with[1:] == (module, 3)  # type: ignore[attr-defined]


def test_a_plan_by_any_other_name(graph: Path, install: Install) -> None:
    install("tensorrt-11.4")
    build_engine(graph, graph.with_name("snow.plan"), BuildOptions("fp16"))

    with snow_runtime.load(graph.with_name("snow.plan")) as model:
        assert model.manifest.precision == "fp16"


def test_rebuilding_if_told(graph: Path, install: Install) -> None:
    install("tensorrt-10.3")
    engine = graph.with_suffix(".engine")
    build_engine(graph, engine, BuildOptions("fp16"))
    install("tensorrt-11.4")

    with pytest.raises(BuiltElsewhereError):
        snow_runtime.load(engine)
    snow_runtime.load(engine, rebuild="auto").close()
    snow_runtime.load(engine).close()


def test_options_of_the_other_backend(tmp_path: Path) -> None:
    engine = tmp_path / "snow.engine"

    with pytest.raises(ValueError, match="ONNX Runtime's options"):
        snow_runtime.load(engine, threads=2)
    with pytest.raises(ValueError, match="0 contexts"):
        snow_runtime.load(engine, contexts=0)
    with pytest.raises(EngineError, match=r"snow\.engine\.json is missing"):
        snow_runtime.load(engine)


def test_a_triton_serves_an_engine_from_its_repository(
    graph: Path, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tritonclient.grpc")
    from snow_runtime.triton.options import TritonOptions
    from snow_runtime.triton.repository import add_version
    from tests.runtime.triton.fake_backend import Request, module

    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    install("tensorrt-10.3")
    engine = graph.with_suffix(".engine")
    build_engine(graph, engine, BuildOptions("fp16"))
    added = add_version(tmp_path / "models", engine, TritonOptions(form="python"))

    model = snow_runtime.TritonPythonModel()
    model.initialize(
        {
            "model_repository": str(added.folder.parent),
            "model_version": "1",
            "model_instance_kind": "GPU",
            "model_instance_device_id": "1",
        }
    )
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    (response,) = model.execute([Request({"image": np.zeros((2, 3, 8, 8), np.float32)})])
    assert response.error is None
    assert response.outputs["food.probabilities"] == pytest.approx(np.full((2, 5), 0.2))
    model.finalize()

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.runtime.engine.records import MANIFEST
from tests.runtime.engine.standin import StandIn
from tests.runtime.libcuda import LibCuda

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeModel


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SNOW_DEPLOY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def graph(make_model: MakeModel, tmp_path: Path) -> Path:
    """Three convolutions and a classifier, with weights that are not all alike."""
    manifest = MANIFEST.to_json().replace('"precision":"fp16"', '"precision":"fp32"')
    model = make_model(metadata=manifest)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32:
            random = rng.normal(size=value.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(random, tensor.name))
    path = tmp_path / "snow.onnx"
    onnx.save(model, path)
    return path


class Install(Protocol):
    def __call__(self, surface: str, **behaviour: Any) -> StandIn: ...


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make this a machine with one TensorRT, and with a GPU unless `gpu=None`."""

    def put(surface: str, **behaviour: Any) -> StandIn:
        module = StandIn(surface, **behaviour)
        for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
            monkeypatch.setitem(sys.modules, name, None)  # importing it fails
        name = "tensorrt_rtx" if "rtx" in surface else "tensorrt"
        monkeypatch.setitem(sys.modules, name, module)
        gpu = module.behaviour.gpu
        library = LibCuda() if gpu is None else LibCuda(("A GPU", int(gpu[2:-1]), int(gpu[-1])))
        monkeypatch.setattr("snow_runtime.machine.driver._open", lambda _: library)
        return module

    return put

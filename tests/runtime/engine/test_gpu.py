"""An engine on a real GPU, compared with ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import snow_runtime
from snow_runtime.engine.backend import find_backend
from snow_runtime.engine.make import build_engine
from snow_runtime.engine.options import BuildOptions
from snow_runtime.errors import MissingDependencyError
from snow_runtime.machine.driver import gpu_here

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2}  # of the largest logit


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", sorted(TOLERANCES))
def test_it_answers_as_onnx_runtime_does(graph: Path, precision: Any) -> None:
    if gpu_here() is None:
        pytest.skip("there is no CUDA GPU here")
    try:
        find_backend()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    engine = graph.with_suffix(".engine")
    record = build_engine(graph, engine, BuildOptions(precision, max_batch=4)).record
    frames = np.random.default_rng(0).normal(size=(9, 3, 8, 8)).astype(np.float32)

    with (
        snow_runtime.load(engine, contexts=2) as model,
        snow_runtime.load(graph, ["CPUExecutionProvider"]) as reference,
    ):
        for count in (1, 4, 1, 9):  # 9 is more than a run takes
            seen = model._session.run(frames[:count])["food"]
            expected = reference._session.run(frames[:count])["food"]
            scale = max(1.0, float(np.abs(expected).max()))
            assert np.abs(seen - expected).max() <= TOLERANCES[precision] * scale
    assert record.achieved.share == 1.0

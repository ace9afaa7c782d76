from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.bench.stages import TellsCopy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph, MakeGraph


def cuda_works() -> bool:
    onnxruntime = pytest.importorskip("onnxruntime")
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def batch_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def bound(graph: Graph, device: str = "cpu") -> OnnxSession:
    session = OnnxSession(graph.path, threads=1)
    session._bound = session._bind(device)
    return session


def test_bound_runs_compute_what_the_formulas_say(make_graph: MakeGraph) -> None:
    graph = make_graph()
    session = bound(graph)
    for count in (1, 4, 2):
        batch = batch_of(count)
        logits = session.run(batch)
        for output, values in logits.items():
            np.testing.assert_allclose(values, graph.logits(output, batch), atol=1e-5)
    assert isinstance(session, TellsCopy)
    assert session.copy_ms is not None
    assert session.copy_ms > 0


def test_results_are_not_overwritten_by_later_runs(make_graph: MakeGraph) -> None:
    session = bound(make_graph())
    first = session.run(batch_of(2))
    kept = {name: values.copy() for name, values in first.items()}
    for seed in range(1, 5):
        session.run(batch_of(2, seed))
    for name, values in first.items():
        np.testing.assert_array_equal(values, kept[name])


def test_thirty_two_threads_on_one_session(make_graph: MakeGraph) -> None:
    graph = make_graph()
    session = bound(graph)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda seed: session.run(batch_of(1, seed)), range(96)))
    for seed, logits in enumerate(found):
        for output, values in logits.items():
            expected = graph.logits(output, batch_of(1, seed))
            np.testing.assert_allclose(values, expected, atol=1e-5)


def test_on_the_cpu_nothing_is_bound(make_graph: MakeGraph) -> None:
    session = OnnxSession(make_graph().path, ["CPUExecutionProvider"])
    session.run(batch_of(1))
    assert session.copy_ms is None


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_works(), reason="ONNX Runtime has no CUDA here")
def test_on_a_gpu_it_computes_the_same(make_graph: MakeGraph) -> None:
    graph = make_graph()
    session = OnnxSession(graph.path, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    batch = batch_of(3)
    for output, values in session.run(batch).items():
        np.testing.assert_allclose(values, graph.logits(output, batch), atol=1e-3)
    assert session.copy_ms is not None

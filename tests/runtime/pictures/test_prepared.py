from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snow_runtime import SwappableModel, load
from snow_runtime.graph.manifest import Manifest, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.runtime.conftest import Graph, MakeGraph


def frames(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(1).integers(0, 256, (count, 9, 12, 3), dtype=np.uint8))


def test_preparing_and_answering_apart_is_a_batch(graph: Graph) -> None:
    with load(graph.path) as model:
        together = model.batch(frames(3), "bgr")
        prepared = model.prepare(frames(3), "bgr")
        apart = model.answer(prepared)
    assert prepared.batch.shape == (3, 3, 8, 8)
    assert [result["food"].probabilities.tolist() for result in apart] == [
        result["food"].probabilities.tolist() for result in together
    ]
    assert apart[0].latency_ms > 1e3 * prepared.took_s > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(count=st.integers(0, 7), size=st.integers(1, 4))
def test_a_graph_of_one_batch_size_answers_any_number(
    make_graph: MakeGraph, count: int, size: int
) -> None:
    fixed = make_graph(f"fixed{size}.onnx", input_shape=(size, 3, 8, 8))
    with load(make_graph("open.onnx").path) as reference, load(fixed.path) as model:
        expected, found = reference.batch(frames(count)), model.batch(frames(count))
    assert len(found) == count
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one["food"].probabilities, other["food"].probabilities, 1e-5)


@pytest.mark.parametrize("change", [{"std": (0.5, 0.5, 0.5)}, {"resize_size": 9}])
def test_what_was_prepared_for_the_old_model_is_prepared_anew_for_the_new(
    make_graph: MakeGraph, manifest: Manifest, change: dict[str, object]
) -> None:
    """Frames that wait while the model is swapped are answered by the new one, and rightly."""
    values = {**vars(manifest.preprocessing), **change}
    other = make_graph(
        "other.onnx", manifest=replace(manifest, preprocessing=Preprocessing(**values))
    )
    with load(other.path) as reference:
        expected = reference.batch(frames(2))
    with SwappableModel(load(make_graph().path)) as model:
        waiting = model.prepare(frames(2))
        old = model.answer(waiting)
        model.swap(other.path)
        new = model.answer(waiting)
    for one, right, wrong in zip(new, expected, old, strict=True):
        np.testing.assert_array_equal(one["food"].probabilities, right["food"].probabilities)
        assert not np.allclose(one["food"].probabilities, wrong["food"].probabilities, atol=1e-4)

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.backends.onnxruntime_session import OnnxSession
from snow_runtime.bench import contender as contender_module
from snow_runtime.bench.contender import Contender, Frames
from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.options import BenchOptions
from snow_runtime.model import Model

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Graph, MakeGraph


def test_frames_are_of_the_cameras_size_and_depend_on_the_seed_only(graph: Graph) -> None:
    options = BenchOptions((graph.path,), batch=2, camera=(20, 10), seed=4)

    first, second = Frames(options), Frames(options)
    taken = [frame for _ in range(4) for frame in first.take()]

    assert {(frame.shape, frame.dtype) for frame in taken} == {((10, 20, 3), np.dtype(np.uint8))}
    for mine, other in zip(taken, (f for _ in range(4) for f in second.take()), strict=True):
        np.testing.assert_array_equal(mine, other)
    other_seed = Frames(replace(options, seed=5)).take()[0]
    assert not np.array_equal(taken[0], other_seed)


def test_frames_take_turns(graph: Graph) -> None:
    frames = Frames(BenchOptions((graph.path,), batch=2, camera=(8, 8)), spare=1)

    calls = [[id(frame) for frame in frames.take()] for _ in range(3)]

    assert len({name for call in calls for name in call}) == 3
    assert calls[0][0] == calls[1][1]  # the fourth picture of three
    assert calls[0] != calls[1] != calls[2]


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_call_is_the_models_own(
    make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch, batch: int, colour: str
) -> None:
    graph = make_graph(input_shape=(batch, 3, 8, 8))
    options = BenchOptions((graph.path,), batch=batch, camera=(8, 8), colour=colour)  # type: ignore[arg-type]
    contender = Contender(graph.path, options)
    seen = []
    run = contender.session._session.run

    def watched(images: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(images)
        return run(images)

    monkeypatch.setattr(contender.session._session, "run", watched)
    frames = Frames(options).take()
    contender.call(frames)

    preprocessing = graph.manifest.preprocessing
    pixels = np.stack(frames)[..., :: 1 if colour == "rgb" else -1]
    expected = (pixels / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    np.testing.assert_allclose(seen[0], expected.transpose(0, 3, 1, 2), atol=1e-5)
    contender.close()


class Kept:
    """What a session needs to stay alive."""


def test_an_engine_gets_no_threads_and_keeps_what_it_needs(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = graph.path.with_suffix(".engine")
    engine.touch()
    session = OnnxSession(graph.path, ["CPUExecutionProvider"])
    kept, asked = [], []

    def load(path: Path, **options: object) -> Model:
        asked.append((path, options))
        keep = Kept()
        kept.append(weakref.ref(keep))
        return Model(session, graph.manifest, keep)

    monkeypatch.setattr(contender_module, "load", load)
    options = BenchOptions((graph.path, engine), threads=2, camera=(8, 8))
    contenders = [Contender(path, options) for path in options.models]
    gc.collect()

    assert asked == [(graph.path, {"threads": 2}), (engine, {})]
    assert all(reference() is not None for reference in kept)
    del contenders
    gc.collect()
    assert all(reference() is None for reference in kept)


@pytest.mark.parametrize(("fixed", "asked"), [(1, 2), (4, 1)])
def test_a_batch_that_the_graph_refuses(make_graph: MakeGraph, fixed: int, asked: int) -> None:
    path = make_graph(input_shape=(fixed, 3, 8, 8)).path
    expected = rf"graph\.onnx takes {fixed} pictures? a call, not {asked},.*--batch {fixed}"
    with pytest.raises(BenchError, match=expected):
        Contender(path, BenchOptions((path,), batch=asked))

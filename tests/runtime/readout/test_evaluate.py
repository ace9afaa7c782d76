"""Readouts beside a graph's tasks: answers, what is refused, and changes while others call."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snow_runtime.errors import GraphError, ReadoutError
from snow_runtime.graph.features_entry import TapEntry
from snow_runtime.graph.manifest import InputEntry
from snow_runtime.model import Model, load
from snow_runtime.readout.file import ReadoutFile
from tests.runtime.readout.graphs import (
    LABELS,
    SIZE,
    TAPS,
    FeatureGraph,
    changed,
    feature_graph,
    make_readout,
    manifest_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def graph(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "graph.onnx")


@pytest.fixture
def model(graph: FeatureGraph) -> Iterator[Model]:
    with load(graph.path, ["CPUExecutionProvider"]) as model:
        yield model


@pytest.fixture
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


def expected(
    graph: FeatureGraph, readout: ReadoutFile, pictures: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Compute a readout's probabilities `[B, C]` by hand, in float64."""
    chosen = graph.features(pictures)[:, [0, 2, 4, 6, 7]]
    exponentials = np.exp(chosen @ readout.weight.T.astype(np.float64) + readout.bias)
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float64)


@pytest.mark.parametrize("batch", ["batch", 2])
def test_a_readout_answers_beside_the_graphs_tasks(
    tmp_path: Path, pictures: NDArray[np.uint8], batch: int | str
) -> None:
    graph = feature_graph(tmp_path / "graph.onnx", batch=batch)
    readout = make_readout(graph)
    readout.write(tmp_path / "door.readout")
    with load(graph.path, ["CPUExecutionProvider"]) as model:
        before = model.batch(pictures)

        added = model.add_readout(tmp_path / "door.readout")

        assert added.name == "door"
        assert [each.name for each in model.readouts] == ["door"]
        assert list(model.tasks) == ["food", "door"]
        results = model.batch(pictures)
        for result, old in zip(results, before, strict=True):
            assert list(result) == ["food", "door"]
            assert result["door"].labels == LABELS
            np.testing.assert_array_equal(result["food"].probabilities, old["food"].probabilities)
        found = np.array([result["door"].probabilities for result in results])
        np.testing.assert_allclose(found, expected(graph, readout, pictures), atol=1e-5)
        assert list(model(pictures[0])) == ["food", "door"]

        model.remove_readout("door")
        assert list(model.tasks) == ["food"]
        assert list(model(pictures[0])) == ["food"]


def test_features_are_those_of_the_graph(
    graph: FeatureGraph, model: Model, pictures: NDArray[np.uint8]
) -> None:
    found = model.features(pictures[..., ::-1], "bgr")

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, graph.features(pictures), atol=1e-5)
    assert model.features([]).shape == (0, 8)


def test_a_graph_that_takes_frames_takes_the_same_readout(
    tmp_path: Path, graph: FeatureGraph, pictures: NDArray[np.uint8]
) -> None:
    frames = replace(graph.manifest, input=InputEntry("image", "uint8", "NHWC", "bgr"))
    readout = make_readout(graph)
    with load(feature_graph(tmp_path / "frames.onnx", frames).path) as model:
        model.add_readout(readout)
        results = model.batch(pictures[..., ::-1], "bgr")

    found = np.array([result["door"].probabilities for result in results])
    np.testing.assert_allclose(found, expected(graph, readout, pictures), atol=1e-5)


def test_readouts_come_in_the_order_in_which_they_were_added(
    graph: FeatureGraph, model: Model, pictures: NDArray[np.uint8]
) -> None:
    for name in ("c", "a", "b"):
        model.add_readout(make_readout(graph, name))
    other = make_readout(graph, "a", seed=1)
    model.add_readout(other, replace=True)

    assert list(model.tasks) == ["food", "c", "a", "b"]
    found = model(pictures[0])["a"].probabilities
    np.testing.assert_allclose(found, expected(graph, other, pictures)[0], atol=1e-5)


def test_what_does_not_fit_is_refused(graph: FeatureGraph, model: Model) -> None:
    readout = make_readout(graph)
    source = replace(graph.manifest.source, architecture="vgg11", sha256="c" * 64)
    sizes = replace(graph.manifest.preprocessing, resize_size=12)
    mean = replace(graph.manifest.preprocessing, mean=(0.5, 0.5, 0.5))
    more = (*TAPS, TapEntry("head", 4))
    for other, message in (
        (changed(readout, source=source), r"reads the source vgg11 cccccccccccc, expected small"),
        (changed(readout, preprocessing=sizes), "pictures were prepared by .*resize_size=12"),
        (changed(readout, preprocessing=mean), "pictures were prepared by .*0.5, 0.5, 0.5"),
        (changed(readout, taps=more), "fitted on the taps stem of 3, block of 5, head of 4, exp"),
        (
            changed(readout, task=replace(readout.facts.task, name="food")),
            "has a task 'food' of its own",
        ),
    ):
        with pytest.raises(ReadoutError, match=message):
            model.add_readout(other)
    for damage in (np.nan, np.inf):
        with pytest.raises(ReadoutError, match="has NaN or infinity"):
            ReadoutFile(readout.facts, readout.weight * damage, readout.bias)
    assert list(model.tasks) == ["food"]

    model.add_readout(readout)
    with pytest.raises(ReadoutError, match="There is a readout 'door' already"):
        model.add_readout(make_readout(graph))
    assert list(model.tasks) == ["food", "door"]


def test_taps_in_another_order_are_refused(graph: FeatureGraph, model: Model) -> None:
    with pytest.raises(ReadoutError, match="on the taps block of 5, stem of 3, expected stem of 3"):
        model.add_readout(changed(make_readout(graph), taps=TAPS[::-1]))


def test_a_graph_without_features_says_how_to_get_them(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "graph.onnx", manifest_of(features=False))
    with load(graph.path) as model:
        for use in (
            lambda: model.add_readout(make_readout(graph)),
            lambda: model.features([np.zeros((SIZE, SIZE, 3), np.uint8)]),
        ):
            with pytest.raises(ReadoutError, match="snow-deploy export --features"):
                use()


def test_only_a_readout_is_removed(graph: FeatureGraph, model: Model) -> None:
    with pytest.raises(ReadoutError, match="'door' is not here, expected one that was added: none"):
        model.remove_readout("door")
    model.add_readout(make_readout(graph))
    with pytest.raises(ReadoutError, match=r"'food' is a task of the graph, expected .*: door"):
        model.remove_readout("food")


@pytest.mark.parametrize(
    ("precision", "fitted", "scale", "fits"),
    [
        ("fp32", "fp32", 1.001, True),
        ("fp32", "fp32", 1.05, False),
        ("fp16", "fp32", 1.02, True),
        ("fp32", "fp16", 1.02, True),
        ("fp16", "fp32", 1.3, False),
        ("int8", "fp32", 1.1, True),
        ("int8", "fp32", 2.0, False),
        ("int8", "fp32", float("nan"), False),
    ],
)
def test_answers_that_are_off_by_more_than_rounding_are_refused(
    tmp_path: Path, precision: Any, fitted: Any, scale: float, *, fits: bool
) -> None:
    """The graph gives out features that are all too large by a factor."""
    sound = feature_graph(tmp_path / "sound.onnx")
    readout = changed(make_readout(sound), precision=fitted)
    manifest = replace(sound.manifest, precision=precision)
    graph = feature_graph(tmp_path / "graph.onnx", manifest, scale=scale)
    with load(graph.path) as model:
        if fits:
            model.add_readout(readout)
        else:
            with pytest.raises(ReadoutError, match="does not answer as it did when it was fitted"):
                model.add_readout(readout)
            assert model.readouts == ()


def test_features_in_another_place_are_noticed(graph: FeatureGraph, model: Model) -> None:
    """Answers to the check picture that came from other channels."""
    readout = make_readout(graph)
    logits = tuple(np.roll(readout.facts.check_logits, 1).tolist())
    with pytest.raises(ReadoutError, match="a logit is off by"):
        model.add_readout(changed(readout, check_logits=logits))


def test_a_call_sees_all_of_one_set_or_of_another(
    graph: FeatureGraph, model: Model, pictures: NDArray[np.uint8]
) -> None:
    """Threads call while others exchange readouts; whatever a call sees is whole."""
    versions = [make_readout(graph, "door", seed=seed) for seed in range(2)]
    wanted = [expected(graph, readout, pictures) for readout in versions]
    stop, failures, counts = threading.Event(), list[BaseException](), list[int]()
    model.add_readout(versions[0])

    def call() -> None:
        count = 0
        try:
            while not stop.is_set():
                results = model.batch(pictures)
                assert {tuple(result) for result in results} <= {
                    ("food", "door"),
                    ("food", "door", "bell"),
                }
                found = np.array([result["door"].probabilities for result in results])
                assert min(np.abs(found - each).max() for each in wanted) < 1e-5
                count += 1
        except Exception as error:  # noqa: BLE001 - whatever a call fails with is the finding
            failures.append(error)
        counts.append(count)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(200):
        model.add_readout(versions[number % 2], replace=True)
        model.add_readout(make_readout(graph, "bell"))
        model.remove_readout("bell")
    stop.set()
    for thread in threads:
        thread.join(10)

    assert failures == []
    assert min(counts) > 0


def test_a_closed_model_takes_no_readout(graph: FeatureGraph, model: Model) -> None:
    model.close()
    with pytest.raises(GraphError, match="is closed"):
        model.add_readout(make_readout(graph))

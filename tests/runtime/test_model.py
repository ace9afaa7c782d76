from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from snow_runtime import GraphError, InputError, Model, SnowError, TaskResult, load
from snow_runtime.graph.manifest import Manifest, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snow_runtime.backends.batch import Batch
    from snow_runtime.pictures.preprocessing import Picture
    from tests.runtime.conftest import Graph, MakeGraph


def expected(graph: Graph, output: str, frame: NDArray[np.uint8]) -> list[float]:
    """Compute the probabilities of a frame that needs no resizing, by the formulas, in float64."""
    preprocessing = graph.manifest.preprocessing
    scaled = (frame / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    logits = graph.logits(output, scaled.transpose(2, 0, 1)[None])[0]
    exponentials = [math.exp(logit) for logit in logits]
    return [each / sum(exponentials) for each in exponentials]


def frames(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(count)
    return list(rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))


def test_a_call_gives_each_tasks_probabilities(graph: Graph, frame: NDArray[np.uint8]) -> None:
    with load(graph.path) as model:
        assert model.tasks == ("food", "birds")
        assert model.manifest == graph.manifest
        result = model(frame)
    assert list(result) == ["food", "birds"]
    for task in graph.manifest.tasks:
        answer = result[task.name]
        assert answer.labels == task.labels
        assert answer.probabilities.dtype == np.float32
        reference = expected(graph, task.output, frame)
        np.testing.assert_allclose(answer.probabilities, reference, atol=1e-5)
        assert answer.label == task.labels[reference.index(max(reference))]
    assert result.latency_ms > 0


def test_a_task_of_several_answers_has_a_sigmoid_for_each_label(
    make_graph: MakeGraph, with_tasks: Any, frame: NDArray[np.uint8]
) -> None:
    graph = make_graph(manifest=with_tasks(answers="several"), scale=3.0)

    with load(graph.path) as model:
        result = model(frame)

    preprocessing = graph.manifest.preprocessing
    scaled = (frame / 255 - np.array(preprocessing.mean)) / np.array(preprocessing.std)
    logits = graph.logits("food", scaled.transpose(2, 0, 1)[None])[0]
    reference = [1 / (1 + math.exp(-logit)) for logit in logits]
    food, birds = result["food"], result["birds"]
    np.testing.assert_allclose(food.probabilities, reference, atol=1e-5)
    assert (food.answers, birds.answers) == ("several", "one")
    labels = dict(zip(food.labels, reference, strict=True))
    assert {label for label, _ in food.present()} == {k for k, v in labels.items() if v >= 0.5}
    np.testing.assert_allclose(birds.probabilities, expected(graph, "birds", frame), atol=1e-5)


def test_a_task_may_have_another_name_than_its_output(
    make_graph: MakeGraph, with_tasks: Any, frame: NDArray[np.uint8]
) -> None:
    graph = make_graph(manifest=with_tasks(output="food_logits"))
    result = load(graph.path)(frame)
    np.testing.assert_allclose(
        result["food"].probabilities, expected(graph, "food_logits", frame), atol=1e-5
    )


def test_pictures_of_any_kind_give_the_same_answer(graph: Graph, frame: NDArray[np.uint8]) -> None:
    model = load(str(graph.path), threads=1)
    reference = model(frame)["food"].probabilities
    for result in (
        model(Image.fromarray(frame)),
        model(np.ascontiguousarray(frame[..., ::-1]), colour="bgr"),
    ):
        np.testing.assert_array_equal(result["food"].probabilities, reference)


def test_a_batch_answers_in_order_as_single_calls_do(graph: Graph) -> None:
    model = load(graph.path)
    pictures: list[Picture] = [*frames(3), Image.new("L", (31, 17), 90)]
    results = model.batch(pictures)
    assert len(results) == 4
    assert len({result.latency_ms for result in results}) == 1
    for picture, result in zip(pictures, results, strict=True):
        for name, answer in model(picture).items():
            np.testing.assert_allclose(result[name].probabilities, answer.probabilities, atol=1e-6)


def test_a_batch_may_be_empty_an_array_or_a_generator(graph: Graph) -> None:
    model = load(graph.path)
    assert model.batch([]) == []
    assert len(model.batch(np.stack(frames(2)))) == 2
    assert len(model.batch(frame for frame in frames(2))) == 2


def test_results_own_their_arrays(graph: Graph) -> None:
    model = load(graph.path)
    first, second = model.batch(frames(2))
    kept = second["food"].probabilities.copy()
    first["food"].probabilities[:] = 9
    model.batch(frames(5))
    np.testing.assert_array_equal(second["food"].probabilities, kept)
    assert all(answer.probabilities.flags.owndata for answer in first.values())


def test_the_bad_picture_of_a_batch_is_numbered(graph: Graph) -> None:
    wrong: Any = np.zeros((8, 8, 3))
    with pytest.raises(InputError, match=r"Image 1 of the batch: .*float64"):
        load(graph.path).batch([frames(1)[0], wrong])


def test_labels_may_repeat(
    make_graph: MakeGraph, with_tasks: Any, frame: NDArray[np.uint8]
) -> None:
    graph = make_graph(manifest=with_tasks(labels=("crane", "crane", "a", "b")))
    answer = load(graph.path)(frame)["food"]
    assert len(answer.top(4)) == 4
    assert len(answer.probabilities) == 4


def test_huge_logits_give_probabilities_all_the_same(
    make_graph: MakeGraph, frame: NDArray[np.uint8]
) -> None:
    answer = load(make_graph(scale=1e30).path)(frame)["food"]
    assert answer.probability == 1.0


def test_logits_that_are_not_finite_are_a_graph_error(
    manifest: Manifest, frame: NDArray[np.uint8]
) -> None:
    class Overflowing:
        batch_size = None

        def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
            return {
                task.output: np.full((len(batch), len(task.labels)), np.nan, np.float32)
                for task in manifest.tasks
            }

        def close(self) -> None: ...

    with pytest.raises(GraphError, match="NaN or infinite"):
        Model(Overflowing(), manifest)(frame)


def test_other_sizes_are_resized_as_the_manifest_says(
    make_graph: MakeGraph, manifest: Manifest
) -> None:
    half = Preprocessing(8, 9, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = load(make_graph(manifest=replace(manifest, preprocessing=half)).path)
    small, large = (model(np.full((side, 2 * side, 3), 77, np.uint8)) for side in (5, 300))
    np.testing.assert_allclose(small["food"].probabilities, large["food"].probabilities, atol=1e-6)


def test_threads_may_call_at_once(graph: Graph) -> None:
    pictures = frames(64)

    def ask(picture: NDArray[np.uint8]) -> TaskResult:
        return model(picture)["food"]

    with load(graph.path, threads=1) as model, ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, pictures))
    for picture, answer in zip(pictures, answers, strict=True):
        np.testing.assert_allclose(
            answer.probabilities, expected(graph, "food", picture), atol=1e-5
        )


def test_a_closed_model_says_so(graph: Graph, frame: NDArray[np.uint8]) -> None:
    with load(graph.path) as model:
        model.warmup(2)
    for call in (lambda: model(frame), lambda: model.batch([frame]), model.warmup):
        with pytest.raises(GraphError, match="closed"):
            call()


@pytest.mark.parametrize("batch", [3, "batch"])
def test_warmup_runs_pictures_of_the_right_shape(
    make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch, batch: int | str
) -> None:
    model = load(make_graph(input_shape=(batch, 3, 8, 8)).path)
    seen: list[tuple[int, ...]] = []
    run = model._session.run

    def watched(images: Any) -> Any:
        seen.append(images.shape)
        return run(images)

    monkeypatch.setattr(model._session, "run", watched)

    model.warmup(runs=2)

    assert seen == [(3 if batch == 3 else 1, 3, 8, 8)] * 2


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_below_one_is_refused(graph: Graph, threads: int) -> None:
    with pytest.raises(ValueError, match="threads"):
        load(graph.path, threads=threads)


def test_predicting_imports_neither_torch_nor_onnx(graph: Graph) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
for name in ("torch", "torchvision", "onnx", "lightning", "snow_deploy", "snow_export"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy, snow_runtime
with snow_runtime.load(sys.argv[1]) as model:
    print(model(numpy.zeros((8, 8, 3), numpy.uint8))["food"].label)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, os.fspath(graph.path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in graph.manifest.task("food").labels


# Always the same damages: what a native parser makes of others belongs into a fuzzing campaign.
@settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_damaged_file_is_a_snow_error_or_a_working_graph(
    graph: Graph, data: st.DataObject
) -> None:
    content = bytearray(graph.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 127, 128, 255]) | st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    damaged = graph.path.with_name("damaged.onnx")
    damaged.write_bytes(content)
    try:
        with load(damaged, threads=1) as model:
            result = model(np.zeros((8, 8, 3), np.uint8))
    except SnowError:
        return
    assert all(np.isfinite(answer.probabilities).all() for answer in result.values())

"""A loop that collects: the pictures, their features from the same pass, and what was answered."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime import SwappableModel, load
from snow_runtime.app.collecting import Collecting
from snow_runtime.app.loop import Loop, LoopOptions
from snow_runtime.app.questions.asking import Questions
from snow_runtime.app.questions.question import Question
from snow_runtime.app.questions.view import CameraView
from snow_runtime.app.states.feed import StateFeed
from snow_runtime.app.states.keeper import AskedTask, StateKeeper
from snow_runtime.app.states.rules import StateRules
from snow_runtime.cameras import Frame
from snow_runtime.cameras.clock import Instant
from snow_runtime.collection import collector as collector_module
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.collector import Collector
from snow_runtime.collection.options import CollectionOptions
from tests.runtime.app.frames import Cameras
from tests.runtime.readout.graphs import feature_graph, manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL = CollectionOptions(hourly=10**7, random_share=1.0)
NONE = CollectionOptions(hourly=10**7, random_share=0.0)
LEFT = CameraView("left", (0, 0, 0.5, 1), rotation=90)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[SwappableModel]:
    graph = feature_graph(tmp_path / "graph.onnx")
    with SwappableModel(load(graph.path)) as found:
        yield found


def frame(number: int, camera: str = "gate") -> Frame:
    image = np.full((32, 48, 3), (40, 90, 10 * number), np.uint8)
    image[:, 24:] = (200, 10, 3 * number)
    return Frame(image, number, Instant(number, 1e9 + number), camera)


def run(folder: Path, model: SwappableModel, options: CollectionOptions) -> Counter[str]:
    """Let a loop see six frames of two cameras, two at a time; return what was counted."""
    batches = [[frame(n), frame(n, "yard")] for n in range(3)]
    cameras: Any = Cameras(*batches)
    loop = Loop(model, cameras, [])
    with Collector(folder, options, loop.stats.count) as collector:
        loop.collecting = Collecting(collector, loop.stats.count)
        assert loop.run() == 6
    return Counter(loop.stats.snapshot()["counts"])


def test_features_are_those_of_the_frame_and_the_graph_runs_once_a_batch(
    tmp_path: Path, model: SwappableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Any = model._present().model._session
    real, runs = session.run, []

    def counted(batch: Any) -> Any:
        runs.append(len(batch))
        return real(batch)

    monkeypatch.setattr(collector_module, "_WAITING", 9)
    with monkeypatch.context() as patched:
        patched.setattr(session, "run", counted)
        counts = run(tmp_path / "kept", model, ALL)
    assert sum(runs) == 6
    assert counts["collected"] == 6
    with Collection.open(tmp_path / "kept") as kept:
        pictures = kept.pictures()
        assert {(each.camera, each.view, each.reason) for each in pictures} == {
            ("gate", "", "random"),
            ("yard", "", "random"),
        }
        for each in pictures:
            image = frame(int(each.taken_at - 1e9)).image
            expected = model.features([image], "bgr").astype(np.float16)
            assert np.allclose(kept.features([each.id]), expected, rtol=1e-3)
            said = model(image, "bgr")
            assert {name: answer["label"] for name, answer in each.answers.items()} == {
                name: said[name].label for name in said
            }
            assert each.source_sha256 == model.manifest.source.sha256
            stored = np.asarray(Image.open(io.BytesIO(kept.jpeg(each.id))))[..., ::-1]
            assert np.abs(stored.astype(int) - image).mean() < 6


def test_with_questions_the_view_is_kept_with_the_question_s_answer(
    tmp_path: Path, model: SwappableModel
) -> None:
    task = model.tasks[0]
    questions = Questions(
        [Question("near", task, "gate", LEFT), Question("all", task, "gate", seconds=2)]
    )
    batches: Any = Cameras([frame(0)], [frame(1)])
    loop = Loop(model, batches, [], questions=questions)
    with Collector(tmp_path / "kept", ALL, loop.stats.count) as collector:
        loop.collecting = Collecting(collector, loop.stats.count)
        beside: list[tuple[str, str, list[str]]] = []
        loop.collecting.beside = lambda camera, view, features, named: beside.append(
            (camera, view, [*named, *map(str, features.shape)])
        )
        loop.run()
        assert beside[0] == ("gate", "left", ["near", "8"])
    with Collection.open(tmp_path / "kept") as kept:
        found = {(each.view, each.taken_at - 1e9): each for each in kept.pictures()}
        assert set(found) == {("left", 0.0), ("", 0.0), ("left", 1.0)}
        near = found["left", 1.0]
        assert list(near.answers) == ["near"]
        assert list(found["", 0.0].answers) == ["all"]
        assert (near.width, near.height) == (32, 24)  # turned
        cut = LEFT.cut(frame(1).image)
        expected = model.features([cut], "bgr")
        assert np.allclose(kept.features([near.id]), expected, rtol=1e-3)


def test_a_state_that_changes_is_kept_with_its_camera_alone(
    tmp_path: Path, model: SwappableModel
) -> None:
    task = model.tasks[0]
    labels = model.manifest.task(task).labels
    asked = {("gate", task): AskedTask(labels, "one"), ("yard", task): AskedTask(labels, "one")}
    questions = Questions([Question(task, task, "gate"), Question(task, task, "yard", seconds=99)])
    keeper = StateKeeper(StateRules(2, 2, dwell_s=0))
    cameras: Any = Cameras(*[[frame(n), frame(n, "yard")] for n in range(3)])
    loop = Loop(model, cameras, [], states=StateFeed(keeper, lambda: asked), questions=questions)
    with Collector(tmp_path / "kept", NONE, loop.stats.count) as collector:
        loop.collecting = Collecting(collector, loop.stats.count)
        loop.run()
    with Collection.open(tmp_path / "kept") as kept:
        changed = [each for each in kept.pictures() if each.reason == "changed"]
        assert [(each.camera, each.taken_at - 1e9) for each in changed] == [("gate", 1.0)]


def test_tasks_that_nobody_asks_for_have_no_say(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "two.onnx", manifest_of(("food", "birds")))
    cameras: Any = Cameras([frame(0)])
    with SwappableModel(load(graph.path)) as model:
        loop = Loop(model, cameras, [], LoopOptions(tasks=("birds",)))
        with Collector(tmp_path / "kept", ALL, loop.stats.count) as collector:
            seen: list[Any] = []
            real = collector.choose
            collector.choose = lambda each: (seen.append(each), real(each))[1]  # type: ignore[assignment,func-returns-value,method-assign]
            loop.collecting = Collecting(collector, loop.stats.count)
            loop.run()
    assert [list(each.results) for each in seen] == [["birds"]]
    with Collection.open(tmp_path / "kept") as kept:
        assert list(kept.pictures()[0].answers) == ["birds"]


def test_a_graph_without_features_is_counted_and_answers_go_on(tmp_path: Path) -> None:
    graph = feature_graph(tmp_path / "plain.onnx", manifest_of(features=False))
    with SwappableModel(load(graph.path)) as model:
        counts = run(tmp_path / "kept", model, ALL)
    assert counts == {"collect_dropped": 6}


def test_a_collector_that_fails_costs_no_answer(
    tmp_path: Path, model: SwappableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Collector, "choose", fail)
    assert run(tmp_path / "kept", model, ALL)["output_errors"] == 3

"""`run --collect` fits what is labelled and asks it; `collect fit`, `versions` and `back`."""

from __future__ import annotations

import json
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from click.testing import CliRunner

from snow_deploy.cli.collect_versions import back, fit_question, list_versions
from snow_deploy.cli.run_refit import References, questions_asked
from snow_runtime.app.questions.question import Question
from snow_runtime.app.questions.view import CameraView
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.graph.features_entry import FeaturesEntry, TapEntry
from snow_runtime.model import load
from snow_runtime.refit.service import RefitService
from snow_runtime.refit.versions import Versions
from snow_runtime.swap import SwappableModel
from tests.deploy.cli.running import Running
from tests.runtime.readout.graphs import FeatureGraph, feature_graph
from tests.runtime.refit.boxes import QUICK, InlineFit, fill, label, live_of, open_box, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click

    from snow_deploy.cli.run_plan import RunPlan

pytest.importorskip("cv2")
pytest.importorskip("scipy")
CAMERA = "synthetic://?width=64&height=48&fps=20"


@pytest.fixture
def graph(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "snow.onnx")


@pytest.fixture
def folder(tmp_path: Path, graph: FeatureGraph) -> Path:
    """Give a collection with labels and a first version."""
    with (
        SwappableModel(load(graph.path)) as model,
        open_box(tmp_path / "kept", model) as box,
    ):
        service = RefitService(box, model, options=QUICK, begin=InlineFit)
        service.start()
        until(live_of(service))
        service.stop()
    return tmp_path / "kept"


@pytest.fixture
def running(graph: FeatureGraph, folder: Path) -> Iterator[Running]:
    cameras = ["--camera", f"door={CAMERA}", "--camera", f"yard={CAMERA}"]
    started = Running(
        *(graph.path, *cameras, "--threads", 1, "--collect", folder, "--tasks", "food"),
        "--drift",
    )
    yield started
    started.kill()


def lines(running: Running, camera: str) -> Iterator[dict[str, Any]]:
    for _ in range(20_000):
        line = running.line()
        if line["camera"] == camera:
            yield line


@pytest.mark.slow
def test_a_box_asks_what_was_fitted_and_keeps_it_through_a_swap(
    running: Running, folder: Path, graph: FeatureGraph
) -> None:
    assert list(next(lines(running, "door"))["tasks"]) == ["food", "colour"]
    assert list(next(lines(running, "yard"))["tasks"]) == ["food"]  # it is about the door

    running.process.send_signal(signal.SIGHUP)
    with SwappableModel(load(graph.path)) as model, Collection.open(folder) as box:
        label(box, fill(box, model, 3, seed=1))
    known = Versions(folder / "versions" / "colour")
    until(lambda: running.line() and known.state().live == 2, 60)
    assert list(next(lines(running, "door"))["tasks"]) == ["food", "colour"]
    _, said = running.stop(signal.SIGTERM)
    assert "loaded anew: food, colour" in said
    assert "not fitted" not in said


def call(command: click.Command, *arguments: object) -> Any:
    return CliRunner().invoke(command, list(map(str, arguments)))


def test_versions_are_fitted_listed_and_gone_back_to(graph: FeatureGraph, folder: Path) -> None:
    with SwappableModel(load(graph.path)) as model, Collection.open(folder) as box:
        label(box, fill(box, model, 3, seed=1))
    made = call(fit_question, folder, "colour", "--model", graph.path)
    assert made.exit_code == 0, made.output
    assert made.output.startswith("version 2, ")
    assert "11 blue, 11 red" in made.output

    listed = json.loads(call(list_versions, folder, "colour", "--json").output)
    assert [(each["number"], each["state"]) for each in listed] == [(1, "retired"), (2, "live")]
    assert "version 1, " in call(back, folder, "colour", 1).output
    shown = call(list_versions, folder, "colour").output.splitlines()
    assert [" live: chosen by hand" in shown[0], " retired: version 1" in shown[1]] == [True, True]
    wrong = call(back, folder, "colour", 9)
    assert "no version 9, expected one of: 1, 2" in str(wrong.exception)
    nothing = call(list_versions, folder, "shape")
    assert "has no question 'shape', expected one of: colour" in str(nothing.exception)
    unfitted = call(fit_question, folder, "shape", "--model", graph.path)
    assert "has no question 'shape', expected one of: colour" in str(unfitted.exception)


def test_too_few_labels_are_said_by_the_command(graph: FeatureGraph, folder: Path) -> None:
    with Collection.open(folder) as box:
        box.add_question(CollectionQuestion("lamp", ("off", "on")))
    found = call(fit_question, folder, "lamp", "--model", graph.path)
    assert "lamp was not fitted. There are labels of off (0), on (0)" in str(found.exception)


def test_questions_asked_views_are_asked_about_them() -> None:
    gate = CameraView("gate", (0.0, 0.0, 0.5, 0.5))
    plan = SimpleNamespace(
        questions=(Question("food", "food", "door", gate),),
        cameras=(("door", "a"), ("yard", "b")),
        views={"door": (gate, CameraView("dock", (0.5, 0.5, 1.0, 1.0)))},  # one is only drawn
    )
    answered = (
        CollectionQuestion("open", ("yes", "no"), "door", "gate"),
        CollectionQuestion("free", ("yes", "no"), "door", "dock"),
        CollectionQuestion("day", ("yes", "no")),
        CollectionQuestion("lost", ("yes", "no"), "yard", "gate"),
    )
    service = SimpleNamespace(answered=answered)
    found = questions_asked(cast("RunPlan", plan), cast("RefitService", service))

    assert found is not None
    assert [(each.camera, each.name, each.view.name) for each in found.all] == [
        ("door", "food", "gate"),
        ("door", "open", "gate"),
        ("door", "free", "dock"),
        ("door", "day", ""),
        ("yard", "day", ""),
    ]


def test_training_pictures_are_looked_up_once_a_version() -> None:
    """Or a new version of one question would forget what was seen of all others."""
    asked: list[str] = []

    def trained_on(name: str) -> Any:
        asked.append(name)
        rows = np.random.default_rng(len(name)).normal(size=(40, 12)).astype(np.float16)
        return None if name == "none" else (rows, np.arange(40))

    numbers = {"door": 1, "lamp": 1, "none": 1}
    entry = FeaturesEntry("features", (TapEntry("one", 6), TapEntry("two", 6)))
    source = SimpleNamespace(sha256="a" * 64)
    manifest = SimpleNamespace(features=entry, source=source)
    service = SimpleNamespace(numbers=numbers, trained_on=trained_on)
    loop = SimpleNamespace(model=SimpleNamespace(manifest=manifest))
    references = References(cast("Any", service), cast("Any", loop))
    before = references.now()
    assert sorted(before) == ["door", "lamp"]
    numbers["lamp"] = 2
    after = references.now()
    assert after["door"] is before["door"]
    assert after["lamp"] is not before["lamp"]
    assert sorted(asked) == ["door", "lamp", "lamp", "none"]
    source.sha256 = "b" * 64  # another network: all of them anew
    assert references.now()["door"] is not before["door"]
    del numbers["door"]
    assert sorted(references.now()) == ["lamp"]

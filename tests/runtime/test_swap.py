from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from snow_runtime.errors import GraphError, ReadoutError
from snow_runtime.graph.manifest import Manifest
from snow_runtime.graph.onnx_file import with_manifest
from snow_runtime.model import Model, load
from snow_runtime.self_check import with_self_check
from snow_runtime.swap import SwappableModel
from tests.runtime.readout.graphs import feature_graph, make_readout, manifest_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tests.runtime.conftest import MakeGraph
    from tests.runtime.readout.graphs import FeatureGraph

Frame = Any


@pytest.fixture
def two_tasks(make_graph: MakeGraph, manifest: Manifest) -> Path:
    path = make_graph("two.onnx").path
    onnx.save(with_self_check(onnx.load(path), manifest), path)
    return path


@pytest.fixture
def one_task(make_graph: MakeGraph, manifest: Manifest) -> Path:
    fewer = replace(manifest, tasks=manifest.tasks[1:])
    path = make_graph("one.onnx", manifest=fewer).path
    onnx.save(with_self_check(onnx.load(path), fewer), path)
    return path


def test_fewer_tasks_and_more_again(
    two_tasks: Path, one_task: Path, frame: NDArray[np.uint8]
) -> None:
    with SwappableModel(load(two_tasks)) as model:
        assert list(model(frame)) == ["food", "birds"]
        assert model.swap(one_task).tasks[0].name == "birds"
        assert model.tasks == ("birds",)
        assert list(model(frame)) == ["birds"]
        model.swap(two_tasks)
        assert [list(result) for result in model.batch([frame, frame])] == [["food", "birds"]] * 2
        assert model.swaps == 2


def closed(model: Model) -> bool:
    try:
        model.warmup()
    except GraphError:
        return True
    return False


def test_the_old_one_is_closed_when_its_last_call_returns(
    two_tasks: Path, one_task: Path, frame: NDArray[np.uint8]
) -> None:
    old = load(two_tasks)
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Model):
        def __call__(self, image: Any, colour: Any = "rgb") -> Any:
            inside.set()
            assert go_on.wait(10)
            return old(image, colour)

        def close(self) -> None:
            old.close()

    answers: list[Any] = []
    model = SwappableModel(Slow(old._session, old.manifest))
    thread = threading.Thread(target=lambda: answers.append(model(frame)))
    thread.start()
    assert inside.wait(10)

    model.swap(one_task)

    assert list(model(frame)) == ["birds"]
    assert not closed(old)
    go_on.set()
    thread.join(10)
    assert list(answers[0]) == ["food", "birds"]
    assert closed(old)
    model.close()


@pytest.mark.parametrize("fault", ["missing", "damaged", "wrong answers"])
def test_a_new_model_that_fails_leaves_the_old_one(
    two_tasks: Path, one_task: Path, frame: NDArray[np.uint8], fault: str
) -> None:
    if fault == "missing":
        one_task.unlink()
    elif fault == "damaged":
        one_task.write_bytes(one_task.read_bytes()[:100])
    else:
        onnx.save(with_other_answers(onnx.load(one_task)), one_task)
    before = threading.active_count()

    with SwappableModel(load(two_tasks)) as model:
        with pytest.raises(GraphError):
            model.swap(one_task)
        assert (model.swaps, list(model(frame))) == (0, ["food", "birds"])
    assert threading.active_count() <= before + 1


def test_an_old_model_that_fails_to_close_stays_out(
    two_tasks: Path,
    one_task: Path,
    frame: NDArray[np.uint8],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An engine's may, where the GPU is gone: the new one answers all the same."""
    old = load(two_tasks)

    def fail() -> None:
        msg = "the driver is gone"
        raise GraphError(msg)

    old.close = fail  # type: ignore[method-assign]
    with SwappableModel(old) as model:
        model.swap(one_task)

        assert (model.swaps, list(model(frame))) == (1, ["birds"])
    assert "could not be closed" in caplog.text


def with_other_answers(model: onnx.ModelProto) -> onnx.ModelProto:
    (entry,) = model.metadata_props
    manifest = Manifest.from_json(entry.value)
    assert manifest.self_check is not None
    logits = {name: tuple(x + 1 for x in row) for name, row in manifest.self_check.logits.items()}
    return with_manifest(
        model, replace(manifest, self_check=replace(manifest.self_check, logits=logits))
    )


def test_a_hundred_swaps_while_threads_call(
    two_tasks: Path, one_task: Path, frame: NDArray[np.uint8]
) -> None:
    stop = threading.Event()
    counts: list[int] = []
    failures: list[BaseException] = []

    def call() -> None:
        count = 0
        try:
            while not stop.is_set():
                assert tuple(model(frame)) in (("food", "birds"), ("birds",))
                count += 1
        except Exception as error:  # noqa: BLE001 - whatever a call fails with, a swap is to blame
            failures.append(error)
        counts.append(count)

    with SwappableModel(load(two_tasks)) as model:
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(100):
            model.swap((one_task, two_tasks)[number % 2], threads=1)
        stop.set()
        for thread in threads:
            thread.join(10)
        assert model.swaps == 100

    assert failures == []
    assert min(counts) > 0


def test_after_closing(two_tasks: Path, one_task: Path, frame: NDArray[np.uint8]) -> None:
    model = SwappableModel(load(two_tasks))
    model.close()
    model.close()

    for use in (lambda: model(frame), lambda: model.swap(one_task), lambda: model.tasks):
        with pytest.raises(GraphError, match="is closed"):
            use()


def test_a_new_model_without_a_needed_task_leaves_the_old_one(
    two_tasks: Path, one_task: Path, frame: NDArray[np.uint8]
) -> None:
    with SwappableModel(load(two_tasks)) as model:
        with pytest.raises(GraphError, match=r"one\.onnx has no task food, expected all of food"):
            model.swap(one_task, needed=["food"])
        assert set(model(frame)) == {"food", "birds"}
        model.swap(one_task, needed=["birds"])
        assert set(model(frame)) == {"birds"}


def test_closing_does_not_wait_for_a_swap(
    two_tasks: Path, one_task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, go_on = threading.Event(), threading.Event()
    closed: list[Model] = []

    def slow(path: Path) -> Model:
        loading.set()
        assert go_on.wait(30)
        found = load(path)
        monkeypatch.setattr(found, "close", lambda: closed.append(found))
        return found

    model = SwappableModel(load(two_tasks))
    monkeypatch.setattr("snow_runtime.swap.load", slow)
    failures: list[GraphError] = []

    def swap() -> None:
        try:
            model.swap(one_task)
        except GraphError as error:
            failures.append(error)

    thread = threading.Thread(target=swap)
    thread.start()
    assert loading.wait(30)
    model.close()  # returns at once: the load still waits
    assert thread.is_alive()
    go_on.set()
    thread.join(30)

    assert "is closed" in str(failures[0])
    assert len(closed) == 1


@pytest.fixture
def featured(tmp_path: Path) -> FeatureGraph:
    return feature_graph(tmp_path / "featured.onnx")


def test_readouts_come_and_go(featured: FeatureGraph, frame: NDArray[np.uint8]) -> None:
    with SwappableModel(load(featured.path)) as model:
        model.add_readout(make_readout(featured))
        model.add_readout(make_readout(featured, "bell"))
        assert model.tasks == ("food", "door", "bell")
        model.remove_readout("door")

        assert [readout.name for readout in model.readouts] == ["bell"]
        assert list(model(frame)) == ["food", "bell"]
        assert model.features([frame]).shape == (1, 8)


def test_a_swap_keeps_readouts_that_fit(
    tmp_path: Path, featured: FeatureGraph, frame: NDArray[np.uint8]
) -> None:
    more = feature_graph(tmp_path / "more.onnx", manifest_of(("food", "birds")))
    make_readout(featured, "bell").write(tmp_path / "bell.readout")
    with SwappableModel(load(featured.path)) as model:
        model.add_readout(make_readout(featured))
        model.swap(more.path)
        assert list(model(frame)) == ["food", "birds", "door"]

        model.swap(featured.path, readouts=[tmp_path / "bell.readout"], needed=["bell"])
        assert list(model(frame)) == ["food", "bell"]

        model.swap(more.path, readouts=[])
        assert list(model(frame)) == ["food", "birds"]


@pytest.mark.parametrize("fault", ["source", "name", "no features", "no file", "not needed"])
def test_a_swap_that_would_lose_a_readout_leaves_the_old_model(
    tmp_path: Path, featured: FeatureGraph, frame: NDArray[np.uint8], fault: str
) -> None:
    manifest = manifest_of(("door",)) if fault == "name" else featured.manifest
    if fault == "source":
        manifest = replace(manifest, source=replace(manifest.source, sha256="c" * 64))
    elif fault == "no features":
        manifest = manifest_of(features=False)
    path = feature_graph(tmp_path / "other.onnx", manifest).path
    with SwappableModel(load(featured.path)) as model:
        model.add_readout(make_readout(featured))
        options: dict[str, Any] = {}
        if fault == "no file":
            options = {"readouts": [tmp_path / "none.readout"]}
        elif fault == "not needed":
            options = {"readouts": [], "needed": ["door"]}

        with pytest.raises((ReadoutError, GraphError), match=r"other\.onnx (cannot|has no task)"):
            model.swap(path, **options)

        assert (model.swaps, list(model(frame))) == (0, ["food", "door"])


def test_a_readout_that_may_not_fit_is_left_out_and_told(
    featured: FeatureGraph,
    frame: NDArray[np.uint8],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    loose, kept = make_readout(featured, "door"), make_readout(featured, "lamp")
    other = replace(manifest_of(), source=replace(manifest_of().source, sha256="c" * 64))
    path = feature_graph(tmp_path / "other.onnx", other).path
    with SwappableModel(load(featured.path)) as model:
        model.add_readout(loose)
        model.swap(featured.path, readouts=[kept], where_fit=[loose])
        assert list(model(frame)) == ["food", "lamp", "door"]
        model.swap(path, readouts=(), where_fit=[loose])
        assert model.tasks == ("food",)
    assert "A readout is left out: The readout 'door' does not fit this graph" in caplog.text


def test_a_readout_that_comes_during_a_swap_is_not_lost(
    tmp_path: Path, featured: FeatureGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = feature_graph(tmp_path / "more.onnx", manifest_of(("food", "birds")))
    loading, go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> Model:
        loading.set()
        assert go_on.wait(30)
        return load(path)

    with SwappableModel(load(featured.path)) as model:
        monkeypatch.setattr("snow_runtime.swap.load", slow)
        swap = threading.Thread(target=lambda: model.swap(more.path))
        swap.start()
        assert loading.wait(30)
        add = threading.Thread(target=lambda: model.add_readout(make_readout(featured)))
        add.start()
        go_on.set()
        swap.join(30)
        add.join(30)

        assert model.tasks == ("food", "birds", "door")

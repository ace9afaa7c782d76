"""Stores are counted by torch, graphs by ONNX's shapes: neither knows of the other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from snow_deploy.errors import SnowDeployError, StoreError
from snow_deploy.models.source import Source
from snow_deploy.stages.count_store import Counter
from snow_deploy.stages.export import export_tasks
from snow_deploy.stages.inspect_path import inspect_path
from snow_deploy.training.task_record import TaskRecord
from snow_export.export import GraphOptions
from snow_runtime.errors import EngineError
from tests.conftest import copy_store

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.models.network import TaskNetwork
    from snow_deploy.training.store import Store
    from snow_export.inspect.inspection import Inspection

SIZE = 64


@pytest.fixture(scope="module")
def of_store(trained_store: Store) -> Inspection:
    return inspect_path(trained_store.root)


@pytest.fixture
def store(tmp_path: Path, trained_store: Store) -> Store:
    """Give a copy of the trained store to change."""
    return copy_store(trained_store, tmp_path / "store")


def test_a_store_tells_its_source_and_tasks(of_store: Inspection, trained_store: Store) -> None:
    source = Source(trained_store.source_weights())

    assert of_store.kind == "store"
    assert of_store.source is not None
    assert of_store.source.sha256 == source.fingerprint
    assert [task.name for task in of_store.tasks] == ["digit", "shape"]
    for task in of_store.tasks:
        record = trained_store.load_task(task.name)
        delta = record.build(source)
        assert task.labels == record.labels
        assert task.selections == delta.selections()
        assert task.metrics == record.metrics
        assert of_store.training[task.name].source_sha256 == source.fingerprint
        share = next(share for share in of_store.shares if share.owner == task.name)
        assert share.parameters == delta.count_parameters()
    assert [share.owner for share in of_store.shares] == ["source", "digit", "shape"]
    assert {share.image_size for share in of_store.shares} == {SIZE}
    json.dumps(of_store.to_dict(), allow_nan=False)


def test_graph_and_store_agree(of_store: Inspection, trained_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "snow.onnx"
    export_tasks(
        trained_store, None, path, with_source=True, options=GraphOptions(layout="separate")
    )

    of_graph = inspect_path(path)

    def macs(found: Inspection) -> dict[str, int | None]:
        return {share.owner: share.macs for share in found.shares}

    assert macs(of_graph) == macs(of_store)
    assert of_graph.source == of_store.source
    in_order = {task.name: task for task in of_graph.tasks}
    for task in of_store.tasks:
        assert in_order[task.name] == task


def test_fused_deltas_share_one_owner(
    of_store: Inspection, trained_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "snow.onnx"
    export_tasks(trained_store, ["shape", "digit"], path, options=GraphOptions(layout="fused"))

    found = inspect_path(path)

    assert found.graph is not None
    assert found.graph.layout == "fused"
    assert [share.owner for share in found.shares] == ["source", "shape+digit"]
    apart = sum(share.macs or 0 for share in of_store.shares if share.owner != "source")
    fused = found.shares[1].macs or 0
    assert apart <= fused <= 1.1 * apart  # the classifiers' zero blocks are computed too


def test_a_task_file_in_its_store(of_store: Inspection, trained_store: Store) -> None:
    found = inspect_path(trained_store.task_path("digit"))

    assert found.kind == "task"
    assert found.tasks == (of_store.tasks[0],)
    assert found.shares == of_store.shares[:2]
    assert found.notes == ()


def test_a_task_file_far_from_its_source(trained_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "tasks" / "anything.safetensors"
    path.parent.mkdir(parents=True)
    shutil.copy(trained_store.task_path("digit"), path)

    found = inspect_path(path)

    assert found.source is None
    assert [(share.owner, share.macs) for share in found.shares] == [("digit", None)]
    assert "need its source" in found.notes[0]


def test_a_source_file(of_store: Inspection, trained_store: Store) -> None:
    found = inspect_path(trained_store.source_path)

    assert (found.kind, found.source, found.tasks) == ("source", of_store.source, ())
    assert [(share.owner, share.image_size) for share in found.shares] == [("source", 224)]


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder, but no store: it has neither"):
        inspect_path(tmp_path)


def test_a_store_without_its_source(store: Store) -> None:
    store.source_path.unlink()

    with pytest.raises(StoreError, match="holds no source"):
        inspect_path(store.root)


def test_a_damaged_task(store: Store) -> None:
    path = store.task_path("digit")
    path.write_bytes(path.read_bytes()[:-100])

    for damaged in (store.root, path):
        with pytest.raises(StoreError, match="is damaged or not one of snow-deploy's"):
            inspect_path(damaged)


def test_a_source_in_the_place_of_a_task(store: Store) -> None:
    shutil.copy(store.source_path, store.task_path("digit"))

    with pytest.raises(StoreError, match="it holds a source"):
        inspect_path(store.root)


@pytest.mark.parametrize("name", ["snow.engine", "snow.engine.json"])
def test_an_engine_by_its_record(tmp_path: Path, name: str) -> None:
    from tests.runtime.engine.records import PLAN, engine_in

    engine = engine_in(tmp_path)

    found = inspect_path(tmp_path / name)

    assert (found.kind, found.size_bytes) == ("engine", len(PLAN))
    assert found.engine is not None
    assert found.engine.built_by == "TensorRT 10.3.0"
    assert [task.name for task in found.tasks] == ["food"]
    engine.write_bytes(PLAN[1:])
    with pytest.raises(EngineError, match="is truncated"):
        inspect_path(tmp_path / name)


def test_what_is_not_there_or_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()

    with pytest.raises(SnowDeployError, match="is of no kind known here, expected a store's"):
        inspect_path(tmp_path / "photo.jpg")
    with pytest.raises(SnowDeployError, match="does not exist, expected a store's folder"):
        inspect_path(tmp_path / "snow")
    with pytest.raises(StoreError, match="does not exist, expected a source or a task"):
        inspect_path(tmp_path / "food.safetensors")


@pytest.mark.slow
def test_networks_of_one_shape_are_counted_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tasks that differ in their classes alone, two are measured; the others follow exactly."""
    record = store.load_task("shape")
    source = Source(store.source_weights())
    key = next(key for key in record.state if record.state[key].dim() == 2)
    classifier = key.removesuffix(".weight")
    expected = {}
    for classes in (2, 9, 5, 40):
        state = dict(record.state)
        for name in (f"{classifier}.weight", f"{classifier}.bias"):
            state[name] = record.state[name][:1].repeat(classes, *[1] * (state[name].dim() - 1))
        changed = replace(
            record, name=f"t{classes}", labels=tuple(map(str, range(classes))), state=state
        )
        store.save_task(changed)
        expected[changed.name] = Counter(source).task(changed)
    built: list[str] = []
    build = TaskRecord.build

    def note(self: TaskRecord, source: Source) -> TaskNetwork:
        built.append(self.name)
        return build(self, source)

    monkeypatch.setattr(TaskRecord, "build", note)
    found = {share.owner: share.macs for share in inspect_path(store.root).shares}

    assert {name: found[name] for name in expected} == expected
    assert len(set(expected.values())) == 4
    assert len(built) <= 3

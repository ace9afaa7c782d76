from __future__ import annotations

import json
import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from snow_deploy.errors import StoreError
from snow_deploy.models.delta import Delta
from snow_deploy.models.options import DeltaOptions
from snow_deploy.models.source import Source
from snow_deploy.models.weights import SourceWeights, hash_tensors
from snow_deploy.training.options import Recipe, TrainOptions
from snow_deploy.training.store import Store
from snow_deploy.training.task_record import TaskRecord
from snow_runtime.errors import SnowError
from snow_runtime.graph.data_entry import DataEntry, SplitEntry
from snow_runtime.graph.manifest import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import RandomWeights

Loaded = TypeVar("Loaded")

OPTIONS = TrainOptions(
    DeltaOptions(4, 8, 0.5, pooling_norm="none"), Recipe(lr=0.3), epochs=3, seed=7
)


@pytest.fixture
def record() -> TaskRecord:
    """Give a small record; its tensors fit no network."""
    state = {"w": torch.randn(3, 2), "b.running_mean": torch.randn(2), "n": torch.tensor(5)}
    return TaskRecord(
        name="birds",
        labels=("wren", "gull", "naïve “owl”"),
        state=state,
        source_sha256="ab" * 32,
        preprocessing=Preprocessing.for_size(64, (0.1, 0.2, 0.3), (0.4, 0.5, 1 / 3)),
        options=OPTIONS,
        samples=torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8),
        metrics={"accuracy": 0.1 + 0.2, "loss": 1e-17},
    )


@pytest.fixture
def small_weights() -> SourceWeights:
    return SourceWeights(
        "resnet18",
        {"w": torch.randn(2, 3), "b": torch.randn(3)},
        stride_in_1x1=True,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 1 / 3),
        labels=("ape", "bée"),
        origin="somewhere",
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def same_tensors(one: Any, other: Any) -> bool:
    return set(one) == set(other) and all(
        torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one
    )


def same_record(one: TaskRecord, other: TaskRecord) -> bool:
    nothing: Any = {"state": {}, "samples": None}
    return (
        same_tensors(one.state, other.state)
        and torch.equal(one.samples, other.samples)
        and replace(one, **nothing) == replace(other, **nothing)
    )


def tried(load: Callable[[], Loaded]) -> Loaded | str:
    """Return what was loaded, or why it was refused."""
    try:
        return load()
    except StoreError as error:
        return str(error)


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@contextmanager
def files_no_longer_than(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to write on, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_task_comes_back_bit_for_bit(store: Store, record: TaskRecord) -> None:
    path = store.save_task(record)

    assert path == store.root / "tasks" / "birds.safetensors"
    assert same_record(store.load_task("birds"), record)
    assert store.tasks() == ("birds",)


def test_a_source_comes_back_bit_for_bit(store: Store, small_weights: SourceWeights) -> None:
    store.put_source(small_weights)

    kept = store.source_weights()

    assert same_tensors(kept.state, small_weights.state)
    assert replace(kept, state={}) == replace(small_weights, state={})
    assert kept.fingerprint() == small_weights.fingerprint()


def test_a_reloaded_delta_predicts_the_same_bits(
    store: Store, weights: SourceWeights, record: TaskRecord
) -> None:
    source = Source(weights)
    delta = Delta(source, 3, OPTIONS.delta)
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        for pooling in delta.poolings().values():
            pooling.weight.normal_()
        for _ in range(3):  # moves the statistics of the norms
            delta(images, source(images))
        expected = delta.eval()(images, source(images))
    store.put_source(weights)
    store.save_task(replace(record, state=delta.state_dict(), source_sha256=source.fingerprint))

    read = Source(store.source_weights())
    reloaded = store.load_task("birds").build(read)

    assert not any(layer.training for layer in reloaded.modules())
    assert reloaded.selections() == delta.selections()
    with torch.no_grad():
        assert torch.equal(reloaded(images, read(images)), expected)


def test_the_files_can_be_read_without_this_project(store: Store, record: TaskRecord) -> None:
    tensors = load_file(store.save_task(record))

    assert torch.equal(tensors.pop("samples"), record.samples)
    assert same_tensors(tensors, record.state)


def test_the_same_content_gives_the_same_bytes(store: Store, record: TaskRecord) -> None:
    first = store.save_task(record).read_bytes()

    assert store.save_task(store.load_task("birds")).read_bytes() == first


def test_which_pictures_it_was_trained_on_comes_back_and_goes_into_the_manifest(
    store: Store, record: TaskRecord
) -> None:
    splits = {"train": SplitEntry("ab" * 32, 80), "test": SplitEntry("cd" * 32, 20)}
    record = replace(record, data_sha256="ef" * 32, splits=splits)
    store.save_task(record)

    found = store.load_task("birds")

    assert same_record(found, record)
    assert found.entry({}).data == DataEntry("ef" * 32, 7, splits)
    assert replace(record, splits={}).entry({}).data == DataEntry("ef" * 32, 7)
    assert replace(record, data_sha256="").entry({}).data is None


def rewritten(path: Path, **changes: str | None) -> None:
    """Write a file of a store anew with other facts, or without some, and the hash that fits."""
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["snow_deploy"])
    kept = {key: value for key, value in {**facts, **changes}.items() if value is not None}
    kept.pop("sha256")
    forge(path, load_file(path), kept)


def test_a_task_of_several_answers_comes_back_and_one_from_before_has_one(
    store: Store, record: TaskRecord
) -> None:
    several = replace(record, answers="several")

    path = store.save_task(several)

    assert store.load_task("birds").entry({}).answers == "several"
    rewritten(path, answers=None)
    found = store.load_task("birds")
    assert (found.answers, found.labels) == ("one", record.labels)
    rewritten(path, answers="many")
    with pytest.raises(StoreError, match="answers is 'many', expected 'one' or 'several'"):
        store.load_task("birds")


def test_the_fingerprint_is_of_the_tensors_alone(record: TaskRecord) -> None:
    assert record.fingerprint() == hash_tensors(record.state)
    assert replace(record, metrics={}).fingerprint() == record.fingerprint()


def test_the_same_source_may_be_put_again(store: Store, small_weights: SourceWeights) -> None:
    store.put_source(small_weights)
    before = store.source_path.stat()

    store.put_source(replace(small_weights, origin="elsewhere"))

    assert store.source_path.stat().st_mtime_ns == before.st_mtime_ns
    assert store.source_path.stat().st_ino == before.st_ino


def test_another_source_is_refused(store: Store, small_weights: SourceWeights) -> None:
    store.put_source(small_weights)
    before = store.source_path.read_bytes()
    other = replace(small_weights, mean=(0.0, 0.0, 0.0), origin="elsewhere")

    with pytest.raises(
        StoreError, match=r"holds the source resnet18 \(.*somewhere\), not resnet18 \(.*elsewhere\)"
    ):
        store.put_source(other)
    assert store.source_path.read_bytes() == before


def test_a_delta_of_another_source_is_refused(
    source: Source, random_weights: RandomWeights, record: TaskRecord
) -> None:
    delta = Delta(source, 3, OPTIONS.delta)
    trained = replace(record, state=delta.state_dict(), source_sha256=source.fingerprint)
    other = Source(random_weights("resnet18", seed=1))

    trained.build(source)
    with pytest.raises(
        StoreError, match=rf"'birds' was trained on the source {source.fingerprint[:12]}, but this "
    ):
        trained.build(other)


def test_weights_that_do_not_fit_the_options(source: Source, record: TaskRecord) -> None:
    delta = Delta(source, 4, OPTIONS.delta)
    record = replace(record, state=delta.state_dict(), source_sha256=source.fingerprint)

    with pytest.raises(StoreError, match="weights of task 'birds' do not fit its options"):
        record.build(source)


def test_an_unknown_task_names_those_that_are_there(store: Store, record: TaskRecord) -> None:
    with pytest.raises(StoreError, match=r"has no task 'cars' \(it has: none\)"):
        store.load_task("cars")
    store.save_task(record)
    store.save_task(replace(record, name="apples"))

    with pytest.raises(StoreError, match=r"has no task 'cars' \(it has: apples, birds\)"):
        store.load_task("cars")


@pytest.mark.parametrize("name", ["../birds", "Birds", "", "image", "source", "a/b"])
def test_names_that_are_no_task_names(store: Store, name: str) -> None:
    for use in (store.load_task, store.task_path, store.run_path):
        with pytest.raises(SnowError, match="A task cannot be called"):
            use(name)


def test_an_empty_store(store: Store) -> None:
    assert not store.has_source()
    assert store.tasks() == ()
    with pytest.raises(StoreError, match=r"holds no source\. Train a task into it first"):
        store.source_weights()
    assert not store.root.exists()


def test_other_files_beside_the_tasks_are_no_tasks(store: Store, record: TaskRecord) -> None:
    folder = store.save_task(record).parent
    (folder / ".0123.tmp").touch()
    (folder / "notes.txt").touch()

    assert store.tasks() == ("birds",)


def test_a_flipped_bit_anywhere_in_a_task_is_noticed(store: Store, record: TaskRecord) -> None:
    path = store.save_task(record)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 2):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place * 5 % 8)
        path.write_bytes(damaged)
        loaded = tried(lambda: store.load_task("birds"))
        if isinstance(loaded, str):
            assert "birds.safetensors" in loaded
            refused += 1
        else:  # the same in other bytes, such as \\u00EF for \\u00ef
            assert same_record(loaded, record)
    assert refused > 0.98 * len(whole) / 2


@settings(max_examples=80)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_source_is_noticed(
    tmp_path: Path, small_weights: SourceWeights, place: float, bit: int
) -> None:
    store = Store(tmp_path / "fresh")
    shutil.rmtree(store.root, ignore_errors=True)
    store.put_source(small_weights)
    damaged = bytearray(store.source_path.read_bytes())
    damaged[int(place * len(damaged))] ^= 1 << bit
    store.source_path.write_bytes(damaged)

    kept = tried(store.source_weights)

    if isinstance(kept, str):
        assert "source.safetensors" in kept
    else:
        assert same_tensors(kept.state, small_weights.state)
        assert replace(kept, state={}) == replace(small_weights, state={})


def test_a_truncated_file_is_refused(
    store: Store, record: TaskRecord, small_weights: SourceWeights
) -> None:
    store.put_source(small_weights)
    for path, load in (
        (store.save_task(record), lambda: store.load_task("birds")),
        (store.source_path, store.source_weights),
    ):
        whole = path.read_bytes()
        for length in range(0, len(whole), 11):
            path.write_bytes(whole[:length])
            with pytest.raises(StoreError, match=r"is damaged or not one of snow-deploy's"):
                load()
    with pytest.raises(StoreError, match="is damaged"):
        store.put_source(small_weights)


def test_a_file_without_rights_is_not_called_damaged(
    store: Store,
    record: TaskRecord,
    small_weights: SourceWeights,
    unreadable: Callable[[Path], Path],
) -> None:
    store.put_source(small_weights)
    for path, load in (
        (store.save_task(record), lambda: store.load_task("birds")),
        (store.source_path, store.source_weights),
    ):
        unreadable(path)
        expected = rf"{path.name} cannot be read: .*Permission denied.* Allow this user to read it"
        with pytest.raises(StoreError, match=expected):
            load()


def test_a_folder_of_a_tasks_name_is_no_task(store: Store, record: TaskRecord) -> None:
    store.save_task(record)
    store.task_path("cats").mkdir()
    assert store.tasks() == ("birds",)
    with pytest.raises(StoreError, match=r"has no task 'cats' \(it has: birds\)"):
        store.load_task("cats")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"snow_deploy": "not JSON"},
        {"snow_deploy": "[]"},
        {"snow_deploy": "{}"},
        {"snow_deploy": '{"sha256": "0"}'},
        {"other": "{}"},
    ],
)
def test_a_foreign_file_is_refused(store: Store, metadata: dict[str, str] | None) -> None:
    path = store.task_path("birds")
    path.parent.mkdir(parents=True)
    save_file({"w": torch.ones(2)}, path, metadata=metadata)
    shutil.copy(path, store.source_path)

    for load in (lambda: store.load_task("birds"), store.source_weights):
        with pytest.raises(StoreError, match="is damaged or not one of snow-deploy's"):
            load()


def forge(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    """Write a file of another version, whose hash is right."""
    digest = hash_tensors(tensors, json.dumps(facts, sort_keys=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"snow_deploy": json.dumps({**facts, "sha256": digest})})


def test_a_file_of_a_later_format_asks_for_an_update(store: Store) -> None:
    for path in (store.task_path("birds"), store.source_path):
        forge(path, {"w": torch.ones(2)}, {"format": 2})

    for load in (lambda: store.load_task("birds"), store.source_weights):
        with pytest.raises(StoreError, match=r"has format 2; this version reads 1\. Update"):
            load()


def test_a_whole_file_with_other_facts_is_refused(store: Store) -> None:
    for path in (store.task_path("birds"), store.source_path):
        forge(path, {"w": torch.ones(2)}, {"format": 1, "name": "birds"})

    for load in (lambda: store.load_task("birds"), store.source_weights):
        with pytest.raises(StoreError, match="is damaged or not one of snow-deploy's"):
            load()


def test_a_renamed_task_is_refused(store: Store, record: TaskRecord) -> None:
    store.save_task(record).rename(store.task_path("cars"))

    with pytest.raises(StoreError, match=r"cars\.safetensors .*it holds the task 'birds'"):
        store.load_task("cars")


@pytest.mark.parametrize("blocked", [".", "tasks"])
def test_a_folder_that_cannot_be_written_to(
    store: Store, record: TaskRecord, small_weights: SourceWeights, blocked: str
) -> None:
    place = store.root / blocked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a file where a folder should be")
    before = files_in(store.root.parent)

    with pytest.raises(StoreError, match=r"birds\.safetensors cannot be written: .*Nothing was"):
        store.save_task(record)
    if blocked == ".":
        with pytest.raises(StoreError, match=r"source\.safetensors cannot be written"):
            store.put_source(small_weights)
    assert files_in(store.root.parent) == before


def test_a_full_disk_leaves_nothing_half_written(
    store: Store, record: TaskRecord, small_weights: SourceWeights
) -> None:
    with files_no_longer_than(100):
        with pytest.raises(StoreError, match="cannot be written"):
            store.save_task(record)
        with pytest.raises(StoreError, match="cannot be written"):
            store.put_source(small_weights)

    assert files_in(store.root) == []


def test_a_write_that_fails_in_the_middle_keeps_the_old_task(
    store: Store, record: TaskRecord
) -> None:
    store.save_task(record)
    larger = replace(record, state={"w": torch.randn(1000)})

    with files_no_longer_than(3000), pytest.raises(StoreError, match="cannot be written"):
        store.save_task(larger)

    assert same_record(store.load_task("birds"), record)
    assert files_in(store.root) == ["tasks/birds.safetensors"]


def test_files_that_copying_leaves_behind_are_no_tasks(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.root / "tasks").mkdir(parents=True)
    for name in ("._food", "food copy", "Food"):
        (store.root / "tasks" / f"{name}.safetensors").touch()

    assert store.tasks() == ()


def test_a_source_may_get_its_labels_later(tmp_path: Path, weights: SourceWeights) -> None:
    store = Store(tmp_path)
    store.put_source(replace(weights, labels=None))

    store.put_source(replace(weights, labels=tuple("abcdefg")))
    store.put_source(replace(weights, labels=None))  # what knows none takes none away

    assert store.source_weights().labels == tuple("abcdefg")
    assert store.source_weights().fingerprint() == weights.fingerprint()

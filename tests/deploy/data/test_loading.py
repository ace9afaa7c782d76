from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler, TensorDataset

from snow_deploy.data import FilePictures
from snow_deploy.data.loading import Batch, EpochSampler, TaskDataset, make_loader
from snow_deploy.data.transforms import PhotoTransform
from snow_deploy.errors import DataError
from snow_runtime.pictures.preprocessing import load_image, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.graph.manifest import Preprocessing
    from tests.deploy.data.conftest import WritePictures


@pytest.fixture
def pictures(tmp_path: Path, write_pictures: WritePictures) -> FilePictures:
    """Return ten pictures, of which number 3 and 4 can't be read."""
    paths = write_pictures(tmp_path, *(f"{i}.png" for i in range(10)), size=(30, 24))
    paths[3].write_bytes(paths[3].read_bytes()[:60])
    paths[4].unlink()
    return FilePictures(tuple(paths), tuple(i % 2 for i in range(10)), ("a", "b"))


def batches(
    pictures: FilePictures, preprocessing: Preprocessing, *, epochs: int = 1, **options: Any
) -> list[Batch]:
    """Load some epochs by one loader."""
    defaults = {"train": True, "augmentation": "photo", "batch_size": 4, "seed": 5, "workers": 0}
    loader = make_loader(pictures, preprocessing=preprocessing, **{**defaults, **options})
    loaded: list[Batch] = []
    for epoch in range(epochs):
        assert isinstance(loader.sampler, EpochSampler)
        loader.sampler.set_epoch(epoch)
        loaded.extend(loader)
    return loaded


def assert_same(these: list[Batch], those: list[Batch]) -> None:
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        assert torch.equal(this.images, that.images)
        assert torch.equal(this.targets, that.targets)
        assert tuple(this.skipped) == tuple(that.skipped)


def test_evaluation_gives_every_picture_once_in_order(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    loaded = batches(pictures, preprocessing, train=False)
    assert [len(batch.images) for batch in loaded] == [3, 3, 2]
    readable = [i for i in range(10) if i not in {3, 4}]
    expected = [prepare(load_image(pictures.paths[i]), preprocessing) for i in readable]
    images = torch.cat([batch.images for batch in loaded])
    assert images.dtype == torch.float32
    np.testing.assert_array_equal(images.numpy(), np.stack(expected))
    targets = torch.cat([batch.targets for batch in loaded])
    assert targets.dtype == torch.int64
    assert targets.tolist() == [pictures.target(i) for i in readable]


def test_unreadable_pictures_are_left_out_and_named(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    loaded = batches(pictures, preprocessing, train=False)
    skipped = [batch.skipped for batch in loaded]
    assert skipped == [(pictures.name(3),), (pictures.name(4),), ()]


def test_a_batch_of_unreadable_pictures_is_empty(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    (batch,) = batches(pictures.subset([3, 4]), preprocessing, train=False)
    assert (batch.images.shape, batch.images.dtype) == ((0, 3, 16, 16), torch.float32)
    assert (batch.targets.shape, batch.targets.dtype) == ((0,), torch.int64)
    assert batch.skipped == (pictures.name(3), pictures.name(4))


# Python 3.12 warns of every fork beside another thread, such as torch's own.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_the_number_of_workers_changes_nothing(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    alone = batches(pictures, preprocessing, epochs=2, batch_size=3)
    assert_same(alone, batches(pictures, preprocessing, epochs=2, batch_size=3, workers=2))


def test_epochs_and_seeds_differ_and_are_repeatable(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    first, second = batches(pictures, preprocessing, epochs=2, batch_size=10)
    assert_same([first, second], batches(pictures, preprocessing, epochs=2, batch_size=10))
    assert not torch.equal(first.images, second.images)
    (other,) = batches(pictures, preprocessing, batch_size=10, seed=6)
    assert not torch.equal(first.images, other.images)


def test_augmentation_depends_on_the_key_alone(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    data = TaskDataset(pictures, PhotoTransform(preprocessing), seed=1)
    keys = [(epoch, index) for epoch in (0, 1) for index in (0, 1, 2)]
    forwards = {key: data[key].image for key in keys}
    torch.rand(7)
    for key in reversed(keys):
        image, earlier = data[key].image, forwards[key]
        assert image is not None
        assert earlier is not None
        assert torch.equal(image, earlier)
    seen = {image.numpy().tobytes() for image in forwards.values() if image is not None}
    assert len(seen) == len(keys)


def test_loading_leaves_all_random_states_alone(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    batches(pictures, preprocessing, epochs=2)
    batches(pictures, preprocessing, train=False)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert str(numpy_state) == str(np.random.get_state(legacy=False))  # noqa: NPY002
    assert python_state == random.getstate()


def test_the_callers_seed_changes_nothing(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        one = batches(pictures, preprocessing)
        torch.default_generator.manual_seed(2)
        assert_same(one, batches(pictures, preprocessing))


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [
        (2, 4, [2]),
        (4, 4, [4]),
        (5, 4, [4]),  # a last one alone is dropped
        (6, 4, [4, 2]),  # there is one full batch only: keep what there is
        (8, 4, [4, 4]),
        (9, 4, [4, 4]),
        (10, 4, [4, 4]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_which_last_batch_is_dropped_in_training(
    pictures: FilePictures,
    preprocessing: Preprocessing,
    count: int,
    batch_size: int,
    expected: list[int],
) -> None:
    some = pictures.subset([0] * count)
    loaded = batches(some, preprocessing, batch_size=batch_size)
    assert [len(batch.images) for batch in loaded] == expected
    measured = batches(some, preprocessing, batch_size=batch_size, train=False)
    assert sum(len(batch.images) for batch in measured) == count


def test_one_picture_cannot_be_trained_on(
    pictures: FilePictures, preprocessing: Preprocessing
) -> None:
    with pytest.raises(DataError, match="one picture to each process"):
        batches(pictures.subset([0]), preprocessing)
    with pytest.raises(DataError, match="one picture to each process"):
        batches(pictures.subset([0, 1]), preprocessing, process=(0, 2))
    assert len(batches(pictures.subset([0]), preprocessing, train=False)) == 1


def test_processes_share_the_pictures(pictures: FilePictures, preprocessing: Preprocessing) -> None:
    parts = [batches(pictures, preprocessing, train=False, process=(rank, 3)) for rank in range(3)]
    counts = [sum(len(b.images) + len(b.skipped) for b in part) for part in parts]
    assert counts == [4, 3, 3]
    trained = [
        batches(pictures, preprocessing, batch_size=2, process=(rank, 3)) for rank in range(3)
    ]
    assert {len(part) for part in trained} == {2}


def share(sampler: EpochSampler) -> list[int]:
    keys = list(sampler)
    assert len(keys) == len(sampler)
    assert {epoch for epoch, _ in keys} <= {0}
    return [index for _, index in keys]


@settings(deadline=None)
@given(length=st.integers(1, 50), world_size=st.integers(1, 8), seed=st.integers(0, 100))
def test_training_shares_are_equal_and_complete(length: int, world_size: int, seed: int) -> None:
    shares = [
        share(EpochSampler(length, seed=seed, shuffle=True, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(part) for part in shares}) == 1
    seen = Counter(index for part in shares for index in part)
    assert set(seen) == set(range(length))
    assert sum(seen.values()) - length < world_size


@settings(deadline=None)
@given(length=st.integers(0, 50), world_size=st.integers(1, 8))
def test_evaluation_shares_hold_every_picture_once(length: int, world_size: int) -> None:
    shares = [
        share(EpochSampler(length, seed=0, shuffle=False, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert sorted(index for part in shares for index in part) == list(range(length))
    assert all(part == sorted(part) for part in shares)


@settings(deadline=None)
@given(length=st.integers(1, 50), world_size=st.integers(1, 8))
def test_shares_agree_with_torchs_sampler(length: int, world_size: int) -> None:
    for rank in range(world_size):
        ours = EpochSampler(
            length, seed=0, shuffle=False, pad=True, rank=rank, world_size=world_size
        )
        data = TensorDataset(torch.zeros(length))
        torchs: DistributedSampler[Any] = DistributedSampler(
            data, num_replicas=world_size, rank=rank, shuffle=False
        )
        assert share(ours) == list(torchs)


def test_the_shuffle_depends_on_seed_and_epoch() -> None:
    orders: dict[tuple[int, int], tuple[int, ...]] = {}
    for seed in (0, 1):
        sampler = EpochSampler(30, seed=seed, shuffle=True)
        for epoch in (0, 1, 0):
            sampler.set_epoch(epoch)
            keys = list(sampler)
            assert {number for number, _ in keys} == {epoch}
            order = tuple(index for _, index in keys)
            assert orders.setdefault((seed, epoch), order) == order
    assert len(set(orders.values())) == len(orders)

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_calibration.errors import CalibrationError
from snow_deploy.calibration import (
    data_of_tasks,
    draw_samples,
    for_judging,
    for_search,
    labelled,
)
from snow_deploy.data import open_data
from snow_deploy.errors import DataError
from snow_runtime.data_entry import DataEntry
from snow_runtime.manifest import Manifest, Preprocessing, SourceEntry, TaskEntry

if TYPE_CHECKING:
    from pathlib import Path

PREPROCESSING = Preprocessing.for_size(32)
HASH = "0" * 64


def manifest(**labels: tuple[str, ...]) -> Manifest:
    tasks = tuple(TaskEntry(name, name, each, sha256=HASH) for name, each in labels.items())
    return Manifest(SourceEntry("resnet18", HASH, 1), PREPROCESSING, tasks)


PETS = ("cat", "dog")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make folders of photos: 30 of one class, 10 of another, in train and test."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, count in (("cat", 30), ("dog", 10)):
            folder = tmp_path / "pets" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path / "pets"


def test_the_labels_tell_the_task(photos: Path) -> None:
    found = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=("cat", "dog")))

    assert list(found) == ["pets"]
    assert found["pets"].labels == ("cat", "dog")


def test_a_name_tells_it_where_two_tasks_have_the_labels(photos: Path) -> None:
    spec, both = f"imagefolder:{photos}", manifest(a=("cat", "dog"), b=("cat", "dog"))

    with pytest.raises(CalibrationError, match=r"fits a and b; say which .* --data a=imagefolder"):
        data_of_tasks([spec], both)
    assert list(data_of_tasks([f"b={spec}", f"a={spec}"], both)) == ["b", "a"]


@pytest.mark.parametrize(
    ("specs", "error", "message"),
    [
        (["{}"], CalibrationError, "no --data for food"),
        (["{}", "pets={}"], CalibrationError, "'pets' has two --data"),
        (["cars={}"], CalibrationError, "has no task 'cars', expected one of pets, food"),
        (["food={}"], DataError, "has 2 labels .* that task 'food' was trained with"),
        (["demo:digit?train=20&test=20&size=48"], CalibrationError, "labels of no task"),
    ],
)
def test_data_that_does_not_fit(
    photos: Path, specs: list[str], error: type[Exception], message: str
) -> None:
    tasks = manifest(pets=("cat", "dog"), food=("pie", "egg", "soup"))

    with pytest.raises(error, match=message):
        data_of_tasks([spec.format(f"imagefolder:{photos}") for spec in specs], tasks)


def test_samples_are_drawn_evenly_from_tasks_and_classes(photos: Path) -> None:
    data = data_of_tasks(
        [f"pets=imagefolder:{photos}", "digit=demo:digit?train=60&test=20&size=48"],
        manifest(pets=("cat", "dog"), digit=tuple("0123456789")),
    )

    samples = draw_samples(data, PREPROCESSING, 40)

    assert samples.pixels.shape == (40, 32, 32, 3)
    assert Counter(key.partition("/")[0] for key in samples.keys) == {"pets": 20, "digit": 20}
    pets = [key for key in samples.keys if key.startswith("pets")]
    assert Counter("cat" in key for key in pets) == {True: 10, False: 10}
    assert all("/train/" in key for key in pets)
    assert draw_samples(data, PREPROCESSING, 40).keys == samples.keys


def test_a_photo_that_cannot_be_read_is_passed_over(photos: Path) -> None:
    data = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=("cat", "dog")))
    for number in range(0, 30, 2):
        (photos / "train" / "cat" / f"{number:02}.png").write_bytes(b"broken")

    with pytest.warns(UserWarning, match="skipped 15 pictures that cannot be read"):
        keys = draw_samples(data, PREPROCESSING, 40).keys

    assert len(keys) == 25
    assert sum("cat" in key for key in keys) == 15


@pytest.mark.parametrize(("tasks", "count"), [(2, 17), (3, 40), (7, 100)])
def test_any_number_of_samples_is_shared_out(photos: Path, tasks: int, count: int) -> None:
    one = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=PETS))["pets"]

    samples = draw_samples({f"t{n}": one for n in range(tasks)}, PREPROCESSING, count)

    shares = Counter(key.partition("/")[0] for key in samples.keys)
    assert sum(shares.values()) == count
    assert max(shares.values()) - min(shares.values()) <= 1


def test_the_sources_head_may_have_data_and_need_not(photos: Path) -> None:
    spec = f"imagefolder:{photos}"
    both = Manifest(
        SourceEntry("resnet18", HASH, 1),
        PREPROCESSING,
        (TaskEntry("source", "source", ("a", "b")), TaskEntry("pets", "pets", PETS, sha256=HASH)),
    )
    assert list(data_of_tasks([spec], both)) == ["pets"]

    alone = Manifest(
        SourceEntry("resnet18", HASH, 1), PREPROCESSING, (TaskEntry("source", "source", PETS),)
    )
    with pytest.raises(CalibrationError, match="no task but the source's own head"):
        data_of_tasks([spec], alone)


def test_the_seed_splits_what_has_no_splits(photos: Path) -> None:
    folder = photos / "train"  # classes, no splits
    spec = f"imagefolder:{folder}"
    trained = [open_data(spec, seed=seed) for seed in (0, 1)]
    data = DataEntry(trained[1].fingerprint, 1, trained[1].entries)
    once = manifest(pets=PETS)
    tasks = replace(once, tasks=(replace(once.tasks[0], data=data),))

    for seed, expected in ((0, trained[0]), (1, trained[1]), (None, trained[1])):
        found = data_of_tasks([spec], tasks, seed)["pets"]
        assert found.fingerprint == expected.fingerprint
    assert trained[0].fingerprint != trained[1].fingerprint


def test_each_task_has_the_seed_that_it_was_trained_with(photos: Path) -> None:
    rng = np.random.default_rng(1)
    for label in ("pie", "egg"):
        (photos.parent / "food" / label).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos.parent / "food" / label / f"{number}.png")
    specs = [f"imagefolder:{photos / 'train'}", f"imagefolder:{photos.parent / 'food'}"]
    opened = [open_data(specs[0], seed=3), open_data(specs[1], seed=4)]
    tasks = manifest(pets=PETS, food=("egg", "pie"))
    entries = tuple(
        replace(task, data=DataEntry(splits.fingerprint, seed, splits.entries))
        for task, splits, seed in zip(tasks.tasks, opened, (3, 4), strict=True)
    )

    found = data_of_tasks(specs, replace(tasks, tasks=entries))

    assert [found[task].fingerprint for task in ("pets", "food")] == [
        splits.fingerprint for splits in opened
    ]


def test_one_class_only_is_refused(photos: Path) -> None:
    data = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=("cat", "dog")))
    for number in range(10):
        (photos / "train" / "dog" / f"{number:02}.png").write_bytes(b"broken")

    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(CalibrationError, match="30 pictures of task 'pets' are all of one class"),
    ):
        draw_samples(data, PREPROCESSING, 512)


def test_too_few_are_refused(photos: Path) -> None:
    data = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=("cat", "dog")))

    with pytest.raises(CalibrationError, match="15 pictures are too few"):
        draw_samples(data, PREPROCESSING, 15)


def test_pictures_to_judge_by_are_the_held_out_ones(photos: Path) -> None:
    data = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=("cat", "dog")))

    whole = labelled(data, PREPROCESSING, 1000)["pets"]
    some = labelled(data, PREPROCESSING, 12)["pets"]

    assert len(whole.targets) == 40
    assert Counter(whole.targets.tolist()) == {0: 30, 1: 10}
    assert Counter(some.targets.tolist()) == {0: 6, 1: 6}


def test_pictures_to_search_on_are_others_than_those_that_judge(photos: Path) -> None:
    specs, tasks = [f"imagefolder:{photos}"], manifest(pets=PETS)
    two = data_of_tasks(specs, tasks)["pets"]
    assert for_judging(two) is two.test
    assert for_search(two) is two.train

    (photos / "test").rename(photos / "val")
    held_out = data_of_tasks(specs, tasks)["pets"]
    assert for_judging(held_out) is held_out.val
    assert for_search(held_out) is held_out.train

    for label in PETS:
        (photos / "test" / label).mkdir(parents=True)
        source = photos / "val" / label / "01.png"
        (photos / "test" / label / "new.png").write_bytes(source.read_bytes())
    three = data_of_tasks(specs, tasks)["pets"]
    assert for_judging(three) is three.test
    assert for_search(three) is three.val


def test_copies_of_a_picture_count_once(photos: Path) -> None:
    original = (photos / "test" / "cat" / "00.png").read_bytes()
    for number in range(50):
        (photos / "test" / "cat" / f"copy{number}.png").write_bytes(original)
    data = data_of_tasks([f"imagefolder:{photos}"], manifest(pets=PETS))

    found = replace(labelled(data, PREPROCESSING, 1000)["pets"], known="measured")

    assert len(found.targets) == 90
    assert len(found.distinct().targets) == 40
    assert found.distinct().known == "held out"
    assert Counter(found.distinct().targets.tolist()) == {0: 30, 1: 10}
    once = found.distinct()
    assert once.distinct() is once

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from snow_calibration.errors import CalibrationError
from snow_deploy.data import MultiLabelFiles, open_data
from snow_deploy.errors import DataError
from snow_deploy.stages.calibration_pictures import (
    Drawing,
    draw_samples,
    for_judging,
    for_search,
    labelled,
    pictures_of,
)
from snow_deploy.stages.task_data import data_of_tasks
from snow_runtime.graph.data_entry import DataEntry
from snow_runtime.graph.manifest import (
    METADATA_KEY,
    Manifest,
    Preprocessing,
    SourceEntry,
    TaskEntry,
)

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


@pytest.fixture
def tagged(photos: Path) -> str:
    """List the photos in a CSV file: eyes on all but a few, a tail on some, a bell on two."""
    rows = ["file,split,eyes,tail,bell"]
    for split in ("train", "test"):
        for n in range(30):
            path = f"{split}/cat/{n:02}.png"
            rows.append(f"{path},{split},{int(n % 10 > 0)},{n % 2},{int(n in {3, 5})}")
    (photos / "tagged.csv").write_text("\n".join(rows), encoding="utf-8")
    return f"csv:{photos / 'tagged.csv'}?labels=eyes,tail,bell"


def several(name: str, *labels: str) -> Manifest:
    one = manifest(**{name: labels})
    return replace(one, tasks=(replace(one.tasks[0], answers="several"),))


def test_samples_are_drawn_evenly_from_labels(tagged: str) -> None:
    data = data_of_tasks([tagged], several("pets", "eyes", "tail", "bell"))
    train = data["pets"].train
    assert isinstance(train, MultiLabelFiles)

    samples = draw_samples(data, PREPROCESSING, 16)

    keys = [key.removeprefix("pets/") for key in samples.keys]
    assert len(set(keys)) == 16
    drawn = [train.present([train.name(i) for i in range(30)].index(key)) for key in keys]
    assert sum(2 in present for present in drawn) == 2  # both bells, of thirty photos
    assert sum(not present for present in drawn) == 3  # all without a label, likewise
    found = labelled(data, PREPROCESSING, 30)["pets"]
    assert found.targets.dtype == np.bool_
    assert found.targets.sum(0).tolist() == [27, 15, 2]


def test_data_of_classes_is_none_of_a_task_of_several_answers(tagged: str) -> None:
    spec = tagged.partition("?")[0]
    tasks = several("pets", "eyes", "tail", "bell")

    with pytest.raises(DataError, match=r"in their order: eyes, tail, bell"):
        data_of_tasks([f"pets={spec}?labels=bell,eyes,tail"], tasks)
    with pytest.raises(DataError, match="has 2 labels"):
        data_of_tasks([f"pets={spec}?label=tail"], tasks)
    both = several("pets", "0", "1")
    with pytest.raises(DataError, match="have one class each, expected any number of labels as"):
        data_of_tasks([f"{spec}?label=tail"], both)
    alike = replace(
        both, tasks=(*both.tasks, replace(both.tasks[0], name="tail", output="tail", answers="one"))
    )
    with pytest.raises(CalibrationError, match="no --data for pets"):
        data_of_tasks([f"{spec}?label=tail"], alike)


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


def test_a_seed_of_another_task_that_leaves_a_class_without_pictures_is_passed_over(
    photos: Path,
) -> None:
    """A listing without splits is split whatever its labels are; some seeds leave a class out."""
    rows = [
        f"train/{label}/0{n}.png,{label}"
        for label, count in (("cat", 8), ("dog", 2))
        for n in range(count)
    ]
    (photos / "few.csv").write_text("\n".join(["file,pet", *rows]))
    spec = f"csv:{photos / 'few.csv'}"

    def opens(seed: int) -> bool:
        try:
            return bool(open_data(spec, seed=seed))
        except DataError:
            return False

    good = next(seed for seed in range(200) if opens(seed))
    bad = next(seed for seed in range(200) if not opens(seed))
    tasks = manifest(food=("egg", "pie"), pets=PETS)
    entries = tuple(
        replace(task, data=DataEntry(HASH, seed))
        for task, seed in zip(tasks.tasks, (bad, good), strict=True)
    )
    seeded = replace(tasks, tasks=entries)

    with pytest.raises(CalibrationError, match="no --data for food"):  # it is found to be pets'
        data_of_tasks([spec], seeded)
    with pytest.raises(DataError, match="expected at least one of every class"):
        data_of_tasks([f"food={spec}"], seeded)


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
    some = [labelled(data, PREPROCESSING, 20, seed=seed)["pets"].targets for seed in range(20)]

    assert len(whole.targets) == 40
    assert Counter(whole.targets.tolist()) == {0: 30, 1: 10}
    assert {len(targets) for targets in some} == {20}
    # Drawn by chance: as many of each class as there are of all, and not as many of each.
    assert np.mean(np.concatenate(some) == 0) == pytest.approx(0.75, abs=0.05)


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
    assert found.distinct().known == "rest"
    assert Counter(found.distinct().targets.tolist()) == {0: 30, 1: 10}
    once = found.distinct()
    assert once.distinct() is once


def graph_of(photos: Path, folder: Path, *, seed: int = 0) -> Path:
    """Write a graph that says that its task was trained on the photos; it is never run."""
    splits = open_data(f"imagefolder:{photos}", seed=seed)
    once = manifest(pets=PETS)
    data = DataEntry(splits.fingerprint, seed, splits.entries)
    tasks = replace(once, tasks=(replace(once.tasks[0], data=data),))
    node = helper.make_node("Identity", ["image"], ["pets"])
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("image", (3, 32, 32)), ("pets", (2,)))
    ]
    model = helper.make_model(helper.make_graph([node], "snow", values[:1], values[1:]))
    helper.set_model_props(model, {METADATA_KEY: tasks.to_json()})
    onnx.save(model, folder / "snow.onnx")
    return folder / "snow.onnx"


@pytest.mark.parametrize("way", ["copy", "link"])
def test_pictures_that_were_trained_on_do_not_judge_under_another_name(
    photos: Path, tmp_path: Path, way: str
) -> None:
    graph = graph_of(photos, tmp_path)
    for trained in (photos / "train" / "cat").iterdir():
        again = photos / "test" / "cat" / f"new-{trained.name}"
        again.symlink_to(trained) if way == "link" else again.write_bytes(trained.read_bytes())
    spec = [f"imagefolder:{photos}"]

    _, judged = pictures_of(graph, spec, Drawing(samples=24))
    _, other = pictures_of(graph, spec, Drawing(samples=24, other_pictures=True))

    assert judged.counts == {"pets": 40}
    (note,) = judged.notes
    assert "30 of the 70 pictures that would judge task 'pets' are copies of ones that" in note
    assert judged.truth["pets"].known == "held out"
    assert (other.counts, other.notes) == ({"pets": 70}, ())


def test_where_all_that_judge_were_trained_on_it_is_an_error(photos: Path, tmp_path: Path) -> None:
    shutil.rmtree(photos / "test")
    shutil.copytree(photos / "train", photos / "test")

    with pytest.raises(CalibrationError, match="all 40 pictures that would judge task 'pets'"):
        pictures_of(graph_of(photos, tmp_path), [f"imagefolder:{photos}"], Drawing(samples=24))


def test_pictures_that_are_searched_on_do_not_judge(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "test", photos / "val")
    (photos / "val" / "cat" / "00.png").unlink()
    graph, spec = graph_of(photos, tmp_path), [f"imagefolder:{photos}"]

    _, judged = pictures_of(graph, spec, Drawing(samples=24))
    _, searched = pictures_of(graph, spec, Drawing(samples=24, search=True))

    assert (judged.counts, judged.notes) == ({"pets": 40}, ())
    assert judged.truth["pets"].known == "measured"
    assert searched.counts == {"pets": 1}
    assert searched.truth["pets"].known == "rest"

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_calibration.errors import CalibrationError
from snow_deploy.data import open_data
from snow_deploy.stages.provenance import provenance
from snow_runtime.graph.data_entry import DataEntry
from snow_runtime.graph.manifest import TaskEntry

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits

LABELS = ("cat", "dog")


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Make a folder of classes without splits."""
    for label in LABELS:
        for number in range(20):
            write(tmp_path / "pets" / label / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """Make a folder with train and test."""
    for split, count in (("train", 8), ("test", 4)):
        for label in LABELS:
            for number in range(count):
                write(tmp_path / "parted" / split / label / f"{number}.png")
    return tmp_path / "parted"


def opened(folder: Path, seed: int = 0) -> Splits:
    return open_data(f"imagefolder:{folder}", seed=seed)


def task_of(splits: Splits, seed: int = 0, *, old: bool = False) -> TaskEntry:
    """Describe a task as `train` and `export` do; `old` as they did before."""
    data = DataEntry(splits.fingerprint, seed, {} if old else splits.entries)
    return TaskEntry("pets", "pets", LABELS, sha256="0" * 64, data=data)


def test_the_split_of_training_is_known_again_wherever_it_lies(loose: Path, tmp_path: Path) -> None:
    task = task_of(opened(loose, 1), 1)
    loose.rename(tmp_path / "moved")

    assert provenance(task, opened(tmp_path / "moved", 1), 1) == ("measured", None)


@pytest.mark.parametrize("old", [False, True])
def test_another_seed_is_refused_with_the_right_one(loose: Path, *, old: bool) -> None:
    task, other = task_of(opened(loose, 1), 1, old=old), opened(loose, 0)

    with pytest.raises(
        CalibrationError, match=r"'pets' is split otherwise .* trained with --seed 1: give that"
    ):
        provenance(task, other, 0)
    known, said = provenance(task, other, 0, accept=True)
    assert known == "unknown"
    assert said is not None
    assert "may have been trained on some of them" in said


def test_pictures_that_were_added_to_what_is_split_by_a_seed_mix_it_anew(loose: Path) -> None:
    task = task_of(opened(loose))
    write(loose / "cat" / "new.png")

    with pytest.raises(CalibrationError, match="pictures were added, removed or renamed since"):
        provenance(task, opened(loose), 0)


def test_a_picture_that_changed_sides_is_found(parted: Path) -> None:
    task = task_of(opened(parted))
    (parted / "train" / "cat" / "7.png").rename(parted / "test" / "cat" / "7.png")

    with pytest.raises(CalibrationError, match=r"training split now 15 pictures, .* expected 16"):
        provenance(task, opened(parted), 0)


def test_a_label_that_changed_is_found(parted: Path) -> None:
    task = task_of(opened(parted))
    (parted / "train" / "cat" / "7.png").rename(parted / "train" / "dog" / "8.png")

    with pytest.raises(CalibrationError, match="split otherwise"):
        provenance(task, opened(parted), 0)


def test_pictures_may_be_added_where_they_are_held_out(parted: Path) -> None:
    task = task_of(opened(parted))
    write(parted / "test" / "dog" / "new.png")

    assert provenance(task, opened(parted), 0) == ("held out", None)
    for label in LABELS:
        write(parted / "val" / label / "new.png")
    assert provenance(task, opened(parted), 0)[0] == "held out"


def test_val_beside_the_same_test_pictures_leaves_them_those_measured(parted: Path) -> None:
    task = task_of(opened(parted))
    for label in LABELS:
        write(parted / "val" / label / "new.png")

    assert provenance(task, opened(parted), 0) == ("measured", None)


def test_a_graph_that_does_not_say_is_told_of(parted: Path) -> None:
    task = replace(task_of(opened(parted)), data=None)

    known, said = provenance(task, opened(parted), 0)
    assert known == "unknown"
    assert said is not None
    assert "does not say which pictures task 'pets' was trained on" in said
    assert provenance(replace(task, sha256=None), opened(parted), 0) == ("unknown", None)


def test_splits_without_the_training_split_tell_nothing(parted: Path) -> None:
    splits = opened(parted)
    entry = task_of(splits)
    assert entry.data is not None
    data = replace(entry.data, sha256="1" * 64, splits={"test": entry.data.splits["test"]})

    with pytest.raises(CalibrationError, match="is split otherwise than when it was trained"):
        provenance(replace(entry, data=data), splits, 0)

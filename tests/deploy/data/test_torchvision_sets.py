from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from snow_deploy.data.torchvision_sets import read_dtd, read_food101, read_stanford_cars
from snow_deploy.errors import DataError
from snow_runtime.errors import MissingDependencyError
from snow_runtime.install_hint import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable

    from snow_deploy.data import Pictures, Splits
    from tests.deploy.data.conftest import WritePictures


def check_against(pictures: Pictures | None, reference: datasets.VisionDataset) -> None:
    """Compare with what torchvision itself gives: the same pictures, targets and labels."""
    assert pictures is not None
    assert list(pictures.labels) == list(reference.classes)
    assert len(pictures) == len(reference)
    for index in range(len(reference)):
        image, target = reference[index]
        assert pictures.target(index) == target
        np.testing.assert_array_equal(np.asarray(pictures.load(index)), np.asarray(image))


@pytest.fixture
def food101(tmp_path: Path, write_pictures: WritePictures) -> Path:
    lists = {
        "train": {"sushi": ["sushi/3", "sushi/1"], "apple_pie": ["apple_pie/7"]},
        "test": {"sushi": ["sushi/2"], "apple_pie": ["apple_pie/8", "apple_pie/9"]},
    }
    meta = tmp_path / "food-101" / "meta"
    meta.mkdir(parents=True)
    for split, by_class in lists.items():
        (meta / f"{split}.json").write_text(json.dumps(by_class), encoding="utf-8")
        names = [f"{name}.jpg" for some in by_class.values() for name in some]
        write_pictures(tmp_path / "food-101" / "images", *names)
    return tmp_path


@pytest.fixture
def dtd(tmp_path: Path, write_pictures: WritePictures) -> Path:
    data = tmp_path / "dtd" / "dtd"
    (data / "labels").mkdir(parents=True)
    for number, split in enumerate(("train", "val", "test")):
        names = [f"{label}/{label}_{number}.jpg" for label in ("zigzagged", "banded")]
        write_pictures(data / "images", *names)
        (data / "labels" / f"{split}1.txt").write_text("\n".join(names), encoding="utf-8")
    return tmp_path


@pytest.fixture
def stanford_cars(tmp_path: Path, write_pictures: WritePictures) -> Path:
    savemat: Callable[..., None] = pytest.importorskip("scipy.io").savemat
    base = tmp_path / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    kind = [("fname", "O"), ("class", "O")]
    for split, path in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        names = [f"0000{number}.jpg" for number in (1, 2, 3)]
        write_pictures(base / f"cars_{split}", *names)
        rows = np.array(list(zip(names, (2, 1, 2), strict=True)), dtype=kind)
        savemat(base / path, {"annotations": rows})
    labels = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], dtype=object)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": labels})
    return tmp_path


def test_food101_agrees_with_torchvision(food101: Path) -> None:
    splits = read_food101(food101)
    assert splits.val is None
    check_against(splits.train, datasets.Food101(food101, "train"))
    check_against(splits.test, datasets.Food101(food101, "test"))


def test_dtd_agrees_with_torchvision(dtd: Path) -> None:
    splits = read_dtd(dtd)
    train, val = (datasets.DTD(dtd, split, loader=Path) for split in ("train", "val"))
    both = [train[index] for index in range(len(train))] + [val[index] for index in range(len(val))]
    assert splits.val is None  # as in the paper, it is trained on
    pictures = splits.train
    assert [(Path(pictures.name(i)), pictures.target(i)) for i in range(len(pictures))] == both
    check_against(splits.test, datasets.DTD(dtd, "test"))


def test_stanford_cars_agrees_with_torchvision(stanford_cars: Path) -> None:
    splits = read_stanford_cars(stanford_cars)
    assert splits.labels == ("AM General Hummer SUV 2000", "Acura RL Sedan 2012")
    check_against(splits.train, datasets.StanfordCars(stanford_cars, "train"))
    check_against(splits.test, datasets.StanfordCars(stanford_cars, "test"))


def test_a_dtd_class_in_one_split_only_is_named(dtd: Path) -> None:
    (dtd / "dtd/dtd/labels/val1.txt").write_text("banded/banded_1.jpg", encoding="utf-8")
    with pytest.raises(DataError, match="in train but not in val: zigzagged"):
        read_dtd(dtd)


@pytest.mark.parametrize(
    ("read", "module", "expected"),
    [
        (read_food101, "food101", r"unpack http://.*food-101\.tar\.gz in .*food-101/meta"),
        (read_dtd, "dtd", r"unpack https://.*dtd-r1\.0\.1\.tar\.gz in .*/dtd, so that"),
    ],
)
def test_what_is_not_there_is_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[..., Splits],
    module: str,
    expected: str,
) -> None:
    with pytest.raises(DataError, match=f"Cannot read .* not found.*Let it be.*or {expected}"):
        read(tmp_path / "new")

    def fail(*_args: object, **_options: object) -> NoReturn:
        msg = "no route to host"
        raise URLError(msg)

    source = sys.modules[f"torchvision.datasets.{module}"]
    monkeypatch.setattr(source, "download_and_extract_archive", fail)
    with pytest.raises(DataError, match=f"(?i)Cannot download .*no route to host.* {expected}"):
        read(tmp_path / "new", download=True)


def test_a_data_set_cut_short_is_explained(food101: Path) -> None:
    (food101 / "food-101" / "meta" / "test.json").write_text('{"sushi": ["su', encoding="utf-8")
    with pytest.raises(DataError, match="Cannot read Food-101"):
        read_food101(food101)


@pytest.mark.parametrize("download", [False, True])
def test_stanford_cars_must_be_put_in_place_by_hand(tmp_path: Path, download: bool) -> None:
    pytest.importorskip("scipy")
    with pytest.raises(DataError, match=r"not found.*authors no longer offer it.*/stanford_cars"):
        read_stanford_cars(tmp_path, download=download)


def test_stanford_cars_needs_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("train"))):
        read_stanford_cars(tmp_path)

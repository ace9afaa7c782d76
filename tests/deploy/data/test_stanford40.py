from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_deploy.data.stanford40 import read_stanford40
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.data.conftest import WritePictures

ACTIONS = "action_name                number_of_images\napplauding\t3\nriding_a_bike\t 3\n\n"


@pytest.fixture
def root(tmp_path: Path, write_pictures: WritePictures) -> Path:
    folder = tmp_path / "Stanford40"
    splits = folder / "ImageSplits"
    splits.mkdir(parents=True)
    (splits / "actions.txt").write_text(ACTIONS, encoding="utf-8")
    for action in ("applauding", "riding_a_bike"):
        names = [f"{action}_{number:03}.jpg" for number in (1, 2, 3)]
        write_pictures(folder / "JPEGImages", *names)
        (splits / f"{action}_train.txt").write_text(f"{names[0]}\n{names[2]}\n", encoding="utf-8")
        (splits / f"{action}_test.txt").write_text(f"{names[1]}\r\n", encoding="utf-8")
    # Published beside them, and not needed.
    (splits / "train.txt").write_text("applauding_001.jpg\n", encoding="utf-8")
    return folder


def test_the_published_layout_is_read(root: Path) -> None:
    splits = read_stanford40(root)
    assert splits.labels == ("applauding", "riding_a_bike")
    assert splits.val is None
    assert splits.test is not None
    train = [(splits.train.name(i), splits.train.target(i)) for i in range(len(splits.train))]
    images = root / "JPEGImages"
    assert train == [
        (str(images / "applauding_001.jpg"), 0),
        (str(images / "applauding_003.jpg"), 0),
        (str(images / "riding_a_bike_001.jpg"), 1),
        (str(images / "riding_a_bike_003.jpg"), 1),
    ]
    assert [splits.test.target(i) for i in range(len(splits.test))] == [0, 1]
    assert splits.test.load(0).size == (24, 18)


def test_the_folder_above_is_good_too(root: Path) -> None:
    assert read_stanford40(root.parent).train.name(0) == read_stanford40(root).train.name(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ImageSplits/actions.txt", r"no ImageSplits/actions\.txt in .*_ImageSplits\.zip"),
        ("ImageSplits/riding_a_bike_test.txt", r"riding_a_bike_test\.txt: No such file"),
        ("JPEGImages", "JPEGImages does not exist; expected Stanford40_JPEGImages"),
    ],
)
def test_what_is_missing_is_named(root: Path, name: str, message: str) -> None:
    (root / name).rename(root / "moved")
    with pytest.raises(DataError, match=message):
        read_stanford40(root)


def test_an_action_without_pictures_is_named(root: Path) -> None:
    (root / "ImageSplits" / "applauding_train.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="train split lists no pictures of applauding"):
        read_stanford40(root)

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_deploy.data.cub200 import read_cub200
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.data.conftest import WritePictures

LISTS = {
    "classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
    "images.txt": (
        "1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg\n"
        "2 001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg\n"
        "3 002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg\n"
        "4 002.Laysan_Albatross/Laysan_Albatross_0003_1033.jpg\n"
        "5 002.Laysan_Albatross/Laysan_Albatross_0082_524.jpg\n"
    ),
    "image_class_labels.txt": "1 1\n2 1\n3 2\n4 2\n5 2\n",
    "train_test_split.txt": "1 0\n2 1\n3 1\n4 0\n5 1\n",
}


@pytest.fixture
def root(tmp_path: Path, write_pictures: WritePictures) -> Path:
    folder = tmp_path / "CUB_200_2011"
    names = [line.split()[1] for line in LISTS["images.txt"].splitlines()]
    write_pictures(folder / "images", *names)
    for name, text in LISTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_published_layout_is_read(root: Path) -> None:
    splits = read_cub200(root)
    assert splits.labels == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert splits.val is None
    assert splits.test is not None
    assert [splits.train.target(i) for i in range(len(splits.train))] == [0, 1, 1]
    assert [splits.test.target(i) for i in range(len(splits.test))] == [0, 1]
    assert splits.train.name(0).endswith("Black_Footed_Albatross_0009_34.jpg")
    assert splits.test.name(1).endswith("Laysan_Albatross_0003_1033.jpg")
    assert splits.train.load(2).size == (24, 18)


def test_the_folder_above_is_good_too(root: Path) -> None:
    assert read_cub200(root.parent).train.name(0) == read_cub200(root).train.name(0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", None, r"classes\.txt: No such file"),
        ("classes.txt", "1 a\n1 b\n", r"classes\.txt lists a number twice"),
        ("classes.txt", "1 a\n", r'labels\.txt gives "2" for image 3, expected one of 1'),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n4 2\n", "in one only: 5"),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n4 2\n5\n", 'Line 5 .* is "5"'),
        ("train_test_split.txt", "1 0\n2 1\n3 1\n4 0\n5 x\n", 'gives "x" for image 5'),
        ("train_test_split.txt", "1 0\n2 1\n3 0\n4 0\n5 0\n", "train split lists no .*002"),
        ("train_test_split.txt", "1 1\n2 1\n3 1\n4 1\n5 1\n", "test split holds no pictures"),
        ("images.txt", None, r"no images\.txt in .*expected CUB_200_2011\.tgz"),
    ],
)
def test_lists_that_cannot_be_used_are_explained(
    root: Path, name: str, text: str | None, message: str
) -> None:
    if text is None:
        (root / name).unlink()
    else:
        (root / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_cub200(root)


def test_a_missing_images_folder_is_explained(root: Path) -> None:
    (root / "images").rename(root / "elsewhere")
    with pytest.raises(DataError, match="images does not exist; expected CUB"):
        read_cub200(root)

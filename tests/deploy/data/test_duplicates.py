from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from snow_deploy.data import FilePictures, Splits, duplicates, open_data
from snow_deploy.data.duplicates import alike_remarks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(folder: Path, *names: str) -> None:
    """Write files of one size that differ, each from all others, at their ends only."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 6000 + name.encode().rjust(80))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        write(tmp_path, *(f"{split}/{label}/{n}.png" for label in "ab" for n in range(3)))
    return tmp_path


def copy(one: Path, other: Path) -> None:
    other.write_bytes(one.read_bytes())


def symbolic(one: Path, other: Path) -> None:
    other.symlink_to(one)


def relative(one: Path, other: Path) -> None:
    other.symlink_to(os.path.relpath(one, other.parent))


def hard(one: Path, other: Path) -> None:
    other.hardlink_to(one)


WAYS = pytest.mark.parametrize("way", [copy, symbolic, relative, hard])


def remarks(photos: Path) -> tuple[str, ...]:
    return open_data(f"imagefolder:{photos}").remarks


def test_different_pictures_of_one_size_are_different(photos: Path) -> None:
    assert remarks(photos) == ()


@WAYS
def test_a_picture_in_two_splits_is_told(photos: Path, way: Callable[[Path, Path], None]) -> None:
    for number in (0, 2):
        way(photos / f"train/a/{number}.png", photos / f"test/a/again {number}.png")

    (remark,) = remarks(photos)

    assert remark.startswith(
        f"2 pictures are in train and in test, such as {photos}/train/a/0.png and "
        f"{photos}/test/a/again 0.png: "
    )


@WAYS
def test_a_picture_under_two_labels_is_told(
    photos: Path, way: Callable[[Path, Path], None]
) -> None:
    way(photos / "train/a/1.png", photos / "train/b/9.png")

    (remark,) = remarks(photos)

    assert remark.startswith("2 pictures are there under two labels, such as ")
    assert "train/a/1.png" in remark
    assert "train/b/9.png" in remark


@WAYS
def test_the_same_label_twice_in_one_split_is_nobodys_business(
    photos: Path, way: Callable[[Path, Path], None]
) -> None:
    way(photos / "train/a/1.png", photos / "train/a/9.png")
    assert remarks(photos) == ()


def test_a_linked_split(photos: Path) -> None:
    (photos / "val").symlink_to(photos / "test", target_is_directory=True)
    (remark,) = remarks(photos)
    assert remark.startswith("6 pictures are in val and in test")


def test_copies_in_a_folder_that_is_split_by_the_seed(tmp_path: Path) -> None:
    """Ten pictures, each there twice: the draw puts one of a pair into the test now and then."""
    for label in "ab":
        write(tmp_path, *(f"{label}/{n}.png" for n in range(10)))
        for number in range(10):
            copy(tmp_path / f"{label}/{number}.png", tmp_path / f"{label}/{number} (1).png")
    splits = open_data(f"imagefolder:{tmp_path}")
    contents = [
        {path.read_bytes(): path for path in pictures.paths}
        for pictures in (splits.train, splits.test)
        if isinstance(pictures, FilePictures)
    ]
    shared = len(contents[0].keys() & contents[1].keys())
    assert shared > 0
    (remark,) = splits.remarks
    assert f"{shared} pictures are in train and in test" in remark


def test_what_cannot_be_read_is_like_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "empty too.png").write_bytes(b"")
    names = ("missing.png", "empty.png"), ("missing too.png", "empty too.png")
    both = [
        FilePictures(tuple(tmp_path / name for name in each), (0, 1), ("a", "b")) for each in names
    ]
    assert alike_remarks(Splits(both[0], None, both[1])) == ()


def test_too_many_to_compare_is_told(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MOST_READ", 11)
    copy(photos / "train/a/0.png", photos / "test/a/9.png")
    symbolic(photos / "train/a/1.png", photos / "test/a/8.png")

    found = remarks(photos)

    assert found[0].startswith("1 picture is in train and in test")
    assert found[1].startswith("13 pictures have another's size in bytes, too many to compare")

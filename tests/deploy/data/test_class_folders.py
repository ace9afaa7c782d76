from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from snow_deploy.data.class_folders import read_class_folders
from snow_deploy.data.imagefolder import read_imagefolder
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    put(tmp_path / "photos" / "open", "b.png", "a.png")
    put(tmp_path / "photos" / "closed", "c.png", "d.png")
    put(tmp_path / "photos" / "closed" / "night", "e.png")
    return tmp_path / "photos"


def test_one_folder_with_a_folder_for_each_class(photos: Path) -> None:
    found, remarks = read_class_folders([photos])

    assert found.labels == ("closed", "open")
    shown = [str(path.relative_to(photos)) for path in found.paths]
    assert shown == [
        "closed/c.png",
        "closed/d.png",
        "closed/night/e.png",
        "open/a.png",
        "open/b.png",
    ]
    assert found.targets == (0, 0, 0, 1, 1)
    assert remarks == ()


def test_several_folders_are_a_class_each(photos: Path) -> None:
    assert read_class_folders([photos / "open", photos / "closed"]) == read_class_folders([photos])


def test_the_pictures_are_those_of_an_imagefolder(photos: Path) -> None:
    put(photos / ".hidden", "x.png")
    put(photos / "@eaDir", "x.png")
    put(photos / "open", "._a.png")
    (photos / "open" / "notes.txt").write_text("none")
    splits = read_imagefolder(photos)
    assert splits.test is not None
    names = {split.name(i) for split in (splits.train, splits.test) for i in range(len(split))}
    found, remarks = read_class_folders([photos])

    assert set(map(str, found.paths)) == names
    assert (found.labels, remarks) == (splits.labels, splits.remarks)
    assert "1 hidden file" in remarks[0]


def test_labels_that_look_alike_are_told(photos: Path) -> None:
    put(photos / "Open", "a.png")
    _, (remark,) = read_class_folders([photos])
    assert 'the labels "Open" and "open" count as 2 classes' in remark


@pytest.mark.parametrize("several", [False, True])
def test_what_is_laid_out_otherwise(photos: Path, tmp_path: Path, *, several: bool) -> None:
    (photos.parent / "empty").mkdir()
    put(tmp_path / "flat", "a.png")
    put(tmp_path / "split" / "train" / "a", "a.png")
    put(tmp_path / "split" / "test" / "a", "a.png")
    put(tmp_path / "other" / "open", "a.png")
    put(tmp_path / "other" / "closed", "a.png")
    wrong = [
        ([photos / "open", tmp_path / "none"], "none does not exist; expected one folder"),
        ([photos / "open", photos / "open" / "a.png"], "is a file, not a folder"),
        ([photos / "open", tmp_path / "empty"], "empty holds no pictures"),
        ([photos / "open", tmp_path / "other" / "open"], "Two of the folders are called open"),
        ([photos, tmp_path / "other"], "each have the folders closed, open in them"),
    ]
    if not several:
        wrong = [
            ([tmp_path / "none"], "none does not exist; expected one folder PHOTOS/CLASS"),
            ([tmp_path / "flat"], "flat has no class folders in it"),
            ([tmp_path / "empty"], "empty has no class folders in it"),
            ([tmp_path / "split"], r"is split into train and test, .* Give .*split/train"),
            ([tmp_path / "split" / "train"], 'has one class only, "a"'),
        ]
    for paths, message in wrong:
        with pytest.raises(DataError, match=message):
            read_class_folders(paths)

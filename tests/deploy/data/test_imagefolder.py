from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torchvision.datasets import ImageFolder

from snow_deploy.data.imagefolder import find_pictures, read_imagefolder
from snow_deploy.errors import DataError
from snow_runtime.pictures.picture_files import LeftOut

if TYPE_CHECKING:
    from snow_deploy.data import Pictures
    from tests.deploy.data.conftest import WritePictures


def listing(pictures: Pictures | None) -> list[tuple[str, int]]:
    assert pictures is not None
    return [(pictures.name(i), pictures.target(i)) for i in range(len(pictures))]


def folder(*classes: str, count: int = 1) -> list[str]:
    return [f"{name}/{i}.png" for name in classes for i in range(count)]


@pytest.mark.parametrize("val", ["val", "valid"])
def test_the_three_splits_agree_with_torchvisions_reading(
    tmp_path: Path, write_pictures: WritePictures, val: str
) -> None:
    for split in ("train", val, "test"):
        write_pictures(tmp_path / split, "b/2.jpg", "b/10.jpg", "a/x.png", "a/deep/er/y.JPG")
    splits = read_imagefolder(tmp_path)
    assert splits.labels == ("a", "b")
    assert splits.augmentation == "photo"
    for pictures, split in ((splits.train, "train"), (splits.val, val), (splits.test, "test")):
        assert sorted(listing(pictures)) == sorted(ImageFolder(tmp_path / split).samples)


def test_pictures_come_in_the_same_order_whatever_the_file_system_does(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    paths = write_pictures(tmp_path, "c.png", "a/z.png", "b.png", "a/b/c.png")
    expected = [tmp_path / name for name in ("a/b/c.png", "a/z.png", "b.png", "c.png")]
    assert find_pictures(tmp_path) == expected
    assert sorted(paths) == sorted(expected)


def test_a_flat_folder_is_split_by_the_seed(tmp_path: Path, write_pictures: WritePictures) -> None:
    write_pictures(tmp_path, *folder("a", "b", count=10))
    splits = read_imagefolder(tmp_path, seed=1)
    train, test = listing(splits.train), listing(splits.test)
    assert splits.val is None
    assert (len(train), len(test)) == (16, 4)
    assert sorted(train + test) == sorted(ImageFolder(tmp_path).samples)
    assert listing(read_imagefolder(tmp_path, seed=1).test) == test
    assert listing(read_imagefolder(tmp_path, seed=2).test) != test


def test_the_split_does_not_depend_on_where_the_folder_lies(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    seen = []
    for place in ("here", "there"):
        write_pictures(tmp_path / place, *folder("a", "b", count=10))
        test = listing(read_imagefolder(tmp_path / place).test)
        seen.append([Path(name).relative_to(tmp_path / place) for name, _ in test])
    assert seen[0] == seen[1]


def test_a_train_folder_alone_is_split(tmp_path: Path, write_pictures: WritePictures) -> None:
    write_pictures(tmp_path / "train", *folder("a", "b", count=5))
    splits = read_imagefolder(tmp_path)
    assert (len(splits.train), len(splits.final[1])) == (8, 2)
    assert splits.final[0] == "test"


def test_train_can_be_a_class(tmp_path: Path, write_pictures: WritePictures) -> None:
    write_pictures(tmp_path, *folder("bus", "car", "train", count=5))
    assert read_imagefolder(tmp_path).labels == ("bus", "car", "train")


def test_what_is_hidden_or_no_picture_is_ignored(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    for split in ("train", "test"):
        write_pictures(tmp_path / split, *folder("a", "b", count=2))
        write_pictures(tmp_path / split, ".cache/x.png", "a/.hidden.png", "a/.thumbs/x.png")
        (tmp_path / split / "a" / "notes.txt").write_text("no picture")
        (tmp_path / split / "README.md").write_text("no class")
    write_pictures(tmp_path, ".git/a/x.png", "loose.png")
    splits = read_imagefolder(tmp_path)
    assert splits.labels == ("a", "b")
    assert (len(splits.train), len(splits.final[1])) == (4, 4)


def test_a_link_back_up_ends(tmp_path: Path, write_pictures: WritePictures) -> None:
    paths = write_pictures(tmp_path, "a/x.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert find_pictures(tmp_path / "a") == paths


def test_a_linked_class_folder_counts(tmp_path: Path, write_pictures: WritePictures) -> None:
    write_pictures(tmp_path / "real", "x.png", "y.png")
    write_pictures(tmp_path / "data", "b/0.png", "b/1.png")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "real", target_is_directory=True)
    assert read_imagefolder(tmp_path / "data").labels == ("a", "b")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class folders"),
        (["loose.png"], "no class folders"),
        (["a/0.png", "a/1.png"], 'one class only, "a"'),
        (["a/0.png", "a/1.png", "b/"], "no pictures of b, expected at least one"),
        (["a/", "b/"], "is empty"),
        (["a/0.png", "a/1.png", "b/0.png"], r'Class "b" .* it has 1 picture'),
        (["train/a/0.png", "train/b/0.png", "test/"], "test has no class folders"),
        (["train/a/0.png", "train/b/0.png", "test/a/", "test/b/"], "test is empty"),
        (["train/a/0.png", "train/b/0.png", "test/a/0.png", "test/b/"], "no pictures of b"),
        (["train/a/0.png", "train/b/", "test/a/0.png", "test/b/0.png"], "no pictures of b"),
        (["train/", "test/a/0.png", "test/b/0.png"], "train has no class folders"),
        (["train/a/0.png", "test/a/0.png"], 'one class only, "a"'),
        (["val/a/0.png", "test/a/0.png"], "has test, val but no train folder"),
        (
            ["train/a/0.png", "train/b/0.png", "val/a/0.png", "valid/a/0.png"],
            "both a val and a valid folder",
        ),
        (
            ["train/a/0.png", "train/b/0.png", "test/b/0.png", "test/c/0.png"],
            "in train but not in test: a; in test but not in train: c",
        ),
        (
            ["train/a/0.png", "train/b/0.png", "val/a/0.png"],
            "train and val splits differ: in train but not in val: b",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_explained(
    tmp_path: Path, write_pictures: WritePictures, names: list[str], message: str
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            write_pictures(tmp_path, name)
    with pytest.raises(DataError, match=message) as caught:
        read_imagefolder(tmp_path)
    assert str(tmp_path) in str(caught.value) or "lass" in str(caught.value)


def test_a_path_that_is_no_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing does not exist; expected PATH/\{train"):
        read_imagefolder(tmp_path / "missing")
    file = tmp_path / "data.zip"
    file.touch()
    with pytest.raises(DataError, match="is a file, not a folder"):
        read_imagefolder(file)


def test_names_in_any_script_are_labels(tmp_path: Path, write_pictures: WritePictures) -> None:
    write_pictures(tmp_path, *folder("猫", "chien été", count=2))
    assert read_imagefolder(tmp_path).labels == ("chien été", "猫")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("Train", "Test"), "has Test, Train, which look like splits"),
        (("training", "validation"), "has training, validation, which look like splits"),
        (("train", "validation"), "has validation beside its splits, which would not be read"),
        (("train", "eval", "test"), "has eval beside its splits"),
        (("train", "test", "car"), "has car beside its splits"),
    ],
)
def test_folders_that_would_be_misread_are_refused(
    tmp_path: Path, write_pictures: WritePictures, folders: tuple[str, ...], message: str
) -> None:
    for split in folders:
        write_pictures(tmp_path / split, *folder("cat", "dog", count=2))

    with pytest.raises(DataError, match=message):
        read_imagefolder(tmp_path)


def test_a_link_to_a_folder_above_brings_no_other_class(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    write_pictures(tmp_path, *folder("a", "b", count=3))
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)

    assert len(find_pictures(tmp_path / "a")) == 3


LEFT_BEHIND = (
    *(".DS_Store", "._0.jpg", "Thumbs.db", "desktop.ini", "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg"),
    *("__MACOSX/a/._0.png", ".thumbnails/0.png", "$RECYCLE.BIN/S-1-5/0.png", ".@__thumb/0.png"),
    *("#recycle/0.png", ".picasaoriginals/0.png", "lost+found/0.png"),
)


@pytest.mark.parametrize("level", ["", "train", "train/a", "train/a/deeper"])
def test_what_systems_and_photo_tools_leave_is_no_class_and_no_picture(
    tmp_path: Path, write_pictures: WritePictures, level: str
) -> None:
    for split in ("train", "test"):
        write_pictures(tmp_path / split, *folder("a", "b", count=2))
    write_pictures(tmp_path / "train" / "a", "deeper/9.png")
    before = read_imagefolder(tmp_path)
    assert before.remarks == ()
    for name in LEFT_BEHIND:
        path = tmp_path / level / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())

    splits = read_imagefolder(tmp_path)

    assert splits.labels == ("a", "b")
    assert listing(splits.train) == listing(before.train)
    assert listing(splits.test) == listing(before.test)
    (remark,) = splits.remarks
    for part in ("2 hidden files", "2 files that a system", "5 folders that a system"):
        assert part in remark
    assert "3 hidden folders" in remark


def test_everything_left_out_is_told_with_its_count(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    write_pictures(tmp_path, *folder("a", "b", count=4), "loose.png")
    for number in range(3):
        (tmp_path / "a" / f"{number}.HEIC").write_bytes(b"ftypheic")
    (tmp_path / "b" / "IMG_1").write_bytes(b"?")
    (tmp_path / "README.md").write_text("no class")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)

    (remark,) = read_imagefolder(tmp_path).remarks

    assert remark.startswith(f"left out of {tmp_path}: 3 .heic files, which are not read here")
    assert f"1 file without an ending ('{tmp_path}/b/IMG_1')" in remark
    assert f"1 picture that is in no class folder ('{tmp_path}/loose.png')" in remark
    assert f"1 .md file, which is not read here ('{tmp_path}/README.md')" in remark
    assert "1 link to a folder that is read already" in remark


def test_a_class_of_nothing_but_unread_files_says_what_is_there(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    write_pictures(tmp_path, *folder("a", count=4))
    (tmp_path / "b").mkdir()
    for number in range(3):
        (tmp_path / "b" / f"{number}.heic").write_bytes(b"ftypheic")
    with pytest.raises(DataError, match=r"no pictures of b, .* 3 \.heic files, which are not read"):
        read_imagefolder(tmp_path)


def test_what_is_no_plain_file_is_left_out_and_counted(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nothing.png")
    left_out = LeftOut()

    assert find_pictures(tmp_path, left_out) == [picture]
    assert left_out.summary().startswith("2 links to nothing, or no plain files (")

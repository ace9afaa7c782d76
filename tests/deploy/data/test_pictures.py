from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_deploy.data import FilePictures, Splits
from snow_deploy.data.pictures import name_some
from snow_deploy.errors import DataError
from snow_runtime.errors import InputError
from snow_runtime.graph.data_entry import SplitEntry

if TYPE_CHECKING:
    from tests.deploy.data.conftest import WritePictures


def pictures(*targets: int, labels: tuple[str, ...] = ("a", "b")) -> FilePictures:
    return FilePictures(tuple(Path(f"{i}.png") for i in range(len(targets))), targets, labels)


def test_a_picture_has_a_target_a_name_and_pixels(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    path = write_pictures(tmp_path, "x.png")[0]
    data = FilePictures((path,), (1,), ("a", "b"))
    assert (len(data), data.target(0), data.name(0)) == (1, 1, str(path))
    assert data.load(0).mode == "RGB"
    np.testing.assert_array_equal(np.asarray(data.load(0)), np.asarray(Image.open(path)))


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        FilePictures((path,), (0,), ("a",)).load(0)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.png")
    piped = FilePictures((tmp_path / "1.png",), (0,), ("a",))
    with pytest.raises(InputError, match=r"1\.png is no plain file"):
        piped.load(0)


def test_a_subset_keeps_labels_and_order() -> None:
    subset = pictures(0, 1, 0, 1).subset([3, 0])
    assert [subset.name(0), subset.name(1)] == ["3.png", "0.png"]
    assert subset.targets == (1, 0)
    assert subset.labels == ("a", "b")


def test_a_listing_needs_one_labelled_class_for_each_picture() -> None:
    with pytest.raises(DataError, match="1 pictures but the classes of 2"):
        FilePictures((Path("x.png"),), (0, 1), ("a", "b"))
    with pytest.raises(DataError, match=r"1\.png is listed under class number 2, expected 0 to 1"):
        pictures(0, 2)
    with pytest.raises(DataError, match="class number -1"):
        pictures(-1)


def test_which_split_is_measured_on() -> None:
    train, val, test = pictures(0, 1), pictures(0), pictures(1)
    both = Splits(train, val, test)
    assert both.evaluation == ("val", val)
    assert both.final == ("test", test)
    assert Splits(train, None, test).evaluation == ("test", test)
    assert Splits(train, val, None).final == ("val", val)
    assert both.labels == ("a", "b")
    assert both.augmentation == "photo"


def test_splits_that_cannot_be_used_are_refused() -> None:
    train, empty = pictures(0, 1), pictures()
    with pytest.raises(DataError, match="train split only"):
        Splits(train, None, None)
    with pytest.raises(DataError, match="test split holds no pictures"):
        Splits(train, None, empty)
    with pytest.raises(DataError, match="train split holds no pictures"):
        Splits(empty, train, None)


def test_differing_classes_are_named_both_ways() -> None:
    other = pictures(0, labels=("b", "c"))
    with pytest.raises(DataError, match="in train but not in val: a; in val but not in train: c"):
        Splits(pictures(0, 1), other, None)
    with pytest.raises(DataError, match="another order"):
        Splits(pictures(0, 1), pictures(0, labels=("b", "a")), None)


def test_a_long_list_of_names_is_cut() -> None:
    assert name_some(["a", "b"]) == "a, b"
    assert name_some(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"


def test_a_fingerprint_is_of_which_pictures_are_where(tmp_path: Path) -> None:
    def splits(root: Path, train: tuple[int, ...], test: tuple[int, ...]) -> Splits:
        both = [
            FilePictures(
                tuple(root / split / f"{n}.jpg" for n in range(len(targets))), targets, ("a", "b")
            )
            for split, targets in (("x", train), ("y", test))
        ]
        return Splits(train=both[0], val=None, test=both[1])

    first = splits(tmp_path, (0, 1), (1, 0)).fingerprint

    assert splits(tmp_path / "moved", (0, 1), (1, 0)).fingerprint == first
    assert splits(Path("elsewhere"), (0, 1), (1, 0)).fingerprint == first
    assert splits(Path(), (0, 1), (1, 0)).fingerprint == first
    others = [splits(tmp_path, *way) for way in (((0, 0), (1, 0)), ((0, 1), (1,)))]
    swapped = splits(tmp_path, (0, 1), (1, 0))
    others.append(Splits(train=swapped.train, val=swapped.test, test=None))
    assert len({first, *(each.fingerprint for each in others)}) == 4


def test_each_split_has_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    def splits(root: Path, test: tuple[int, ...] = (1, 0)) -> Splits:
        both = [
            FilePictures(
                tuple(root / split / f"{n}.jpg" for n in range(len(targets))), targets, ("a", "b")
            )
            for split, targets in (("x", (0, 1)), ("y", test))
        ]
        return Splits(train=both[0], val=None, test=both[1])

    first = splits(tmp_path)
    listed = ["x\x000.jpg\x00a\n", "x\x001.jpg\x00b\n"], ["y\x000.jpg\x00b\n", "y\x001.jpg\x00a\n"]
    whole = "".join(
        f"{split}\x00{line}"
        for split, lines in zip(("train", "test"), listed, strict=True)
        for line in lines
    )

    assert first.fingerprint == hashlib.sha256(whole.encode()).hexdigest()
    assert first.entries == {
        split: SplitEntry(hashlib.sha256("".join(lines).encode()).hexdigest(), 2)
        for split, lines in zip(("train", "test"), listed, strict=True)
    }
    assert splits(tmp_path / "moved").entries == first.entries
    more = splits(tmp_path, (1, 0, 0)).entries
    assert more["train"] == first.entries["train"]
    assert more["test"] != first.entries["test"]


def test_a_name_that_is_no_text_has_a_fingerprint_too() -> None:
    path = Path(os.fsdecode(b"cats/caf\xe9.jpg"))
    one = FilePictures((path, Path("cats/b.jpg")), (0, 1), ("a", "b"))

    splits = Splits(train=one, val=None, test=one)
    assert len(splits.fingerprint) == 64
    assert splits.entries["train"].pictures == 2

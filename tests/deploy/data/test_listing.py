from __future__ import annotations

from pathlib import Path

import pytest

from snow_deploy.data import FilePictures
from snow_deploy.data.listing import check_folder, find_root, listed_splits, read_table
from snow_deploy.errors import DataError


def test_a_root_is_found_where_it_is_and_one_folder_down(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "list.txt").touch()
    assert find_root(root, "list.txt", "expected a list") == root
    assert find_root(tmp_path, "list.txt", "expected a list") == root


def test_a_root_that_is_nowhere_or_in_two_places_is_explained(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"no list\.txt in .*; expected a list"):
        find_root(tmp_path, "list.txt", "expected a list")
    for name in ("one", "two"):
        (tmp_path / name / "list.txt").touch()
    with pytest.raises(DataError, match="several folders: one, two"):
        find_root(tmp_path, "list.txt", "expected a list")
    with pytest.raises(DataError, match="does not exist; expected a list"):
        find_root(tmp_path / "three", "list.txt", "expected a list")


def test_a_folder_is_told_from_a_file(tmp_path: Path) -> None:
    check_folder(tmp_path, "expected data")
    (tmp_path / "x").touch()
    with pytest.raises(DataError, match="is a file, not a folder; expected data"):
        check_folder(tmp_path / "x", "expected data")


def test_a_table_keeps_blanks_in_its_last_column(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("1 one.jpg\r\n\n  2\ttwo and a half.jpg  \n", encoding="utf-8")
    assert read_table(path, columns=2) == [["1", "one.jpg"], ["2", "two and a half.jpg"]]
    assert read_table(path, columns=1) == [["1 one.jpg"], ["2\ttwo and a half.jpg"]]


def test_a_table_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with pytest.raises(DataError, match=r"list\.txt: No such file"):
        read_table(path, columns=2)
    path.write_text("1 a\n2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r'Line 2 of .*list\.txt is "2", expected 2 fields'):
        read_table(path, columns=2)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="expected a text file"):
        read_table(path, columns=2)


def test_a_class_that_a_split_lacks_is_named() -> None:
    full = FilePictures((Path("0"), Path("1")), (0, 1), ("a", "b"))
    half = full.subset([0])
    assert listed_splits(full, full, full).val is full
    for splits in ((half, full, None), (full, half, None), (full, full, half)):
        with pytest.raises(DataError, match="lists no pictures of b"):
            listed_splits(*splits)

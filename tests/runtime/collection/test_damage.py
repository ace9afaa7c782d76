"""Damaged files cost their own picture at most, and what is deleted is gone while others work."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from snow_runtime.collection.collection import DATABASE, Collection
from snow_runtime.collection.exchange.packed import read_packed
from snow_runtime.collection.exchange.transfer import pull_pictures
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.collection.version_folders import HELD
from snow_runtime.errors import CollectionError
from snow_runtime.file_lock import try_lock
from tests.runtime.collection.pictures import new_picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOOR = CollectionQuestion("door", ("open", "shut"))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Collection]:
    with Collection.open(tmp_path / "kept", create=True) as found:
        found.add_question(DOOR)
        for number in range(4):
            picture = found.add(new_picture(number)) or 0
            found.label([picture], "door", DOOR.labels[number % 2], "ann")
        yield found


def files_of(kept: Collection) -> list[Path]:
    return [
        kept.folder / "pictures" / each.sha256[:2] / f"{each.sha256}.jpg"
        for each in kept.pictures()
    ]


def test_a_damaged_picture_is_told_and_can_be_let_go(kept: Collection, tmp_path: Path) -> None:
    first, second, *_ = files_of(kept)
    first.write_bytes(first.read_bytes()[:-9] + bytes(9))
    second.unlink()
    for what, number in (("is damaged", 0), ("cannot be read", 1)):
        with pytest.raises(CollectionError, match=rf"{what}.*--damaged"):
            kept.jpeg(kept.pictures()[number].id)
    with pytest.raises(CollectionError, match="--damaged"):  # and no file that nobody can read
        pull_pictures(kept, tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()

    ids = [each.id for each in kept.pictures()]
    assert kept.damaged() == ids[:2]
    assert kept.delete(kept.damaged()) == 2
    assert not first.exists()
    pull_pictures(kept, tmp_path / "out.tar")
    assert len(read_packed(tmp_path / "out.tar").pictures) == 2

    (tmp_path / "cut.tar").write_bytes((tmp_path / "out.tar").read_bytes()[:3000])
    with pytest.raises(CollectionError, match=r"cut off.*[^.]\. Pull it again"):
        read_packed(tmp_path / "cut.tar")


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("is_gone", [False, True])
def test_a_lost_database_costs_no_picture(kept: Collection, is_gone: bool, create: bool) -> None:
    """Opened without what tells of them, all pictures would be swept away as nobody's."""
    files, database = files_of(kept), kept.folder / DATABASE
    content = {each: each.read_bytes() for each in files}
    kept.close()
    whole = database.read_bytes()
    database.unlink()
    if not is_gone:
        database.touch()
    expected = "is empty or gone.*Put a copy" if create or not is_gone else "There is no collection"
    for _ in range(2):
        with pytest.raises(CollectionError, match=expected):
            Collection.open(kept.folder, create=create)
    assert {each: each.read_bytes() for each in files} == content

    database.write_bytes(whole)
    with Collection.open(kept.folder) as again:
        assert [again.jpeg(each.id) for each in again.pictures()] == list(content.values())


def test_a_disk_that_was_away_is_read_again(
    kept: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was open on it fails for ever; the file that is there by now does not."""

    class Broken:
        in_transaction = False

        def execute(self, *_: object) -> None:
            msg = "disk I/O error"
            raise sqlite3.OperationalError(msg)

        def close(self) -> None:
            pass

    count = len(kept.pictures())
    kept.database._connection.close()
    monkeypatch.setattr(kept.database, "_connection", Broken())
    away = (kept.folder / DATABASE).rename(kept.folder / "away")
    for _ in range(2):
        with pytest.raises(CollectionError, match=r"disk I/O error|unable to open"):
            kept.pictures()
    away.rename(kept.folder / DATABASE)

    assert len(kept.pictures()) == count


def test_a_damaged_row_costs_what_it_said(kept: Collection) -> None:
    ids = [each.id for each in kept.pictures()]
    with sqlite3.connect(kept.folder / DATABASE) as table:
        table.execute("UPDATE pictures SET answers = '{' WHERE id = ?", ids[:1])
        table.execute("UPDATE pictures SET answers = '[]' WHERE id = ?", ids[1:2])
        table.execute("UPDATE features SET float16 = x'010203' WHERE picture = ?", ids[:1])
    table.close()
    assert [each.answers for each in kept.pictures()][:2] == [{}, {}]
    with pytest.raises(CollectionError, match=rf"\[{ids[0]}\]: they are gone, damaged"):
        kept.features(ids)
    assert len(kept.features(ids[1:])) == 3


def test_a_disk_without_any_room_can_be_made_empty(
    kept: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database wants room to delete rows: the pictures' files go first and make it."""
    kept.add(new_picture(0, "yard"))  # the same file
    writing, files = kept.database.writing, files_of(kept)

    @contextmanager
    def full() -> Iterator[sqlite3.Connection]:
        if sum(path.exists() for path in set(files)) > 1:
            text = "The file cannot be used: database or disk is full."
            raise CollectionError(text) from sqlite3.OperationalError("database or disk is full")
        with writing() as connection:
            yield connection

    monkeypatch.setattr(kept.database, "writing", full)
    assert kept.delete(camera="gate") == 4
    assert [path.exists() for path in dict.fromkeys(files)] == [True, False, False, False]
    assert [each.camera for each in kept.pictures()] == ["yard"]


def held(folder: Path) -> int:
    folder.mkdir(parents=True)
    (folder / "job.npz").write_bytes(b"features")
    descriptor = os.open(folder / HELD, os.O_CREAT | os.O_RDWR)
    assert try_lock(descriptor)
    return descriptor


def test_features_that_a_killed_fit_left_go_at_the_next_opening_and_with_any_deletion(
    kept: Collection,
) -> None:
    left, at_work = (kept.folder / "versions" / "door" / name for name in (".fit-a", ".fit-b"))
    os.close(held(left))
    descriptor = held(at_work)
    kept.delete(camera="nobody")
    assert (left.exists(), at_work.exists()) == (False, True)
    os.close(descriptor)
    Collection.open(kept.folder).close()
    assert not at_work.exists()


def test_everything_goes_while_a_fit_is_at_work(kept: Collection) -> None:
    folder = kept.folder / "versions" / "door"
    descriptor = held(folder / ".fit-b")
    (folder / "0001.json").write_text("{}")
    kept.delete(everything=True)
    os.close(descriptor)
    assert not (kept.folder / "versions").exists()
    left = {path.relative_to(kept.folder).parts[0] for path in kept.folder.rglob("*.*")}
    assert {each.partition("-")[0] for each in left} == {DATABASE}


def test_what_deleting_left_half_way_goes_and_versions_stay(kept: Collection) -> None:
    versions = kept.folder / "versions"
    for path in (
        kept.folder / ".gone-1" / "door" / "0001.readout",
        versions / ".gone-2" / "0001.readout",
        versions / "door" / "0001.json",
        versions / "unknown" / "0001.json",  # of a database that was put back, perhaps
        versions / "removed" / ".lock",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    Collection.open(kept.folder).close()
    assert not list(kept.folder.glob(".gone*"))
    assert sorted(path.name for path in versions.iterdir()) == ["door", "unknown"]
    kept.remove_question("door")
    assert sorted(path.name for path in versions.iterdir()) == ["unknown"]

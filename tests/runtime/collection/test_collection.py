"""A collection keeps what it was given, through kills and full disks, and forgets what it must."""

from __future__ import annotations

import errno
import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from snow_runtime.collection.collection import DATABASE, Collection
from snow_runtime.collection.options import CollectionOptions
from snow_runtime.collection.records import CollectionQuestion, NewPicture, Reason
from snow_runtime.collection.room import least_wanted
from snow_runtime.errors import CollectionError
from tests.runtime.collection.pictures import jpeg, new_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

DOOR = CollectionQuestion("door", ("open", "shut"), "gate")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Collection]:
    with Collection.open(tmp_path / "kept", create=True) as found:
        yield found


def test_a_picture_comes_back_as_it_was_given(kept: Collection) -> None:
    first, second = kept.add(new_picture(1)), kept.add(new_picture(2, view="lane"))
    assert first is not None
    assert second is not None
    assert first < second
    shown = kept.pictures()[0]
    assert (shown.id, shown.camera, shown.view, shown.taken_at) == (first, "gate", "", 1001.0)
    assert (shown.width, shown.height, shown.features_width) == (16, 8, 3)
    assert shown.answers == {"door": {"label": "open", "probability": 0.5}}
    assert kept.jpeg(first) == jpeg(1)
    features = kept.features([second, first])
    assert features.dtype == np.float16
    assert features.tolist() == [[2, 0.5, -2], [1, 0.5, -2]]
    with Collection.open(kept.folder) as again:
        assert again.pictures() == kept.pictures()


def test_a_new_folder_is_its_users_alone(tmp_path: Path) -> None:
    Collection.open(tmp_path / "deep" / "kept", create=True).close()
    assert (tmp_path / "deep" / "kept").stat().st_mode & 0o077 == 0


def test_the_same_picture_is_kept_once_a_view_and_a_random_one_stays_random(
    kept: Collection,
) -> None:
    first = kept.add(new_picture(1))
    assert kept.add(new_picture(1)) is None
    assert kept.add(new_picture(1, "yard")) is not None
    assert kept.pictures(ids=[first or 0])[0].reason == "unsure"
    assert kept.add(new_picture(1, reason="random")) is None
    assert kept.pictures(ids=[first or 0])[0].reason == "random"


def test_what_is_no_jpeg_is_refused(kept: Collection) -> None:
    with pytest.raises(CollectionError, match="expected a JPEG"):
        kept.add(NewPicture(b"nothing", "gate"))
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    with pytest.raises(CollectionError, match="expected a JPEG"):
        kept.add(NewPicture(stream.getvalue(), "gate"))


def test_pages_questions_and_reasons_choose_pictures(kept: Collection) -> None:
    reasons: tuple[Reason, ...] = ("unsure", "random", "unlike", "random", "random")
    ids = [
        kept.add(new_picture(number, "gate" if number % 2 else "yard", reason=reason))
        for number, reason in enumerate(reasons)
    ]
    kept.add(new_picture(9, view="lane"))
    kept.add_question(DOOR)
    kept.add_question(CollectionQuestion("lit", ("yes", "no")))
    assert [each.id for each in kept.pictures("door")] == [ids[1], ids[3]]
    assert [each.id for each in kept.pictures("lit")] == ids
    assert [each.id for each in kept.pictures("lit", reasons=["random"])] == ids[1:5:2] + ids[4:]
    page = kept.pictures("lit", limit=2, newest_first=True)
    rest = kept.pictures("lit", limit=9, newest_first=True, after=page[-1].id)
    assert [each.id for each in page + rest] == ids[::-1]
    assert [each.id for each in kept.pictures("lit", limit=2, after=page[1].id)] == ids[4:]
    kept.label([ids[0]], "lit", "yes", "ann")  # type: ignore[list-item]
    kept.label([ids[1]], "lit", None, "ann")  # type: ignore[list-item]
    assert [each.id for each in kept.pictures("lit", labelled=True)] == ids[:1]
    assert [each.id for each in kept.pictures("lit", labelled=False)] == ids[2:]
    counts = kept.counts("lit")
    assert (counts.pictures, counts.labelled, counts.skipped) == (5, 1, 1)
    assert (counts.random, counts.random_labelled) == (3, 0)
    assert counts.by_label == {"yes": 1, "no": 0}


def test_several_labels_may_be_right(kept: Collection) -> None:
    one, two = kept.add(new_picture(1)) or 0, kept.add(new_picture(2)) or 0
    kept.add_question(CollectionQuestion("marks", ("red", "striped"), several=True))
    kept.label([one], "marks", ("red", "striped"), "ann")
    kept.label([two], "marks", (), "ann")
    assert kept.labels("marks") == {one: ("red", "striped"), two: ()}
    assert kept.counts("marks").by_label == {"red": 1, "striped": 1}
    with pytest.raises(CollectionError, match="a tuple of labels"):
        kept.label([one], "marks", "red", "ann")


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (CollectionQuestion("Door", ("a", "b")), "lower-case"),
        (CollectionQuestion("../x", ("a", "b")), "lower-case"),
        (CollectionQuestion("door", ("a",)), "2 different"),
        (CollectionQuestion("door", ("a", "a")), "2 different"),
        (CollectionQuestion("door", ("a", " b")), "blanks"),
        (CollectionQuestion("lit", ("a", "b")), "already"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(
    kept: Collection, question: CollectionQuestion, said: str
) -> None:
    kept.add_question(CollectionQuestion("lit", ("yes", "no")))
    with pytest.raises(CollectionError, match=said):
        kept.add_question(question)
    assert [each.name for each in kept.questions()] == ["lit"]


def test_classes_are_added_and_one_with_labels_stays(kept: Collection) -> None:
    picture = kept.add(new_picture(1)) or 0
    kept.add_question(DOOR)
    kept.label([picture], "door", "open", "ann")
    kept.label([picture], "door", "shut", "ann")
    kept.change_question("door", labels=["open", "shut", "ajar"])
    with pytest.raises(CollectionError, match="open"):  # it would come back by an undo
        kept.change_question("door", labels=["shut", "ajar"])
    kept.undo("door", "ann")
    kept.undo("door", "ann")
    kept.change_question("door", labels=["shut", "ajar"])
    assert kept.questions()[0].labels == ("shut", "ajar")
    with pytest.raises(CollectionError, match=r"no question 'lit'.*door"):
        kept.counts("lit")


def test_a_question_of_a_removed_one_s_name_has_another_revision(kept: Collection) -> None:
    kept.add_question(DOOR)
    before = kept.revision("door")
    versions = kept.folder / "versions" / "door"
    versions.mkdir(parents=True)
    kept.remove_question("door")
    kept.add_question(DOOR)
    assert kept.revision("door") > before
    assert not versions.exists()


def test_files_without_a_row_are_swept_away(kept: Collection) -> None:
    picture = kept.add(new_picture(1)) or 0
    folder = kept.folder / "pictures" / "ab"
    folder.mkdir(exist_ok=True)
    (folder / ("ab" * 32 + ".jpg")).write_bytes(jpeg(2))
    (folder / ".1234.tmp").write_bytes(b"half")
    with Collection.open(kept.folder) as again:
        assert list(folder.iterdir()) == []
        assert again.jpeg(picture) == jpeg(1)


def test_what_was_deleted_is_nowhere_in_the_files(tmp_path: Path) -> None:
    unseen = "seen-by-nobody"
    with Collection.open(tmp_path, create=True) as kept:
        kept.add_question(CollectionQuestion("door", (unseen, "shut")))
        for number in range(20):
            picture = new_picture(number, camera=unseen if number % 2 else "gate")
            ids = kept.add(picture)
            kept.label([ids or 0], "door", unseen, unseen)
        assert kept.delete(camera=unseen) == 10
        assert kept.delete(before=1005.0) == 3
        assert len(kept.pictures()) == len(list(tmp_path.glob("pictures/*/*"))) == 7
        assert kept.delete(ids=[kept.pictures()[0].id, 9999]) == 1
        assert kept.delete(everything=True) == 6
        assert kept.questions() == ()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name.split("-")[0] for path in files} == {DATABASE}
        assert not any(unseen.encode() in path.read_bytes() for path in files)
        with pytest.raises(ValueError, match="which"):
            kept.delete()


def test_what_another_reads_meanwhile_is_wiped_the_next_time(kept: Collection) -> None:
    kept.add(new_picture(1))
    kept.database._connection.execute("PRAGMA busy_timeout = 0")
    with Collection.open(kept.folder) as other, other.database.reading() as connection:
        connection.execute("SELECT * FROM pictures").fetchall()
        with pytest.raises(CollectionError, match=r"another program.*again"):
            kept.delete(camera="gate")
    assert kept.pictures() == []
    assert kept.delete(camera="gate") == 0
    assert b"gate" not in (kept.folder / DATABASE).read_bytes()


def test_deleting_takes_labels_along_and_changes_the_revision(kept: Collection) -> None:
    one, two = kept.add(new_picture(1)) or 0, kept.add(new_picture(2)) or 0
    kept.add_question(DOOR)
    kept.label([one, two], "door", "open", "ann")
    before = kept.revision("door")
    kept.delete(ids=[one])
    assert kept.labels("door") == {two: "open"}
    assert kept.revision("door") > before
    kept.delete(ids=[two])
    assert kept.undo("door", "ann") is None


def test_the_budget_holds_and_labelled_pictures_go_last(tmp_path: Path) -> None:
    each = len(jpeg(1)) + 2000
    options = CollectionOptions(size_bytes=10 * each)
    with Collection.open(tmp_path, create=True, options=options) as kept:
        kept.add_question(DOOR)
        first = kept.add(new_picture(0)) or 0
        kept.label([first], "door", "open", "ann")
        for number in range(1, 40):
            assert kept.add(new_picture(number)) is not None
            assert kept.summary()["stored_bytes"] <= options.size_bytes
        ids = [shown.id for shown in kept.pictures()]
        assert first in ids
        assert 5 < len(ids) < 20
        assert len(list(tmp_path.glob("pictures/*/*"))) == len(ids)
        assert kept.add(NewPicture(jpeg(1) + bytes(20 * each), "gate")) is None


def test_old_ones_like_others_go_first_and_random_ones_by_age_alone(tmp_path: Path) -> None:
    with Collection.open(tmp_path, create=True) as kept:
        kept.add_question(DOOR)
        for number in range(10):
            reason: Reason = "random" if number in {1, 6} else "unlike"
            kept.add(
                new_picture(number, reason=reason, novelty=[9, 0, 2, 5, 1, 8, 0, 3, 7, 6][number])
            )
        ids = [each.id for each in kept.pictures()]
        kept.label([ids[4]], "door", "open", "ann")
        kept.label([ids[7]], "door", None, "ann")
        with kept.database.reading() as connection:
            order = [ids.index(picture) for picture, _, _ in least_wanted(connection)]
    # The least novel of those not random; the random ones once they are the oldest; the label last.
    assert order == [2, 7, 3, 9, 8, 5, 0, 1, 6, 4]


def test_a_full_disk_changes_nothing(kept: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.add(new_picture(1))
    before = kept.pictures()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(CollectionError, match=r"No space left.*Make room"):
            kept.add(new_picture(2))
    assert kept.pictures() == before
    assert len(list(kept.folder.glob("pictures/*/*"))) == 1
    assert kept.add(new_picture(2)) is not None


def test_a_full_database_changes_nothing(kept: Collection) -> None:
    kept.add(new_picture(1))
    pages = kept.database._connection.execute("PRAGMA page_count").fetchone()[0]
    kept.database._connection.execute(f"PRAGMA max_page_count = {pages}")
    said: list[int | None] = []
    with pytest.raises(CollectionError, match=r"full.*Make room"):
        said.extend(kept.add(new_picture(number)) for number in range(2, 500))
    shown = [each.id for each in kept.pictures(limit=1000)]
    assert shown[1:] == said
    assert len(list(kept.folder.glob("pictures/*/*"))) == len(shown)
    kept.database._connection.execute("PRAGMA max_page_count = 100000")
    assert kept.add(new_picture(600)) is not None


def test_what_is_no_collection_says_so(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="There is no collection"):
        Collection.open(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(CollectionError, match="not a database"):
        Collection.open(tmp_path, create=True)
    (tmp_path / DATABASE).unlink()
    with sqlite3.connect(tmp_path / DATABASE) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    with pytest.raises(CollectionError, match="something else"):
        Collection.open(tmp_path, create=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectionError, match="Name a folder"):
        Collection.open(tmp_path / "file", create=True)


def test_a_newer_version_is_refused_and_left_alone(kept: Collection) -> None:
    kept.database._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(CollectionError, match=r"version 99, expected 1.*newer"):
        Collection.open(kept.folder, create=True)
    assert kept.database._connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    with Collection.open(tmp_path, create=True) as kept:
        for number in range(30):
            kept.add(new_picture(number))
    path = tmp_path / DATABASE
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(CollectionError, match="damaged"), Collection.open(tmp_path) as kept:
        kept.pictures()


def test_a_closed_collection_says_so(tmp_path: Path) -> None:
    kept = Collection.open(tmp_path, create=True)
    kept.close()
    kept.close()
    with pytest.raises(CollectionError, match="closed"):
        kept.pictures()


def test_threads_share_one(kept: Collection) -> None:
    kept.add_question(DOOR)

    def work(begin: int) -> None:
        for number in range(begin, begin + 10):
            picture = kept.add(new_picture(number)) or 0
            kept.label([picture], "door", "open", f"person {begin}")
            kept.pictures("door")

    threads = [threading.Thread(target=work, args=(begin,)) for begin in (0, 100, 200)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(kept.labels("door")) == 30


_WORK = """
import sys
from snow_runtime.collection.collection import Collection
from tests.runtime.collection.pictures import new_picture
folder, begin, count, person = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with Collection.open(folder, create=True) as kept:
    for number in range(begin, begin + count):
        picture = kept.add(new_picture(number))
        kept.label([picture], "door", "open", person)
        print(picture, flush=True)
"""


def _process(folder: Path, begin: int, count: int, person: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WORK, str(folder), str(begin), str(count), person]
    root = Path(__file__).resolve().parents[3]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def test_two_processes_write_at_once(kept: Collection) -> None:
    kept.add_question(DOOR)
    both = [_process(kept.folder, begin, 15, person) for begin, person in ((0, "ann"), (50, "bo"))]
    said = [each.communicate()[0] for each in both]
    assert [each.returncode for each in both] == [0, 0]
    ids = {int(each) for text in said for each in text.split()}
    assert set(kept.labels("door")) == ids
    assert len(ids) == 30
    assert kept.undo("door", "ann") is not None
    assert len(kept.labels("door")) == 29


@pytest.mark.parametrize("lines", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_a_killed_process_leaves_what_it_had_said(kept: Collection, lines: int) -> None:
    kept.add_question(DOOR)
    process = _process(kept.folder, 0, 100_000, "ann")
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(lines)]
    time.sleep(0.0123 * lines)
    process.send_signal(signal.SIGKILL)
    said += [int(each) for each in process.communicate()[0].split()]
    with Collection.open(kept.folder) as again:
        shown = [each.id for each in again.pictures(limit=10**6)]
        assert set(said) <= set(again.labels("door")) <= set(shown)
        assert len(shown) - len(said) <= 1
        assert [again.jpeg(each) for each in shown] == [jpeg(n) for n in range(len(shown))]
        assert len(list(kept.folder.glob("pictures/*/*"))) == len(shown)
        assert again.add(new_picture(200_000)) is not None

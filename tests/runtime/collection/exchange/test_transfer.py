"""One file of labelled pictures: the same on the other side, and nothing else is read."""

from __future__ import annotations

import io
import json
import random
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.exchange.packed import INDEX, hash_of_index, read_packed
from snow_runtime.collection.exchange.transfer import pull_pictures, push_pictures
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.errors import CollectionError
from tests.runtime.collection.pictures import jpeg, new_picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def fill(kept: Collection) -> None:
    ids = [kept.add(new_picture(n, reason="random" if n % 2 else "unlike")) or 0 for n in range(4)]
    kept.add_question(CollectionQuestion("door", ("open", "shut"), "gate"))
    kept.add_question(CollectionQuestion("marks", ("red", "röund"), several=True))
    kept.label(ids[:2], "door", "open", "ann")
    kept.label(ids[2:3], "door", "shut", "ann")
    kept.label(ids[:1], "marks", ("red", "röund"), "ann")
    kept.label(ids[1:2], "marks", (), "ann")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with Collection.open(tmp_path / "kept", create=True) as kept:
        fill(kept)
        pull_pictures(kept, tmp_path / "labelled.tar")
    return tmp_path / "labelled.tar"


def test_pushed_into_another_box_it_is_the_same(tmp_path: Path, file: Path) -> None:
    with Collection.open(tmp_path / "other", create=True) as other:
        report = push_pictures(read_packed(file), other, "ann")
        assert (report.added, report.known, report.labelled) == (3, 0, 5)
        with Collection.open(tmp_path / "kept") as kept:
            assert other.questions() == kept.questions()
            for question in ("door", "marks"):
                mine, theirs = kept.labels(question), other.labels(question)
                shown = {each.sha256: mine[each.id] for each in kept.pictures(ids=mine)}
                assert shown == {e.sha256: theirs[e.id] for e in other.pictures(ids=theirs)}
            for each in other.pictures():
                (original,) = [p for p in kept.pictures() if p.sha256 == each.sha256]
                assert other.jpeg(each.id) == kept.jpeg(original.id)
                assert (other.features([each.id]) == kept.features([original.id])).all()
                assert (each.reason, each.taken_at) == (original.reason, original.taken_at)
        again = push_pictures(read_packed(file), other, "ann")
        assert again.kept == 0
        assert (again.added, again.known) == (0, 3)


def test_the_same_labels_are_the_same_content_wherever_they_are(tmp_path: Path, file: Path) -> None:
    with Collection.open(tmp_path / "again", create=True) as kept:
        fill(kept)
        count, sha256 = pull_pictures(kept, tmp_path / "again.tar")
        assert (tmp_path / "again.tar").read_bytes() == file.read_bytes()
        assert (count, sha256) == (3, read_packed(file).content_sha256)
        kept.label([1], "door", "shut", "bo")
        assert pull_pictures(kept, tmp_path / "again.tar")[1] != sha256


def test_one_question_without_features(tmp_path: Path, file: Path) -> None:
    del file
    with Collection.open(tmp_path / "kept") as kept:
        pull_pictures(kept, tmp_path / "marks.tar", ["marks"], features=False)
    packed = read_packed(tmp_path / "marks.tar")
    assert [each.name for each in packed.questions] == ["marks"]
    assert [dict(each.labels) for each in packed.pictures] == [
        {"marks": ("red", "röund")},
        {"marks": ()},
    ]
    contents = list(packed.contents())
    assert [content for _, content, _ in contents] == [jpeg(0), jpeg(1)]
    assert all(features is None for _, _, features in contents)


def remade(file: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """Write the file anew with another index, or other members; its hash is right again."""
    with tarfile.open(file) as tar:
        members = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    index = json.loads(members.pop(INDEX))
    change(index, members)
    if "content_sha256" not in index and {"questions", "pictures"} <= index.keys():
        index["content_sha256"] = hash_of_index(index)
    target = file.with_name("changed.tar")
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in {INDEX: json.dumps(index).encode(), **members}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


def change_picture(**fields: Any) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    def change(index: dict[str, Any], _: dict[str, bytes]) -> None:
        index["pictures"][0] |= fields
        del index["content_sha256"]

    return change


def change_index(**fields: Any) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    def change(index: dict[str, Any], _: dict[str, bytes]) -> None:
        del index["content_sha256"]
        index |= fields

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_picture(labels={"door": "ajar"}), "ajar"),
        (change_picture(labels={"door": ["open"]}), "one label"),
        (change_picture(labels={"roof": "open"}), "roof"),
        (change_picture(labels={"marks": ["red", "red"]}), "tuple of labels"),
        (change_picture(labels=[]), "not as expected"),
        (change_picture(taken_at=None), "not as expected"),
        (change_picture(taken_at=10**400), "not as expected"),
        (change_picture(camera=3), "not as expected"),
        (change_picture(camera="\ud800"), "not as expected"),
        (change_picture(camera="\x1b[2J gate"), "a terminal would obey"),
        (change_picture(view="left\n0 pictures"), "a terminal would obey"),
        (change_picture(taken_at=1e17), "not as expected"),
        (change_picture(taken_at=float("-1e300")), "not as expected"),
        (change_picture(reason="because"), "because"),
        (change_picture(sha256="../../etc/passwd"), "missing"),
        (change_picture(sha256="0" * 64), "missing"),
        (change_picture(features_sha256="0" * 64), "not what its index says"),
        (change_index(questions=[]), "not as expected"),
        (change_index(questions={"a": 1}), "not as expected"),
        (change_index(pictures=3), "not as expected"),
        (change_index(format=99), "Install a newer"),
        (change_index(format="x"), "not what it says"),
        (change_index(content_sha256="0" * 64), "not what it says"),
        (change_index(kind="cake"), "something else"),
        (lambda _, members: members.update(more=b"x"), "does not name"),
        (lambda _, members: members.update({"../x": b"x"}), "does not name"),
        (lambda _, members: members.update({min(members): b"x"}), "not what its index says"),
        (lambda _, members: members.pop(max(members)), "missing"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(
    file: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None], said: str
) -> None:
    with pytest.raises(CollectionError, match=said):
        read_packed(remade(file, change))


def test_what_is_no_jpeg_is_refused_before_anything_is_kept(tmp_path: Path, file: Path) -> None:
    import hashlib

    def change(index: dict[str, Any], members: dict[str, bytes]) -> None:
        sha256 = hashlib.sha256(b"no picture").hexdigest()
        entry = index["pictures"][-1]
        del members[f"pictures/{entry['sha256']}.jpg"], members[f"features/{entry['sha256']}.f16"]
        entry |= {"sha256": sha256, "features_sha256": None}
        members[f"pictures/{sha256}.jpg"] = b"no picture"
        del index["content_sha256"]

    packed = read_packed(remade(file, change))
    with Collection.open(tmp_path / "other", create=True) as other:
        with pytest.raises(CollectionError, match="expected a JPEG"):
            push_pictures(packed, other, "ann")
        assert (other.pictures(), other.questions()) == ([], ())


@pytest.mark.parametrize("content", [b"", b"x" * 2000, b"\x1f\x8b" + bytes(600)])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(CollectionError, match="no file of labelled pictures"):
        read_packed(tmp_path / "x.tar")
    with pytest.raises(CollectionError, match="No such file"):
        read_packed(tmp_path / "missing.tar")


def test_damage_anywhere_is_an_error_or_changes_nothing(file: Path) -> None:
    whole, rng = file.read_bytes(), random.Random(5)
    known = read_packed(file)
    seen = 0
    for number in range(150):
        content = bytearray(whole)
        if number % 3 == 0:
            content = content[: rng.randrange(len(content))]
        for _ in range(rng.randrange(1, 4) if content else 0):
            content[rng.randrange(len(content))] = rng.randrange(256)
        file.write_bytes(content)
        try:
            found = read_packed(file)
        except CollectionError:
            seen += 1
        else:
            assert found == known
    assert seen > 75


ODD: list[Any] = [None, True, -1, 1e300, "", "\ud800", "x" * 999, [], {}, [[]], {"a": {}}, 7]


def odd_index(index: dict[str, Any], rng: random.Random) -> None:
    """Put something odd in a random place of an index, or take what is there away."""
    place: Any = index
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and rng.random() < 0.85:
            place = place[key]
        elif rng.random() < 0.2:
            del place[key]
            return
        else:
            place[key] = rng.choice(ODD)
            return


def test_an_index_with_anything_in_it_is_an_error_or_a_file_like_others(
    tmp_path: Path, file: Path
) -> None:
    rng = random.Random(8)

    def change(index: dict[str, Any], _: dict[str, bytes]) -> None:
        odd_index(index, rng)
        if index.keys() >= {"questions", "pictures", "content_sha256"}:
            del index["content_sha256"]

    def is_refused(other: Collection) -> bool:
        try:
            push_pictures(read_packed(remade(file, change)), other, "ann")
        except CollectionError:
            return True
        return False

    with Collection.open(tmp_path / "other", create=True) as other:
        other.database._connection.execute("PRAGMA synchronous = OFF")
        refused = sum(is_refused(other) for _ in range(120))
    assert 60 < refused < 120

"""Folders of classes and tables become pictures with labels."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.exchange.incoming import (
    Featuriser,
    import_pictures,
    labelled_in_folders,
    labelled_in_table,
)
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.errors import CollectionError
from tests.runtime.collection.pictures import jpeg, new_picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Collection]:
    with Collection.open(tmp_path / "kept", create=True) as found:
        yield found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(("open/a", "open/deep/b", "shut/c")):
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    Image.new("RGB", (4, 6), (200, 10, 10)).save(folder / "shut" / "d.png")
    (folder / "shut" / "e.jpg").write_bytes(b"no picture")
    (folder / "open" / "notes.txt").write_text("")
    (folder / ".cache").mkdir()
    return folder


def labels_by_size(kept: Collection, question: str) -> dict[Any, Any]:
    labels = kept.labels(question)
    return {(each.width, each.sha256[:4]): labels[each.id] for each in kept.pictures(ids=labels)}


def test_folders_are_classes_and_what_is_no_picture_is_named(
    kept: Collection, photos: Path
) -> None:
    report = import_pictures(kept, labelled_in_folders(photos, "door"))
    assert (report.added, report.known, report.labelled) == (4, 0, 4)
    (left,) = report.unreadable
    assert "e.jpg" in left
    assert kept.questions() == (CollectionQuestion("door", ("open", "shut"), None, ""),)
    counts = kept.counts("door")
    assert (counts.by_label, counts.random) == ({"open": 2, "shut": 2}, 0)
    stored = {kept.jpeg(each.id) for each in kept.pictures()}
    assert {jpeg(0), jpeg(1), jpeg(2)} < stored  # as they were
    again = import_pictures(kept, labelled_in_folders(photos, "door"))
    assert (again.added, again.known) == (0, 4)


def test_classes_that_others_add_meanwhile_stay(kept: Collection) -> None:
    kept.add_question(CollectionQuestion("door", ("ok", "bad"), None, ""))
    kept.add_classes("door", ["scratch"])
    kept.add_classes("door", ["dent", "ok", "dent"])
    assert kept.questions()[0].labels == ("ok", "bad", "scratch", "dent")


def test_what_a_person_said_meanwhile_stays(kept: Collection, photos: Path) -> None:
    incoming = labelled_in_folders(photos, "door")
    import_pictures(kept, incoming)
    first, second, *_ = kept.labels("door")
    other = {"open": "shut", "shut": "open"}
    corrected = other[str(kept.labels("door")[first])]
    kept.label([first], "door", corrected, "ann")
    kept.label([second], "door", None, "ann")

    again = import_pictures(kept, incoming)

    assert (again.labelled, again.kept) == (2, 2)
    assert kept.labels("door")[first] == corrected
    assert second in kept.skipped("door")
    overruled = import_pictures(kept, incoming, overrule=True)
    assert (overruled.labelled, overruled.kept) == (4, 0)
    assert kept.labels("door")[first] != corrected


def test_a_picture_in_two_folders_keeps_the_first_label_and_is_named(
    kept: Collection, tmp_path: Path
) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.jpg").write_bytes(jpeg(1))

    report = import_pictures(kept, labelled_in_folders(tmp_path / "photos", "animal"))

    assert list(kept.labels("animal").values()) == ["cat"]
    assert report.twice == [str(tmp_path / "photos" / "dog" / "1.jpg")]


def test_what_is_beside_the_picture_is_not_kept(kept: Collection, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "open"
    folder.mkdir(parents=True)
    image, exif = Image.new("RGB", (8, 4)), Image.Exif()
    exif[0x0112] = 6  # to be turned
    exif[0x010E] = "a secret place"
    image.save(folder / "a.jpg", exif=exif)
    (tmp_path / "photos" / "shut").mkdir()
    (tmp_path / "photos" / "shut" / "b.jpg").write_bytes(jpeg(1))
    import_pictures(kept, labelled_in_folders(tmp_path / "photos", "door"))
    first = kept.pictures()[0]
    assert (first.width, first.height) == (4, 8)
    assert b"secret" not in kept.jpeg(first.id)
    assert not Image.open(io.BytesIO(kept.jpeg(first.id))).getexif()


@pytest.mark.parametrize(
    ("heading", "folder"), [("fname", "images"), ("file", "."), ("fname", ".")]
)
def test_a_table_answers_several_questions(
    kept: Collection, tmp_path: Path, heading: str, folder: str
) -> None:
    (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
    for number in range(3):
        (tmp_path / "set" / folder / f"{number}.jpg").write_bytes(jpeg(number))
    text = f"{heading},color,type,split\n0.jpg,Blue,1,train\n1.jpg,Red, 2 ,train\n2.jpg,Red,,val\n"
    table = tmp_path / "set" / "train.csv"
    table.write_text(text, encoding="utf-8-sig")
    report = import_pictures(kept, labelled_in_table(table))
    assert (report.added, report.labelled) == (3, 5)
    assert {each.name: each.labels for each in kept.questions()} == {
        "color": ("Blue", "Red"),
        "type": ("1", "2"),
    }
    by_file = {each.sha256: each.id for each in kept.pictures()}
    assert len(by_file) == 3
    assert list(kept.labels("color").values()) == ["Blue", "Red", "Red"]
    assert list(kept.labels("type").values()) == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has the columns none"),
        ("name,color\n0.jpg,Blue\n", "expected fname or"),
        ("fname\n0.jpg\n", "one for each question"),
        ("fname,color\n0.jpg,Blue,3\n", "other columns"),
        ("fname,color\n0.jpg\n", "other columns"),
        ("fname,color\nmissing.jpg,Blue\n", "row 2, lists 'missing.jpg'"),
        ("fname,color\n/etc/hostname,Blue\n", "Put it there"),
        ("fname,color\n,Blue\n", "lists ''"),
        ('fname,color\n"0.jpg,Blue\n', "cannot be read"),
        ("fname,color\n../secret.jpg,Blue\n", "Put it there"),
        ("fname,color\nimages/../../secret.jpg,Blue\n", "Put it there"),
        ("fname,color\n0.jpg,Blue\n0.jpg,Red\n", "row 3, lists 0.jpg again"),
        ("fname,color\n0.jpg,Blue\n./ 0.jpg,Red\n", "row 3, lists"),
        ("fname,color,color\n0.jpg,Blue,Red\n", "each once"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg(0))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "0.jpg").write_bytes(jpeg(0))
    table = tmp_path / "set" / "train.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(CollectionError, match=said):
        labelled_in_table(table)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(jpeg(0))
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CollectionError, match="folder for each class"):
            labelled_in_folders(folder, "door")


def test_features_are_of_the_picture_that_was_read(kept: Collection, photos: Path) -> None:
    def compute(images: Any) -> Any:
        return np.asarray([[image.width, image.height, 1e9] for image in images], np.float32)

    import_pictures(kept, labelled_in_folders(photos, "door"), Featuriser(compute, "7" * 64))
    for each in kept.pictures():
        assert kept.features([each.id]).tolist() == [[each.width, each.height, 65504]]
        assert each.source_sha256 == "7" * 64


def test_a_question_that_is_there_gains_classes_and_keeps_its_camera(
    kept: Collection, photos: Path
) -> None:
    kept.add_question(CollectionQuestion("door", ("ajar", "open"), "gate"))
    kept.add(new_picture(77))
    with pytest.raises(CollectionError, match="--camera"):
        import_pictures(kept, labelled_in_folders(photos, "door"))
    import_pictures(kept, labelled_in_folders(photos, "door"), camera="gate")
    assert kept.questions()[0].labels == ("ajar", "open", "shut")
    assert kept.counts("door").labelled == 4
    kept.add_question(CollectionQuestion("marks", ("open",), several=True))
    with pytest.raises(CollectionError, match="several"):
        import_pictures(kept, labelled_in_folders(photos, "marks"))


def test_what_an_interrupted_import_brought_has_its_labels(
    kept: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(24):
        path = tmp_path / "photos" / ("open" if number % 2 else "shut") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    incoming, add = labelled_in_folders(tmp_path / "photos", "door"), kept.add

    def ended(picture: Any, **options: Any) -> int | None:
        if len(kept.pictures()) == 20:
            raise KeyboardInterrupt
        return add(picture, **options)

    monkeypatch.setattr(kept, "add", ended)
    with pytest.raises(KeyboardInterrupt):
        import_pictures(kept, incoming)
    assert len(kept.labels("door")) == 16
    monkeypatch.setattr(kept, "add", add)
    report = import_pictures(kept, incoming)
    assert (report.added, report.known, len(kept.labels("door"))) == (4, 20, 24)


def test_a_file_that_goes_meanwhile_is_named(kept: Collection, photos: Path) -> None:
    incoming = labelled_in_folders(photos, "door")
    (photos / "open" / "a.jpg").unlink()
    report = import_pictures(kept, incoming)
    assert (report.added, len(report.unreadable)) == (3, 2)

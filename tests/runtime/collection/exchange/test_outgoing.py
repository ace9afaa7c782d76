"""What is exported is what other programs read, by their own descriptions of the formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.exchange.outgoing import FORMATS, export_labels
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.errors import CollectionError
from snow_runtime.file_lock import hold_lock
from tests.runtime.collection.pictures import jpeg, new_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD = 'half & "open"'


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Collection]:
    """Hold six pictures: door of the first four, lit of the first two and the last."""
    with Collection.open(tmp_path / "kept", create=True) as found:
        ids = [found.add(new_picture(number)) or 0 for number in range(6)]
        found.add_question(CollectionQuestion("door", ("open", "shut", ODD)))
        found.add_question(CollectionQuestion("lit", ("yes", "no")))
        found.add_question(CollectionQuestion("marks", ("red", "round"), several=True))
        found.label(ids[:2], "door", "open", "ann")
        found.label(ids[2:3], "door", ODD, "ann")
        found.label(ids[3:4], "door", "shut", "ann")
        found.label(ids[4:5], "door", None, "ann")
        found.label([*ids[:2], ids[5]], "lit", "no", "ann")
        found.label(ids[:1], "marks", ("red", "round"), "ann")
        found.label(ids[1:2], "marks", (), "ann")
        yield found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_folders_of_classes(kept: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept.delete(ids=[kept.pictures()[2].id])  # of the odd label
    kept.change_question("door", labels=["open", "shut"])
    assert export_labels(kept, out, "folders", ["door"]) == 3
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.jpg")}
    assert files == {
        "open/00000001.jpg": jpeg(0),
        "open/00000002.jpg": jpeg(1),
        "shut/00000004.jpg": jpeg(3),
    }
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "out"}


def test_a_table_has_a_column_for_each_question(kept: Collection, tmp_path: Path) -> None:
    assert export_labels(kept, tmp_path / "out", "csv", ["door", "lit"]) == 5
    rows = table(tmp_path / "out" / "labels.csv")
    assert rows[0] == {"file": "images/00000001.jpg", "door": "open", "lit": "no"}
    assert [row["door"] for row in rows] == ["open", "open", ODD, "shut", ""]
    assert [row["lit"] for row in rows] == ["no", "no", "", "", "no"]
    assert (tmp_path / "out" / rows[4]["file"]).read_bytes() == jpeg(5)


def test_an_empty_cell_of_several_labels_is_none_of_them(kept: Collection, tmp_path: Path) -> None:
    """So a picture that nobody has labelled for that question is not in the table."""
    assert export_labels(kept, tmp_path / "out", "csv") == 2
    rows = table(tmp_path / "out" / "labels.csv")
    assert [row["marks"] for row in rows] == ["red;round", ""]
    assert [row["door"] for row in rows] == ["open", "open"]


@pytest.mark.parametrize("name", ["file", "fname", "split"])
def test_a_question_called_as_a_column_of_tables_is_not_written(
    kept: Collection, tmp_path: Path, name: str
) -> None:
    kept.add_question(CollectionQuestion(name, ("a", "b")))
    kept.label([kept.pictures()[0].id], name, "a", "ann")
    for form in ("csv", "tao"):
        with pytest.raises(CollectionError, match=f"so is the question {name}"):
            export_labels(kept, tmp_path / "out", form, [name])
    assert not (tmp_path / "out").exists()


def test_the_present_folder_is_not_replaced(
    kept: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(CollectionError, match="is where you are"):
        export_labels(kept, Path(), "csv", ["door"])
    assert export_labels(kept, Path("new"), "csv", ["door"]) == 4


def test_tao_has_one_label_in_each_cell(kept: Collection, tmp_path: Path) -> None:
    assert export_labels(kept, tmp_path / "out", "tao", ["door", "lit"]) == 2
    rows = table(tmp_path / "out" / "labels.csv")
    assert list(rows[0]) == ["fname", "door", "lit"]
    assert [tuple(row.values()) for row in rows] == [
        ("00000001.jpg", "open", "no"),
        ("00000002.jpg", "open", "no"),
    ]
    assert {path.name for path in (tmp_path / "out" / "images").iterdir()} == {
        "00000001.jpg",
        "00000002.jpg",
    }


def test_label_studio_gets_choices_of_its_configuration(kept: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_labels(kept, out, "label-studio", ["marks"])
    tasks: list[dict[str, Any]] = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    view = ET.parse(out / "label-config.xml").getroot()  # noqa: S314 - ours
    choices = view.find("Choices")
    assert choices is not None
    known = [each.get("value") for each in choices]
    assert known == ["red", "round"]
    assert choices.get("choice") == "multiple"
    image = view.find("Image")
    assert image is not None
    for task, expected in zip(tasks, (["red", "round"], []), strict=True):
        (annotation,) = task["annotations"]
        (result,) = annotation["result"]
        assert (result["from_name"], result["to_name"]) == (
            choices.get("name"),
            choices.get("toName"),
        )
        assert choices.get("toName") == image.get("name")
        assert image.get("value") == "$image"
        assert (result["type"], result["value"]) == ("choices", {"choices": expected})
        path, _, place = task["data"]["image"].partition("?d=")
        assert path == "/data/local-files/"
        assert (out / place).is_file()


def test_cvat_gets_images_with_tags(kept: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_labels(kept, out, "cvat", ["door"])
    root = ET.parse(out / "annotations.xml").getroot()  # noqa: S314 - ours
    assert (root.tag, root.findtext("version")) == ("annotations", "1.1")
    task = root.find("meta/task")
    assert task is not None
    assert (task.findtext("size"), task.findtext("mode")) == ("4", "annotation")
    names = [each.findtext("name") for each in task.findall("labels/label")]
    assert names == ["open", "shut", ODD]
    images = root.findall("image")
    assert [image.get("id") for image in images] == ["0", "1", "2", "3"]
    assert [(i.get("width"), i.get("height")) for i in images] == [("16", "8")] * 4
    assert [tag.get("label") for i in images for tag in i.findall("tag")] == [
        "open",
        "open",
        ODD,
        "shut",
    ]
    assert all((out / "images" / str(image.get("name"))).is_file() for image in images)


@pytest.mark.parametrize(
    ("form", "names", "said"),
    [
        ("folders", [], "one question"),
        ("cvat", ["door", "lit"], "one question"),
        ("folders", ["marks"], "one label a picture"),
        ("tao", [], "one label a picture"),
        ("csv", ["roof"], "no question roof"),
        ("folders", ["door"], "cannot be a folder's name"),
    ],
)
def test_what_a_format_cannot_say_is_refused_and_nothing_written(
    kept: Collection, tmp_path: Path, form: Any, names: list[str], said: str
) -> None:
    with pytest.raises(CollectionError, match=said):
        export_labels(kept, tmp_path / "out", form, names)
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}


@pytest.mark.parametrize("form", FORMATS)
def test_without_labels_nothing_is_written(tmp_path: Path, form: Any) -> None:
    with Collection.open(tmp_path / "kept", create=True) as kept:
        kept.add(new_picture(1))
        with pytest.raises(CollectionError, match="has no question"):
            export_labels(kept, tmp_path / "out", form)
        kept.add_question(CollectionQuestion("door", ("open", "shut")))
        with pytest.raises(CollectionError, match="Label some first"):
            export_labels(kept, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(kept: Collection, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(CollectionError, match="there already"):
        export_labels(kept, tmp_path / "out", "csv")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_picture_that_cannot_be_read_leaves_nothing_half_written(
    kept: Collection, tmp_path: Path
) -> None:
    for path in (kept.folder / "pictures").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(CollectionError, match="cannot be read"):
        export_labels(kept, tmp_path / "out", "csv")
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}


def test_what_a_killed_export_left_goes_with_the_next_one(tmp_path: Path) -> None:
    """One at work, and what only looks like it, stay."""
    with Collection.open(tmp_path / "kept", create=True) as kept:
        kept.add_question(CollectionQuestion("door", ("open", "shut")))
        kept.label([kept.add(new_picture(1)) or 0], "door", "open", "ann")
        left, at_work = tmp_path / ".out.0123abcd.tmp", tmp_path / ".out.0123abce.tmp"
        others = [tmp_path / name for name in (".out.tmp", ".other.0123abcd.tmp")]
        for path in (left, at_work, *others):
            path.mkdir()
            (path / "1.jpg").write_bytes(b"private")
        with hold_lock(at_work):
            export_labels(kept, tmp_path / "out", "folders")
        assert not left.exists()
        assert all(path.exists() for path in (at_work, *others))
        assert sorted(path.name for path in tmp_path.glob(".out*")) == [at_work.name, ".out.tmp"]


def test_a_table_does_not_make_two_classes_of_one(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "kept", create=True) as kept:
        kept.add_question(CollectionQuestion("marks", ("a;b", "a", "b"), several=True))
        kept.add_question(CollectionQuestion("door", ("a;b", "c")))
        picture = kept.add(new_picture(1)) or 0
        kept.label([picture], "marks", ("a;b",), "ann")
        kept.label([picture], "door", "a;b", "ann")
        with pytest.raises(CollectionError, match="separates"):
            export_labels(kept, tmp_path / "out", "csv", ["marks"])
        assert export_labels(kept, tmp_path / "out", "csv", ["door"]) == 1

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_deploy.data import open_data
from snow_deploy.data.csv_table import read_csv
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data import Pictures

LISTED = """\
file,split,food,colour
a/1.jpg,train,pizza,red
a/2.jpg, train, "soup", red
a/3.jpg,train,pizza, green
b/4.jpg,val,soup,green
b/5.jpg,val,pizza,red
"b,6.jpg",test,pizza,green
c/7.jpg,test,soup,red
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pictures.csv"
    path.write_text(text, encoding="utf-8")
    return path


def listing(pictures: Pictures | None) -> list[tuple[str, str]]:
    assert pictures is not None
    return [(pictures.name(i), pictures.labels[pictures.target(i)]) for i in range(len(pictures))]


def test_each_column_labels_the_same_pictures(tmp_path: Path) -> None:
    path = write(tmp_path, LISTED)

    food = open_data(f"csv:{path}?label=food")
    colour = open_data(f"csv:{path}?label=colour")

    assert food.labels == ("pizza", "soup")
    assert colour.labels == ("green", "red")
    assert listing(food.train) == [
        (f"{tmp_path}/a/1.jpg", "pizza"),
        (f"{tmp_path}/a/2.jpg", "soup"),
        (f"{tmp_path}/a/3.jpg", "pizza"),
    ]
    assert [label for _, label in listing(colour.train)] == ["red", "red", "green"]
    assert listing(food.test) == [(f"{tmp_path}/b,6.jpg", "pizza"), (f"{tmp_path}/c/7.jpg", "soup")]
    for split in ("train", "val", "test"):
        names = [[name for name, _ in listing(getattr(each, split))] for each in (food, colour)]
        assert names[0] == names[1]


def test_the_only_column_needs_no_name_and_an_empty_field_is_no_answer(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "file,what,split\n1.jpg,a,train\n2.jpg,b,train\n3.jpg,,train\n4.jpg,a,test\n5.jpg,b,test\n",
    )

    splits = open_data(f"csv:{path}")

    assert [label for _, label in listing(splits.train)] == ["a", "b"]
    assert splits.val is None


def test_without_a_split_every_column_has_the_same_one(tmp_path: Path) -> None:
    lines = [f"{n}.jpg,{'ab'[n % 2]},{'xyz'[n % 3]}\n" for n in range(60)]
    path = write(tmp_path, "file,one,two\n" + "".join(lines))

    def held_out(column: str, seed: int) -> list[str]:
        splits = open_data(f"csv:{path}?label={column}", seed=seed)
        assert (len(splits.train), splits.val) == (48, None)
        names = [name for name, _ in listing(splits.train)]
        tested = [name for name, _ in listing(splits.test)]
        assert sorted([*names, *tested]) == sorted(f"{tmp_path}/{n}.jpg" for n in range(60))
        return tested

    assert held_out("one", 0) == held_out("two", 0) != held_out("one", 1)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "has the headings nothing; expected a CSV file"),
        ("path,food\n1.jpg,a\n", {}, "has the headings path, food"),
        ("file;food\n1.jpg;a\n", {}, "are to be separated by commas"),
        ("file,food,food\n1.jpg,a,b\n", {}, "has the headings file, food, food"),
        ("file,food\n", {}, "lists no pictures"),
        ("file,food\n1.jpg\n", {}, "Line 2 of .* has not the 2 fields"),
        ("file,food\n1.jpg,a,b\n", {}, "Line 2 of .* has not the 2 fields"),
        ("file,food\n ,a\n", {}, "Line 2 of .* names no file"),
        ("file,food\n1.jpg,a\n2.jpg,a\n", {}, '"food" of .* has 1 different labels'),
        ("file,a,b\n1.jpg,x,y\n", {}, r"is not named: .* has a, b\. Name one as csv:"),
        ("file,a,b\n1.jpg,x,y\n", {"label": "c"}, '"c" is not there: .* has a, b'),
        ("file,split\n1.jpg,train\n", {}, "has none"),
        ("file,a\n1.jpg,x\n", {"classes": "a"}, "no option classes, expected label=COLUMN"),
        ("file,a\n1.jpg,x\n2.jpg,y\n1.jpg,y\n", {}, r"Line 4 of .* lists 1\.jpg again"),
        ("file,a\n1.jpg,x\n./1.jpg,y\n", {}, r"Line 3 of .* lists \./1\.jpg again"),
        (
            "file,split,a\n1.jpg,train,x\n2.jpg,train,y\n3.jpg,val,x\n4.jpg,val,y\n5.jpg,test,\n",
            {},
            "No picture in the test split of .* has an answer",
        ),
        ("file,split,a\n1.jpg,held out,x\n", {}, 'is in the split "held out", expected one of'),
        ("file,split,a\n1.jpg,,x\n", {}, 'Line 2 of .* is in the split "", expected one of'),
        ("File,FILE,a\n1.jpg,1.jpg,x\n", {}, "has the headings File, FILE, a"),
        ("file,Split,a,split\n1.jpg,test,x,train\n", {}, "has the headings file, Split, a, split"),
        (
            "file,Subset,a\n1.jpg,Train,x\n2.jpg,TEST,y\n",
            {"label": "a"},
            '"Subset" of .* holds nothing but test, train, which look like splits',
        ),
        ("file,split,a\n1.jpg,test,x\n2.jpg,test,y\n", {}, "no picture to train on"),
        ("file,split,a\n1.jpg,train,x\n2.jpg,test,y\n", {}, "train split of .* no picture of y"),
        ('file,a\n1.jpg,"x\n', {}, "Cannot read .*: unexpected end of data"),
    ],
)
def test_what_cannot_be_used_is_explained(
    tmp_path: Path, text: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path, text), options)


@pytest.mark.parametrize("content", [b"file,a\n\xff\xfe,b\n", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pictures.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"Cannot read .*pictures\.csv: "):
        read_csv(path)


fields = st.text(max_size=6)


@given(
    headings=st.lists(st.sampled_from(["file", "split", "a", "b", " a", ""]), max_size=4),
    rows=st.lists(st.lists(st.sampled_from(["x", "y", "train", "test", "", "1.jpg"]), max_size=4)),
    noise=fields,
)
def test_any_table_is_either_read_or_refused(
    tmp_path: Path, headings: list[str], rows: list[list[str]], noise: str
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([headings, *rows])
    path = tmp_path / "pictures.csv"
    path.write_text(text.getvalue() + noise, encoding="utf-8", errors="replace", newline="")

    try:
        splits = read_csv(path, {"label": "a"})
    except DataError:
        return
    assert len(splits.labels) >= 2
    assert len(splits.train) <= len(rows) + 1 + len(noise)


@pytest.mark.parametrize("column", ["R&D", "a+b", "50%", "what?", "x=y", "größe"])
def test_a_column_is_named_as_it_stands_there(tmp_path: Path, column: str) -> None:
    """An index without a heading, as some programs write it, is no question."""
    lines = [f"{n},{n}.jpg,{'ab'[n % 2]}\n" for n in range(20)]
    path = write(tmp_path, f",file,{column}\n" + "".join(lines))

    assert open_data(f"csv:{path}?label={column}").labels == ("a", "b")
    assert open_data(f"csv:{path}").labels == ("a", "b")


@pytest.mark.parametrize(
    "split", ["Split", "SPLIT", " Split ", "\u200bsplit", "\uff53plit", "split\u00a0"]
)
@pytest.mark.parametrize("file", ["file", "File", "FILE", " fIlE", "\ufefffile"])
def test_file_and_split_may_be_written_in_any_way(tmp_path: Path, file: str, split: str) -> None:
    path = write(tmp_path, LISTED.replace("file,split", f"{file},{split}"))
    plain = read_csv(write(tmp_path, LISTED), {"label": "food"})
    write(tmp_path, "\ufeff" + LISTED.replace("file,split", f"{file},{split}"))

    splits = read_csv(path, {"label": "food"})

    assert splits == plain
    assert [len(each or ()) for each in (splits.train, splits.val, splits.test)] == [3, 2, 2]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Train", "VAL", "Test"), ("training", "validation", "testing"), (" TRAIN", "Valid ", "TEST")],
)
def test_splits_may_be_called_in_any_usual_way(
    tmp_path: Path, train: str, val: str, test: str
) -> None:
    plain = read_csv(write(tmp_path, LISTED), {"label": "food"})
    words = {",train,": train, ", train,": train, ",val,": val, ",test,": test}
    text = LISTED
    for plain_word, written in words.items():
        text = text.replace(plain_word, f",{written},")

    assert read_csv(write(tmp_path, text), {"label": "food"}) == plain


def test_a_vehicle_is_no_split(tmp_path: Path) -> None:
    lines = [f"{n}.jpg,{'train' if n % 2 else 'bus'},{'ab'[n % 2]}\n" for n in range(20)]
    path = write(tmp_path, "file,vehicle,what\n" + "".join(lines))

    assert open_data(f"csv:{path}?label=vehicle").labels == ("bus", "train")
    assert open_data(f"csv:{path}?label=what").labels == ("a", "b")


def test_what_is_not_used_is_told(tmp_path: Path) -> None:
    lines = [f"{n}.jpg,{'ab'[n % 2] if n > 3 else ''},{n % 2}\n" for n in range(30)]
    path = write(tmp_path, "file,what,is_train\n" + "".join(lines))

    remarks = read_csv(path, {"label": "what"}).remarks

    assert len(remarks) == 2
    assert remarks[0] == f'left out of {path}: 4 of 30 rows, empty under "what"'
    assert remarks[1].startswith(f"{path} has no column `split`: a fifth of its rows, drawn by")
    assert remarks[1].endswith("; not read: is_train")


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder"])
def test_a_file_under_two_names_is_not_trained_and_tested_on(tmp_path: Path, link: str) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number]))
    other = tmp_path / "other.jpg"
    if link == "symbolic":
        other.symlink_to(tmp_path / "1.jpg")
    elif link == "hard":
        other.hardlink_to(tmp_path / "1.jpg")
    else:
        (tmp_path / "up").symlink_to(tmp_path, target_is_directory=True)
    name = "up/1.jpg" if link == "folder" else "other.jpg"
    text = f"file,split,a\n0.jpg,train,x\n1.jpg,train,y\n2.jpg,test,x\n{name},test,y\n"

    with pytest.raises(DataError, match=rf"Line 5 of .* lists {name}, .* 1\.jpg of line 3 again"):
        read_csv(write(tmp_path, text))

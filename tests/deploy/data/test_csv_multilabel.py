from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_deploy.data import MultiLabelFiles, open_data, parse_spec
from snow_deploy.data.duplicates import alike_remarks
from snow_deploy.data.multilabel import targets_of
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data import Pictures, Splits

LISTED = """\
file,split,wet,broken,tags
1.jpg,train,1,0,red; round
2.jpg,train,TRUE,yes,
3.jpg,train,false,No,"red;flat;"
4.jpg,val,0,true,round
5.jpg,test,no,1, flat ; red
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pictures.csv"
    path.write_text(text, encoding="utf-8")
    return path


def named(pictures: Pictures | None) -> list[set[str]]:
    assert isinstance(pictures, MultiLabelFiles)
    return [{pictures.labels[n] for n in pictures.present(i)} for i in range(len(pictures))]


def paths(splits: Splits, split: str) -> list[str]:
    pictures = getattr(splits, split)
    return [pictures.name(i) for i in range(len(pictures))]


def test_a_column_for_each_label(tmp_path: Path) -> None:
    splits = open_data(f"csv:{write(tmp_path, LISTED)}?labels=wet,broken")

    assert splits.answers == "several"
    assert splits.labels == ("wet", "broken")
    assert named(splits.train) == [{"wet"}, {"wet", "broken"}, set()]
    assert named(splits.val) == named(splits.test) == [{"broken"}]
    assert paths(splits, "train") == [f"{tmp_path}/{n}.jpg" for n in (1, 2, 3)]


def test_a_cell_for_all_labels(tmp_path: Path) -> None:
    splits = open_data(f"csv:{write(tmp_path, LISTED)}?label=tags&separator=;")

    assert splits.labels == ("flat", "red", "round")
    assert named(splits.train) == [{"red", "round"}, set(), {"red", "flat"}]
    assert named(splits.test) == [{"flat", "red"}]


def test_the_only_column_needs_no_name(tmp_path: Path) -> None:
    path = write(tmp_path, "file,split,kinds\n1.jpg,train,a b\n2.jpg,train,\n3.jpg,test,b\n")

    assert named(open_data(f"csv:{path}?separator= ").train) == [{"a", "b"}, set()]


def test_columns_with_a_comma_in_their_names_are_quoted(tmp_path: Path) -> None:
    path = write(tmp_path, 'file,split,"a, b",c\n1.jpg,train,1,0\n2.jpg,test,0,1\n')

    assert open_data(f'csv:{path}?labels="a, b", c').labels == ("a, b", "c")


@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.booleans(), min_size=width, max_size=width), min_size=2, max_size=30
        )
    ),
    st.sampled_from([("0", "1"), ("false", "TRUE"), ("No", "yes")]),
    st.data(),
)
def test_any_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[bool]],
    words: tuple[str, str],
    data: st.DataObject,
) -> None:
    tests = data.draw(st.integers(1, len(rows) - 1))
    columns = [f"l{n}" for n in range(len(rows[0]))]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "split", *columns, "all"])
    for number, row in enumerate(rows):
        cell = "|".join(column for column, has in zip(columns, row, strict=True) if has)
        split = "test" if number < tests else "train"
        writer.writerow([f"{number}.jpg", split, *(words[has] for has in row), cell])
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue())
    expected = np.array(rows, np.float32)

    splits = open_data(f"csv:{path}?labels={','.join(columns)}")

    assert np.array_equal(targets_of(splits.final[1]), expected[:tests])
    assert np.array_equal(targets_of(splits.train), expected[tests:])
    if any(map(any, rows)):
        other = open_data(f"csv:{path}?label=all&separator=|")
        assert named(other.train) == named(splits.train)
        assert named(other.test) == named(splits.test)


def test_where_every_label_is_frequent_the_split_is_that_of_the_other_columns(
    tmp_path: Path,
) -> None:
    lines = [f"{n}.jpg,{'xyz'[n % 3]},{n % 2},{n // 2 % 2}\n" for n in range(60)]
    path = write(tmp_path, "file,kind,odd,other\n" + "".join(lines))

    one = open_data(f"csv:{path}?label=kind", seed=4)
    several = open_data(f"csv:{path}?labels=odd,other", seed=4)

    assert paths(one, "test") == paths(several, "test")
    assert paths(one, "train") == paths(several, "train")


@given(seed=st.integers(0, 99))
def test_a_rare_label_is_in_both_parts(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    lines = [f"{n}.jpg,{n % 2},{int(n in {3, 4})},{int(n == 7)}\n" for n in range(40)]
    path = write(tmp_path_factory.mktemp("csv"), "file,odd,rare,single\n" + "".join(lines))

    splits = open_data(f"csv:{path}?labels=odd,rare,single", seed=seed)

    for pictures in (splits.train, splits.test):
        assert {"odd", "rare"} <= set().union(*named(pictures))
    (remark,) = [each for each in splits.remarks if "single" in each]
    assert remark.startswith("no picture of the")


def test_what_is_odd_about_the_labels_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "file,split,a,b\n1.jpg,train,1,0\n2.jpg,train,1,0\n3.jpg,test,0,1\n")

    remarks = open_data(f"csv:{path}?labels=a,b").remarks

    assert [remark.partition(" of the ")[0] for remark in remarks[1:]] == [
        "no picture",
        "every picture",
        "no picture",
        "every picture",
    ]
    assert remarks[0].startswith(f"no picture of {path} has several labels")
    assert "train split" in remarks[1]
    assert "the label b: nothing can be learned" in remarks[1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1.jpg,maybe,0", "labels=a,b", 'Line 2 of .*, 1.jpg, has "maybe" under "a", expected 1'),
        ("1.jpg,1,", "labels=a,b", 'Line 2 of .*, 1.jpg, has "" under "b", expected 1 or 0'),
        ("1.jpg,1,2", "labels=a,b", 'has "2" under "b", expected 1 or 0, true or false, yes or no'),
        ("1.jpg,1,0.0", "labels=b", 'has "0.0" under "b"'),
        ("1.jpg,1,0", "labels=a,c,d", '"c, d" are not there: .* has a, b. Name some'),
        ("1.jpg,1,0", "labels=a,file", '"file" are not there'),
        ("1.jpg,1,0", "labels=a,a", "names a column twice"),
        ("1.jpg,1,0", "labels=", "names no columns"),
        ("1.jpg,1,0", "labels=a,,b", "names no columns"),
        ("1.jpg,1,0", 'labels="a', "names no columns"),
        ("1.jpg,1,0", "label=a&separator=", "separator= names no sign"),
        ("1.jpg,1,0", "separator=;", "column of labels is not named: .* has a, b"),
        ("1.jpg,,", "label=a&separator=;", 'column "a" .* holds no label at all'),
        ("1.jpg,1,0", "labels=a", "train split only|one of them"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(
    tmp_path: Path, text: str, options: str, message: str
) -> None:
    path = write(tmp_path, f"file,a,b\n{text}\n")

    with pytest.raises(DataError, match=message):
        open_data(f"csv:{path}?{options}")


def test_columns_and_a_separator_exclude_each_other(tmp_path: Path) -> None:
    from snow_deploy.data.csv_table import read_csv

    path = write(tmp_path, "file,a,b\n1.jpg,1,0\n")

    with pytest.raises(DataError, match="expected no separator beside it"):
        read_csv(path, {"labels": "a", "separator": ";"})


def test_a_column_keeps_every_sign_of_its_name_but_the_separator() -> None:
    assert parse_spec("csv:a.csv?label=x=1&y").options == {"label": "x=1&y"}
    assert parse_spec("csv:a.csv?label=x&y&separator=, ").options == {
        "label": "x&y",
        "separator": ", ",
    }


def test_the_fingerprint_covers_the_sets(tmp_path: Path) -> None:
    def fingerprints(tags: str) -> tuple[str, str, str]:
        rows = f"1.jpg,train,a\n2.jpg,train,{tags}\n3.jpg,test,a;b\n"
        path = write(tmp_path, f"file,split,tags\n{rows}")
        splits = open_data(f"csv:{path}?label=tags&separator=;")
        entries = splits.entries
        return splits.fingerprint, entries["train"].sha256, entries["test"].sha256

    one, other = fingerprints("b"), fingerprints("a;b")

    assert one == fingerprints(" b ")
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert one[2] == other[2]
    none = fingerprints("")
    assert len({one[0], other[0], none[0]}) == 3


def test_one_label_of_several_is_not_one_class(tmp_path: Path) -> None:
    rows = "1.jpg,train,a\n2.jpg,train,b\n3.jpg,test,a\n4.jpg,test,b\n"
    path = write(tmp_path, f"file,split,tags\n{rows}")

    one, several = (open_data(f"csv:{path}?{o}") for o in ("label=tags", "separator=;"))

    assert one.labels == several.labels
    assert one.fingerprint != several.fingerprint


def test_a_copy_with_other_labels_is_said(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(b"the same")
    path = write(
        tmp_path,
        "file,split,tags\n1.jpg,train,a;b\n2.jpg,train,a\n3.jpg,test,b;a\n",
    )

    remarks = alike_remarks(open_data(f"csv:{path}?label=tags&separator=;"))

    assert any("under two sets of labels" in remark for remark in remarks)
    assert any("in train and in test" in remark for remark in remarks)


def test_sets_of_a_listing_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"

    with pytest.raises(DataError, match="1 pictures but the labels of 2"):
        MultiLabelFiles((path,), ((0,), (1,)), ("a", "b"))
    for wrong in ((2,), (-1,), (1, 0), (0, 0)):
        with pytest.raises(DataError, match="expected each once, ascending, of 0 to 1"):
            MultiLabelFiles((path,), (wrong,), ("a", "b"))


def test_no_picture_of_several_labels_has_one_class(tmp_path: Path) -> None:
    splits = open_data(f"csv:{write(tmp_path, LISTED)}?labels=wet,broken")

    with pytest.raises(DataError, match="any number of the 2 labels, expected one class"):
        splits.train.target(0)

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest

from snow_deploy.data import open_data
from snow_deploy.data.imagefolder import read_imagefolder
from snow_deploy.data.label_remarks import alike, folded, label_remarks
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.data.conftest import WritePictures

COMPOSED, TAKEN_APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat", "cat"),
        (COMPOSED, TAKEN_APART),
        ("STRASSE", "Straße"),
        ("red  dress", "red dress"),
        ("red\u00a0dress", "red dress"),
        ("cat\u200b", "cat"),
        ("\uff43at", "cat"),
        ("ﬁsh", "fish"),
    ],
)
def test_labels_that_are_hardly_two(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    assert alike(["x", one, "y", other]) == [(one, other)]
    (remark,) = label_remarks([one, "x", other])
    assert "count as 2 classes" in remark


def test_labels_that_are_two() -> None:
    labels = ["cat", "cats", "resume", "résumé", "0", "00", "a-b", "a_b", "no", "unknown"]
    assert alike(labels) == []
    assert label_remarks(labels) == ()


def test_what_looks_the_same_is_shown_with_escapes() -> None:
    (remark,) = label_remarks([COMPOSED, TAKEN_APART])
    assert f'"{COMPOSED}"' in remark
    assert "cafe\\u0301" in remark


@pytest.mark.parametrize("label", ["nan", "NaN", "None", "NULL", "n/a", "NA", "?", "-", "<NA>"])
def test_a_missing_answer_as_a_label_is_told(label: str) -> None:
    (remark,) = label_remarks(["cat", label])
    assert f'"{label}" is a class like the others, and looks like a missing answer' in remark


def test_a_csv_file_and_a_folder_tell(tmp_path: Path, write_pictures: WritePictures) -> None:
    lines = [f"{n}.jpg,{('cat', 'Cat', 'nan')[n % 3]}\n" for n in range(60)]
    (tmp_path / "a.csv").write_text("file,what\n" + "".join(lines))
    write_pictures(tmp_path, *(f"photos/{name}/{n}.png" for name in ("cat", "None") for n in "01"))

    table, photos = (
        open_data(f"{spec}").remarks
        for spec in (f"csv:{tmp_path}/a.csv", f"imagefolder:{tmp_path}/photos")
    )

    assert any('"Cat" and "cat" count as 2 classes' in remark for remark in table)
    assert any('"nan" is a class like the others' in remark for remark in table)
    assert any('"None" is a class like the others' in remark for remark in photos)


def test_splits_whose_classes_differ_in_their_unicode_form_say_so(
    tmp_path: Path, write_pictures: WritePictures
) -> None:
    write_pictures(tmp_path / "train", f"{COMPOSED}/0.png", "x/1.png")
    write_pictures(tmp_path / "test", f"{TAKEN_APART}/0.png", "x/1.png")
    with pytest.raises(DataError, match="differ in capitals, blanks or Unicode form only"):
        read_imagefolder(tmp_path)

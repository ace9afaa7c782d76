"""Pictures listed in a CSV file, with an answer to each question about them in a column of its own.

::

    file,split,food,colour
    0001.jpg,train,pizza,red
    0002.jpg,test,soup,green

`csv:pictures.csv?label=food` and `csv:pictures.csv?label=colour` are two label sets over the same
pictures, which one pass of the source serves where both answer the same rows.
"""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING

from snow_deploy.data.pictures import FilePictures, Splits, name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.data.splitting import TEST_FRACTION
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FILE, _SPLIT = "file", "split"
_OPTION = "label"
_SPLITS = ("train", "val", "test")
_EXPECTED = (
    "expected a CSV file with a line of headings, a column `file` of paths from the CSV file's "
    "folder, a column for each question and, if the data has a split, a column `split` of train, "
    "val and test"
)


def read_csv(path: Path, options: Mapping[str, str] | None = None, *, seed: int = 0) -> Splits:
    """Read the pictures that a CSV file lists, with the labels of one of its columns.

    Classes are sorted by name. Rows without an answer in the column are left out. Without a column
    `split` a fifth of the rows, drawn by `seed` whatever their labels are, is the test split, so
    that every column has the same one.

    Args:
        path: of the CSV file, in UTF-8.
        options: `label`, the column; not needed where there is only one that can be meant.
        seed: decides the split of a file that has none.

    Raises:
        DataError: the file cannot be read or is laid out otherwise, or a class has no picture in
            a split.
    """
    rows = _read_rows(path)
    column = _column(path, list(rows[0]), dict(options or {}))
    splits = _splits(path, rows, seed)
    answered = [place for place, row in enumerate(rows) if row[column]]
    labels = tuple(sorted({rows[place][column] for place in answered}))
    if len(labels) < 2:
        raise DataError(
            f'The column "{column}" of {path} has {len(labels)} different labels, expected two or '
            "more. Correct it, or name another column."
        )
    found: dict[str, FilePictures] = {}
    for split in _SPLITS:
        places = [place for place in answered if splits[place] == split]
        if split in splits and not places:
            raise DataError(
                f'No picture in the {split} split of {path} has an answer under "{column}". Give '
                "some, or leave the split out."
            )
        if places:
            found[split] = FilePictures(
                paths=tuple(path.parent / rows[place][_FILE] for place in places),
                targets=tuple(labels.index(rows[place][column]) for place in places),
                labels=labels,
            )
    if "train" not in found:
        raise DataError(
            f"{path} lists no picture to train on under {column}; {_EXPECTED}. Add some."
        )
    for split, pictures in found.items():
        present = set(pictures.targets)
        empty = [label for number, label in enumerate(labels) if number not in present]
        if empty:
            raise DataError(
                f'The {split} split of {path} has no picture of {name_some(empty)} under "{column}"'
                ", expected at least one of every class. Add some, or give the file a column "
                "`split` that shares them out."
            )
    return Splits(train=found["train"], val=found.get("val"), test=found.get("test"))


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows by heading, blanks around each field taken away."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            headings = [heading.strip() for heading in reader.fieldnames or ()]
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"Cannot read {path}: {reason}; {_EXPECTED}. Correct it.") from error
    if _FILE not in headings or len(set(headings)) < len(headings):
        found = name_some(headings) or "nothing"
        raise DataError(f"{path} has the headings {found}; {_EXPECTED}. Correct the first line.")
    rows = []
    seen = set[str]()
    for number, line in lines:
        fields = list(line.values())
        if None in line or None in fields:
            raise DataError(
                f"Line {number} of {path} has not the {len(headings)} fields that the first line "
                "has. Correct it."
            )
        row = dict(zip(headings, (field.strip() for field in fields), strict=True))
        if not row[_FILE]:
            raise DataError(f"Line {number} of {path} names no file. Correct it.")
        place = os.path.normpath(path.parent / row[_FILE])
        if place in seen:
            raise DataError(
                f"Line {number} of {path} lists {row[_FILE]} again: it would be trained and tested "
                "on. Leave one of the lines out."
            )
        seen.add(place)
        rows.append(row)
    if not rows:
        raise DataError(f"{path} lists no pictures; {_EXPECTED}. Add some.")
    return rows


def _column(path: Path, headings: list[str], options: dict[str, str]) -> str:
    questions = [heading for heading in headings if heading not in {_FILE, _SPLIT, ""}]
    chosen = options.pop(_OPTION, None)
    chosen = None if chosen is None else chosen.strip()
    if options:
        raise DataError(
            f"csv data has no option {', '.join(sorted(options))}, expected {_OPTION} alone. "
            "Remove the others."
        )
    if chosen is None and len(questions) == 1:
        return questions[0]
    if chosen not in questions:
        known = name_some(questions) or "none"
        seen = "is not named" if chosen is None else f'"{chosen}" is not there'
        raise DataError(
            f"The column of labels {seen}: {path} has {known}. Name one as csv:{path}?label=COLUMN."
        )
    return chosen


def _splits(path: Path, rows: list[dict[str, str]], seed: int) -> list[str]:
    """Return the split of each row."""
    if _SPLIT in rows[0]:
        for number, row in enumerate(rows, 1):
            if row[_SPLIT] not in _SPLITS:
                raise DataError(
                    f'Picture {number} of {path}, {row[_FILE]}, is in the split "{row[_SPLIT]}", '
                    f"expected one of {', '.join(_SPLITS)}. Correct it."
                )
        return [row[_SPLIT] for row in rows]
    held_out = max(1, round(len(rows) * TEST_FRACTION))
    test = set(keyed_permutation(len(rows), "csv split", seed)[:held_out].tolist())
    return ["test" if place in test else "train" for place in range(len(rows))]

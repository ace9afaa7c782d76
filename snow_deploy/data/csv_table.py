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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.data.duplicates import identity
from snow_deploy.data.label_remarks import folded
from snow_deploy.data.pictures import FilePictures, Splits, name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.data.splitting import TEST_FRACTION
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FILE, _SPLIT = "file", "split"
_OPTION = "label"
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split may be called, by what it is."""

_EXPECTED = (
    "expected a CSV file with a line of headings, a column `file` of paths from the CSV file's "
    "folder, a column for each question and, if the data has a split, a column `split` of train, "
    "val and test"
)


@dataclass(frozen=True)
class _Row:
    """A line of the file.

    Attributes:
        number: Of the line, from 1.
        path: Of the picture.
        fields: By heading, blanks around each taken away; `file` and `split` under these names.
    """

    number: int
    path: Path
    fields: dict[str, str]


def read_csv(path: Path, options: Mapping[str, str] | None = None, *, seed: int = 0) -> Splits:
    """Read the pictures that a CSV file lists, with the labels of one of its columns.

    Classes are sorted by name. Rows without an answer in the column are left out, and counted in
    the splits' remarks. Without a column `split` a fifth of the rows, drawn by `seed` whatever
    their labels are, is the test split, so that every column has the same one.

    Args:
        path: Path of the CSV file, in UTF-8. The headings `file` and `split` and the names of the
            splits may be written in capitals.
        options: `label`, the column; not needed where there is only one that can be meant.
        seed: Seed of the split of a file that has none.

    Raises:
        DataError: The file cannot be read or is laid out otherwise, lists a picture twice, or a
            class has no picture in a split.
    """
    rows = _read_rows(path)
    column = _column(path, list(rows[0].fields), dict(options or {}))
    splits = _splits(path, rows, column, seed)
    _check_links(path, rows, splits)
    answered = [place for place, row in enumerate(rows) if row.fields[column]]
    labels = tuple(sorted({rows[place].fields[column] for place in answered}))
    if len(labels) < 2:
        msg = (
            f'The column "{column}" of {path} has {len(labels)} different labels, expected two or '
            "more. Correct it, or name another column."
        )
        raise DataError(msg)
    found: dict[str, FilePictures] = {}
    for split in dict.fromkeys(_SPLITS.values()):
        places = [place for place in answered if splits[place] == split]
        if split in splits and not places:
            msg = (
                f'No picture in the {split} split of {path} has an answer under "{column}". Give '
                "some, or leave the split out."
            )
            raise DataError(msg)
        if places:
            found[split] = FilePictures(
                paths=tuple(rows[place].path for place in places),
                targets=tuple(labels.index(rows[place].fields[column]) for place in places),
                labels=labels,
            )
    if "train" not in found:
        msg = f"{path} lists no picture to train on under {column}; {_EXPECTED}. Add some."
        raise DataError(msg)
    _check_classes(path, column, found)
    return Splits(
        train=found["train"],
        val=found.get("val"),
        test=found.get("test"),
        remarks=_remarks(path, rows, column),
    )


def _remarks(path: Path, rows: list[_Row], column: str) -> tuple[str, ...]:
    """Say what of the file was not used."""
    found = []
    unanswered = sum(not row.fields[column] for row in rows)
    if unanswered:
        found.append(
            f'left out of {path}: {unanswered} of {len(rows)} rows, empty under "{column}"'
        )
    if _SPLIT not in rows[0].fields:
        others = [each for each in rows[0].fields if each not in {_FILE, column, ""}]
        found.append(
            f"{path} has no column `split`: a fifth of its rows, drawn by the seed, is the test"
            + (f"; not read: {name_some(others)}" if others else "")
        )
    return tuple(found)


def _check_classes(path: Path, column: str, found: Mapping[str, FilePictures]) -> None:
    for split, pictures in found.items():
        present = set(pictures.targets)
        empty = [label for place, label in enumerate(pictures.labels) if place not in present]
        if empty:
            msg = (
                f'The {split} split of {path} has no picture of {name_some(empty)} under "{column}"'
                ", expected at least one of every class. Add some, or give the file a column "
                "`split` that shares them out."
            )
            raise DataError(msg)


def _read_rows(path: Path) -> list[_Row]:
    """Return the rows by heading, blanks around each field taken away."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            headings = _headings(path, reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        msg = f"Cannot read {path}: {reason}; {_EXPECTED}. Correct it."
        raise DataError(msg) from error
    rows = []
    seen = set[str]()
    for number, line in lines:
        values = list(line.values())
        if None in line or None in values:
            msg = (
                f"Line {number} of {path} has not the {len(headings)} fields that the first line "
                "has. Correct it."
            )
            raise DataError(msg)
        fields = dict(zip(headings, (value.strip() for value in values), strict=True))
        if not fields[_FILE]:
            msg = f"Line {number} of {path} names no file. Correct it."
            raise DataError(msg)
        place = os.path.normpath(path.parent / fields[_FILE])
        if place in seen:
            msg = (
                f"Line {number} of {path} lists {fields[_FILE]} again: it would be trained and "
                "tested on. Leave one of the lines out."
            )
            raise DataError(msg)
        seen.add(place)
        rows.append(_Row(number, path.parent / fields[_FILE], fields))
    if not rows:
        msg = f"{path} lists no pictures; {_EXPECTED}. Add some."
        raise DataError(msg)
    return rows


def _headings(path: Path, written: Sequence[str]) -> list[str]:
    """Return the headings, `file` and `split` under these names however they are written."""
    headings = []
    for heading in written:
        plain = folded(heading)
        headings.append(plain if plain in {_FILE, _SPLIT} else heading.strip())
    if _FILE not in headings or len(set(headings)) < len(headings):
        found = name_some([heading.strip() for heading in written]) or "nothing"
        if any(sign in heading for heading in written for sign in ";\t"):
            found += " (fields are to be separated by commas)"
        msg = f"{path} has the headings {found}; {_EXPECTED}. Correct the first line."
        raise DataError(msg)
    return headings


def _column(path: Path, headings: list[str], options: dict[str, str]) -> str:
    questions = [heading for heading in headings if heading not in {_FILE, _SPLIT, ""}]
    chosen = options.pop(_OPTION, None)
    chosen = None if chosen is None else chosen.strip()
    if options:
        msg = (
            f"csv data has no option {', '.join(sorted(options))}, expected {_OPTION} alone. "
            "Remove the others."
        )
        raise DataError(msg)
    if chosen is None and len(questions) == 1:
        return questions[0]
    if chosen not in questions:
        known = name_some(questions) or "none"
        seen = "is not named" if chosen is None else f'"{chosen}" is not there'
        msg = (
            f"The column of labels {seen}: {path} has {known}. Name one as csv:{path}?label=COLUMN."
        )
        raise DataError(msg)
    return chosen


def _splits(path: Path, rows: list[_Row], column: str, seed: int) -> list[str]:
    """Return the split of each row."""
    if _SPLIT in rows[0].fields:
        found = [_SPLITS.get(folded(row.fields[_SPLIT]), "") for row in rows]
        for row, split in zip(rows, found, strict=True):
            if not split:
                msg = (
                    f"Line {row.number} of {path}, {row.fields[_FILE]}, is in the split "
                    f'"{row.fields[_SPLIT]}", expected one of train, val, test. Correct it.'
                )
                raise DataError(msg)
        return found
    _check_no_other_split(path, rows, column)
    held_out = max(1, round(len(rows) * TEST_FRACTION))
    test = set(keyed_permutation(len(rows), "csv split", seed)[:held_out].tolist())
    return ["test" if place in test else "train" for place in range(len(rows))]


def _check_no_other_split(path: Path, rows: list[_Row], column: str) -> None:
    """Refuse a column that says train and test under another heading: it would not be read."""
    for heading in rows[0].fields:
        values = {folded(row.fields[heading]) for row in rows} - {""}
        kinds = {_SPLITS.get(value) for value in values}
        plain = len(kinds) > 1 and "train" in kinds and None not in kinds
        if plain and heading not in {_FILE, column}:
            msg = (
                f'The column "{heading}" of {path} holds nothing but {name_some(sorted(values))}, '
                "which look like splits and would not be read; expected them under the heading "
                "`split`. Call it so."
            )
            raise DataError(msg)


def _check_links(path: Path, rows: list[_Row], splits: list[str]) -> None:
    """Refuse one file under two names, by a link or another way to it, in two splits.

    Raises:
        DataError: It would be trained and tested on.
    """
    first: dict[object, tuple[_Row, str]] = {}
    for row, split in zip(rows, splits, strict=True):
        same, other = first.setdefault(identity(row.path), (row, split))
        if other != split:
            msg = (
                f"Line {row.number} of {path} lists {row.fields[_FILE]}, which is the file "
                f"{same.fields[_FILE]} of line {same.number} again: it would be trained and tested "
                "on. Leave one of the lines out."
            )
            raise DataError(msg)

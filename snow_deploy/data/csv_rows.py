"""The rows of a CSV file of pictures, and which split each is in."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.data.duplicates import identity
from snow_deploy.data.label_remarks import folded
from snow_deploy.data.pictures import name_some
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

FILE, SPLIT = "file", "split"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split may be called, by what it is."""

EXPECTED = (
    "expected a CSV file with a line of headings, a column `file` of paths from the CSV file's "
    "folder, a column for each question and, if the data has a split, a column `split` of train, "
    "val and test"
)


@dataclass(frozen=True)
class Row:
    """A line of the file.

    Attributes:
        number: Number of the line, from 1.
        path: Path of the picture.
        fields: Fields by heading, blanks around each taken away; `file` and `split` under these
            names.
    """

    number: int
    path: Path
    fields: dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """Return the rows by heading, blanks around each field taken away.

    Raises:
        DataError: The file cannot be read or is laid out otherwise, or lists a picture twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            headings = _headings(path, reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        msg = f"Cannot read {path}: {reason}; {EXPECTED}. Correct it."
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
        if not fields[FILE]:
            msg = f"Line {number} of {path} names no file. Correct it."
            raise DataError(msg)
        place = os.path.normpath(path.parent / fields[FILE])
        if place in seen:
            msg = (
                f"Line {number} of {path} lists {fields[FILE]} again: it would be trained and "
                "tested on. Leave one of the lines out."
            )
            raise DataError(msg)
        seen.add(place)
        rows.append(Row(number, path.parent / fields[FILE], fields))
    if not rows:
        msg = f"{path} lists no pictures; {EXPECTED}. Add some."
        raise DataError(msg)
    return rows


def _headings(path: Path, written: Sequence[str]) -> list[str]:
    """Return the headings, `file` and `split` under these names however they are written."""
    headings = []
    for heading in written:
        plain = folded(heading)
        headings.append(plain if plain in {FILE, SPLIT} else heading.strip())
    if FILE not in headings or len(set(headings)) < len(headings):
        found = name_some([heading.strip() for heading in written]) or "nothing"
        if any(sign in heading for heading in written for sign in ";\t"):
            found += " (fields are to be separated by commas)"
        msg = f"{path} has the headings {found}; {EXPECTED}. Correct the first line."
        raise DataError(msg)
    return headings


def question_columns(rows: Sequence[Row]) -> list[str]:
    """Return the headings that can be asked for: all but those of files and splits."""
    return [heading for heading in rows[0].fields if heading not in {FILE, SPLIT, ""}]


def chosen_column(path: Path, rows: Sequence[Row], chosen: str | None) -> str:
    """Return the column of labels: the one that is named, or the only one that can be meant.

    Raises:
        DataError: It is not there, or none is named and there are several.
    """
    questions = question_columns(rows)
    chosen = None if chosen is None else chosen.strip()
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


def splits_of(
    path: Path,
    rows: Sequence[Row],
    columns: Collection[str],
    draw: Callable[[], Collection[int]],
) -> list[str]:
    """Return the split of each row.

    Args:
        path: Path of the CSV file.
        rows: Its rows.
        columns: The headings that are read.
        draw: Function that gives the places of the test rows, where the file has no splits.

    Raises:
        DataError: A split has another name, its column another heading, or one file is in two.
    """
    if SPLIT in rows[0].fields:
        found = [SPLITS.get(folded(row.fields[SPLIT]), "") for row in rows]
        for row, split in zip(rows, found, strict=True):
            if not split:
                msg = (
                    f"Line {row.number} of {path}, {row.fields[FILE]}, is in the split "
                    f'"{row.fields[SPLIT]}", expected one of train, val, test. Correct it.'
                )
                raise DataError(msg)
    else:
        _check_no_other_split(path, rows, columns)
        test = set(draw())
        found = ["test" if place in test else "train" for place in range(len(rows))]
    _check_links(path, rows, found)
    return found


def split_remark(path: Path, rows: Sequence[Row], columns: Collection[str]) -> tuple[str, ...]:
    """Say that the split was drawn, where it was, and which columns were not read."""
    if SPLIT in rows[0].fields:
        return ()
    others = [each for each in question_columns(rows) if each not in columns]
    said = f"{path} has no column `split`: a fifth of its rows, drawn by the seed, is the test"
    return (said + (f"; not read: {name_some(others)}" if others else ""),)


def _check_no_other_split(path: Path, rows: Sequence[Row], columns: Collection[str]) -> None:
    """Refuse a column that says train and test under another heading: it would not be read."""
    for heading in rows[0].fields:
        values = {folded(row.fields[heading]) for row in rows} - {""}
        kinds = {SPLITS.get(value) for value in values}
        plain = len(kinds) > 1 and "train" in kinds and None not in kinds
        if plain and heading != FILE and heading not in columns:
            msg = (
                f'The column "{heading}" of {path} holds nothing but {name_some(sorted(values))}, '
                "which look like splits and would not be read; expected them under the heading "
                "`split`. Call it so."
            )
            raise DataError(msg)


def _check_links(path: Path, rows: Sequence[Row], splits: Sequence[str]) -> None:
    """Refuse one file under two names, by a link or another way to it, in two splits.

    Raises:
        DataError: It would be trained and tested on.
    """
    first: dict[object, tuple[Row, str]] = {}
    for row, split in zip(rows, splits, strict=True):
        same, other = first.setdefault(identity(row.path), (row, split))
        if other != split:
            msg = (
                f"Line {row.number} of {path} lists {row.fields[FILE]}, which is the file "
                f"{same.fields[FILE]} of line {same.number} again: it would be trained and tested "
                "on. Leave one of the lines out."
            )
            raise DataError(msg)

"""Pictures listed in a CSV file, with an answer to each question about them in a column of its own.

::

    file,split,food,colour
    0001.jpg,train,pizza,red
    0002.jpg,test,soup,green

`csv:pictures.csv?label=food` and `csv:pictures.csv?label=colour` are two label sets over the same
pictures, which one pass of the source serves where both answer the same rows. Where a picture may
have any number of labels, `labels` or `separator` say how they are written: see `csv_multilabel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.data.csv_multilabel import MULTILABEL, read_multilabel
from snow_deploy.data.csv_rows import (
    EXPECTED,
    SPLITS,
    chosen_column,
    read_rows,
    split_remark,
    splits_of,
)
from snow_deploy.data.pictures import FilePictures, Splits, name_some
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.data.splitting import TEST_FRACTION
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from snow_deploy.data.csv_rows import Row

_OPTION = "label"


def read_csv(path: Path, options: Mapping[str, str] | None = None, *, seed: int = 0) -> Splits:
    """Read the pictures that a CSV file lists, with the labels of one or several of its columns.

    Classes are sorted by name. Rows without an answer in the column are left out, and counted in
    the splits' remarks. Without a column `split` a fifth of the rows, drawn by `seed` whatever
    their labels are, is the test split, so that every column has the same one.

    Args:
        path: Path of the CSV file, in UTF-8. The headings `file` and `split` and the names of the
            splits may be written in capitals.
        options: `label`, the column; not needed where there is only one that can be meant. With
            `labels`, or `separator` beside `label`, pictures have any number of labels: see
            `read_multilabel`.
        seed: Seed of the split of a file that has none.

    Raises:
        DataError: The file cannot be read or is laid out otherwise, lists a picture twice, or a
            class has no picture in a split.
    """
    rows, options = read_rows(path), dict(options or {})
    _check_options(options)
    if MULTILABEL & options.keys():
        return read_multilabel(path, rows, options, seed=seed)
    column = chosen_column(path, rows, options.get(_OPTION))
    splits = splits_of(path, rows, {column}, lambda: _drawn(len(rows), seed))
    found = _by_split(path, rows, column, splits)
    if "train" not in found:
        msg = f"{path} lists no picture to train on under {column}; {EXPECTED}. Add some."
        raise DataError(msg)
    _check_classes(path, column, found)
    return Splits(
        train=found["train"],
        val=found.get("val"),
        test=found.get("test"),
        remarks=(*_left_out(path, rows, column), *split_remark(path, rows, {column})),
    )


def _check_options(options: Mapping[str, str]) -> None:
    if unknown := options.keys() - {_OPTION, *MULTILABEL}:
        msg = (
            f"csv data has no option {', '.join(sorted(unknown))}, expected label=COLUMN, "
            "label=COLUMN&separator=SIGN or labels=COLUMN,COLUMN. Remove the others."
        )
        raise DataError(msg)


def _drawn(count: int, seed: int) -> list[int]:
    """Return the places of the test rows."""
    held_out = max(1, round(count * TEST_FRACTION))
    places: list[int] = keyed_permutation(count, "csv split", seed)[:held_out].tolist()
    return places


def _by_split(
    path: Path, rows: list[Row], column: str, splits: list[str]
) -> dict[str, FilePictures]:
    """Return the answered rows of each split that has some."""
    answered = [place for place, row in enumerate(rows) if row.fields[column]]
    labels = tuple(sorted({rows[place].fields[column] for place in answered}))
    if len(labels) < 2:
        msg = (
            f'The column "{column}" of {path} has {len(labels)} different labels, expected two or '
            "more. Correct it, or name another column."
        )
        raise DataError(msg)
    found: dict[str, FilePictures] = {}
    for split in dict.fromkeys(SPLITS.values()):
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
    return found


def _left_out(path: Path, rows: list[Row], column: str) -> tuple[str, ...]:
    """Say which rows were not used."""
    unanswered = sum(not row.fields[column] for row in rows)
    if not unanswered:
        return ()
    return (f'left out of {path}: {unanswered} of {len(rows)} rows, empty under "{column}"',)


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

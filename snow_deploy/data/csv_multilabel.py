"""Pictures listed in a CSV file of which each has any number of labels, none too.

::

    file,wet,broken,tags
    0001.jpg,1,0,red; round
    0002.jpg,0,0,

`csv:pictures.csv?labels=wet,broken` reads a column for each label;
`csv:pictures.csv?label=tags&separator=;` reads one column in which a cell holds several.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from snow_deploy.data.csv_rows import (
    EXPECTED,
    FILE,
    SPLITS,
    chosen_column,
    question_columns,
    split_remark,
    splits_of,
)
from snow_deploy.data.label_remarks import folded
from snow_deploy.data.multilabel import MultiLabelFiles
from snow_deploy.data.multilabel_split import split_sets
from snow_deploy.data.pictures import Splits, name_some
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from snow_deploy.data.csv_rows import Row

_COLUMN, _COLUMNS, _SEPARATOR = "label", "labels", "separator"
MULTILABEL: Final = frozenset({_COLUMNS, _SEPARATOR})
"""Options that say that a picture may have any number of labels."""

_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("0", "false", "no"), False),
}
"""What may stand in the column of a label; capitals do not matter."""


def read_multilabel(
    path: Path, rows: Sequence[Row], options: Mapping[str, str], *, seed: int = 0
) -> Splits:
    """Read the labels of a CSV file's rows.

    A picture without any label is one like the others. Without a column `split` the test rows are
    drawn as for questions of one answer, and then exchanged where a label would be in one part
    only: see `split_sets`.

    Args:
        path: Path of the CSV file.
        rows: Its rows.
        options: `labels`, the columns, separated by commas, each with 1 or 0, true or false, yes or
            no; they are the labels, in this order. Or `separator`, which stands between the labels
            in the cells of the column `label`; they are sorted by name.
        seed: Seed of the split of a file that has none.

    Raises:
        DataError: A column is missing, or holds something else; or there is no label at all.
    """
    if _COLUMNS in options:
        columns, labels, sets = _from_columns(path, rows, options)
    else:
        columns, labels, sets = _from_cells(path, rows, options)
    splits = splits_of(path, rows, columns, lambda: split_sets(sets, "csv split", seed=seed)[1])
    found: dict[str, MultiLabelFiles] = {}
    for split in dict.fromkeys(SPLITS.values()):
        places = [place for place, each in enumerate(splits) if each == split]
        if places:
            found[split] = MultiLabelFiles(
                paths=tuple(rows[place].path for place in places),
                sets=tuple(sets[place] for place in places),
                labels=labels,
            )
    if "train" not in found:
        msg = f"{path} lists no picture to train on; {EXPECTED}. Add some."
        raise DataError(msg)
    return Splits(
        train=found["train"],
        val=found.get("val"),
        test=found.get("test"),
        remarks=(*split_remark(path, rows, columns), *_doubts(path, found)),
    )


def _from_columns(
    path: Path, rows: Sequence[Row], options: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[int, ...]]]:
    """Read a column for each label: the columns, the labels, and each row's set."""
    if len(options) > 1:
        msg = (
            f"labels={options[_COLUMNS]} names a column for each label, expected no "
            f"{' or '.join(sorted(options.keys() - {_COLUMNS}))} beside it. Leave one of them out."
        )
        raise DataError(msg)
    columns = _named(options[_COLUMNS])
    questions = question_columns(rows)
    if missing := [column for column in columns if column not in questions]:
        msg = (
            f'The columns of labels "{name_some(missing)}" are not there: {path} has '
            f"{name_some(questions) or 'none'}. Name some as csv:{path}?labels=COLUMN,COLUMN."
        )
        raise DataError(msg)
    if len(set(columns)) < len(columns):
        msg = f"labels={options[_COLUMNS]} names a column twice, expected each once. Remove one."
        raise DataError(msg)
    sets = [
        tuple(n for n, column in enumerate(columns) if _is_present(path, row, column))
        for row in rows
    ]
    return columns, columns, sets


def _named(text: str) -> tuple[str, ...]:
    """Split the columns' names at commas, as a line of CSV: a name with one in it is quoted."""
    try:
        (line,) = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        line = []
    columns = tuple(column.strip() for column in line)
    if not columns or "" in columns:
        msg = f"labels={text} names no columns, expected labels=COLUMN,COLUMN. Name some."
        raise DataError(msg)
    return columns


def _is_present(path: Path, row: Row, column: str) -> bool:
    found = _WORDS.get(folded(row.fields[column]))
    if found is None:
        msg = (
            f'Line {row.number} of {path}, {row.fields[FILE]}, has "{row.fields[column]}" under '
            f'"{column}", expected 1 or 0, true or false, yes or no. Correct it.'
        )
        raise DataError(msg)
    return found


def _from_cells(
    path: Path, rows: Sequence[Row], options: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[int, ...]]]:
    """Read one column whose cells hold several labels: the column, the labels, each row's set."""
    separator = options[_SEPARATOR]
    if not separator:
        msg = "separator= names no sign, expected what stands between labels, such as ;. Name it."
        raise DataError(msg)
    column = chosen_column(path, rows, options.get(_COLUMN))
    cells = [
        {label.strip() for label in row.fields[column].split(separator)} - {""} for row in rows
    ]
    labels = tuple(sorted(set().union(*cells)))
    if not labels:
        msg = (
            f'The column "{column}" of {path} holds no label at all, expected some, with '
            f'"{separator}" between those of one picture. Correct it, or name another column.'
        )
        raise DataError(msg)
    places = {label: place for place, label in enumerate(labels)}
    return (column,), labels, [tuple(sorted(places[label] for label in cell)) for cell in cells]


def _doubts(path: Path, found: Mapping[str, MultiLabelFiles]) -> list[str]:
    """Say where no picture has several labels, and which labels none of a split has, or all."""
    remarks = []
    most = max(len(present) for pictures in found.values() for present in pictures.sets)
    if most < 2 and len(found["train"].labels) > 1:
        remarks.append(
            f"no picture of {path} has several labels; where each has exactly one, it is learned "
            "better with label=COLUMN alone"
        )
    for split, pictures in found.items():
        numbers = [0] * len(pictures.labels)
        for number in (number for present in pictures.sets for number in present):
            numbers[number] += 1
        for count, what in ((0, "no picture"), (len(pictures), "every picture")):
            named = [
                label for label, seen in zip(pictures.labels, numbers, strict=True) if seen == count
            ]
            if named:
                remarks.append(
                    f"{what} of the {split} split of {path} has the label {name_some(named)}: "
                    + ("nothing can be learned of it" if split == "train" else "it measures little")
                )
    return remarks

"""What the readers of published data sets share: finding the folder, reading its lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.data.pictures import Splits, name_some
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import FilePictures


def check_folder(path: Path, expected: str) -> None:
    """Check that `path` is a folder.

    Args:
        path: Path of the data.
        expected: "expected ...", what should be there, for the message.

    Raises:
        DataError: It is missing, or a file.
    """
    if path.is_dir():
        return
    seen = "is a file, not a folder" if path.exists() else "does not exist"
    msg = f"The data folder {path} {seen}; {expected}. Correct the path."
    raise DataError(msg)


def find_root(path: Path, marker: str, expected: str) -> Path:
    """Return `path`, or the one folder in it, that has the file `marker` in it.

    Args:
        path: The data set's folder or the folder it was unpacked into.
        marker: A file that the data set has, relative to its own folder.
        expected: "expected ...", what should be there, for the message.

    Raises:
        DataError: `path` is no folder, or the marker is nowhere or in two places.
    """
    check_folder(path, expected)
    if (path / marker).is_file():
        return path
    found = sorted(folder for folder in path.iterdir() if (folder / marker).is_file())
    if not found:
        msg = f"There is no {marker} in {path} nor in a folder of it; {expected}. Correct the path."
        raise DataError(msg)
    if len(found) > 1:
        names = name_some([folder.name for folder in found])
        msg = f"{path} has {marker} in several folders: {names}; {expected}. Name one of them."
        raise DataError(msg)
    return found[0]


def read_table(path: Path, columns: int) -> list[list[str]]:
    """Read a text file of fields separated by blanks; empty lines are left out.

    Args:
        path: Path of the file, in UTF-8.
        columns: How many fields every line has; the last may hold blanks.

    Returns:
        The fields of each line.

    Raises:
        DataError: The file is missing or not text, or a line has fewer fields.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        msg = f"Cannot read the list {path}: {reason}; expected a text file. Unpack the data again."
        raise DataError(msg) from error
    table = []
    for number, line in enumerate(lines, start=1):
        fields = line.split(maxsplit=columns - 1)
        if not fields:
            continue
        if len(fields) != columns:
            msg = (
                f'Line {number} of {path} is "{line}", expected {columns} fields separated by a '
                "blank. Unpack the data again."
            )
            raise DataError(msg)
        fields[-1] = fields[-1].rstrip()
        table.append(fields)
    return table


def listed_splits(
    train: FilePictures, test: FilePictures, val: FilePictures | None = None
) -> Splits:
    """Return the splits of a list, checked: every class has a picture in each of them.

    Raises:
        DataError: A split is empty, or a class has no picture in it.
    """
    splits = Splits(train=train, val=val, test=test)
    for split, pictures in (("train", train), ("val", val), ("test", test)):
        if pictures is None:
            continue
        present = set(pictures.targets)
        empty = [label for number, label in enumerate(pictures.labels) if number not in present]
        if empty:
            msg = (
                f"The {split} split lists no pictures of {name_some(empty)}, expected at least one "
                "of every class. Unpack the data again."
            )
            raise DataError(msg)
    return splits

"""CUB-200-2011 (Wah et al., 2011), in the layout it is published in.

::

    CUB_200_2011/
    ├── classes.txt             <class> <name>
    ├── images.txt              <image> <path under images/>
    ├── image_class_labels.txt  <image> <class>
    ├── train_test_split.txt    <image> <1 for train, 0 for test>
    └── images/NNN.Name/*.jpg
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.data.listing import check_folder, find_root, listed_splits, read_table
from snow_deploy.data.pictures import FilePictures, name_some
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from snow_deploy.data.pictures import Splits

_EXPECTED = "expected CUB_200_2011.tgz, from https://data.caltech.edu/records/20098, unpacked there"
_TRAIN, _TEST = "1", "0"


def read_cub200(path: Path) -> Splits:
    """Read CUB-200-2011 with its own train and test split.

    Args:
        path: The folder CUB_200_2011, or the one it was unpacked into.

    Returns:
        The splits; labels as published, such as "001.Black_footed_Albatross".

    Raises:
        DataError: A list is missing or contradicts another, or a class or split is empty.
    """
    root = find_root(path, "images.txt", _EXPECTED)
    check_folder(root / "images", _EXPECTED)
    images = _by_number(root / "images.txt")
    classes = _by_number(root / "classes.txt")
    class_of = _by_number(root / "image_class_labels.txt", images)
    split_of = _by_number(root / "train_test_split.txt", images)
    _check_values(root / "image_class_labels.txt", class_of, set(classes))
    _check_values(root / "train_test_split.txt", split_of, {_TRAIN, _TEST})
    place = {number: index for index, number in enumerate(classes)}

    def pictures(split: str) -> FilePictures:
        chosen = [number for number in images if split_of[number] == split]
        return FilePictures(
            paths=tuple(root / "images" / images[number] for number in chosen),
            targets=tuple(place[class_of[number]] for number in chosen),
            labels=tuple(classes.values()),
        )

    return listed_splits(train=pictures(_TRAIN), test=pictures(_TEST))


def _by_number(path: Path, images: dict[str, str] | None = None) -> dict[str, str]:
    """Read a list of `<number> <value>`; with `images`, one line for each of them."""
    table = read_table(path, columns=2)
    values = dict(table)
    if len(values) != len(table):
        msg = f"{path} lists a number twice, expected each once. Unpack the data again."
        raise DataError(msg)
    if images is not None and values.keys() != images.keys():
        odd = sorted(values.keys() ^ images.keys())
        msg = (
            f"{path} and images.txt list different images, expected the same; in one only: "
            f"{name_some(odd)}. Unpack the data again."
        )
        raise DataError(msg)
    return values


def _check_values(path: Path, values: dict[str, str], allowed: set[str]) -> None:
    for number, value in values.items():
        if value not in allowed:
            msg = (
                f'{path} gives "{value}" for image {number}, expected one of '
                f"{name_some(sorted(allowed))}. Unpack the data again."
            )
            raise DataError(msg)

"""Pictures with any number of labels each: in files, and as numbers to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from snow_deploy.data.pictures import MultiLabelPictures
from snow_deploy.errors import DataError
from snow_runtime.pictures.plain_file import load_plain_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from snow_deploy.data.pictures import Pictures


@dataclass(frozen=True)
class MultiLabelFiles:
    """Pictures in files, each with any number of labels, none too.

    Attributes:
        paths: One file a picture.
        sets: The labels of each, ascending indices into `labels`.
        labels: The name of every label.

    Raises:
        DataError: The numbers of paths and sets differ, or a set is not ascending or names what
            has no label.
    """

    paths: tuple[Path, ...]
    sets: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that every picture has a set of labels that there are."""
        if len(self.paths) != len(self.sets):
            msg = (
                f"A listing names {len(self.paths)} pictures but the labels of {len(self.sets)}, "
                "expected labels for each. Correct the listing."
            )
            raise DataError(msg)
        for path, present in zip(self.paths, self.sets, strict=True):
            known = all(0 <= number < len(self.labels) for number in present)
            if not known or list(present) != sorted(set(present)):
                msg = (
                    f"{path} is listed under the labels number {list(present)}, expected each "
                    f"once, ascending, of 0 to {len(self.labels) - 1}. Correct the listing."
                )
                raise DataError(msg)

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.paths)

    def present(self, index: int) -> tuple[int, ...]:
        """Return which labels are right of one picture, indices into `labels`, ascending."""
        return self.sets[index]

    def target(self, index: int) -> NoReturn:
        """Refuse: no picture has one class.

        Raises:
            DataError: Always.
        """
        raise no_single_class(self, index)

    def name(self, index: int) -> str:
        """Return the path of one picture."""
        return str(self.paths[index])

    def load(self, index: int) -> Image.Image:
        """Return one picture in RGB, turned as its EXIF orientation says.

        Raises:
            snow_runtime.errors.InputError: The file can't be read; the message names it.
        """
        return load_plain_file(self.paths[index])


def no_single_class(pictures: MultiLabelPictures, index: int) -> DataError:
    """Return the error of asking for the one class of a picture that may have several labels."""
    msg = (
        f"{pictures.name(index)} may have any number of the {len(pictures.labels)} labels, "
        "expected one class for each picture here. Give data of which each picture has one, such "
        "as csv:FILE?label=COLUMN."
    )
    return DataError(msg)


def targets_of(pictures: Pictures) -> NDArray[np.int64] | NDArray[np.float32]:
    """Return what is right of every picture: its class, int64 [M]; or its labels as `multi_hot`."""
    if isinstance(pictures, MultiLabelPictures):
        sets = [pictures.present(index) for index in range(len(pictures))]
        return multi_hot(sets, len(pictures.labels))
    return np.array([pictures.target(index) for index in range(len(pictures))], np.int64)


def multi_hot(sets: Sequence[Sequence[int]], labels: int) -> NDArray[np.float32]:
    """Return sets of labels as float32 [M, C]: 1 where a label is in a picture's set, else 0."""
    found = np.zeros((len(sets), labels), np.float32)
    for row, present in zip(found, sets, strict=True):
        row[list(present)] = 1
    return found

"""A train and a test split of pictures that came without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.data.pictures import FilePictures, Splits
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

TEST_FRACTION = 0.2
FEWEST_A_CLASS = 2


def stratified_split(
    targets: Sequence[int],
    labels: Sequence[str],
    *,
    seed: int,
    test_fraction: float = TEST_FRACTION,
) -> tuple[list[int], list[int]]:
    """Split picture indices into train and test, class by class.

    A class of n pictures gives round(n * test_fraction) to test, but at least one to each side.

    Args:
        targets: The class of each picture, indices into `labels`.
        labels: The name of every class.
        seed: The split depends on it, on `targets` and on nothing else.
        test_fraction: Share of the test pictures, in (0, 1).

    Returns:
        The indices of the train and of the test pictures, each ascending.

    Raises:
        DataError: A class has fewer than two pictures.
    """
    classes = np.asarray(targets, dtype=np.int64)
    train: list[int] = []
    test: list[int] = []
    for number, label in enumerate(labels):
        members = np.flatnonzero(classes == number)
        if len(members) < FEWEST_A_CLASS:
            msg = (
                f'Class "{label}" cannot be split into train and test: it has {len(members)} '
                f"picture(s), expected {FEWEST_A_CLASS} or more. Add pictures, or lay the data "
                "out as train/ and test/."
            )
            raise DataError(msg)
        wanted = round(len(members) * test_fraction)
        for_test = min(max(wanted, 1), len(members) - 1)
        shuffled = members[keyed_permutation(len(members), "split", seed, number)]
        test.extend(shuffled[:for_test].tolist())
        train.extend(shuffled[for_test:].tolist())
    return sorted(train), sorted(test)


def split_files(pictures: FilePictures, *, seed: int) -> Splits:
    """Return the pictures as a seeded, stratified train (80 %) and test (20 %) split.

    Raises:
        DataError: A class has fewer than two pictures.
    """
    train, test = stratified_split(pictures.targets, pictures.labels, seed=seed)
    return Splits(train=pictures.subset(train), val=None, test=pictures.subset(test))

"""A validation part of the training pictures: choices are made without the test pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from snow_deploy.data.multilabel_split import split_sets
from snow_deploy.data.pictures import MultiLabelPictures, Splits
from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.data.splitting import FEWEST_A_CLASS, TEST_FRACTION, stratified_split
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from snow_deploy.data.pictures import Pictures

FEWEST_TO_TUNE: Final = 20
"""Of fewer pictures a temperature is worth less than they are in training."""


@dataclass(frozen=True)
class Part:
    """Some of the pictures of a list, in an order of their own.

    Attributes:
        whole: The list.
        indices: Which of its pictures.
    """

    whole: Pictures
    indices: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of every class, those without a picture here too."""
        return self.whole.labels

    def __len__(self) -> int:
        """Return how many pictures there are."""
        return len(self.indices)

    def target(self, index: int) -> int:
        """Return the class of one picture, in [0, len(labels))."""
        return self.whole.target(self.indices[index])

    def name(self, index: int) -> str:
        """Return what to call one picture in a message, such as its path."""
        return self.whole.name(self.indices[index])

    def load(self, index: int) -> Image.Image:
        """Return one picture in RGB.

        Raises:
            snow_runtime.errors.InputError: The picture can't be read.
        """
        return self.whole.load(self.indices[index])


@dataclass(frozen=True)
class MultiLabelPart(Part):
    """Some of the pictures of a list in which each has any number of labels."""

    whole: MultiLabelPictures

    def present(self, index: int) -> tuple[int, ...]:
        """Return which labels are right of one picture, indices into `labels`, ascending."""
        return self.whole.present(self.indices[index])


def hold_out(splits: Splits, *, seed: int, share: float = TEST_FRACTION) -> Splits:
    """Return the training pictures alone, a part of each class or label held out as `val`.

    Neither the data's test split nor a validation split of its own is in it: nothing of what final
    figures may come from can have a part in a choice.

    Args:
        splits: The data.
        seed: The part depends on it and on the classes of the training pictures, on nothing else.
        share: Share of each class that is held out, in (0, 1); at least one picture. Where
            pictures have any number of labels it is a share of all, see `split_sets`.

    Raises:
        DataError: A class or label has fewer than two training pictures.
    """
    train = splits.train
    kept, held = (
        _multi_label(train, seed, share)
        if isinstance(train, MultiLabelPictures)
        else _by_class(train, seed, share)
    )
    return Splits(
        train=part_of(train, kept),
        val=part_of(train, held),
        test=None,
        augmentation=splits.augmentation,
        remarks=splits.remarks,
    )


def keep_for_tuning(splits: Splits, share: float, seed: int) -> Splits:
    """Take a part of the training pictures out of training, where no validation split serves.

    Which ones depends on their number and the seed alone: tasks that train together on the same
    pictures keep the same ones, whatever their labels are.

    Args:
        splits: The data.
        share: Share of the training pictures that is taken, in [0, 1).
        seed: Seed of the draw.

    Returns:
        The same data where it has both a validation and a test split, or where so few pictures
        would be taken that they say little (`FEWEST_TO_TUNE`).

    Raises:
        DataError: A class would be left without a training picture.
    """
    count = int(share * len(splits.train))
    if (splits.val is not None and splits.test is not None) or count < FEWEST_TO_TUNE:
        return splits
    order = keyed_permutation(len(splits.train), "keep for tuning", seed).tolist()
    kept, held = sorted(order[count:]), sorted(order[:count])
    train = part_of(splits.train, kept)
    _check_left(splits.train, train)
    return replace(
        splits, train=train, held_out=part_of(splits.train, held), all_train=splits.train
    )


def _check_left(before: Pictures, after: Pictures) -> None:
    gone = [before.labels[number] for number in sorted(_shown(before) - _shown(after))]
    if gone:
        msg = (
            f"All training pictures of {', '.join(gone)} would be held out, expected one at least "
            "to train on. Add pictures of it, give another --seed, or --hold-out 0."
        )
        raise DataError(msg)


def _shown(pictures: Pictures) -> set[int]:
    """Return the labels that some picture shows."""
    if isinstance(pictures, MultiLabelPictures):
        return {number for index in range(len(pictures)) for number in pictures.present(index)}
    return {pictures.target(index) for index in range(len(pictures))}


def part_of(whole: Pictures, indices: Sequence[int]) -> Part:
    """Return the pictures of a list at `indices`, in that order."""
    if isinstance(whole, MultiLabelPictures):
        return MultiLabelPart(whole, tuple(indices))
    return Part(whole, tuple(indices))


def _by_class(train: Pictures, seed: int, share: float) -> tuple[list[int], list[int]]:
    targets = [train.target(index) for index in range(len(train))]
    _check_numbers(train, Counter(targets))
    return stratified_split(targets, train.labels, seed=seed, test_fraction=share)


def _multi_label(train: MultiLabelPictures, seed: int, share: float) -> tuple[list[int], list[int]]:
    sets = [train.present(index) for index in range(len(train))]
    _check_numbers(train, Counter(number for present in sets for number in present))
    return split_sets(sets, "hold out", seed=seed, test_fraction=share)


def _check_numbers(train: Pictures, counts: Counter[int]) -> None:
    few = [label for number, label in enumerate(train.labels) if counts[number] < FEWEST_A_CLASS]
    if few:
        msg = (
            f"{', '.join(few)}: fewer than {FEWEST_A_CLASS} training pictures, expected "
            f"{FEWEST_A_CLASS} or more of each class, so that a part can be held out. Add "
            "pictures, or leave such a class out."
        )
        raise DataError(msg)

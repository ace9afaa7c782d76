"""A validation part of the training pictures: choices are made without the test pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_deploy.data.pictures import Splits
from snow_deploy.data.splitting import FEWEST_A_CLASS, TEST_FRACTION, stratified_split
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

    from snow_deploy.data.pictures import Pictures


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


def hold_out(splits: Splits, *, seed: int, share: float = TEST_FRACTION) -> Splits:
    """Return the training pictures alone, a part of each class held out as `val`.

    Neither the data's test split nor a validation split of its own is in it: nothing of what final
    figures may come from can have a part in a choice.

    Args:
        splits: The data.
        seed: The part depends on it and on the classes of the training pictures, on nothing else.
        share: Share of each class that is held out, in (0, 1); at least one picture.

    Raises:
        DataError: A class has fewer than two training pictures.
    """
    train = splits.train
    targets = [train.target(index) for index in range(len(train))]
    counts = Counter(targets)
    few = [label for number, label in enumerate(train.labels) if counts[number] < FEWEST_A_CLASS]
    if few:
        msg = (
            f"{', '.join(few)}: fewer than {FEWEST_A_CLASS} training pictures, expected "
            f"{FEWEST_A_CLASS} or more of each class, so that a part can be held out. Add "
            "pictures, or leave such a class out."
        )
        raise DataError(msg)
    kept, held = stratified_split(targets, train.labels, seed=seed, test_fraction=share)
    return Splits(
        train=Part(train, tuple(kept)),
        val=Part(train, tuple(held)),
        test=None,
        augmentation=splits.augmentation,
        remarks=splits.remarks,
    )

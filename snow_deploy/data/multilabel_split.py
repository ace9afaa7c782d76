"""A test part of pictures that have any number of labels each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from snow_deploy.data.seeding import keyed_permutation
from snow_deploy.data.splitting import FEWEST_A_CLASS, TEST_FRACTION

if TYPE_CHECKING:
    from collections.abc import Sequence


def split_sets(
    sets: Sequence[Sequence[int]],
    key: str,
    *,
    seed: int,
    test_fraction: float = TEST_FRACTION,
) -> tuple[list[int], list[int]]:
    """Split picture indices into train and test, so that both have every label where they can.

    First the test part is drawn whatever the labels are. Then, for each label that one part lacks,
    a picture that has it changes sides, if it leaves no other label behind without one. So a label
    with at least as many pictures as there are labels is in both parts. To find out whether all of
    them can be would be set splitting, which is NP-complete.

    Args:
        sets: The labels of each picture.
        key: What the pictures are drawn for, beside the seed.
        seed: The split depends on it, on the key and on `sets`, on nothing else.
        test_fraction: Share of the test pictures, in (0, 1); at least one on each side.

    Returns:
        The indices of the train and of the test pictures, each ascending.
    """
    count = len(sets)
    wanted = min(max(1, round(count * test_fraction)), count - 1)
    order = keyed_permutation(count, key, seed).tolist()
    test, train = _Part(sets, order[:wanted]), _Part(sets, order[wanted:])
    having: dict[int, list[int]] = {}
    for index in order:
        for number in sets[index]:
            having.setdefault(number, []).append(index)
    for number in sorted(having, key=lambda number: (len(having[number]), number)):
        for lacking, other in ((test, train), (train, test)):
            if not lacking.numbers[number] and len(having[number]) >= FEWEST_A_CLASS:
                _bring(having[number], lacking, other)
    return sorted(train.indices), sorted(test.indices)


class _Part:
    """The pictures of one side, and how many of them have each label."""

    def __init__(self, sets: Sequence[Sequence[int]], indices: Sequence[int]) -> None:
        self._sets = sets
        self.indices = set(indices)
        self.numbers = Counter(number for index in indices for number in sets[index])

    def can_spare(self, index: int) -> bool:
        return all(self.numbers[number] > 1 for number in self._sets[index])

    def give(self, index: int, other: _Part) -> None:
        self.indices.discard(index)
        other.indices.add(index)
        self.numbers.subtract(self._sets[index])
        other.numbers.update(self._sets[index])


def _bring(having: Sequence[int], lacking: _Part, other: _Part) -> None:
    """Move a picture with a label to the part that lacks it, if there is one that can be spared."""
    able = next((index for index in having if other.can_spare(index)), None)
    if able is not None:
        other.give(able, lacking)

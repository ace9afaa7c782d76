from __future__ import annotations

import numpy as np
import pytest

from snow_runtime.readout.folds import split_into_folds


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_class_is_in_every_fold(folds: int) -> None:
    targets = np.repeat([0, 1, 2], [50, 7, folds])
    found = split_into_folds(targets, np.arange(len(targets)), folds, 0)

    for label in range(3):
        counts = np.bincount(found[targets == label], minlength=folds)
        assert counts.max() - counts.min() <= 1
        assert counts.min() >= 1
    sizes = np.bincount(found)
    assert sizes.max() - sizes.min() <= 1


def test_a_class_of_two_is_never_held_out_whole() -> None:
    targets = np.repeat(np.arange(40), 2)
    found = split_into_folds(targets, np.arange(80), 5, 0)
    assert all(len(set(found[targets == label])) == 2 for label in range(40))


def test_views_of_a_picture_stay_together_in_whatever_order() -> None:
    order = np.random.default_rng(0).permutation(60)
    pictures = np.tile(np.arange(20) * 3, 3)[order]
    targets = (pictures // 3) % 2
    found = split_into_folds(targets, pictures, 4, 0)
    by_picture = {number: set(found[pictures == number]) for number in set(pictures)}
    assert all(len(folds) == 1 for folds in by_picture.values())
    assert sorted(np.bincount([min(folds) for folds in by_picture.values()])) == [5] * 4


def test_the_seed_decides() -> None:
    targets = np.arange(50) % 5
    first, again, other = (split_into_folds(targets, np.arange(50), 5, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_sets_of_labels_count_as_classes() -> None:
    targets = np.array([[True, False], [True, True], [False, True]])[np.arange(30) % 3]
    found = split_into_folds(targets, np.arange(30), 5, 0)
    for label in range(2):
        assert (np.bincount(found[targets[:, label]], minlength=5) == 4).all()

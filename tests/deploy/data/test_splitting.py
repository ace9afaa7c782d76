from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_deploy.data import FilePictures
from snow_deploy.data.splitting import split_files, stratified_split
from snow_deploy.errors import DataError

LABELS = ("a", "b", "c", "d")


@st.composite
def class_lists(draw: st.DrawFn) -> list[int]:
    """Draw a class for each picture, two or more of each class, in any order."""
    counts = draw(st.lists(st.integers(2, 30), min_size=1, max_size=len(LABELS)))
    targets = [number for number, count in enumerate(counts) for _ in range(count)]
    return draw(st.permutations(targets))


@settings(deadline=None)
@given(targets=class_lists(), seed=st.integers(0, 2**32), fraction=st.floats(0.01, 0.99))
def test_a_split_takes_apart_and_keeps_everything(
    targets: list[int], seed: int, fraction: float
) -> None:
    labels = LABELS[: max(targets) + 1]
    train, test = stratified_split(targets, labels, seed=seed, test_fraction=fraction)
    assert sorted(train + test) == list(range(len(targets)))
    assert train == sorted(train)
    assert test == sorted(test)
    assert {targets[i] for i in train} == {targets[i] for i in test} == set(range(len(labels)))
    assert (train, test) == stratified_split(targets, labels, seed=seed, test_fraction=fraction)


@settings(deadline=None)
@given(targets=class_lists(), seed=st.integers(0, 100))
def test_a_fifth_of_every_class_is_for_test(targets: list[int], seed: int) -> None:
    _, test = stratified_split(targets, LABELS[: max(targets) + 1], seed=seed)
    in_test = Counter(targets[i] for i in test)
    for number, count in Counter(targets).items():
        assert abs(in_test[number] - count / 5) <= 1


def test_seeds_give_other_splits_and_every_picture_can_be_in_test() -> None:
    targets = [0] * 10 + [1] * 10
    splits = [stratified_split(targets, ("a", "b"), seed=seed)[1] for seed in range(60)]
    assert len({tuple(test) for test in splits}) > 50
    assert {index for test in splits for index in test} == set(range(20))


def test_the_split_of_a_seed_never_changes() -> None:
    assert stratified_split([0] * 10 + [1] * 10, ("a", "b"), seed=0)[1] == [6, 8, 10, 15]


@pytest.mark.parametrize(("targets", "count"), [([0, 0, 1], 1), ([0, 0], 0)])
def test_a_class_too_small_to_split_is_named(targets: list[int], count: int) -> None:
    with pytest.raises(DataError, match=rf'Class "b" .* it has {count} picture'):
        stratified_split(targets, ("a", "b"), seed=0)


def test_files_are_split_into_train_and_test() -> None:
    paths = tuple(Path(f"{i}.png") for i in range(20))
    data = FilePictures(paths, (0,) * 10 + (1,) * 10, ("a", "b"))
    splits = split_files(data, seed=3)
    assert splits.val is None
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (16, 4)
    both = [part.name(i) for part in (splits.train, splits.test) for i in range(len(part))]
    assert sorted(both) == sorted(map(str, paths))

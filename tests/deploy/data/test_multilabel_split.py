from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_deploy.data import FilePictures, MultiLabelFiles, Splits
from snow_deploy.data.hold_out import hold_out
from snow_deploy.data.multilabel_split import split_sets
from snow_deploy.errors import DataError

LABELS = 4
sets_of_labels = st.lists(
    st.sets(st.integers(0, LABELS - 1)).map(lambda found: tuple(sorted(found))),
    min_size=2,
    max_size=40,
)


def counts(sets: list[tuple[int, ...]]) -> Counter[int]:
    return Counter(number for present in sets for number in present)


def files(sets: list[tuple[int, ...]]) -> MultiLabelFiles:
    paths = tuple(Path(f"{n}.jpg") for n in range(len(sets)))
    return MultiLabelFiles(paths, tuple(sets), tuple("abcd"[:LABELS]))


@given(sets=sets_of_labels, seed=st.integers(0, 2**32), fraction=st.floats(0.01, 0.99))
def test_a_label_with_enough_pictures_is_in_both_parts(
    sets: list[tuple[int, ...]], seed: int, fraction: float
) -> None:
    train, test = split_sets(sets, "test", seed=seed, test_fraction=fraction)

    assert sorted(train + test) == list(range(len(sets)))
    assert train
    assert test
    assert train == sorted(train)
    assert test == sorted(test)
    assert (train, test) == split_sets(sets, "test", seed=seed, test_fraction=fraction)
    enough = {number for number, count in counts(sets).items() if count >= LABELS}
    for part in (train, test):
        assert enough <= counts([sets[index] for index in part]).keys()


@given(sets=st.lists(st.sampled_from([(), (0,), (1,), (2,)]), min_size=2, max_size=30))
def test_two_pictures_are_enough_where_no_picture_has_two_labels(
    sets: list[tuple[int, ...]],
) -> None:
    train, test = split_sets(sets, "test", seed=0)

    twice = {number for number, count in counts(sets).items() if count > 1}
    for part in (train, test):
        assert twice <= counts([sets[index] for index in part]).keys()


def test_as_few_as_needed_change_sides() -> None:
    sets = [(0,) if index % 2 else () for index in range(100)]

    _, drawn = split_sets(sets, "test", seed=1)
    rare = [
        (*present, 1) if index in set(range(100)) - set(drawn) and index < 9 else present
        for index, present in enumerate(sets)
    ]
    _, mended = split_sets(rare, "test", seed=1)

    assert len(drawn) == 20
    assert set(drawn) < set(mended)
    assert len(mended) == 21


def test_a_hold_out_gives_each_label_to_both_parts() -> None:
    sets = [(0, 1), (1,), (2,), (0,), (), (2, 3), (3,), (1, 2), (0, 3), ()] * 2
    whole = Splits(files(sets), None, files([(0,)]))

    for seed in range(20):
        parts = hold_out(whole, seed=seed)
        assert parts.answers == "several"
        assert parts.val is not None
        assert len(parts.train) + len(parts.val) == 20
        for part in (parts.train, parts.val):
            shown = [sets[int(Path(part.name(i)).stem)] for i in range(len(part))]
            assert [part.present(i) for i in range(len(part))] == shown  # type: ignore[attr-defined]
            assert set(counts(shown)) == {0, 1, 2, 3}


def test_a_label_of_one_picture_cannot_be_held_out() -> None:
    whole = Splits(files([(0, 1), (0, 1, 2), (2,), (3,), (1,)]), None, files([(0,)]))

    with pytest.raises(DataError, match="d: fewer than 2 training pictures"):
        hold_out(whole, seed=0)


def test_one_split_cannot_have_classes_and_another_sets() -> None:
    one = FilePictures((Path("1.jpg"),), (0,), tuple("abcd"))

    with pytest.raises(DataError, match="some have one class each, the others any number"):
        Splits(one, None, files([(0,)]))

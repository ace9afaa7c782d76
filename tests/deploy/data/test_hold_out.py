from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from snow_deploy.data import open_data
from snow_deploy.data.hold_out import hold_out, keep_for_tuning
from snow_deploy.data.pictures import Splits
from snow_deploy.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SPEC = "demo:shape?train=60&test=12&size=32"


def test_a_fifth_of_each_class_is_held_out_and_the_test_pictures_are_gone() -> None:
    whole = open_data(SPEC)

    parts = hold_out(whole, seed=3)

    assert parts.test is None
    assert parts.val is not None
    assert parts.final[1] is parts.val
    names = [[part.name(i) for i in range(len(part))] for part in (parts.train, parts.val)]
    assert sorted(names[0] + names[1]) == sorted(whole.train.name(i) for i in range(60))
    classes = [whole.train.target(i) for i in range(60)]
    held = Counter(parts.val.target(i) for i in range(len(parts.val)))
    for label, count in Counter(classes).items():
        assert held[label] == max(1, round(count / 5))


def test_a_part_gives_the_pictures_of_the_whole() -> None:
    whole = open_data(SPEC).train
    parts = hold_out(open_data(SPEC), seed=0)
    places = {whole.name(i): i for i in range(len(whole))}

    for index in range(len(parts.train)):
        place = places[parts.train.name(index)]
        assert parts.train.target(index) == whole.target(place)
        assert parts.train.load(index).tobytes() == whole.load(place).tobytes()
    assert parts.labels == whole.labels


def test_the_part_depends_on_the_seed_alone() -> None:
    def held(seed: int) -> list[str]:
        val = hold_out(open_data(SPEC), seed=seed).val
        assert val is not None
        return [val.name(i) for i in range(len(val))]

    assert held(1) == held(1)
    assert held(1) != held(2)


def test_the_datas_own_validation_pictures_take_no_part() -> None:
    whole = open_data(SPEC)

    parts = hold_out(replace(whole, val=whole.test), seed=0)

    assert parts.val is not None
    assert not {parts.val.name(i) for i in range(len(parts.val))} & {
        whole.final[1].name(i) for i in range(len(whole.final[1]))
    }


def test_a_class_of_one_picture_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"square.*: fewer than 2 training pictures"):
        hold_out(open_data("demo:shape?train=6&test=12&size=32"), seed=0)


def test_pictures_for_temperatures_leave_training_and_the_data_stays_known_as_it_was() -> None:
    whole = open_data("demo:shape?train=120&test=12&size=32")
    other = open_data("demo:digit?train=120&test=12&size=32")

    kept = keep_for_tuning(whole, 0.2, seed=1)

    assert kept.tuning is not None
    names = [[part.name(i) for i in range(len(part))] for part in (kept.train, kept.tuning)]
    assert (len(names[0]), len(names[1])) == (96, 24)
    assert sorted(names[0] + names[1]) == sorted(whole.train.name(i) for i in range(120))
    assert (kept.fingerprint, kept.entries) == (whole.fingerprint, whole.entries)
    assert kept.evaluation == whole.evaluation
    # Tasks on the same pictures keep the same ones: they share the source's pass.
    beside = keep_for_tuning(other, 0.2, seed=1).tuning
    assert beside is not None
    assert [beside.name(i) for i in range(24)] == names[1]
    assert keep_for_tuning(whole, 0.2, seed=2).tuning != kept.tuning


def test_no_pictures_leave_training_where_they_are_few_or_there_is_a_validation_split() -> None:
    whole = open_data("demo:shape?train=120&test=12&size=32")
    assert keep_for_tuning(whole, 0.1, seed=0) is whole  # 12 of them
    assert keep_for_tuning(whole, 0.0, seed=0) is whole
    assert whole.tuning is None
    validated = replace(whole, val=open_data(SPEC).test)
    assert keep_for_tuning(validated, 0.5, seed=0) is validated
    assert validated.tuning is validated.val
    measured = replace(whole, val=whole.test, test=None)  # its final figures are those of val
    assert measured.tuning is None
    assert keep_for_tuning(measured, 0.5, seed=0).tuning is not None


def test_no_class_is_left_without_a_training_picture() -> None:
    whole = open_data("demo:shape?train=120&test=12&size=32").train
    rare = next(i for i in range(120) if i in _taken(120, 0.5, 0))

    class OneOfAKind:
        labels = ("rare", "usual")

        def __len__(self) -> int:
            return 120

        def target(self, index: int) -> int:
            return 0 if index == rare else 1

        def name(self, index: int) -> str:
            return whole.name(index)

        def load(self, index: int) -> Image.Image:
            return whole.load(index)

    pictures = OneOfAKind()
    splits = Splits(train=pictures, val=None, test=pictures)
    with pytest.raises(DataError, match="All training pictures of rare would be held out"):
        keep_for_tuning(splits, 0.5, seed=0)


def _taken(count: int, share: float, seed: int) -> list[int]:
    whole = open_data(f"demo:shape?train={count}&test=12&size=32")
    held = keep_for_tuning(whole, share, seed).tuning
    assert held is not None
    names = {whole.train.name(i): i for i in range(count)}
    return [names[held.name(i)] for i in range(len(held))]

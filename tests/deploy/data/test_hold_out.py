from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from snow_deploy.data import open_data
from snow_deploy.data.hold_out import hold_out
from snow_deploy.errors import DataError

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

"""`collected:FILE`: what a box's people labelled, split so that no moment is on both sides."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_deploy.data.collected import moments_of, split_moments
from snow_deploy.data.multilabel import targets_of
from snow_deploy.data.pictures import MultiLabelPictures
from snow_deploy.data.spec import open_data, parse_spec
from snow_deploy.errors import DataError
from snow_runtime.collection.collection import Collection
from snow_runtime.collection.exchange.packed import PackedPicture, read_packed
from snow_runtime.collection.exchange.transfer import pull_pictures
from snow_runtime.collection.records import CollectionQuestion
from tests.runtime.collection.pictures import new_picture

if TYPE_CHECKING:
    from pathlib import Path

    from snow_runtime.collection.records import Reason


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Forty pictures of ten moments, four each within some seconds; of two questions."""
    with Collection.open(tmp_path / "kept", create=True) as kept:
        kept.add_question(CollectionQuestion("door", ("open", "shut")))
        kept.add_question(CollectionQuestion("marks", ("red", "round"), several=True))
        for number in range(40):
            moment, within = divmod(number, 4)
            picture = replace(new_picture(number), taken_at=1000.0 * moment + 3 * within)
            found = kept.add(picture) or 0
            kept.label([found], "door", "open" if moment % 2 else "shut", "ann")
            marks = tuple(name for n, name in enumerate(("red", "round")) if moment >> n & 1)
            kept.label([found], "marks", marks, "ann")
        pull_pictures(kept, tmp_path / "labelled.tar")
    return tmp_path / "labelled.tar"


def test_a_question_s_pictures_are_split_by_moments(file: Path) -> None:
    splits = open_data(f"collected:{file}?question=door")
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (32, 8)
    assert splits.labels == ("open", "shut")
    assert targets_of(splits.test).tolist().count(0) == 4
    of = {each.sha256: int(each.taken_at // 1000) for each in read_packed(file).pictures}
    sides = [
        {of[part.name(i).rpartition("/")[2][:64]] for i in range(len(part))}
        for part in (splits.train, splits.test)
    ]
    assert sides[0].isdisjoint(sides[1])
    assert sides[0] | sides[1] == set(range(10))
    assert splits.train.load(0).size == (16, 8)
    assert "10 moments" in splits.remarks[0]
    again = open_data(f"collected:{file}?question=door")
    assert again.fingerprint == splits.fingerprint
    assert open_data(f"collected:{file}?question=door", seed=1).fingerprint != splits.fingerprint


def test_several_labels_of_a_picture(file: Path) -> None:
    splits = open_data(f"collected:{file}?question=marks")
    assert isinstance(splits.train, MultiLabelPictures)
    assert splits.test is not None
    assert len(splits.train) + len(splits.test) == 40
    both = np.concatenate([targets_of(splits.train), targets_of(splits.test)])
    assert both.sum(axis=0).tolist() == [20, 16]
    assert (targets_of(splits.test).sum(axis=0) > 0).all()


def test_a_file_of_one_question_needs_no_name(tmp_path: Path, file: Path) -> None:
    with Collection.open(tmp_path / "kept") as kept:
        pull_pictures(kept, tmp_path / "door.tar", ["door"])
    assert open_data(f"collected:{tmp_path / 'door.tar'}").labels == ("open", "shut")
    for options, said in (
        ("", "door, marks, and no question"),
        ("?question=roof", "question=roof"),
        ("?task=door", "task=door"),
        ("?question=door&seed=3", "seed=3"),
    ):
        with pytest.raises(DataError, match=said):
            open_data(f"collected:{file}{options}")


def test_the_spec_names_a_file_and_a_question() -> None:
    spec = parse_spec("collected:a/b.tar?question=door")
    assert (spec.kind, spec.location, dict(spec.options)) == (
        "collected",
        "a/b.tar",
        {"question": "door"},
    )


def test_what_cannot_be_read_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="collect pull"):
        open_data(f"collected:{tmp_path / 'none.tar'}?question=door")


def test_a_label_of_one_moment_cannot_be_measured(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "kept", create=True) as kept:
        kept.add_question(CollectionQuestion("door", ("open", "shut")))
        for number in range(8):
            picture = replace(
                new_picture(number), taken_at=float(number if number < 4 else 99 * number)
            )
            kept.label([kept.add(picture) or 0], "door", "open" if number < 4 else "shut", "ann")
        pull_pictures(kept, tmp_path / "x.tar")
    with pytest.raises(DataError, match=r"labels open have no two moments.*10 s apart"):
        open_data(f"collected:{tmp_path / 'x.tar'}")


def packed(taken_at: float, camera: str = "gate", reason: Reason = "unlike") -> PackedPicture:
    return PackedPicture("", "", 0, 0, camera, "", taken_at, reason, "", None, {})


def test_a_moment_is_frames_of_a_camera_that_follow_each_other() -> None:
    pictures = [
        packed(100),
        packed(0),
        packed(9),
        packed(18),
        packed(29),
        packed(9, "yard"),
        packed(104, reason="imported"),
        packed(105, reason="imported"),
        packed(108),
    ]
    found = moments_of(pictures)
    assert found[1] == found[2] == found[3]
    assert len({found[n] for n in (0, 1, 4, 5, 6, 7)}) == 6
    assert found[8] == found[0]  # whatever was imported with a time between


def test_every_label_is_on_both_sides_and_a_fifth_in_the_test() -> None:
    rng = random.Random(2)
    for seed in range(40):
        labels = ["a", "b", "c"]
        sets, moments = [], []
        for moment in range(rng.randrange(12, 40)):
            label = moment % 3 if moment < 9 else rng.choices(range(3), (8, 3, 1))[0]
            size = rng.randrange(1, 6)
            sets += [(label,)] * size
            moments += [moment] * size
        train, test = split_moments(sets, moments, labels, seed=seed)
        assert sorted(train + test) == list(range(len(sets)))
        assert {moments[n] for n in train}.isdisjoint(moments[n] for n in test)
        for label in range(3):
            share = sum(sets[n] == (label,) for n in test) / sets.count((label,))
            assert 0 < share < 0.75
        assert 0.1 < len(test) / len(sets) < 0.45

"""How much a collection keeps is its own: imports take nothing away, and restarts nothing more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snow_runtime.collection.collection import Collection
from snow_runtime.collection.collector import Collector
from snow_runtime.collection.exchange.incoming import import_pictures, labelled_in_folders
from snow_runtime.collection.hourly_budget import HourlyBudget
from snow_runtime.collection.options import USUAL_BYTES, CollectionOptions
from snow_runtime.collection.records import CollectionQuestion
from snow_runtime.collection.selection import Sighting
from snow_runtime.errors import CollectionError
from tests.runtime.collection.pictures import jpeg, new_picture

if TYPE_CHECKING:
    from pathlib import Path

EACH = len(jpeg(1)) + 1500


def photos(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / ("open" if number % 2 else "shut") / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(1000 + number))
    return folder


def test_room_is_remembered_until_another_is_given(tmp_path: Path) -> None:
    with Collection.open(tmp_path, create=True) as kept:
        assert kept.size_bytes == USUAL_BYTES
    with Collection.open(tmp_path, options=CollectionOptions(12345)) as kept:
        assert kept.size_bytes == 12345
    for options in (None, CollectionOptions(hourly=7)):
        with Collection.open(tmp_path, options=options) as kept:
            assert kept.size_bytes == 12345


def test_an_import_makes_nothing_give_way_and_says_that_there_is_no_room(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 40)
    with Collection.open(tmp_path / "kept", create=True, options=CollectionOptions(30 * EACH)) as a:
        before = [a.add(new_picture(number)) for number in range(10)]
        with pytest.raises(CollectionError, match=r"no room .* --collect-bytes"):
            import_pictures(a, labelled_in_folders(source, "door"))
        ids = [each.id for each in a.pictures(limit=99)]
        assert ids[:10] == before
        labels = a.labels("door")
        assert len(ids) > len(labels) + 9 - 16  # those of whole batches have theirs already
        assert len(labels) >= 16
    with Collection.open(tmp_path / "kept", options=CollectionOptions(99 * EACH)) as a:
        report = import_pictures(a, labelled_in_folders(source, "door"))
        assert report.added + report.known == report.labelled == 40
        assert len(a.labels("door")) == 40
        assert len(a.pictures(limit=99)) == 50


def test_a_large_import_pushes_none_of_its_own_pictures_out(tmp_path: Path) -> None:
    """They used to lie there without labels, the first to go, until all were there."""
    source = photos(tmp_path / "photos", 40)
    with Collection.open(tmp_path / "kept", create=True, options=CollectionOptions(41 * EACH)) as a:
        report = import_pictures(a, labelled_in_folders(source, "door"))
        assert (report.added, len(a.labels("door"))) == (40, 40)
        for number in range(20):
            assert a.add(new_picture(number)) is not None  # these give way to each other
        assert len(a.labels("door")) == 40


def test_a_budget_goes_on_where_another_process_left_it() -> None:
    hourly, burst = 19.7, 0.25
    whole, taken = HourlyBudget(hourly, burst), []
    for now in range(0, 3600, 10):
        if whole.has_one(float(now)):
            whole.take()
            taken.append(float(now))
    again = HourlyBudget(hourly, burst)
    again.replay(3600.0, [3600.0 - each for each in taken])
    for now in range(3600, 7200, 10):
        assert whole.has_one(float(now)) == again.has_one(float(now))
        if whole.has_one(float(now)):
            whole.take()
            again.take()


def test_a_budget_that_was_larger_is_made_up_for_within_an_hour() -> None:
    budget = HourlyBudget(4.0, 0.25)
    budget.replay(1e6, [60.0 * number for number in range(60)])
    assert not budget.has_one(1e6 + 600)
    assert budget.has_one(1e6 + 3601)


def test_a_box_that_starts_again_and_again_keeps_to_its_hour(tmp_path: Path) -> None:
    options = CollectionOptions(hourly=4, random_share=1.0)
    kept = 0
    for start in range(6):
        with Collector(tmp_path, options, lambda _: None) as collector:
            for number in range(20):
                row = np.asarray([start, number, 1.0], np.float32)
                seen = Sighting("gate", "", time.time(), {}, row, changed=True)
                if (choice := collector.choose(seen)) is None:
                    continue
                kept += 1
                with Collection.open(tmp_path) as other:
                    picture = new_picture(100 * start + number, reason=choice.reason)
                    other.add(type(picture)(**{**vars(picture), "taken_at": time.time()}))
    assert 2 <= kept <= 4


@pytest.mark.parametrize("label", ["a\ud800", "a\nb", "a\0", "\x07", "a\uffff"])
def test_a_class_that_no_file_could_hold_is_refused(tmp_path: Path, label: str) -> None:
    with Collection.open(tmp_path, create=True) as kept:
        with pytest.raises(CollectionError, match="cannot be shown"):
            kept.add_question(CollectionQuestion("door", ("open", label)))
        kept.add_question(CollectionQuestion("door", ("offen", "Tür zu", "開", "🚪")))

"""Which frames are kept: an even random sample, and those that teach; within the hourly budget."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from snow_runtime.collection.hourly_budget import HourlyBudget
from snow_runtime.collection.novelty import Novelty
from snow_runtime.collection.options import CollectionOptions
from snow_runtime.collection.selection import Selector, Sighting
from snow_runtime.errors import InputError
from snow_runtime.graph.confidence_entry import ConfidenceEntry
from snow_runtime.results import TaskResult

F = 300
SURE, TORN = (0.99, 0.01), (0.55, 0.45)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def sighting(
    features: Any, probabilities: tuple[float, ...] = SURE, *, changed: bool = False, **fields: Any
) -> Sighting:
    table = np.asarray(probabilities, np.float32)
    labels = tuple("abcdef"[: len(table)])
    result = TaskResult("door", labels, table, **fields)
    return Sighting("gate", "", 0.0, {"door": result}, np.asarray(features, np.float32), changed)


def scene(rng: np.random.Generator, centre: float = 1.0) -> Any:
    return centre + 0.1 * rng.normal(size=F)


@pytest.mark.parametrize("hourly", [1, 1.5, 2, 7, 30])
@pytest.mark.parametrize("burst", [1 / 60, 1 / 4])
def test_no_hour_has_more_than_the_budget_and_it_is_used_up(hourly: float, burst: float) -> None:
    budget, taken = HourlyBudget(hourly, burst), []
    rng = random.Random(3)
    for second in range(0, 6 * 3600, 5):
        busy = second // 3600 != 2  # an hour without anything, after which much comes at once
        while busy and budget.has_one(second) and rng.random() < 0.9:
            budget.take()
            taken.append(second)
    for begin in taken:
        assert sum(begin <= each < begin + 3600 for each in taken) <= hourly
    assert len(taken) >= 0.4 * 5 * hourly


def test_a_random_share_whatever_is_answered() -> None:
    options = CollectionOptions(hourly=10_000_000, random_share=0.05)
    rng, clock, kept = np.random.default_rng(0), Clock(), []
    selector = Selector(options, random.Random(1).random, clock)
    for number in range(4000):
        clock.now += 1
        sure = number % 10 != 0  # one in ten is torn between its labels
        choice = selector.choose(sighting(scene(rng), SURE if sure else TORN))
        if choice is not None and choice.reason == "random":
            kept.append(sure)
    assert 150 <= len(kept) <= 250  # 200, by three and a half standard deviations
    assert 0.05 <= 1 - np.mean(kept) <= 0.17


def test_a_random_share_beyond_the_budget_is_even_over_time() -> None:
    options, clock = CollectionOptions(hourly=60, random_share=0.5), Clock()
    selector, rng, times = Selector(options, random.Random(1).random, clock), scene, []
    features = rng(np.random.default_rng(0))
    for second in range(2 * 3600):
        clock.now = second
        choice = selector.choose(sighting(features))
        if choice is not None and choice.reason == "random":
            times.append(second)
    quarters = [sum(begin <= each < begin + 900 for each in times) for begin in range(0, 7200, 900)]
    assert min(quarters) >= 5
    assert max(quarters) <= 9


def test_what_changes_and_what_is_in_doubt_is_kept() -> None:
    options = CollectionOptions(hourly=10**6, random_share=0.0)
    rng, clock = np.random.default_rng(0), Clock()
    selector = Selector(options, clock=clock)
    trusted = ConfidenceEntry(1.0, 9, "validation", 0.9, 0.999)
    cases: list[tuple[Sighting, str | None]] = [
        (sighting(scene(rng), changed=True), "changed"),
        *((sighting(scene(rng)), None) for _ in range(40)),
        (sighting(scene(rng, 1.5), TORN), "unsure"),
        (sighting(scene(rng, 2), (0.55, 0.1), answers="several"), "unsure"),
        (sighting(scene(rng, 3), unlikeness=1.5), "unknown"),
        (sighting(scene(rng, 4), confidence=trusted), "unknown"),
        (sighting(scene(rng, 9)), "unlike"),
        (sighting(scene(rng, 9)), None),
    ]
    for number, (seen, reason) in enumerate(cases):
        clock.now = number
        choice = selector.choose(seen)
        assert (choice.reason if choice else None) == reason, number


def test_frames_without_doubt_are_looked_at_five_times_a_second() -> None:
    options, clock = CollectionOptions(hourly=10**6, random_share=0.0), Clock()
    selector, rng, looked = Selector(options, clock=clock), np.random.default_rng(0), 0
    view = selector._view("gate", "")
    for number in range(300):
        clock.now = number / 30
        before = view.novelty._seen
        selector.choose(sighting(scene(rng), TORN if number == 100 else SURE))
        looked += view.novelty._seen - before
    assert 45 <= looked <= 55
    assert view.novelty._seen == looked


def test_each_view_has_its_own_budget_and_memory() -> None:
    options, clock = CollectionOptions(hourly=2, random_share=0.0), Clock()
    selector, features = Selector(options, clock=clock), np.ones(F)
    for camera, view in (("gate", ""), ("gate", "left"), ("yard", "")):
        seen = Sighting(camera, view, 0.0, {}, features.astype(np.float32), changed=True)
        assert selector.choose(seen) is not None
        assert selector.choose(seen) is None


def test_novelty_is_the_distance_to_the_nearest_in_units_of_what_varies() -> None:
    rng, novelty = np.random.default_rng(0), Novelty()
    width = 50  # all of them are in the sketch
    scales = np.exp(rng.normal(size=width) * 3)
    seen = (rng.normal(size=(400, width)) * scales).astype(np.float32)
    assert novelty.look(seen[0]) == math.inf
    for each in seen[:20]:
        novelty.keep(each)
    found = [novelty.look(each) for each in seen[20:]]
    reference = [
        np.sqrt((((seen[:20] - each) / scales) ** 2).mean(axis=1).min()) for each in seen[20:]
    ]
    settled = slice(150, None)
    assert np.corrcoef(found[settled], reference[settled])[0, 1] > 0.9
    assert 0.9 < np.mean(found[settled]) < 1.1
    assert novelty.look(seen[3]) == pytest.approx(0, abs=1e-4)
    assert not novelty.unusual(1.0)
    far = novelty.look(seen[5] + 20 * scales.astype(np.float32))
    assert novelty.unusual(far)


def test_novelty_begins_anew_with_another_source_and_bears_values_that_are_none() -> None:
    novelty = Novelty()
    for _ in range(3):
        novelty.keep(np.ones(10))
        assert math.isfinite(novelty.look(np.ones(10)))
    assert novelty.look(np.ones(12)) == math.inf
    novelty.keep(np.ones(12))
    for wrong in (np.nan, np.inf):
        assert novelty.look(np.full(12, wrong)) == 0
        novelty.keep(np.full(12, wrong))
        assert math.isfinite(novelty.look(np.ones(12)))


@pytest.mark.parametrize(
    "wrong", [{"size_bytes": 0}, {"hourly": 1}, {"random_share": 1.1}, {"random_share": -0.1}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Correct the numbers"):
        CollectionOptions(**wrong)

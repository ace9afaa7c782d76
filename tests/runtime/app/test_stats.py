from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.stats import Stats


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_frames_a_second_are_those_of_the_last_ten() -> None:
    clock = Clock()
    stats = Stats(clock)
    for _ in range(50):
        clock.now += 0.5
        stats.record_answered("door", 5.0, 20.0)

    found = stats.snapshot()
    assert found["frames"] == {"door": 50}
    assert found["frames_per_s"] == 2.1  # both ends of the window count
    assert found["up_s"] == 25.0
    clock.now += 30
    assert stats.snapshot()["frames_per_s"] == 0


def test_time_counts_from_when_the_loop_begins() -> None:
    clock = Clock()
    stats = Stats(clock)
    clock.now += 30  # the model is loaded
    stats.begin()
    for _ in range(8):
        clock.now += 0.25
        stats.record_answered("door", 5.0, 20.0)

    found = stats.snapshot()
    assert (found["up_s"], found["frames_per_s"], found["idle_s"]) == (2.0, 4.0, 0.0)
    clock.now += 7
    assert stats.snapshot()["idle_s"] == 7.0


def test_percentiles_of_old_frames_vanish() -> None:
    clock = Clock()
    stats = Stats(clock)
    stats.record_answered("door", 900.0, 950.0)
    clock.now += 40
    stats.record_answered("door", 5.0, 20.0)
    assert stats.snapshot()["latency_ms"]["0.99"] == 900.0

    clock.now += 40  # the first frame is out of the window
    found = stats.snapshot()
    assert (found["latency_ms"]["0.99"], found["age_ms"]["0.99"]) == (5.0, 20.0)
    clock.now += 40
    found = stats.snapshot()
    assert (found["latency_ms"], found["age_ms"]) == ({}, {})


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=120))
def test_percentiles_are_the_least_values_that_enough_frames_do_not_exceed(
    latencies: list[float],
) -> None:
    stats = Stats()
    for latency in latencies:
        stats.record_answered("door", latency, 0.0)

    found = stats.snapshot()["latency_ms"]
    assert list(found) == ["0.5", "0.9", "0.99"]
    for key, value in found.items():
        enough = Fraction(key) * len(latencies)
        ordered = sorted(latencies)
        expected = next(it for it in ordered if bisect_right(ordered, it) >= enough)
        assert value == expected


def test_nothing_yet() -> None:
    found = Stats().snapshot()

    assert (found["latency_ms"], found["frames_per_s"], found["counts"]) == ({}, 0, {})

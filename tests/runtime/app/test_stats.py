from __future__ import annotations

import re
from bisect import bisect_right
from fractions import Fraction
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.stats import Stats, prometheus
from snow_runtime.cameras.status import State


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
    assert "snow_latency_ms" not in prometheus(found, {})


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


@given(name=st.text(max_size=12))
def test_prometheus_reads_every_line(name: str) -> None:
    clock = Clock()
    stats = Stats(clock)
    stats.record_answered(name, 5.0, 20.0)
    stats.count("mqtt_lost", 3)
    clock.now += 1
    rows: dict[str, dict[str, object]] = {
        name: {"frames": 9, "drops": 2, "reconnections": 0, "bad_frames": 1, "connected": 1}
    }
    rows[name] |= {"state": "frozen"}

    text = prometheus(stats.snapshot(), rows)

    label = r'\w+="(?:[^"\\\n]|\\[\\"n])*"'
    sample = re.compile(rf"snow_\w+(\{{{label}(,{label})*\}})? \S+")
    for line in text.split("\n")[:-1]:
        assert line.startswith("# ") or sample.fullmatch(line), line
    assert 'snow_events_total{what="mqtt_lost"} 3' in text
    assert 'snow_latency_ms{quantile="0.5"} 5' in text
    assert text.count("# TYPE snow_camera_drops_total counter") == 1


def test_prometheus_gets_every_digit() -> None:
    clock = Clock()
    stats = Stats(clock)
    stats.count("errors", 18_144_123)
    clock.now += 1_814_417.25
    row = {"frames": 18_144_999, "repeats": 1_234_567, "abandoned": 3, "lost_s": 86_461.125}

    lines = prometheus(stats.snapshot(), {"a": row}).splitlines()

    assert 'snow_events_total{what="errors"} 18144123' in lines
    assert "snow_up_seconds 1814417.25" in lines
    assert 'snow_camera_frames_total{camera="a"} 18144999' in lines
    assert 'snow_camera_repeats_total{camera="a"} 1234567' in lines
    assert 'snow_camera_abandoned_reads_total{camera="a"} 3' in lines
    assert 'snow_camera_lost_seconds_total{camera="a"} 86461.125' in lines


def test_the_metrics_tell_a_camera_s_state_and_what_it_answered() -> None:
    rows: dict[str, dict[str, object]] = {
        "door": {"state": "failed", "code": 401, "freezes": 0},
        "yard": {"state": "frozen", "code": None, "freezes": 2},
    }

    lines = prometheus(Stats().snapshot(), rows).splitlines()

    assert 'snow_camera_answer_code{camera="door"} 401' in lines
    assert 'snow_camera_answer_code{camera="yard"} 0' in lines
    assert 'snow_camera_freezes_total{camera="yard"} 2' in lines
    states = [line for line in lines if line.startswith("snow_camera_state{")]
    assert [line for line in states if line.endswith(" 1")] == [
        'snow_camera_state{camera="door",state="failed"} 1',
        'snow_camera_state{camera="yard",state="frozen"} 1',
    ]
    assert len(states) == 2 * len(get_args(State))

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.app.stats import Stats, prometheus


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
        stats.saw("door", 5.0, 20.0)

    found = stats.snapshot()
    assert found["frames"] == {"door": 50}
    assert found["frames_per_s"] == 2.1  # both ends of the window count
    assert found["up_s"] == 25.0
    clock.now += 30
    assert stats.snapshot()["frames_per_s"] == 0


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300))
def test_percentiles(latencies: list[float]) -> None:
    stats = Stats()
    for latency in latencies:
        stats.saw("door", latency, 0.0)

    found = stats.snapshot()["latency_ms"]
    assert list(found) == ["0.5", "0.9", "0.99"]
    for key, value in found.items():
        share = sum(latency <= value for latency in latencies) / len(latencies)
        assert share >= float(key) or value == max(latencies)
    assert found["0.5"] <= found["0.9"] <= found["0.99"]


def test_nothing_yet() -> None:
    found = Stats().snapshot()

    assert (found["latency_ms"], found["frames_per_s"], found["counts"]) == ({}, 0, {})


@given(name=st.text(max_size=12))
def test_prometheus_reads_every_line(name: str) -> None:
    clock = Clock()
    stats = Stats(clock)
    stats.saw(name, 5.0, 20.0)
    stats.count("mqtt_lost", 3)
    clock.now += 1
    rows = {name: {"frames": 9, "drops": 2, "reconnections": 0, "bad_frames": 1, "connected": 1}}

    text = prometheus(stats.snapshot(), rows)

    sample = re.compile(r'snow_\w+(\{\w+="(?:[^"\\\n]|\\[\\"n])*"\})? \S+')
    for line in text.split("\n")[:-1]:
        assert line.startswith("# ") or sample.fullmatch(line), line
    assert 'snow_events_total{what="mqtt_lost"} 3' in text
    assert 'snow_latency_ms{quantile="0.5"} 5' in text
    assert text.count("# TYPE snow_camera_drops_total counter") == 1

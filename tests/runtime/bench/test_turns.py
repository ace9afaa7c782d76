from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from snow_runtime.bench.stages import LatencySamples, StageTimes
from snow_runtime.bench.turn_plan import TurnPlan, turns
from snow_runtime.bench.turns import LEAD_S, WARM_UP, measure_in_turns, wait_until_idle, warm_up

FRAMES: Any = SimpleNamespace(take=list)


class Clock:
    """A clock that moves when somebody sleeps or calls, in the place of `time`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = self.cpu_s = 0.0
        self.busy_until_s = 0.0
        self.slept_s = 0.0
        monkeypatch.setattr("snow_runtime.bench.turns.time", self)

    def perf_counter(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return self.cpu_s

    def sleep(self, seconds: float) -> None:
        self.cpu_s += max(0.0, min(seconds, self.busy_until_s - self.now_s))
        self.now_s += seconds
        self.slept_s += seconds


class Fake:
    """A contender whose calls take a given time each, and which writes down that it was called."""

    def __init__(self, name: str, clock: Clock, log: list[str], *call_ms: float) -> None:
        self.name, self.clock, self.log = name, clock, log
        self.call_ms = call_ms
        self.samples = LatencySamples()
        self.calls = 0

    def call(self, _frames: object) -> StageTimes:
        took_ms = self.call_ms[self.calls % len(self.call_ms)]
        self.calls += 1
        self.log.append(self.name)
        self.clock.now_s += took_ms / 1e3
        return StageTimes(0, math.nan, took_ms, 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def measure(contenders: list[Any], plan: TurnPlan) -> list[float]:
    shares: list[float] = []
    measure_in_turns(contenders, FRAMES, plan, lambda _stage, share: shares.append(share))
    return shares


def test_contenders_take_turns_in_reverse_every_second_round(clock: Clock) -> None:
    log: list[str] = []
    contenders = [Fake(name, clock, log, 100) for name in "abc"]

    shares = measure(contenders, TurnPlan(4, 0.2))

    visits = [name for i, name in enumerate(log) if i == 0 or log[i - 1] != name]
    expected = ["abc"[index] for number in range(4) for index in turns(3, number)]
    merged = [name for i, name in enumerate(expected) if i == 0 or expected[i - 1] != name]
    assert visits == merged  # where a round ends as the next one begins, two visits look like one
    assert shares == [0, 0.25, 0.5, 0.75, 1]


def test_what_leads_in_is_not_measured(clock: Clock) -> None:
    log: list[str] = []
    slow, fast = Fake("slow", clock, log, 100), Fake("fast", clock, log, 10)

    measure([slow, fast], TurnPlan(4, 0.198))

    assert len(slow.samples) == 4 * 2
    assert slow.calls == 4 * (2 + 1)
    assert len(fast.samples) == 4 * 20
    assert fast.calls == 4 * (20 + round(LEAD_S * 100))


def test_turns_do_not_add_up_to_more_than_the_duration_and_a_call(clock: Clock) -> None:
    contender = Fake("a", clock, [], 130)

    measure([contender], TurnPlan(20, 0.2))

    assert contender.samples.rounds == 20
    assert 4.0 <= contender.samples.measured_s <= 4.0 + 0.13 + 1e-6


def test_a_turn_holds_at_least_one_call(clock: Clock) -> None:
    contender = Fake("a", clock, [], 900)

    measure([contender], TurnPlan(4, 0.2))

    assert [len(times) for times in contender.samples.rounds_ms("latency")] == [1, 1, 1, 1]


def test_a_turn_that_is_cut_short_keeps_its_calls(clock: Clock) -> None:
    class Stopped(Fake):
        def call(self, frames: object) -> StageTimes:
            if self.calls == 10:
                raise KeyboardInterrupt
            return super().call(frames)

    contender = Stopped("a", clock, [], 100)
    with pytest.raises(KeyboardInterrupt):
        measure([contender], TurnPlan(10, 0.3))

    assert contender.samples.rounds == 2
    assert len(contender.samples) == 10 - 3  # one call leads in each of three turns


def test_warming_up_leaves_the_first_call_out(clock: Clock) -> None:
    contender: Any = Fake("a", clock, [], 5000, 30, 10, 10, 20)

    assert warm_up(contender, FRAMES) == pytest.approx(0.015)
    assert contender.calls == WARM_UP
    assert len(contender.samples) == 0


@pytest.mark.parametrize(
    ("busy_s", "least_s", "most_s"), [(0.0, 0.02, 0.02), (0.1, 0.1, 0.14), (9.0, 0.5, 0.5)]
)
def test_settling_waits_for_threads_that_still_spin(
    clock: Clock, busy_s: float, least_s: float, most_s: float
) -> None:
    clock.busy_until_s = busy_s

    wait_until_idle()

    assert least_s - 1e-9 <= clock.slept_s <= most_s + 1e-9

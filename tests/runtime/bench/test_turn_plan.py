from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from snow_runtime.bench.errors import BenchError
from snow_runtime.bench.turn_plan import ROUNDS, TURN_S, TurnPlan, plan_turns, turns
from snow_runtime.errors import SnowError


@pytest.mark.parametrize(
    ("duration_s", "call_s", "expected"),
    [
        (10, 0.07, TurnPlan(20, 0.5)),
        (1, 0.001, TurnPlan(8, 0.125)),
        (1, 0.2, TurnPlan(4, 0.25)),  # five calls fit, and rounds are even
        (10, 2, TurnPlan(4, 2.5)),
        (10, 6, TurnPlan(1, 10)),
        (10, 10, TurnPlan(1, 10)),
    ],
)
def test_plans_by_hand(duration_s: float, call_s: float, expected: TurnPlan) -> None:
    assert plan_turns(duration_s, call_s) == expected


@given(st.floats(0.01, 1000), st.floats(1e-5, 1000))
def test_every_plan_fills_the_duration_with_turns_that_hold_a_call(
    duration_s: float, call_s: float
) -> None:
    assume(call_s <= duration_s)
    plan = plan_turns(duration_s, call_s)

    assert plan.rounds * plan.turn_s == pytest.approx(duration_s)
    assert plan.turn_s >= call_s * (1 - 1e-6)
    assert plan.rounds == 1 or plan.rounds % 2 == 0
    if call_s <= duration_s / ROUNDS:
        assert plan.rounds >= ROUNDS - 1
    if call_s <= TURN_S:
        assert plan.turn_s < 4 * TURN_S


def test_a_duration_too_short_for_one_call_says_what_would_do() -> None:
    with pytest.raises(BenchError, match=r"0\.05 s, is too short .* 0\.12 s .*--duration 1\.2"):
        plan_turns(0.05, 0.12)
    assert issubclass(BenchError, SnowError)


@given(st.integers(1, 9), st.integers(0, 50))
def test_everyone_has_one_turn_a_round_and_two_rounds_are_fair(count: int, number: int) -> None:
    first, second = turns(count, number), turns(count, number + 1)

    assert sorted(first) == sorted(second) == list(range(count))
    # Places add up to the same for all, so that a steady drift does.
    assert {first.index(it) + second.index(it) for it in range(count)} == {count - 1}


def test_the_first_round_is_in_the_order_given() -> None:
    assert [turns(3, number) for number in range(3)] == [[0, 1, 2], [2, 1, 0], [0, 1, 2]]

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.cameras import Backoff


def test_without_jitter_the_delays_double_up_to_the_bound() -> None:
    backoff = Backoff(first_s=1, longest_s=10, factor=2, jitter=0)

    delays = [backoff.delay_s(attempt, random.Random()) for attempt in range(6)]

    assert delays == [1, 2, 4, 8, 10, 10]


@given(st.integers(0, 10**9), st.floats(1, 16), st.floats(0, 1), st.integers())
def test_a_delay_lies_between_the_bound_and_the_jitters_share_of_it(
    attempt: int, factor: float, jitter: float, seed: int
) -> None:
    delay = Backoff(0.5, 30, factor, jitter).delay_s(attempt, random.Random(seed))
    full = Backoff(0.5, 30, factor, 0).delay_s(attempt, random.Random())

    assert full * (1 - jitter) - 1e-9 <= delay <= full <= 30


@pytest.mark.parametrize(
    "values",
    [
        {"first_s": 0},
        {"first_s": 2, "longest_s": 1},
        {"longest_s": float("inf")},
        {"factor": 0.5},
        {"factor": 17},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"first_s": float("nan")},
    ],
)
def test_values_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Backoff(**values)

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_runtime.bench.figures import (
    LEAST_ROUNDS,
    frames_per_s,
    ratio_of_medians,
    summarise,
)

TIMES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=50)


def percentile(times: list[float], share: float) -> float:
    """Interpolate between the two times next to a rank, counted from 0 to N - 1."""
    ordered = sorted(times)
    rank = share * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def rounds(rng: np.random.Generator, drift: np.ndarray, usual_ms: float) -> list[np.ndarray]:
    """Make up turns of five calls: the machine's state slows all calls of one turn alike."""
    return [usual_ms * state * rng.lognormal(0, 0.05, 5) for state in drift]


def test_a_summary_by_hand() -> None:
    found = summarise(np.array([5.0, 1.0, 3.0, 2.0, 4.0]))

    assert found is not None
    assert (found.p50_ms, found.mean_ms, found.least_ms) == (3.0, 3.0, 1.0)
    assert found.p90_ms == pytest.approx(4.6)  # rank 3.6 of 0 to 4
    assert found.p99_ms == pytest.approx(4.96)
    assert set(found.to_dict()) == {"p50_ms", "p90_ms", "p99_ms", "mean_ms", "least_ms"}


@given(TIMES)
def test_a_summary_is_that_of_the_definitions(times: list[float]) -> None:
    found = summarise(np.array(times))

    assert found is not None
    assert found.p50_ms == pytest.approx(statistics.median(times))
    assert found.p90_ms == pytest.approx(percentile(times, 0.9))
    assert found.p99_ms == pytest.approx(percentile(times, 0.99))
    assert found.mean_ms == pytest.approx(statistics.fmean(times))
    assert found.least_ms == min(times) <= found.p50_ms <= found.p90_ms <= found.p99_ms


@pytest.mark.parametrize("times", [[], [1.0, np.nan]])
def test_nothing_known_has_no_summary(times: list[float]) -> None:
    assert summarise(np.array(times)) is None


def test_pictures_a_second() -> None:
    assert frames_per_s(np.array([100.0, 300.0]), batch=8) == pytest.approx(16 / 0.4)
    assert frames_per_s(np.array([]), batch=8) is None


def test_a_ratio_by_hand() -> None:
    base = [np.array([1.0, 2.0, 9.0])] * LEAST_ROUNDS
    found = ratio_of_medians([np.array([6.0])] * LEAST_ROUNDS, base)

    assert (found.value, found.low, found.high) == (3.0, 3.0, 3.0)  # whatever is drawn, 6 / 2
    assert found.to_dict() == {"value": 3.0, "low": 3.0, "high": 3.0, "confidence": 0.95}


def test_the_interval_is_that_of_the_naive_bootstrap() -> None:
    rng = np.random.default_rng(5)
    drift = rng.uniform(1, 2, 12)
    mine, base = rounds(rng, drift, 3.0), rounds(rng, drift, 2.0)

    found = ratio_of_medians(mine, base, seed=11, resamples=200)

    draws = np.random.default_rng(11).integers(0, 12, (200, 12))
    ratios = sorted(
        statistics.median([float(t) for i in draw for t in mine[i]])
        / statistics.median([float(t) for i in draw for t in base[i]])
        for draw in draws
    )
    assert found.low == pytest.approx(percentile(ratios, 0.025))
    assert found.high == pytest.approx(percentile(ratios, 0.975))


def test_too_few_rounds_give_no_interval() -> None:
    few = [np.array([2.0])] * (LEAST_ROUNDS - 1)
    found = ratio_of_medians(few, few)

    assert (found.value, found.low, found.high) == (1.0, None, None)


@given(st.lists(TIMES, min_size=LEAST_ROUNDS, max_size=10), st.floats(0.1, 10))
def test_a_contender_that_is_always_so_much_slower(drawn: list[list[float]], factor: float) -> None:
    base = [np.array(times) for times in drawn]
    found = ratio_of_medians([factor * times for times in base], base, resamples=20)

    assert found.low is not None
    assert found.high is not None
    for value in (found.value, found.low, found.high):
        assert value == pytest.approx(factor)


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mine, base = (rounds(rng, rng.uniform(1, 3, 8), usual) for usual in (1.0, 2.0))

    first, second = (ratio_of_medians(mine, base, seed=seed, resamples=20) for _ in range(2))

    assert first == second
    assert first.low is not None
    assert first.high is not None
    assert first.low <= first.high


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held, trials = 0, 200
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        drift = rng.lognormal(0, 0.3, 20)  # both contenders' turns of a round see the same
        mine, base = rounds(rng, drift, 3.0), rounds(rng, drift, 2.0)
        found = ratio_of_medians(mine, base, seed=seed, resamples=100)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.5 <= found.high

    assert 0.88 <= held / trials <= 1.0


@pytest.mark.parametrize(
    ("mine", "base"),
    [
        ([[1.0]], [[1.0], [1.0]]),
        ([[]], [[1.0]]),
        ([[1.0]], [[]]),
        ([], []),
    ],
)
def test_what_cannot_be_compared(mine: list[list[float]], base: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="Cannot compare"):
        ratio_of_medians([np.array(it) for it in mine], [np.array(it) for it in base])

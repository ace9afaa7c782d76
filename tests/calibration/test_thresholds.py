from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_calibration.thresholds import BINS, LEVELS, ThresholdMethod, threshold

ALL = list(get_args(ThresholdMethod))


def histogram(values: np.ndarray) -> tuple[np.ndarray, float]:
    magnitudes = np.abs(values)
    largest = float(magnitudes.max())
    counts, _ = np.histogram(magnitudes, BINS, (0, largest))
    return counts.astype(np.int64), largest


def quantisation_error(values: np.ndarray, limit: float) -> float:
    scale = limit / LEVELS
    rounded = np.clip(np.rint(values / scale), -LEVELS, LEVELS) * scale
    return float(((values - rounded) ** 2).mean())


def naive_divergence(counts: list[float], kept: int) -> float:
    """Migacz's KL divergence, loop by loop."""
    reference = [float(count) for count in counts[:kept]]
    reference[-1] += sum(counts[kept:])
    levels: list[list[int]] = [[] for _ in range(LEVELS + 1)]
    for index in range(kept):
        levels[index * (LEVELS + 1) // kept].append(index)
    candidate = [0.0] * kept
    for members in levels:
        filled = [index for index in members if counts[index] > 0]
        total = sum(counts[index] for index in filled)
        for index in filled:
            candidate[index] = total / len(filled)
    if any(p > 0 and q == 0 for p, q in zip(reference, candidate, strict=True)):
        candidate = [q if q > 0 else 1e-9 * sum(candidate) for q in candidate]
    divergence = 0.0
    for p, q in zip(reference, candidate, strict=True):
        if p > 0:
            divergence += p / sum(reference) * np.log(p / sum(reference) / (q / sum(candidate)))
    return divergence


def test_minmax_clips_nothing() -> None:
    counts, largest = histogram(np.random.default_rng(0).normal(size=5000))

    assert threshold(counts, largest, "minmax") == largest


def test_percentile_is_numpys() -> None:
    values = np.random.default_rng(0).normal(size=400_000)
    counts, largest = histogram(values)

    expected = np.percentile(np.abs(values), 99.99)
    assert threshold(counts, largest, "percentile") == pytest.approx(
        expected, abs=2 * largest / BINS
    )


@pytest.mark.parametrize("tail", [0.0, 30.0])
def test_mse_is_the_best_of_a_direct_search(tail: float) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=200_000), rng.normal(0, max(tail, 1), 20)])
    counts, largest = histogram(values)

    found = threshold(counts, largest, "mse")
    tried = [quantisation_error(values, largest * share) for share in np.linspace(0.07, 1, 400)]
    assert quantisation_error(values, found) <= min(tried) * 1.02


@pytest.mark.slow
def test_entropy_is_the_least_divergence_of_a_naive_loop() -> None:
    values = np.random.default_rng(1).laplace(size=30_000)
    counts, largest = histogram(values)

    counted = counts.astype(float).tolist()
    counted[0] = min(counted[0], counted[1])
    tried = range(LEVELS + 1, BINS + 1, 8)
    best = min(tried, key=lambda kept: naive_divergence(counted, kept))
    assert threshold(counts, largest, "entropy") == pytest.approx(largest * best / BINS)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_one_value_far_out_does_not_decide(method: ThresholdMethod) -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=100_000), [100.0]])
    counts, largest = histogram(values)

    assert threshold(counts, largest, method) < 20


@pytest.mark.parametrize("method", ALL)
def test_zeros_do_not_matter(method: ThresholdMethod) -> None:
    values = np.random.default_rng(0).normal(size=50_000)
    counts, largest = histogram(values)
    with_zeros = counts.copy()
    with_zeros[0] += 10_000_000

    assert threshold(with_zeros, largest, method) == threshold(counts, largest, method)


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=40),
    st.integers(0, BINS - 1),
    st.floats(1e-30, 1e30),
    st.sampled_from(ALL),
)
def test_any_histogram_gives_a_threshold_within(
    heights: list[int], start: int, largest: float, method: ThresholdMethod
) -> None:
    counts = np.zeros(BINS, np.int64)
    counts[start : start + len(heights)] = heights[: BINS - start]

    found = threshold(counts, largest, method)

    assert 0 < found <= largest

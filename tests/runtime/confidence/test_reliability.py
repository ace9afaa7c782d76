from __future__ import annotations

import numpy as np
import pytest

from snow_runtime.confidence.reliability import measure_reliability


def answered(several: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if several:
        return rng.random((300, 3)).astype("f4"), rng.random((300, 3)) < 0.3
    values = rng.dirichlet([0.4] * 4, 500).astype("f4")
    return values, rng.integers(0, 4, 500)


def test_against_a_naive_count_by_the_definition() -> None:
    values, targets = answered()
    found = measure_reliability(values, targets, bins=10)

    error, count = 0.0, 0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = [
            (max(row), int(np.argmax(row)) == target)
            for row, target in zip(values.tolist(), targets.tolist(), strict=True)
            if low < max(row) <= high
        ]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(values) * abs(confidence - accuracy)
            count += len(inside)
    assert count == found.answers == 500
    assert found.calibration_error == pytest.approx(error, rel=1e-9)
    squares = [
        sum((p - (label == target)) ** 2 for label, p in enumerate(row))
        for row, target in zip(values.astype("f8").tolist(), targets.tolist(), strict=True)
    ]
    assert found.brier == pytest.approx(sum(squares) / 500, rel=1e-9)


@pytest.mark.parametrize("several", [False, True])
def test_against_scikit_learn(several: bool) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    metrics = pytest.importorskip("sklearn.metrics")
    values, targets = answered(several)
    found = measure_reliability(values, targets, bins=15)

    confidence = values.ravel() if several else values.max(1)
    right = targets.ravel() if several else values.argmax(1) == targets
    accuracy, mean = calibration.calibration_curve(right, confidence, n_bins=15)
    np.testing.assert_allclose([each.accuracy for each in found.bins], accuracy)
    np.testing.assert_allclose([each.confidence for each in found.bins], mean, rtol=1e-5)
    if several:
        assert found.brier == pytest.approx(metrics.brier_score_loss(right, confidence))


def test_honest_probabilities_have_next_to_no_error() -> None:
    rng = np.random.default_rng(3)
    values = rng.dirichlet([0.5] * 3, 60_000)
    targets = (rng.random((60_000, 1)) > values.cumsum(1)).sum(1).clip(0, 2)
    assert measure_reliability(values, targets).calibration_error < 0.01


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_outermost_probabilities_are_in_a_bin(probability: float) -> None:
    values = np.array([[probability]])
    found = measure_reliability(values, np.array([[True]]))
    assert sum(each.answers for each in found.bins) == 1
    assert found.calibration_error == 1 - probability

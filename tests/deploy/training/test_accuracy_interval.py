"""Intervals of accuracies, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from snow_deploy.training.accuracy_interval import accuracy_interval


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (7, 9), (180, 200)])
def test_of_pictures_right_or_wrong_it_is_exact(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(method="exact")

    found = accuracy_interval((np.arange(count) < right).astype(np.float32))

    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_several_labels_a_picture_counts_as_one() -> None:
    rng = np.random.default_rng(0)
    shares = (rng.random((400, 4)) < 0.8).mean(1).astype(np.float32)

    low, high = accuracy_interval(shares)

    half = 1.96 * float(shares.std()) / 20
    assert (low, high) == pytest.approx((shares.mean() - half, shares.mean() + half))

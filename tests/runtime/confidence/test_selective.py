from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from snow_runtime.confidence.selective import (
    _tail,
    certainties,
    least_probability,
    right_answers,
)


def sure_ones_are_right(seed: int, pictures: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are right as often as they are certain."""
    rng = np.random.default_rng(seed)
    certainty = rng.beta(4, 1, pictures)
    return certainty, rng.random(pictures) < certainty


def test_the_tail_is_scipys() -> None:
    for wrong, count, rate in ((0, 20, 0.05), (7, 300, 0.1), (299, 300, 0.4), (40, 40, 0.2)):
        expected = binom.cdf(wrong, count, rate)
        assert _tail(wrong, count, rate) == pytest.approx(expected, rel=1e-9)


def test_the_share_holds_on_new_pictures_more_often_than_is_said() -> None:
    """Of what is above the bound the true share is known: it is the mean certainty."""
    kept = 0
    for seed in range(60):
        certainty, right = sure_ones_are_right(seed)
        found = least_probability(certainty, right, 0.9)
        if found is None:
            kept += 1
            continue
        many = np.random.default_rng(999).beta(4, 1, 20_000)
        kept += many[many >= found.least_probability].mean() >= 0.9
    assert kept >= 54


def test_what_it_says_of_its_pictures_is_so() -> None:
    certainty, right = sure_ones_are_right(5)
    found = least_probability(certainty, right, 0.85)
    assert found is not None
    given = certainty >= found.least_probability
    assert found.given == pytest.approx(given.mean())
    assert found.right == pytest.approx(right[given].mean())
    assert found.right > 0.85


@given(st.integers(0, 200), st.floats(0.5, 0.98), st.floats(0.0, 0.019))
@settings(max_examples=40, deadline=None)
def test_a_larger_share_never_gives_a_lower_bound(seed: int, share: float, more: float) -> None:
    answers = sure_ones_are_right(seed, 300)
    low, high = (least_probability(*answers, each) for each in (share, share + more))
    if low is None:
        assert high is None
    elif high is not None:
        assert high.least_probability >= low.least_probability


def test_where_all_are_right_none_is_withheld_if_there_are_enough() -> None:
    right = np.ones(200, np.bool_)
    found = least_probability(np.linspace(0.2, 1, 200), right, 0.95)
    assert found is not None
    assert (found.least_probability, found.given) == (0, 1)
    assert least_probability(np.linspace(0.2, 1, 30), right[:30], 0.95) is None


def test_of_several_labels_the_least_certain_decision_counts() -> None:
    values = np.array([[0.9, 0.2], [0.45, 0.99]])
    np.testing.assert_allclose(certainties(values, several=True), [0.8, 0.55])
    targets = np.array([[True, False], [True, True]])
    assert right_answers(values, targets).tolist() == [True, False]


def test_shares_at_the_ends() -> None:
    certainty = np.linspace(0.5, 1, 40)
    right = np.arange(40) % 2 == 0
    found = least_probability(certainty, right, 1e-17)
    assert found is not None
    assert found.least_probability == 0
    assert least_probability(certainty, ~right & right, 1e-17) is None
    assert least_probability(certainty, right, 1 - 1e-15) is None
    for share in (0.0, 1.0, 2.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            least_probability(certainty, right, share)

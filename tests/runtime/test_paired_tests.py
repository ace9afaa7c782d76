from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial, norm

from snow_runtime import paired_tests
from snow_runtime.paired_tests import Counts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("counts", "level", "expected"),
    [
        # R's contingencytables: bentur_2009 and cavo_2012; PropCIs: scoreci.mp(25, 28, 618).
        (Counts(21, 1, 7), 0.95, (-0.517, -0.026)),
        (Counts(161, 6, 16), 0.95, (-0.1240, -0.0054)),
        (Counts(618, 28, 25), 0.90, (-0.0148, 0.0247)),
    ],
)
def test_without_the_correction_the_bounds_are_tangos_as_others_compute_them(
    monkeypatch: pytest.MonkeyPatch,
    counts: Counts,
    level: float,
    expected: tuple[float, float],
) -> None:
    monkeypatch.setattr(paired_tests, "_CORRECTION", 0.0)
    monkeypatch.setattr(paired_tests, "_CORRECTION_ABOVE", 0.0)
    monkeypatch.setattr(paired_tests, "_as_many", lambda *_: 0.0)
    error = (1 - level) / 2

    found = (
        paired_tests.lower_bound(counts, error),
        paired_tests.upper_bound(counts, error),
    )

    places = 3 if counts.pictures == 21 else 4
    assert [round(each, places) for each in found] == list(expected)


@pytest.mark.parametrize("counts", [(400, 4, 3), (60, 0, 5), (60, 5, 0), (50, 0, 0), (90, 40, 11)])
@pytest.mark.parametrize("drop", [-0.3, -0.02, 0.01, 0.2])
def test_the_score_is_that_of_the_likeliest_rates_under_the_drop(
    counts: tuple[int, int, int], drop: float
) -> None:
    """The rates are searched for here, where the code solves a quadratic."""
    pictures, lost, won = counts

    def unlikely(rate: float) -> float:  # of answers won; those lost are `drop` more
        terms = ((lost, rate + drop), (won, rate), (pictures - lost - won, 1 - 2 * rate - drop))
        return -sum(seen * math.log(max(share, 1e-300)) for seen, share in terms if seen)

    low, high = max(0.0, -drop), (1 - drop) / 2
    rate = minimize_scalar(
        unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = pictures * (2 * rate + drop - drop * drop)
    below = norm.cdf((lost - won - pictures * drop + 0.5) / math.sqrt(variance))
    above = norm.sf((lost - won - pictures * drop - 1) / math.sqrt(variance))
    if drop > 0:
        above = max(above, binom.sf(lost - won - 1, pictures, drop))

    assert paired_tests.p_value_below(Counts(*counts), drop) == pytest.approx(
        below, rel=1e-3, abs=1e-12
    )
    assert paired_tests.p_value_above(Counts(*counts), drop) == pytest.approx(
        above, rel=1e-3, abs=1e-12
    )


@given(
    st.integers(16, 3000).flatmap(
        lambda m: st.tuples(st.just(m), st.integers(0, m), st.integers(0, m))
    ),
    st.sampled_from([0.05, 0.01, 0.001]),
)
def test_the_bounds_are_where_the_tests_turn(numbers: tuple[int, int, int], error: float) -> None:
    pictures, lost, won = numbers
    counts = Counts(pictures, lost, min(won, pictures - lost))

    most, least = (
        paired_tests.upper_bound(counts, error),
        paired_tests.lower_bound(counts, error),
    )

    assert -1 <= least <= (counts.lost - counts.won) / pictures <= most <= 1
    for bound, value in (
        (most, paired_tests.p_value_below),
        (least, paired_tests.p_value_above),
    ):
        if abs(bound) < 0.999:
            assert value(counts, bound) == pytest.approx(error, rel=1e-3)
    if most < 0.999:
        assert paired_tests.p_value_below(counts, min(most + 0.001, 1)) < error
        assert paired_tests.p_value_below(counts, most - 0.001) > error


def rates(pictures: int, lost: float, won: float) -> Iterator[tuple[Counts, float]]:
    """Yield the counts that may be seen, with their exact probabilities."""
    highest = [int(pictures * rate + 8 * math.sqrt(pictures * rate) + 12) for rate in (lost, won)]
    seen = [(a, b) for a in range(highest[0]) for b in range(highest[1]) if a + b <= pictures]
    cells = np.array([(a, b, pictures - a - b) for a, b in seen])
    chances = multinomial.pmf(cells, pictures, [lost, won, 1 - lost - won])
    for (a, b), chance in zip(seen, chances.tolist(), strict=True):
        yield Counts(pictures, a, b), chance


@pytest.mark.parametrize(
    ("pictures", "drop"), [(20, 0.01), (20, 0.1), (150, 0.03), (372, 0.01), (372, 0.03)]
)
def test_what_is_claimed_is_wrong_in_no_more_than_the_share_of_draws_that_was_said(
    pictures: int, drop: float
) -> None:
    """Summed over all counts that can be drawn, not drawn; at a drop of just the claimed size."""
    for won in (0.0, 0.001, 0.03):
        wrongly = {(side, error): 0.0 for side in "<>" for error in (0.05, 0.05 / 6, 0.05 / 20)}
        total = 0.0
        for counts, chance in rates(pictures, won + drop, won):
            total += chance
            values = {
                "<": paired_tests.p_value_below(counts, drop),
                ">": paired_tests.p_value_above(counts, drop),
            }
            for side, error in wrongly:
                wrongly[side, error] += chance * (values[side] < error)
        assert total == pytest.approx(1, abs=1e-6)
        assert all(share <= error * 1.02 for (_, error), share in wrongly.items())


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 7), (3, 3), (1, 9), (12, 4), (40, 90)])
def test_mcnemar_is_the_binomial_tail_on_both_sides(lost: int, won: int) -> None:
    count = lost + won
    tail = sum(math.comb(count, n) for n in range(min(lost, won) + 1)) / 2**count

    assert paired_tests.mcnemar(lost, won) == pytest.approx(min(1.0, 2 * tail))
    assert paired_tests.mcnemar(won, lost) == pytest.approx(paired_tests.mcnemar(lost, won))


@pytest.mark.parametrize(("seen", "pictures"), [(0, 149), (1, 150), (9, 1000), (20, 20)])
def test_the_bound_of_a_share_is_where_so_few_become_rare(seen: int, pictures: int) -> None:
    bound = paired_tests.most_frequent(seen, pictures, 0.05)

    if seen == pictures:
        assert bound == 1
        return
    few = sum(
        math.comb(pictures, n) * bound**n * (1 - bound) ** (pictures - n) for n in range(seen + 1)
    )
    assert few == pytest.approx(0.05, rel=1e-6)
    assert paired_tests.rarer(seen, pictures, bound) == pytest.approx(0.05, rel=1e-6)
    assert paired_tests.rarer(seen, pictures, bound / 2) == pytest.approx(
        binom.cdf(seen, pictures, bound / 2)
    )


def test_a_drop_of_everything_is_never_exceeded() -> None:
    counts = Counts(20, 20, 0)

    assert paired_tests.p_value_below(counts, 1.0) == 0
    assert paired_tests.p_value_above(counts, 1.0) == 1
    assert paired_tests.rarer(20, 20, 1.0) == 0
    assert paired_tests.upper_bound(counts, 0.05) == 1

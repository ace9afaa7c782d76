"""The search against all combinations written out."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snow_deploy.plan.search import Option, Space, best_within, find_frontier

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUPS = ("a", "b", "c")
GRID = st.integers(0, 6).map(float)  # few values, so that ties are met; sums of these are exact

options = st.builds(Option, GRID, GRID, st.frozensets(st.sampled_from(GROUPS)))
spaces = st.builds(
    Space,
    GRID,
    st.fixed_dictionaries(dict.fromkeys(GROUPS, GRID)),
    st.lists(st.lists(options, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4).map(
        tuple
    ),
)


def every_combination(space: Space) -> dict[tuple[int, ...], tuple[float, float]]:
    """Return time and accuracy of each, by the definition."""
    found = {}
    for choice in product(*(range(len(row)) for row in space.tasks)):
        taken = [row[number] for row, number in zip(space.tasks, choice, strict=True)]
        met = {group for option in taken for group in option.groups}
        ms = space.base_ms + sum(space.groups_ms[group] for group in met)
        ms += sum(option.ms for option in taken)
        found[choice] = ms, sum(option.accuracy for option in taken)
    return found


def unbeaten(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the pairs that no other one is as good as in both and better than in one."""
    listed = set(pairs)
    return sorted(
        (ms, accuracy)
        for ms, accuracy in listed
        if not any(
            other_ms <= ms and other >= accuracy and (other_ms, other) != (ms, accuracy)
            for other_ms, other in listed
        )
    )


@given(space=spaces)
def test_the_frontier_is_that_of_all_combinations(space: Space) -> None:
    every = every_combination(space)

    found = find_frontier(space)

    assert [(point.ms, point.accuracy) for point in found] == unbeaten(every.values())
    assert all(every[point.choice] == (point.ms, point.accuracy) for point in found)
    assert all(space.ms(choice) == ms for choice, (ms, _) in every.items())


@given(space=spaces, data=st.data())
def test_known_times_take_the_place_of_the_spaces(space: Space, data: st.DataObject) -> None:
    every = every_combination(space)
    known = data.draw(st.dictionaries(st.sampled_from(sorted(every)), GRID.map(lambda it: 3 * it)))
    truth = {choice: (known.get(choice, ms), accuracy) for choice, (ms, accuracy) in every.items()}

    found = find_frontier(space, known)
    alone = find_frontier(space, known, only_known=True)

    assert [(point.ms, point.accuracy) for point in found] == unbeaten(truth.values())
    assert all(truth[point.choice] == (point.ms, point.accuracy) for point in found)
    assert [(point.ms, point.accuracy) for point in alone] == unbeaten(
        truth[choice] for choice in known
    )


@given(space=spaces, budget=st.integers(0, 40))
def test_the_best_within_a_budget_is_that_of_all_combinations(space: Space, budget: int) -> None:
    fitting = [it for it in every_combination(space).values() if it[0] <= budget]

    best = best_within(find_frontier(space), budget)

    if not fitting:
        assert best is None
    else:
        assert best is not None
        assert best.accuracy == max(accuracy for _, accuracy in fitting)
        assert best.ms == min(ms for ms, accuracy in fitting if accuracy == best.accuracy)


def test_a_form_that_others_have_paid_for_is_taken_by_all() -> None:
    """One delta costs 5 ms more than a readout; the second one of the same form only 1."""
    task = (Option(0.8, 0.1), Option(0.9, 1.0, frozenset({"deltas"})))
    space = Space(10.0, {"deltas": 4.0}, (task, task))

    found = find_frontier(space)

    assert [point.choice for point in found] in ([(0, 0), (0, 1), (1, 1)], [(0, 0), (1, 0), (1, 1)])
    assert [point.ms for point in found] == pytest.approx([10.2, 15.1, 16.0])
    assert [point.accuracy for point in found] == pytest.approx([1.6, 1.7, 1.8])


def test_many_tasks_are_searched_at_once() -> None:
    """12 tasks of 5 variants: 244 million combinations, whose times are whole numbers."""
    row = tuple(Option(float(n), float(n), frozenset("ab"[: n % 2])) for n in range(5))
    space = Space(0.0, {"a": 7.0, "b": 3.0}, (row,) * 12)

    found = find_frontier(space, {(4,) * 12: 1.0})

    assert (found[0].ms, found[0].accuracy) == (0.0, 0.0)
    assert (found[-1].ms, found[-1].accuracy) == (1.0, 48.0)

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._clock import alternate, fastest_ms

if TYPE_CHECKING:
    from collections.abc import Callable


def test_contenders_take_turns_and_the_least_counts() -> None:
    figures = {"a": iter([3.0, 1.0, 2.0]), "b": iter([5.0, 6.0, 4.0])}
    visited = []

    def visitor(name: str) -> Callable[[], float]:
        def visit() -> float:
            visited.append(name)
            return next(figures[name])

        return visit

    assert alternate({name: visitor(name) for name in figures}, 3) == {"a": 1.0, "b": 4.0}
    assert visited == ["a", "b", "b", "a", "a", "b"]  # no one always follows the same one


def test_warming_up_is_not_timed() -> None:
    calls = []
    assert fastest_ms(lambda: calls.append(1), warm_up=2, runs=3) >= 0
    assert len(calls) == 5

"""The benchmark of fits beside frames compares each round's fits with its rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.fit_frame_rate import Bench, Endless, measure

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeBench(Bench):
    """Rates that are known: rests of 10, 20, 40 frames/s, and fits at nine tenths of these."""

    def __init__(self) -> None:
        none: Any = None
        super().__init__(Endless(none), SimpleNamespace())  # type: ignore[arg-type]
        self.visits: list[str] = []

    def rest(self, seconds: float) -> float:
        del seconds
        return self._visit("rest", lambda number: 10.0 * 2**number)

    def fit(self, seconds: float) -> float:
        self.took_s.append(seconds)
        return self._visit("fit", lambda number: 9.0 * 2 ** (number - 1))  # one warms up

    def _visit(self, name: str, rate: Callable[[int], float]) -> float:
        number = self.visits.count(name)
        self.visits.append(name)
        return rate(number)


def test_what_is_lost_is_the_median_of_the_rounds() -> None:
    bench = FakeBench()
    found = measure(bench, 3, 2.0)
    assert bench.visits == ["fit", "rest", "fit", "fit", "rest", "rest", "fit"]
    assert found["lost"] == pytest.approx(0.1)
    assert found["frames_per_s"] == {"rest": 20.0, "fit": 18.0}
    assert (found["fits"], found["fit_s"]) == (3, 2.0)


def test_frames_pause_and_go_on() -> None:
    none: Any = None
    camera = Endless(none, rate=1000)
    assert len(camera.wait(0)) == 1
    camera.runs.clear()
    assert camera.wait(0) == []
    camera.runs.set()
    assert camera.wait(0)[0].number == 2

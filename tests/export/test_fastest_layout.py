from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from snow_export.fastest_layout import time_layouts
from snow_runtime.graph.manifest import Layout

if TYPE_CHECKING:
    from snow_export.export import ExportRequest


def test_every_layout_is_timed_and_the_fastest_comes_first(request_18: ExportRequest) -> None:
    times = time_layouts(request_18, rounds=1, runs=1)

    assert set(times) == set(get_args(Layout))
    assert all(0 < taken < float("inf") for taken in times.values())
    assert list(times.values()) == sorted(times.values())


@pytest.mark.slow
def test_a_time_is_the_least_of_its_rounds(
    request_18: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rounds, the second in reverse; the clock gives each timed run its length."""
    first: Layout
    first, second, third = get_args(Layout)
    lengths = iter([3.0, 2.0, 5.0, 6.0, 4.0, 1.0])
    now, started = 0.0, False

    def clock() -> float:
        nonlocal now, started
        if started:
            now += next(lengths)
        started = not started
        return now

    monkeypatch.setattr("snow_export.fastest_layout.perf_counter", clock)

    times = time_layouts(request_18, rounds=2, runs=1)

    assert list(times) == [first, second, third]
    assert list(times.values()) == pytest.approx([1000.0, 2000.0, 5000.0])

"""What the soak judges by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks._colour_graph import COLOURS, write_colour_graph
from benchmarks._slope import slope_of
from benchmarks.soak import _flaps
from snow_runtime import load

if TYPE_CHECKING:
    from pathlib import Path


def test_a_slope_is_found_with_its_interval() -> None:
    times = np.linspace(0, 10, 600)
    noise = np.random.default_rng(0).normal(0, 1, 600)
    growing = slope_of(times.tolist(), (90 + 2 * times + noise).tolist())
    flat = slope_of(times.tolist(), (90 + noise).tolist())

    assert growing.low < 2 < growing.high
    assert growing.low > 1.5
    assert flat.low < 0 < flat.high
    assert (growing.value, flat.value) == pytest.approx((2, 0), abs=0.2)
    assert slope_of([0, 1], [5, 6]).low == -math.inf


def test_the_graph_tells_colours(tmp_path: Path) -> None:
    write_colour_graph(tmp_path / "a.onnx", ("bright", "warm"))
    with load(tmp_path / "a.onnx") as model:
        for place, colour in enumerate(COLOURS):
            picture = np.full((48, 64, 3), 20, np.uint8)
            picture[..., place] = 220
            answer = model(picture)
            assert answer["colour"].label == colour
            present = [label for label, _ in answer["tags"].present()]
            assert sorted(present) == ["bright", "warm"][: 2 if colour == "red" else 1]


@pytest.mark.parametrize(
    ("steps", "faults"),
    [
        ([("a", "b", 0.0), ("b", "c", 1.0)], 0),
        ([("a", "b", 0.0), ("a", "c", 1.0)], 1),
        ([("a", "b", 0.0), ("b", "c", 0.1)], 1),
        ([("a", "b", 0.0), ("b", "stale", 0.1)], 0),
    ],
)
def test_states_that_flap_are_found(steps: list[tuple[str, str, float]], faults: int) -> None:
    changes: dict[int, dict[str, Any]] = {
        number: {
            "question": "q",
            "before": before,
            "after": after,
            "time": time,
            "because": "silence" if after == "stale" else "answers",
        }
        for number, (before, after, time) in enumerate(steps, 1)
    }
    assert len(_flaps(changes)) == faults

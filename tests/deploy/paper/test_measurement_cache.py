from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snow_deploy.paper.measurement_cache import Measurement, MeasurementCache

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """Measures something else each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Measurement:
        self.calls += 1
        return {"ms": self.calls}


def test_a_measurement_is_made_once_for_its_facts(tmp_path: Path) -> None:
    clock = Clock()

    found = [
        MeasurementCache(tmp_path / "measured").get("step", facts, clock)["ms"]
        for facts in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 2})
    ]

    assert found == [1, 1, 2]
    assert len(list((tmp_path / "measured").glob("step-*.json"))) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"value'])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, content: str) -> None:
    kept, clock = MeasurementCache(tmp_path), Clock()
    kept.get("step", {}, clock)
    (path,) = tmp_path.glob("*.json")
    path.write_text(content, encoding="utf-8")

    assert kept.get("step", {}, clock) == {"ms": 2}
    assert kept.get("step", {}, clock) == {"ms": 2}


def test_an_interrupted_measurement_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> Measurement:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MeasurementCache(tmp_path).get("step", {}, stopped)

    assert not list(tmp_path.iterdir())

"""The report on many readouts in one graph, on a network small enough; no time is asserted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import many_readouts
from benchmarks._scenario import Scenario

if TYPE_CHECKING:
    import pytest


def test_readouts_of_any_number_are_one_gather_and_one_product(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Scenario("resnet18", 64, source_classes=7, task_classes=(2,))
    settings = many_readouts.ManySettings(small, counts=(2, 3), rounds=1, runs=1)
    monkeypatch.setattr(many_readouts, "_QUICK", settings)
    monkeypatch.setattr(many_readouts, "graph_memory", lambda *_: 1000)

    assert many_readouts.main(["--quick"]) == 0  # no limit for so few

    lines = capsys.readouterr().out.splitlines()
    report = json.loads(lines[-1])
    assert [line.split()[0] for line in lines[1:-1]] == ["0", "2", "3"]
    for count in ("2", "3"):
        row = report["readouts"][count]
        assert row["more_products"] == 1
        assert row["more_gathers"] <= 1  # none where they read all there is
        assert row["memory_percent_a_task"] == 0
        assert row["time_percent_a_task"] is not None

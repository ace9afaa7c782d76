"""The frontier's plot: which points stand where, and which of them are beaten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("matplotlib")

from matplotlib.text import Annotation

from benchmarks import frontier_plot

if TYPE_CHECKING:
    from pathlib import Path

COSTS = {
    "fo": {"layers": 60, "cpu_over_source": 1.0},
    "readout": {"layers": 67, "cpu_over_source": 1.02},
    "ft": {"layers": 342, "cpu_over_source": 6.0},
}
ROWS = [
    {"data": "textures", "name": "fo", "accuracy": 0.83, "deviation": 0.01, "train_s": 60},
    {"data": "textures", "name": "readout", "accuracy": 0.89, "deviation": None, "train_s": None},
    {"data": "textures", "name": "ft", "accuracy": 0.84, "deviation": 0.02, "train_s": 600},
    {"data": "clothing", "name": "ft", "accuracy": 0.91, "deviation": 0.02, "train_s": 900},
]


def test_every_row_stands_at_its_cost_and_what_is_beaten_is_grey() -> None:
    panels = frontier_plot.draw(COSTS, ROWS).axes
    assert len(panels) == 6
    layers, _, seconds = panels[:3]
    notes = [text for text in layers.texts if isinstance(text, Annotation)]
    placed = {note.get_text(): (note.xy, note.get_color()) for note in notes}
    assert {name: spot for name, (spot, _) in placed.items()} == {
        "fo": (60, 0.83),
        "readout": (67, 0.89),
        "ft": (342, 0.84),
    }
    assert placed["fo"][1] == placed["readout"][1] != placed["ft"][1]
    assert [text.get_text() for text in seconds.texts] == ["fo", "ft"]  # no time of the readout
    assert "clothing" in panels[3].get_ylabel()


def test_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps({"forms": COSTS}))
    (tmp_path / "rows.json").write_text(json.dumps({"rows": ROWS}))
    files = [str(tmp_path / name) for name in ("costs.json", "rows.json")]
    assert frontier_plot.main([*files, "-o", str(tmp_path / "frontier.svg")]) == 0
    assert (tmp_path / "frontier.svg").read_text().startswith("<?xml")

"""The frontier's plot: which points stand where, and which of them are beaten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.container import ErrorbarContainer

from benchmarks import frontier_plot

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

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


def test_every_row_stands_at_its_cost_and_what_is_beaten_is_hollow() -> None:
    figure = frontier_plot.draw(COSTS, ROWS)
    panels = figure.axes
    assert len(panels) == 6
    layers, added, seconds = panels[:3]

    assert points(layers) == {
        frontier_plot.TITLES["fo"]: (60, 0.83, True),
        "readout": (67, 0.89, True),
        frontier_plot.TITLES["ft"]: (342, 0.84, False),
    }
    # what adds nothing that was measured has a place on an axis of powers of ten all the same
    assert points(added)[frontier_plot.TITLES["fo"]][0] == frontier_plot.LEAST_ADDED
    assert points(added)["readout"][0] == pytest.approx(2.0)
    assert set(points(seconds)) == {frontier_plot.TITLES[name] for name in ("fo", "ft")}
    assert "clothing" in panels[3].get_ylabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(points(layers))


def points(axes: Axes) -> dict[str, tuple[float, float, bool]]:
    """Return place, and whether it is filled, of each point by its name in the legend."""
    found = {}
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line = container.lines[0]
        face, edge = line.get_markerfacecolor(), line.get_color()
        x, y = np.asarray(line.get_xydata())[0]
        found[str(container.get_label())] = (float(x), float(y), face == edge)
    return found


def test_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps({"forms": COSTS}))
    (tmp_path / "rows.json").write_text(json.dumps({"rows": ROWS}))
    files = [str(tmp_path / name) for name in ("costs.json", "rows.json")]
    assert frontier_plot.main([*files, "-o", str(tmp_path / "frontier.svg")]) == 0
    assert (tmp_path / "frontier.svg").read_text().startswith("<?xml")

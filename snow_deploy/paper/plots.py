"""The plots of the tables and figures: light, labelled, with units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from snow_deploy.paper.report import Cell

OURS = "#0b6e99"
PAPERS = "#c9c9c2"
COLOURS = ("#0b6e99", "#c2570c", "#3f7d20", "#7a3e9d", "#b8860b", "#444444", "#c21858")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


_BARS_WITH_ROOM = 10
"""So many bars side by side leave each one's value room to be written across."""


def grouped_bars(
    axes: Axes,
    labels: Sequence[str],
    groups: Mapping[str, Sequence[Cell]],
    spreads: Mapping[str, Sequence[Cell]] | None = None,
    *,
    colours: Sequence[str] = COLOURS,
    form: str = "",
) -> None:
    """Draw, for each label, a bar of each group; a missing value has none.

    Args:
        axes: Axes to draw on.
        labels: Labels below the bars.
        groups: Groups by the legend's text: a value for each label.
        spreads: Error bars, likewise.
        colours: Colours of the groups.
        form: How a value is written above its bar, as `{:.3f}`; empty for none.
    """
    width = 0.8 / max(1, len(groups))
    upright = len(labels) * len(groups) <= _BARS_WITH_ROOM
    places = np.arange(len(labels), dtype=float)
    for number, (name, values) in enumerate(groups.items()):
        errors = _numbers((spreads or {}).get(name, [None] * len(labels)))
        bars = axes.bar(
            places + (number - (len(groups) - 1) / 2) * width,
            _numbers(values),
            width * 0.92,
            yerr=None if np.isnan(errors).all() else np.nan_to_num(errors),
            capsize=2,
            label=name,
            color=colours[number % len(colours)],
        )
        if form:
            texts = ["" if np.isnan(value) else form.format(value) for value in _numbers(values)]
            axes.bar_label(bars, texts, padding=3, fontsize=8, rotation=0 if upright else 90)
    if form:
        axes.margins(y=0.12)
    axes.set_xticks(places, labels)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(groups) > 1:
        axes.legend(fontsize=8, frameon=False)


def heat_map(
    axes: Axes, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[Cell]]
) -> None:
    """Draw accuracies as colours, with the numbers in the cells."""
    grid = np.array([_numbers(row) for row in values])
    axes.imshow(grid, cmap="Blues", aspect="auto", vmin=np.nanmin(grid) - 0.02)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for (y, x), value in np.ndenumerate(grid):
        if not np.isnan(value):
            colour = "white" if value > middle else "black"
            axes.text(x, y, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=9)


def tidy(axes: Axes) -> None:
    """Give an axes of lines or points the look of the others."""
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _numbers(values: Sequence[Cell]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.nan if value is None else float(value) for value in values])

"""Draw the frontier: test accuracy of every scheme over what it costs, a row a data set.

    python -m benchmarks.frontier_plot costs.json accuracies.json -o docs/assets/frontier.svg

`costs.json` is what `delta_forms` wrote. `accuracies.json` has `rows` with `data`, `name` (as in
`costs.json`), `accuracy`, `deviation` over the seeds, and `train_s`, the seconds that one training
took, or null.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snow_deploy.paper.plots import COLOURS, new_figure
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES: Final = {
    "layers": "compiled layers of six tasks",
    "cpu_over_source": "CPU time of six tasks over the source's",
    "train_s": "seconds to train one task",
}


def draw(costs: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a panel for each data set and each cost.

    Args:
        costs: `layers` and `cpu_over_source` by name.
        rows: Accuracies, see above.
    """
    sets = list(dict.fromkeys(row["data"] for row in rows))
    figure = new_figure(4.4 * len(AXES), 3.6 * len(sets))
    panels = figure.subplots(len(sets), len(AXES), sharey="row", squeeze=False)
    for line, data in zip(panels, sets, strict=True):
        given = [row for row in rows if row["data"] == data]
        for axes, (key, title) in zip(line, AXES.items(), strict=True):
            points = [(row, {**costs.get(row["name"], {}), **row}.get(key)) for row in given]
            _panel(axes, [(row, cost) for row, cost in points if cost is not None])
            axes.set(xlabel=title)
        line[0].set_ylabel(f"test accuracy, {data}")
    return figure


def _panel(axes: Axes, points: Sequence[tuple[Mapping[str, Any], float]]) -> None:
    best = -1.0
    ordered = sorted(points, key=lambda point: (point[1], -point[0]["accuracy"]))
    for row, cost in ordered:
        beaten = row["accuracy"] <= best
        best = max(best, row["accuracy"])
        colour = "#9a9a94" if beaten else COLOURS[0]
        axes.errorbar(cost, row["accuracy"], row["deviation"] or 0, color=colour, marker="o", ms=5)
        axes.annotate(
            row["name"],
            (cost, row["accuracy"]),
            textcoords="offset points",
            xytext=(6, 4),
            fontsize=7,
            color=colour,
        )
    axes.set_xscale("log")
    axes.grid(color="#e4e4e0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read both reports, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("costs", type=Path)
    parser.add_argument("accuracies", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="as SVG or PNG")
    given = parser.parse_args(arguments)
    costs = json.loads(given.costs.read_text())["forms"]
    rows = json.loads(given.accuracies.read_text())["rows"]
    with atomic_write(given.output, "wb") as file:
        draw(costs, rows).savefig(file, format=given.output.suffix[1:], metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())

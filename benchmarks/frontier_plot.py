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

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from snow_deploy.paper.plots import COLOURS, new_figure
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES: Final = {
    "layers": "compiled layers of six tasks",
    "cpu_added": "CPU time that five tasks add, % of the source's",
    "train_s": "seconds to train one task",
}
LEAST_ADDED: Final = 0.1
"""Percent; what adds less, or by chance nothing, stands there."""
TITLES: Final = {
    "fo": "FO: linear classifier",
    "fe": "FE: last stage of its own",
    "ft": "FT: fine-tuning",
    "mp": "MP: norms of its own",
    "pn": "PN: progressive network",
    "readout": "readout",
}
"""Of schemes; any other name is a form of SNOW's delta."""
_NEAR = 20  # so small a ratio of the costs has room for more of them along the axis
_MARKERS: Final = "osD^vP*X<>hp"


def draw(costs: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a panel for each data set and each cost.

    Filled points are on the frontier: nothing else is as right for as little.

    Args:
        costs: `layers` and `cpu_over_source` by name.
        rows: Accuracies, see above.
    """
    sets = list(dict.fromkeys(row["data"] for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure = new_figure(4.4 * len(AXES), 3.4 * len(sets) + 1.0)
    panels = figure.subplots(len(sets), len(AXES), sharey="row", squeeze=False)
    for line, data in zip(panels, sets, strict=True):
        given = [row for row in rows if row["data"] == data]
        for axes, (key, title) in zip(line, AXES.items(), strict=True):
            points = [
                (row, {**_added(costs.get(row["name"], {})), **row}.get(key)) for row in given
            ]
            _panel(axes, [(row, cost) for row, cost in points if cost is not None], names)
            axes.set(xlabel=title)
        line[0].set_ylabel(f"test accuracy, {data}")
    entries = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    shown = [label for name in names if (label := _title(name)) in entries]
    figure.legend(
        [entries[label] for label in shown], shown, loc="outside lower center", ncols=4, fontsize=8
    )
    return figure


def _title(name: str) -> str:
    return TITLES.get(name, f"SNOW: {name}")


def _added(costs: Mapping[str, Any]) -> dict[str, Any]:
    over = costs.get("cpu_over_source")
    added = None if over is None else max(100 * (over - 1), LEAST_ADDED)
    return {**costs, "cpu_added": added}


def _panel(
    axes: Axes, points: Sequence[tuple[Mapping[str, Any], float]], names: Sequence[str]
) -> None:
    best, corners = -1.0, []
    for row, cost in sorted(points, key=lambda point: (point[1], -point[0]["accuracy"])):
        ahead = row["accuracy"] > best
        if ahead:
            best = row["accuracy"]
            corners.append((cost, best))
        place = names.index(row["name"])
        colour = COLOURS[place % len(COLOURS)]
        axes.errorbar(
            cost,
            row["accuracy"],
            row["deviation"] or 0,
            color=colour,
            marker=_MARKERS[place % len(_MARKERS)],
            markerfacecolor=colour if ahead else "white",
            ms=7,
            elinewidth=0.8,
            linestyle="none",
            label=_title(row["name"]),
        )
    near = False
    if corners:
        costs, accuracies = zip(*corners, strict=True)
        right = max(cost for _, cost in points)
        near = right < _NEAR * costs[0]
        axes.step([*costs, right], [*accuracies, best], where="post", color="#c9c9c2", zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if near else (1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
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

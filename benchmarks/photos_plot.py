"""Draw what `photos_per_class` measured: a panel a data set, a line a scheme.

python -m benchmarks.photos_plot readouts.json others.json -o docs/assets/photos-per-class.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snow_deploy.paper.plots import COLOURS, new_figure
from snow_runtime.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw test accuracy over photos of each class.

    Args:
        rows: Of the reports: `data`, `photos`, `scheme`, `accuracy` and `deviation`. Rows of all
            photos, whose number differs by class, are left out.
    """
    counted = [row for row in rows if row["photos"] is not None]
    sets = list(dict.fromkeys(row["data"] for row in counted))
    schemes = list(dict.fromkeys(row["scheme"] for row in counted))
    figure = new_figure(4.2 * len(sets), 3.4)
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for axes, data in zip(panels, sets, strict=True):
        for scheme, colour in zip(schemes, COLOURS, strict=False):
            line = sorted(
                (row["photos"], row["accuracy"], row["deviation"] or 0.0)
                for row in counted
                if (row["data"], row["scheme"]) == (data, scheme)
            )
            if line:
                axes.errorbar(
                    *zip(*line, strict=True), label=scheme, color=colour, marker="o", ms=4
                )
        places = sorted({row["photos"] for row in counted})
        axes.set_xscale("log")
        axes.set_xticks(places, [str(place) for place in places])
        axes.minorticks_off()
        axes.set(title=data, xlabel="photos of each class")
        axes.grid(color="#e4e4e0")
    panels[0].set_ylabel("test accuracy")
    panels[-1].legend(frameon=False, loc="lower right")
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the reports, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="as SVG or PNG")
    given = parser.parse_args(arguments)
    rows = [row for path in given.reports for row in json.loads(path.read_text())["rows"]]
    with atomic_write(given.output, "wb") as file:
        draw(rows).savefig(file, format=given.output.suffix[1:], metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())

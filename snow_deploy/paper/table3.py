"""Table 3: the accuracy of every scheme on every data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_deploy.paper.accuracies import measure_accuracies
from snow_deploy.paper.columns import (
    accuracy_cells,
    accuracy_columns,
    accuracy_key,
    spread_key,
    training_note,
)
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.paper.plots import grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.study import Study


def make_table3(study: Study) -> tuple[TableReport, Figure]:
    """Train what is missing and tabulate it: mean and spread over the seeds.

    Args:
        study: Its store holds the source.
    """
    found = measure_accuracies(study, MeasurementCache(study.output / "measured"))
    rows: list[dict[str, Cell]] = [
        {"scheme": scheme, **accuracy_cells(by_data), "paper_mean": None}
        for scheme, by_data in found.items()
    ]
    columns = [Column("scheme", "scheme"), *accuracy_columns(study)]
    notes = [training_note(study)]
    if "lf" in found:
        notes.append(
            "lf learns the data sets in this order; its accuracies are the last network's."
        )
    facts = {**study.facts(), "accuracy_by_seed": found}
    report = TableReport("table3", "Table 3: accuracy by scheme", columns, rows, notes, facts)
    return report, _draw(report, study)


def _draw(report: TableReport, study: Study) -> Figure:
    schemes = [str(cell) for cell in report.column("scheme")]
    figure = new_figure(max(6.0, 1.2 * len(study.data) * len(schemes) / 3 + 3), 3.6)
    axes = figure.subplots()
    by_scheme = {str(row["scheme"]): row for row in report.rows}
    grouped_bars(
        axes,
        list(study.data),
        {
            scheme: [by_scheme[scheme][accuracy_key(data)] for data in study.data]
            for scheme in schemes
        },
        {
            scheme: [by_scheme[scheme][spread_key(data)] for data in study.data]
            for scheme in schemes
        },
        form="{:.3f}",
    )
    axes.set(ylabel="test accuracy", ylim=(0, 1.12), title=report.title)
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])  # the room above them is for the values
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure

"""Table 7: top-1 and top-5 of every scheme on every data set."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_accuracies, tops
from snow_deploy.paper.columns import (
    accuracy_cells,
    accuracy_columns,
    accuracy_key,
    older_note,
    papers_note,
    printed_cells,
    printed_columns,
    spread_key,
    training_note,
)
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.paper.paired import lead
from snow_deploy.paper.plots import grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.accuracies import Accuracies
    from snow_deploy.paper.study import Study
    from snow_deploy.training.lead import Lead


def make_table7(study: Study) -> tuple[TableReport, Figure]:
    """Train what is missing and tabulate it: mean and spread over the seeds, and SNOW's lead.

    Args:
        study: Its store holds the source.
    """
    found = measure_accuracies(study, MeasurementCache(study.output / "measured"))
    papers = {each.name: printed.ACCURACIES.get(each.row()) for each in study.contenders()}
    leads = _leads(study, found)
    rows: list[dict[str, Cell]] = []
    for name, by_data in found.items():
        row: dict[str, Cell] = {"scheme": name}
        row |= accuracy_cells({data: tops(reached) for data, reached in by_data.items()})
        for data in by_data:
            ahead = leads.get((name, data))
            row[_lead_key(data)] = None if ahead is None else ahead.text()
        rows.append({**row, **printed_cells(papers[name])})
    columns = [Column("scheme", "scheme"), *accuracy_columns(study)]
    columns += [Column(_lead_key(data), f"snow ahead: {data}") for data in study.data]
    columns += printed_columns(top5=True)
    notes = [training_note(study), *older_note(rows, study), *papers_note(study)]
    if leads:
        notes.append(
            "snow ahead: its accuracy less the scheme's on the same pictures, and between which "
            "bounds that is with 95 % (Tango's score interval, corrected for continuity, as of one "
            "run with the seeds' mean rates). Bounds on both sides of zero: neither is shown to be "
            "better."
        )
    if "lf" in found:
        notes.append(
            "lf learns the data sets in this order; its accuracies are the last network's."
        )
    facts = {
        **study.facts(),
        "reached_by_seed": {
            name: {data: [asdict(each) for each in reached] for data, reached in by_data.items()}
            for name, by_data in found.items()
        },
        "leads": {f"{name} {data}": asdict(ahead) for (name, data), ahead in leads.items()},
    }
    title = "Table 7: test accuracy by scheme"
    report = TableReport("table7", title, columns, rows, notes, facts)
    return report, _draw(report, study)


def _lead_key(data: str) -> str:
    return f"{data}_snow_ahead"


def _leads(study: Study, found: Accuracies) -> dict[tuple[str, str], Lead]:
    """Return how far the first of SNOW's contenders is ahead of each other scheme's."""
    snow = next((each for each in study.contenders() if each.scheme == "snow"), None)
    if snow is None:
        return {}
    others = [each.name for each in study.contenders() if each.scheme != "snow"]
    leads = {
        (name, data): lead(study, found[snow.name][data], found[name][data])
        for name in others
        for data in study.data
    }
    return {key: ahead for key, ahead in leads.items() if ahead is not None}


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

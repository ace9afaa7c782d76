"""A grid of the delta's size, the channels kept and the noise: beyond the paper's Table 4."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, product
from typing import TYPE_CHECKING

from snow_deploy.models.source import Source
from snow_deploy.paper.accuracies import measure_shapes
from snow_deploy.paper.columns import accuracy_columns, form_note, training_note
from snow_deploy.paper.measure.networks import count_tasks
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import Study

_COUNTS = (
    Column("width", "width of a delta"),
    Column("k", "K"),
    Column("sigma2", "σ²", "number"),
    Column("parameters_millions", "parameters, M", "millions"),
)


def make_shapes_table(
    study: Study,
    costing: Costing,
    widths: Sequence[int],
    ks: Sequence[int],
    sigma2s: Sequence[float],
) -> tuple[TableReport, Figure]:
    """Count deltas of every shape and, on the study's data, train them.

    Args:
        study: With data, its store holds the source.
        costing: Which networks are counted.
        widths: The source's widths are divided by these.
        ks: Each subscription keeps N / k channels.
        sigma2s: Variances of the noise, which count for nothing where nothing is trained.
    """
    sigma2s = sigma2s if study.data else sigma2s[:1]
    grid = list(product(widths, ks, sigma2s))
    deltas = [
        replace(study.delta, width_divisor=width, k_divisor=k, sigma2=sigma2)
        for width, k, sigma2 in grid
    ]
    source = Source(costing.weights())
    accuracies: list[dict[str, Cell]] = [{} for _ in deltas]
    if study.data:
        accuracies = measure_shapes(study, deltas, varies_noise=True)
    rows: list[dict[str, Cell]] = []
    for (width, k, sigma2), delta, row in zip(grid, deltas, accuracies, strict=True):
        options = study.options("snow", 0, delta=delta)
        counted = sum(count_tasks(source, options, costing.classes).values()) / 1e6
        shape: dict[str, Cell] = {
            "width": f"1/{width}",
            "k": f"N/{k}",
            "sigma2": sigma2,
            "parameters_millions": counted,
        }
        rows.append({**shape, **row})
    notes = [f"{costing.note()} The deltas together, without the source."]
    columns = [*_COUNTS]
    if study.data:
        columns += accuracy_columns(study)
        notes.append(training_note(study))
    else:
        notes += form_note(study)
    facts = {**study.facts(), **costing.facts()}
    title = "The delta's width, K and σ²"
    report = TableReport("shapes", title, columns, rows, notes, facts)
    return report, _draw(report, widths, ks, sigma2s)


def _draw(
    report: TableReport, widths: Sequence[int], ks: Sequence[int], sigma2s: Sequence[float]
) -> Figure:
    """Draw accuracy over parameters; without accuracies, parameters over K."""
    figure = new_figure(6.0, 3.6)
    axes = figure.subplots()
    trained = any(row.get("mean") is not None for row in report.rows)
    for colour, (width, sigma2) in zip(cycle(COLOURS), product(widths, sigma2s), strict=False):
        wanted = (f"1/{width}", sigma2)
        rows = [row for row in report.rows if (row["width"], row["sigma2"]) == wanted]
        millions = [float(row["parameters_millions"] or 0) for row in rows]
        across = millions if trained else [float(place) for place in range(len(ks))]
        up = [float(row["mean"] or 0) for row in rows] if trained else millions
        axes.plot(across, up, "o-", color=colour, label=f"width 1/{width}, σ² {sigma2:g}")
        for x, y, row in zip(across, up, rows, strict=True):
            if trained:
                axes.annotate(
                    str(row["k"]), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8
                )
    if trained:
        axes.set(xlabel="parameters of the deltas together, millions", ylabel="mean test accuracy")
    else:
        axes.set_xticks(range(len(ks)), [f"N/{k}" for k in ks])
        axes.set(xlabel="channels kept, K of N", ylabel="parameters, millions", ylim=(0, None))
    axes.set_title(report.title)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    return figure

"""Table 6: other ways of taking source channels over, beside channel pooling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from snow_deploy.models.options import Subscribing
from snow_deploy.models.source import Source
from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_shapes
from snow_deploy.paper.columns import (
    accuracy_columns,
    form_note,
    older_note,
    printed_cells,
    printed_columns,
    sigma2_notes,
    training_note,
)
from snow_deploy.paper.costs import ratio, serving_note
from snow_deploy.paper.measure.networks import count_tasks
from snow_deploy.paper.measure.serving import measure_serving
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import OURS, PAPERS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.step import StepSetup
    from snow_deploy.paper.study import Study

SUBSCRIPTIONS: tuple[Subscribing, ...] = get_args(Subscribing)

_COSTS = (
    Column("subscription", "subscription"),
    Column("parameters_millions", "parameters, M", "millions"),
    Column("paper_parameters_millions", "paper", "number", printed=True),
    Column("images_per_s", "serving, images/s", "number"),
    Column("paper_images_per_s", "paper", "number", printed=True),
    Column("over_attention", "over attention", "ratio"),
    Column("paper_over_attention", "paper", "ratio", printed=True),
)


def make_table6(study: Study, costing: Costing, batch: int) -> tuple[TableReport, Figure]:
    """Count and measure each subscription and, on the study's data, train deltas with it.

    Args:
        study: With data, its store holds the source.
        costing: Which networks are counted and served.
        batch: Pictures a call, in serving.
    """
    deltas = [replace(study.delta, subscription=kind) for kind in SUBSCRIPTIONS]
    setups: dict[str, StepSetup] = {
        d.subscription: costing.setup(study.options("snow", 0, delta=d)) for d in deltas
    }
    source = Source(costing.weights())
    speeds: dict[str, float] = {}
    if costing.speed:
        kept = MeasurementCache(study.output / "measured")
        speeds = measure_serving(setups, batch, kept, costing.effort.rounds, study.say)
    accuracies = measure_shapes(study, deltas) if study.data else [{} for _ in deltas]
    rows: list[dict[str, Cell]] = []
    for kind, row in zip(SUBSCRIPTIONS, accuracies, strict=True):
        counted = sum(count_tasks(source, setups[kind].options, costing.classes).values()) / 1e6
        rows.append(
            {
                "subscription": kind,
                "parameters_millions": counted,
                "images_per_s": speeds.get(kind),
                "over_attention": ratio(speeds.get(kind), speeds.get("attention")),
                **(_papers(kind) if costing.is_papers() else {}),
                **row,
                **printed_cells(printed.SUBSCRIPTION_ACCURACIES[kind]),
            }
        )
    device = describe_device(default_device())
    notes = [f"{costing.note()} The deltas together, without the source."]
    if costing.speed:
        served = serving_note(costing, study.image_size, str(device["device"]))
        notes.append(f"serving at batch {batch}: {served}")
    columns = [*_COSTS]
    if study.data:
        columns += accuracy_columns(study)
        notes += [training_note(study), *older_note(rows, study), *sigma2_notes(study)]
        notes.append("paper: of SNOW-256, whose accuracies are those of Table 7.")
    else:
        notes += form_note(study)
    columns += printed_columns(top5=False)
    facts = {**study.facts(), **costing.facts(), "serving_batch": batch, **device}
    title = "Table 6: how source channels are taken over"
    report = TableReport("table6", title, columns, rows, notes, facts)
    return report, _draw(report)


def _papers(kind: str) -> dict[str, Cell]:
    serving = printed.SUBSCRIPTION_SERVING
    return {
        "paper_parameters_millions": printed.SUBSCRIPTION_PARAMETERS[kind],
        "paper_images_per_s": serving.get(kind),
        "paper_over_attention": ratio(serving.get(kind), serving["attention"]),
    }


def _draw(report: TableReport) -> Figure:
    """Draw parameters beside the paper's and, where measured, speed and accuracy."""
    labels = [str(cell) for cell in report.column("subscription")]
    panels = {"images_per_s": "serving, images/s", "mean": "mean test accuracy"}
    measured = [key for key in panels if any(cell is not None for cell in report.column(key))]
    figure = new_figure(4.2 * (1 + len(measured)), 3.4)
    first, *others = figure.subplots(1, 1 + len(measured), squeeze=False)[0]
    values = {"ours": report.column("parameters_millions")}
    papers = report.column("paper_parameters_millions")
    if any(cell is not None for cell in papers):
        values["paper"] = papers
    grouped_bars(first, labels, values, colours=(OURS, PAPERS))
    first.set(ylabel="parameters, millions")
    for axes, key in zip(others, measured, strict=True):
        grouped_bars(axes, labels, {"ours": report.column(key)}, colours=(OURS,), form="{:.3g}")
        axes.set(ylabel=panels[key])
    figure.suptitle(report.title, fontsize=10)
    return figure

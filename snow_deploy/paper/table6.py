"""Table 6: other ways of taking source channels over, beside channel pooling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from snow_deploy.models.options import Subscribing
from snow_deploy.models.source import Source
from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_shapes
from snow_deploy.paper.columns import accuracy_columns, training_note
from snow_deploy.paper.costs import speed_note, to_megabytes
from snow_deploy.paper.measure.networks import count_tasks
from snow_deploy.paper.measure.steps import StepFigures, measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.table5 import draw_costs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.step import StepSetup
    from snow_deploy.paper.study import Study

SUBSCRIPTIONS: tuple[Subscribing, ...] = get_args(Subscribing)

_COSTS = (
    Column("subscription", "subscription"),
    Column("parameters_millions", "parameters, M", "millions"),
    Column("paper_parameters_millions", "paper", "millions", printed=True),
    Column("images_per_s", "images/s", "number"),
    Column("peak_megabytes", "peak, MB", "whole"),
)


def make_table6(study: Study, costing: Costing) -> tuple[TableReport, Figure]:
    """Count and measure each subscription and, on the study's data, train deltas with it.

    Args:
        study: The study; with data, its store holds the source.
        costing: Which networks are counted and timed.
    """
    deltas = [replace(study.delta, subscription=kind) for kind in SUBSCRIPTIONS]
    options = {d.subscription: study.options("snow", 0, delta=d) for d in deltas}
    source = Source(costing.weights())
    figures: dict[str, StepFigures] = {}
    if costing.speed:
        setups: dict[str, StepSetup] = {
            kind: costing.setup(chosen) for kind, chosen in options.items()
        }
        figures = measure_steps(
            setups, MeasurementCache(study.output / "measured"), costing.effort, study.say
        )
    accuracies = measure_shapes(study, deltas) if study.data else [{} for _ in deltas]
    rows: list[dict[str, Cell]] = []
    for kind, row in zip(SUBSCRIPTIONS, accuracies, strict=True):
        counted = sum(count_tasks(source, options[kind], costing.classes).values()) / 1e6
        papers = printed.SUBSCRIPTION_PARAMETERS[kind] if costing.is_papers() else None
        figure = figures.get(kind)
        rows.append(
            {
                "subscription": kind,
                "parameters_millions": counted,
                "paper_parameters_millions": printed.value(papers),
                "images_per_s": figure.images_per_s if figure else None,
                "peak_megabytes": to_megabytes(figure.peak_bytes) if figure else None,
                **row,
                "paper_mean": None,
            }
        )
    device = describe_device(default_device())
    notes = [f"{costing.note()} The deltas together, without the source."]
    if figures:
        notes.append(speed_note(figures, study.image_size, str(device["device"])))
    columns = [*_COSTS]
    if study.data:
        columns += accuracy_columns(study)
        notes.append(training_note(study))
    facts = {**study.facts(), **costing.facts(), **device}
    title = "Table 6: how source channels are taken over"
    report = TableReport("table6", title, columns, rows, notes, facts)
    return report, draw_costs(report, "subscription")

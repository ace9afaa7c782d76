"""Figure 4: accuracy against the speed of training, by scheme."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from snow_deploy.models.source import Source
from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_accuracies
from snow_deploy.paper.columns import training_note
from snow_deploy.paper.costs import ratio, speed_note
from snow_deploy.paper.measure.networks import count_together
from snow_deploy.paper.measure.steps import measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import Study
    from snow_deploy.training.options import TrainOptions

_COLUMNS = (
    Column("scheme", "scheme"),
    Column("accuracy", "accuracy", "share"),
    Column("paper_accuracy", "paper", "share", printed=True),
    Column("batch", "batch", "whole"),
    Column("images_per_s", "images/s", "number"),
    Column("speed_over_ft", "over ft", "ratio"),
    Column("paper_speed_over_ft", "paper", "ratio", printed=True),
    Column("parameters_millions", "parameters, M", "millions"),
)


def make_figure4(study: Study, costing: Costing) -> tuple[TableReport, Figure]:
    """Train what is missing, time training steps, and set one against the other.

    Args:
        study: Its store holds the source.
        costing: Networks that are timed and counted.
    """
    kept = MeasurementCache(study.output / "measured")
    found = measure_accuracies(study, kept)
    options: dict[str, TrainOptions] = {
        scheme: study.options(scheme, 0) for scheme in study.schemes
    }
    setups = {scheme: costing.setup(chosen) for scheme, chosen in options.items()}
    figures = measure_steps(setups, kept, costing.effort, study.say)
    source = Source(costing.weights())
    papers = printed.SPEED_OVER_FT if costing.is_papers() else {}
    base = figures["ft"].images_per_s if "ft" in figures else None
    rows: list[dict[str, Cell]] = [
        {
            "scheme": scheme,
            "accuracy": fmean([value for values in by_data.values() for value in values]),
            "paper_accuracy": None,
            "batch": figures[scheme].batch,
            "images_per_s": figures[scheme].images_per_s,
            "speed_over_ft": ratio(figures[scheme].images_per_s, base),
            "paper_speed_over_ft": printed.value(papers.get(scheme)),
            "parameters_millions": count_together(source, options[scheme], costing.classes) / 1e6,
        }
        for scheme, by_data in found.items()
    ]
    device = describe_device(default_device())
    notes = [
        training_note(study, spread=False),
        speed_note(figures, study.image_size, str(device["device"])),
        costing.note(),
    ]
    facts = {**study.facts(), **costing.facts(), **device}
    title = "Figure 4: accuracy against the speed of training"
    report = TableReport("figure4", title, _COLUMNS, rows, notes, facts)
    return report, _draw(report)


def _draw(report: TableReport) -> Figure:
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    for number, row in enumerate(report.rows):
        x, y = float(row["images_per_s"] or 0), float(row["accuracy"] or 0)
        millions = float(row["parameters_millions"] or 0)
        colour = COLOURS[number % len(COLOURS)]
        axes.scatter(x, y, s=30 * np.sqrt(millions), color=colour, alpha=0.75, lw=0)
        radius = np.sqrt(30 * np.sqrt(millions)) / 2
        above = number % 2 == 0  # neighbours' names then rarely overlap
        axes.annotate(
            f"{row['scheme']}, {millions:.1f} M",
            (x, y),
            xytext=(0, (4 + radius) * (1 if above else -1)),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=8,
        )
    axes.margins(0.18)
    axes.set(
        xlabel="training, images/s", ylabel="mean test accuracy", title=report.title, xlim=(0, None)
    )
    tidy(axes)
    return figure

"""Table 5: parameters and serving throughput of the source's task and all others together."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from snow_deploy.models.source import Source
from snow_deploy.paper import printed
from snow_deploy.paper.columns import form_note
from snow_deploy.paper.costs import ratio, serving_note
from snow_deploy.paper.measure.networks import count_together
from snow_deploy.paper.measure.serving import measure_serving
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import OURS, PAPERS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.step import StepSetup
    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("scheme", "scheme"),
    Column("parameters_millions", "parameters, M", "millions"),
    Column("paper_parameters_millions", "paper", "number", printed=True),
    Column("tasks", "tasks", "whole"),
    Column("batch", "batch", "whole"),
    Column("images_per_s", "images/s", "number"),
    Column("paper_images_per_s", "paper", "number", printed=True),
    Column("over_ft", "over ft", "ratio"),
    Column("paper_over_ft", "paper", "ratio", printed=True),
)


def make_table5(
    study: Study, costing: Costing, batches: Sequence[int]
) -> tuple[TableReport, Figure]:
    """Count parameters and measure how many pictures a second get every task's answer.

    Nothing is trained.

    Args:
        study: Which schemes and image size.
        costing: Which networks; its rounds.
        batches: Pictures a call.
    """
    source = Source(costing.weights())
    setups: dict[str, StepSetup] = {
        scheme: costing.setup(study.options(scheme, 0)) for scheme in study.schemes
    }
    millions = {
        scheme: count_together(source, setup.options, costing.classes) / 1e6
        for scheme, setup in setups.items()
    }
    kept = MeasurementCache(study.output / "measured")
    rows: list[dict[str, Cell]] = []
    for batch in batches if costing.speed else (None,):
        speeds: dict[str, float] = {}
        if batch is not None:
            speeds = measure_serving(setups, batch, kept, costing.effort.rounds, study.say)
        rows += [
            {
                "scheme": scheme,
                "parameters_millions": millions[scheme],
                "tasks": 1 + len(costing.classes),
                "batch": batch,
                "images_per_s": speeds.get(scheme),
                "over_ft": ratio(speeds.get(scheme), speeds.get("ft")),
                **(_papers(scheme) if costing.is_papers() else {}),
            }
            for scheme in study.schemes
        ]
    device = describe_device(default_device())
    notes = [costing.note(), *form_note(study)]
    if costing.speed:
        notes.append(serving_note(costing, study.image_size, str(device["device"])))
    facts = {
        **{key: value for key, value in costing.facts().items() if key != "steps"},
        "image_size": study.image_size,
        "precision": "fp32",
        "delta": asdict(study.delta),
        **device,
    }
    title = f"Table 5: parameters, and serving of {1 + len(costing.classes)} tasks"
    report = TableReport("table5", title, _COLUMNS, rows, notes, facts)
    return report, _draw(report, study, [batch for batch in batches if costing.speed])


def _papers(scheme: str) -> dict[str, Cell]:
    return {
        "paper_parameters_millions": printed.PARAMETERS.get(scheme),
        "paper_images_per_s": printed.SERVING.get(scheme),
        "paper_over_ft": ratio(printed.SERVING.get(scheme), printed.SERVING["ft"]),
    }


def _draw(report: TableReport, study: Study, batches: Sequence[int]) -> Figure:
    figure = new_figure(4.4 * (2 if batches else 1), 3.4)
    first, *others = figure.subplots(1, 2 if batches else 1, squeeze=False)[0]
    schemes = list(study.schemes)
    rows = report.rows[: len(schemes)]
    values = {"ours": [row["parameters_millions"] for row in rows]}
    papers = [row.get("paper_parameters_millions") for row in rows]
    if any(cell is not None for cell in papers):
        values["paper"] = papers
    grouped_bars(first, schemes, values, colours=(OURS, PAPERS))
    first.set(ylabel="parameters, millions")
    for axes in others:
        speeds = {
            f"batch {batch}": [row["images_per_s"] for row in report.rows if row["batch"] == batch]
            for batch in batches
        }
        grouped_bars(axes, schemes, speeds)
        axes.set(ylabel="serving, images/s")
    figure.suptitle(report.title, fontsize=10)
    return figure

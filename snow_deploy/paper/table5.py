"""Table 5: parameters, and the peak memory and speed of training, of every scheme."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from snow_deploy.models.source import Source
from snow_deploy.paper import printed
from snow_deploy.paper.costs import ratio, speed_note, to_megabytes
from snow_deploy.paper.measure.networks import count_together
from snow_deploy.paper.measure.steps import StepFigures, measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import OURS, PAPERS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.step import StepSetup
    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("scheme", "scheme"),
    Column("parameters_millions", "parameters, M", "millions"),
    Column("paper_parameters_millions", "paper", "millions", printed=True),
    Column("batch", "batch", "whole"),
    Column("images_per_s", "images/s", "number"),
    Column("speed_over_ft", "over ft", "ratio"),
    Column("paper_speed_over_ft", "paper", "ratio", printed=True),
    Column("peak_megabytes", "peak, MB", "whole"),
    Column("peak_over_ft", "over ft", "ratio"),
    Column("paper_peak_over_ft", "paper", "ratio", printed=True),
)


def make_table5(study: Study, costing: Costing) -> tuple[TableReport, Figure]:
    """Count parameters and measure training steps; nothing is trained.

    Args:
        study: Which schemes; batch, image size and precision of a step.
        costing: Which networks.
    """
    source = Source(costing.weights())
    options = {scheme: study.options(scheme, 0) for scheme in study.schemes}
    counts = {
        scheme: count_together(source, chosen, costing.classes) / 1e6
        for scheme, chosen in options.items()
    }
    figures: dict[str, StepFigures] = {}
    if costing.speed:
        setups: dict[str, StepSetup] = {
            scheme: costing.setup(chosen) for scheme, chosen in options.items()
        }
        figures = measure_steps(
            setups, MeasurementCache(study.output / "measured"), costing.effort, study.say
        )
    base = figures.get("ft")
    rows = [_row(scheme, counts[scheme], figures.get(scheme), base) for scheme in study.schemes]
    if not costing.is_papers():
        papers = [column.key for column in _COLUMNS if column.printed]
        rows = [{**row, **dict.fromkeys(papers)} for row in rows]
    device = describe_device(default_device())
    notes = [costing.note()]
    if figures:
        notes.append(speed_note(figures, study.image_size, str(device["device"])))
    facts = {
        **costing.facts(),
        "image_size": study.image_size,
        "precision": study.precision,
        "delta": asdict(study.delta),
        **device,
    }
    title = "Table 5: parameters, memory and speed of training"
    report = TableReport("table5", title, _COLUMNS, rows, notes, facts)
    return report, draw_costs(report, "scheme")


def _row(
    scheme: str, millions: float, figures: StepFigures | None, base: StepFigures | None
) -> dict[str, Cell]:
    speed = figures.images_per_s if figures else None
    peak = figures.peak_bytes if figures else None
    return {
        "scheme": scheme,
        "parameters_millions": millions,
        "paper_parameters_millions": printed.value(printed.PARAMETERS.get(scheme)),
        "batch": figures.batch if figures else None,
        "images_per_s": speed,
        "speed_over_ft": ratio(speed, base.images_per_s if base else None),
        "paper_speed_over_ft": printed.value(printed.SPEED_OVER_FT.get(scheme)),
        "peak_megabytes": to_megabytes(peak),
        "peak_over_ft": ratio(peak, base.peak_bytes if base else None),
        "paper_peak_over_ft": printed.value(printed.PEAK_OVER_FT.get(scheme)),
    }


def draw_costs(report: TableReport, label: str) -> Figure:
    """Draw parameters beside the paper's and, where measured, peak memory and speed."""
    labels = [str(cell) for cell in report.column(label)]
    panels = {"peak_megabytes": "peak memory of training, MB", "images_per_s": "training, images/s"}
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
        ours = {"ours": report.column(key)}
        grouped_bars(axes, labels, ours, colours=(OURS,), form="{:.4g}")
        axes.set(ylabel=panels[key])
    figure.suptitle(report.title, fontsize=10)
    return figure

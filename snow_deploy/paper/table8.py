"""Table 8: serving many tasks: a shared source against separate models."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.costs import ratio
from snow_deploy.paper.measure.serving import measure_serving
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import COLOURS, grouped_bars, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.measure.step import StepSetup
    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("scheme", "scheme"),
    Column("tasks", "tasks", "whole"),
    Column("batch", "batch", "whole"),
    Column("images_per_s", "images/s", "number"),
    Column("over_ft", "over ft", "ratio"),
    Column("paper_over_ft", "paper", "ratio", printed=True),
)


def make_table8(
    study: Study, costing: Costing, batches: Sequence[int]
) -> tuple[TableReport, Figure]:
    """Measure pictures a second that get every task's answer; nothing is trained.

    Args:
        study: Which schemes and image size.
        costing: Which networks; its rounds.
        batches: Pictures a call.
    """
    setups: dict[str, StepSetup] = {
        scheme: costing.setup(study.options(scheme, 0)) for scheme in study.schemes
    }
    kept = MeasurementCache(study.output / "measured")
    tasks = 1 + len(costing.classes)
    papers = printed.SERVING_OVER_FT if costing.is_papers() else {}
    rows: list[dict[str, Cell]] = []
    for batch in batches:
        speeds = measure_serving(setups, batch, kept, costing.effort.rounds, study.say)
        rows += [
            {
                "scheme": scheme,
                "tasks": tasks,
                "batch": batch,
                "images_per_s": speed,
                "over_ft": ratio(speed, speeds.get("ft")),
                "paper_over_ft": printed.value(papers.get(scheme)),
            }
            for scheme, speed in speeds.items()
        ]
    device = describe_device(default_device())
    note = (
        f"pictures a second at {study.image_size} px that get the answers of {tasks} tasks, the "
        f"source's own included: torch, fp32, norms folded, random weights, on "
        f"{device['device']}; ft is separate models."
    )
    facts = {
        **{key: value for key, value in costing.facts().items() if key != "steps"},
        "image_size": study.image_size,
        "precision": "fp32",
        "delta": asdict(study.delta),
        **device,
    }
    title = f"Table 8: serving {tasks} tasks"
    report = TableReport("table8", title, _COLUMNS, rows, [note], facts)
    figure = new_figure(6.4, 3.4)
    axes = figure.subplots()
    groups = {
        f"batch {batch}": [row["images_per_s"] for row in rows if row["batch"] == batch]
        for batch in batches
    }
    grouped_bars(axes, list(study.schemes), groups, colours=COLOURS)
    axes.set(ylabel=f"images/s, {tasks} answers each", title=title)
    return report, figure

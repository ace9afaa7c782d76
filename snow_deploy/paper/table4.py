"""Table 4: SNOW's accuracy over the variance of the pooling's noise and the channels it keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snow_deploy.paper.accuracies import measure_shapes
from snow_deploy.paper.columns import accuracy_columns, training_note
from snow_deploy.paper.plots import heat_map, new_figure
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.study import Study


def make_table4(
    study: Study, sigma2s: Sequence[float], ks: Sequence[int]
) -> tuple[TableReport, Figure]:
    """Train SNOW over a grid and tabulate it.

    Args:
        study: Its store holds the source.
        sigma2s: Variances of the noise.
        ks: Each subscription keeps N / k channels.
    """
    grid = [(sigma2, k) for sigma2 in sigma2s for k in ks]
    shapes = [replace(study.delta, sigma2=sigma2, k_divisor=k) for sigma2, k in grid]
    rows: list[dict[str, Cell]] = [
        {"sigma2": sigma2, "k": f"N/{k}", **accuracies, "paper_mean": None}
        for (sigma2, k), accuracies in zip(grid, measure_shapes(study, shapes), strict=True)
    ]
    columns = [Column("sigma2", "σ²", "number"), Column("k", "K"), *accuracy_columns(study)]
    report = TableReport(
        "table4",
        "Table 4: SNOW's accuracy over σ² and K",
        columns,
        rows,
        [training_note(study)],
        study.facts(),
    )
    figure = new_figure(1.6 * len(ks) + 2.6, 0.6 * len(sigma2s) + 1.6)
    axes = figure.subplots()
    means = iter(report.column("mean"))
    values = [[next(means) for _ in ks] for _ in sigma2s]
    heat_map(axes, [f"{s:g}" for s in sigma2s], [f"N/{k}" for k in ks], values)
    axes.set(
        xlabel="channels kept, K of N", ylabel="variance of the noise, σ²", title="mean accuracy"
    )
    return report, figure

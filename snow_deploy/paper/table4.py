"""Table 4: SNOW's accuracy over K, the delta's size and the noise, one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_shapes
from snow_deploy.paper.columns import accuracy_columns, older_note, training_note
from snow_deploy.paper.plots import OURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from snow_deploy.models.options import DeltaOptions
    from snow_deploy.paper.study import Study

_PAPER = (
    Column("paper_car", "paper: Car", "fine share", printed=True),
    Column("paper_car_top5", "top-5", "fine share", printed=True),
)


def make_table4(
    study: Study, ks: Sequence[int], widths: Sequence[int], sigma2s: Sequence[float]
) -> tuple[TableReport, Figure]:
    """Train SNOW with one option changed at a time and tabulate it.

    Args:
        study: Its store holds the source; its delta is what the others stay at.
        ks: Each subscription keeps N / k channels.
        widths: The source's widths are divided by these.
        sigma2s: Variances of the noise.
    """
    varied: list[tuple[str, float, DeltaOptions]] = [
        *(("k", k, replace(study.delta, k_divisor=k)) for k in ks),
        *(("width", width, replace(study.delta, width_divisor=width)) for width in widths),
        *(("sigma2", sigma2, replace(study.delta, sigma2=sigma2)) for sigma2 in sigma2s),
    ]
    measured = measure_shapes(study, [delta for _, _, delta in varied], varies_noise=True)
    rows: list[dict[str, Cell]] = [
        {"option": option, "value": _name(option, value), **row, **_papers(option, value)}
        for (option, value, _), row in zip(varied, measured, strict=True)
    ]
    columns = [
        Column("option", "changed"),
        Column("value", "to"),
        *accuracy_columns(study),
        *_PAPER,
    ]
    delta = study.delta
    notes = [
        (
            f"the others stay at K = N/{delta.k_divisor}, width 1/{delta.width_divisor} and σ² = "
            f"{delta.sigma2:g}."
        ),
        (
            "The paper heads its last four columns σ; its run of 83.79 has σ² = 0.001 (section "
            "3.1), so they are read as σ². They are of SNOW-256, on Car."
        ),
        training_note(study),
        *older_note(rows, study),
    ]
    title = "Table 4: sensitivity, one option at a time"
    report = TableReport("table4", title, columns, rows, notes, study.facts())
    return report, _draw(report)


def _name(option: str, value: float) -> str:
    forms = {"k": "N/{:g}", "width": "M/{:g}", "sigma2": "{:g}"}
    return forms[option].format(value)


def _papers(option: str, value: float) -> dict[str, Cell]:
    """Return what the paper has for it, as shares."""
    group = printed.SENSITIVITY["sigma" if option == "sigma2" else option]
    first, five = group.get(value, (None, None))
    return {"paper_car": printed.as_share(first), "paper_car_top5": printed.as_share(five)}


def _draw(report: TableReport) -> Figure:
    options = list(dict.fromkeys(str(row["option"]) for row in report.rows))
    figure = new_figure(3.2 * len(options) + 0.6, 3.0)
    panels = figure.subplots(1, len(options), sharey=True, squeeze=False)[0]
    for axes, option in zip(panels, options, strict=True):
        rows = [row for row in report.rows if row["option"] == option]
        values = [float(row["mean"] or 0) for row in rows]
        axes.plot(range(len(rows)), values, "o-", color=OURS)
        axes.set_xticks(range(len(rows)), [str(row["value"]) for row in rows])
        axes.set_xlabel({"k": "K", "width": "delta's size", "sigma2": "σ²"}[option])
        tidy(axes)
    panels[0].set_ylabel("mean test accuracy")
    figure.suptitle(report.title, fontsize=10)
    return figure

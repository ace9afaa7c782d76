"""Figure 6: the accuracy curves of every scheme over training, a panel a data set."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_accuracies
from snow_deploy.paper.columns import papers_note, training_note
from snow_deploy.paper.curves import Curve, converged_at, read_accuracy_curve
from snow_deploy.paper.measurement_cache import MeasurementCache
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("data", "data"),
    Column("scheme", "scheme"),
    Column("last", "last epoch", "share"),
    Column("paper_last", "paper: test", "fine share", printed=True),
    Column("best", "best epoch", "share"),
    Column("converged_epoch", "converged, epoch", "number"),
)


def make_figure6(study: Study) -> tuple[TableReport, Figure]:
    """Train what is missing and draw how accuracy rises, the mean over the seeds.

    Args:
        study: Its store holds the source.
    """
    found = measure_accuracies(study, MeasurementCache(study.output / "measured"))
    curves: dict[tuple[str, str], Curve] = {}
    for name, by_data in found.items():
        for data, reached in by_data.items():
            runs = [each.run for each in reached if each.run is not None]
            if runs:  # of lf the last data set's alone
                curves[data, name] = _mean_curve(
                    [read_accuracy_curve(study.store, run) for run in runs]
                )
    rows_of = {each.name: each.row() for each in study.contenders()}
    rows: list[dict[str, Cell]] = []
    for (data, name), curve in sorted(
        curves.items(), key=lambda pair: list(study.data).index(pair[0][0])
    ):
        values = [value for _, value in curve]
        known = printed.ACCURACIES.get(rows_of[name], {})
        papers = known.get(printed.dataset(study.data[data]) or "")
        rows.append(
            {
                "data": data,
                "scheme": name,
                "last": values[-1],
                "paper_last": printed.as_share(papers[0]) if papers else None,
                "best": max(values),
                "converged_epoch": converged_at(curve),
            }
        )
    notes = [
        (
            "accuracy on the validation split or, where the data has none, on the test split: "
            "nothing is chosen by it, and the best epoch is not what is reported elsewhere. "
            "converged: from this epoch on it stays within 0.01 of the last one's; the paper has "
            "about 60 of 180."
        ),
        training_note(study, spread=False),
        *(papers_note(study) if any(map(printed.dataset, study.data.values())) else []),
    ]
    title = "Figure 6: accuracy over training"
    report = TableReport("figure6", title, _COLUMNS, rows, notes, study.facts())
    return report, _draw(study, curves)


def _mean_curve(curves: list[Curve]) -> Curve:
    """Average over seeds; each has the same epochs."""
    return [
        (points[0][0], fmean([value for _, value in points]))
        for points in zip(*curves, strict=True)
    ]


def _draw(study: Study, curves: Mapping[tuple[str, str], Curve]) -> Figure:
    figure = new_figure(4.2 * len(study.data), 3.6)
    panels = figure.subplots(1, len(study.data), squeeze=False)[0]
    names = list(dict.fromkeys(name for _, name in curves))
    for axes, data in zip(panels, study.data, strict=True):
        for number, name in enumerate(names):
            if (data, name) in curves:
                epochs, values = zip(*curves[data, name], strict=True)
                axes.plot(epochs, values, color=COLOURS[number % len(COLOURS)], lw=1.3, label=name)
        axes.set(title=data, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        tidy(axes)
    panels[0].set_ylabel("accuracy")
    panels[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure

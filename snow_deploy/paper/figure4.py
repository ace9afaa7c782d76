"""Figure 4: accuracy over the speed of training, a panel a data set, circles by memory."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from snow_deploy.paper import printed
from snow_deploy.paper.accuracies import measure_accuracies
from snow_deploy.paper.columns import papers_note, training_note
from snow_deploy.paper.costs import speed_note, to_megabytes
from snow_deploy.paper.curves import read_accuracy_curve
from snow_deploy.paper.measure.steps import measure_steps
from snow_deploy.paper.measurement_cache import MeasurementCache, default_device, describe_device
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snow_deploy.paper.accuracies import Accuracies
    from snow_deploy.paper.costs import Costing
    from snow_deploy.paper.study import SchemeAtBatch, Study

_COLUMNS = (
    Column("data", "data"),
    Column("scheme", "scheme"),
    Column("batch", "batch", "whole"),
    Column("accuracy", "accuracy", "share"),
    Column("paper_accuracy", "paper", "fine share", printed=True),
    Column("images_per_s", "images/s", "number"),
    Column("paper_images_per_s", "paper", "number", printed=True),
    Column("peak_megabytes", "peak, MB", "whole"),
    Column("paper_megabytes", "paper", "whole", printed=True),
)
_LARGEST = 900.0  # of a circle, in points squared: the contender with the most memory
_ACROSS = 3


def make_figure4(study: Study, costing: Costing) -> tuple[TableReport, Figure]:
    """Train what is missing, time training steps, and set one against the other.

    Args:
        study: Its store holds the source.
        costing: Which networks are timed.
    """
    kept = MeasurementCache(study.output / "measured")
    found = measure_accuracies(study, kept)
    setups = {
        each.name: costing.setup(study.options(each.scheme, 0, batch_size=each.batch_size))
        for each in study.contenders()
    }
    figures = measure_steps(setups, kept, costing.effort, study.say)
    by_name = {each.name: each for each in study.contenders()}
    rows: list[dict[str, Cell]] = [
        {
            "data": data,
            "scheme": name,
            "batch": figures[name].batch,
            "accuracy": fmean([each.accuracy for each in found[name][data]]),
            "images_per_s": figures[name].images_per_s,
            "peak_megabytes": to_megabytes(figures[name].peak_bytes),
            **_papers(by_name[name], figures[name].batch, printed.dataset(study.data[data])),
        }
        for data in study.data
        for name in found
    ]
    device = describe_device(default_device())
    notes = [
        training_note(study, spread=False),
        speed_note(figures, study.image_size, str(device["device"])),
        (
            "A circle's area is the memory. Speed and memory are measured once, with the last data "
            "set's classes, and are the same in every panel. The last panel has the curves of the "
            "first data set and seed, as the paper's has Car's."
        ),
        *(papers_note(study) if any(map(printed.dataset, study.data.values())) else []),
    ]
    facts = {**study.facts(), **costing.facts(), **device}
    title = "Figure 4: accuracy over the speed of training"
    report = TableReport("figure4", title, _COLUMNS, rows, notes, facts)
    return report, _draw(report, study, found)


def _papers(contender: SchemeAtBatch, batch: int, data: str | None) -> dict[str, Cell]:
    """Return the paper's figures of a data set; of what costs depend on the batch, at its batch."""
    row = contender.row()
    if data is None or row not in printed.ACCURACIES:
        return {}
    found: dict[str, Cell] = {"paper_accuracy": printed.as_share(printed.ACCURACIES[row][data][0])}
    if printed.row_at(contender.scheme, batch) == row:
        speed, memory = printed.TRAINING[row][data]
        found |= {"paper_images_per_s": speed, "paper_megabytes": 1e3 * memory}
    return found


def _draw(report: TableReport, study: Study, found: Accuracies) -> Figure:
    panels = len(study.data) + 1
    lines = -(-panels // _ACROSS)
    figure = new_figure(4.0 * min(panels, _ACROSS), 3.4 * lines)
    grid = figure.subplots(lines, min(panels, _ACROSS), squeeze=False).flatten()
    most = max((float(row["peak_megabytes"] or 0) for row in report.rows), default=0.0)
    for axes, data in zip(grid, study.data, strict=False):
        rows = [row for row in report.rows if row["data"] == data]
        _draw_circles(axes, rows, most)
        axes.set(title=data, xlabel="training, images/s", ylabel="test accuracy", xlim=(0, None))
    first = next(iter(study.data))
    _draw_curves(grid[panels - 1], study, {name: by[first][0].run for name, by in found.items()})
    grid[panels - 1].set_title(f"{first}, over training")
    for axes in grid[panels:]:
        axes.set_axis_off()
    return figure


def _draw_circles(axes: Axes, rows: list[Mapping[str, Cell]], most: float) -> None:
    for number, row in enumerate(rows):
        x, y = float(row["images_per_s"] or 0), float(row["accuracy"] or 0)
        memory = float(row["peak_megabytes"] or 0)
        area = _LARGEST * memory / most if most else _LARGEST / 8
        axes.scatter(x, y, s=area, color=COLOURS[number % len(COLOURS)], alpha=0.7, lw=0)
        axes.annotate(
            str(row["scheme"]),
            (x, y),
            xytext=(0, (4 + area**0.5 / 2) * (1 if number % 2 == 0 else -1)),
            textcoords="offset points",
            ha="center",
            va="bottom" if number % 2 == 0 else "top",
            fontsize=7,
        )
    axes.margins(0.2)
    tidy(axes)


def _draw_curves(axes: Axes, study: Study, runs: Mapping[str, str | None]) -> None:
    for number, (name, run) in enumerate(runs.items()):
        if run is not None:
            epochs, values = zip(*read_accuracy_curve(study.store, run), strict=True)
            axes.plot(epochs, values, color=COLOURS[number % len(COLOURS)], lw=1.2, label=name)
    axes.set(xlabel="epoch", ylabel="accuracy")
    axes.legend(fontsize=7, frameon=False)
    tidy(axes)

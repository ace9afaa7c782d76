"""How selections settle and SNOW learns over the noise: beyond the paper's Figure 5."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from snow_deploy.models.source import Source
from snow_deploy.paper.choices_plot import draw_choices, pick_subscription
from snow_deploy.paper.columns import training_note
from snow_deploy.paper.curves import Curve, read_accuracy_curve
from snow_deploy.paper.plots import COLOURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import read_selections, train_runs
from snow_deploy.paper.settling import settled_at, share_tried

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from snow_deploy.paper.settling import History
    from snow_deploy.paper.study import Study

_COLUMNS = (
    Column("data", "data"),
    Column("sigma2", "σ²", "number"),
    Column("accuracy", "accuracy", "share"),
    Column("tried", "channels tried", "share"),
    Column("settled_epoch", "settled, epoch", "number"),
)


def make_settling(
    study: Study, sigma2s: Sequence[float], subscription: str | None = None
) -> tuple[TableReport, Figure]:
    """Train SNOW for each variance of the noise with the first seed, and show how it chose.

    Args:
        study: Its store holds the source.
        sigma2s: Variances of the noise.
        subscription: Whose channels are drawn; None takes the middle one.

    Raises:
        TrainingError: There is no such subscription.
    """
    seed = study.seeds[0]
    study = replace(study, seeds=(seed,))
    runs = {
        (data, sigma2): study.run(
            data, study.options("snow", seed, data=data, delta=replace(study.delta, sigma2=sigma2))
        )
        for data in study.data
        for sigma2 in sigma2s
    }
    metrics = train_runs(study, list(runs.values()))
    histories = {key: read_selections(study.store, run.name) for key, run in runs.items()}
    source = Source(study.store.source_weights())
    channels = {item.name: item.channels for item in source.anatomy.subscriptions}
    shown = pick_subscription(next(iter(histories.values())), subscription)
    rows: list[dict[str, Cell]] = [
        {
            "data": data,
            "sigma2": sigma2,
            "accuracy": metrics[run.name]["accuracy"],
            "tried": share_tried(histories[data, sigma2], channels),
            "settled_epoch": settled_at(histories[data, sigma2]),
        }
        for (data, sigma2), run in runs.items()
    ]
    notes = [
        training_note(study),
        (
            "channels tried: share of the source's channels that evaluation read at some moment; "
            "settled: from this epoch on 95 % of the channels chosen at the end are chosen."
        ),
    ]
    title = "How selections settle, over the noise σ²"
    facts = {**study.facts(), "subscription": shown}
    report = TableReport("settling", title, _COLUMNS, rows, notes, facts)
    curves = {key: read_accuracy_curve(study.store, run.name) for key, run in runs.items()}
    return report, _draw(study, sigma2s, histories, curves, (shown, channels[shown]))


def _draw(
    study: Study,
    sigma2s: Sequence[float],
    histories: Mapping[tuple[str, float], History],
    curves: Mapping[tuple[str, float], Curve],
    shown: tuple[str, int],
) -> Figure:
    """Draw a line of panels for each data set: the choices by variance, then the curves."""
    name, channels = shown
    figure = new_figure(2.6 * len(sigma2s) + 3.6, 2.6 * len(study.data) + 0.5)
    widths = [*(1.0 for _ in sigma2s), 1.4]
    grid = figure.subplots(len(study.data), len(widths), squeeze=False, width_ratios=widths)
    for line, data in zip(grid, study.data, strict=True):
        for axes, sigma2 in zip(line[:-1], sigma2s, strict=True):
            draw_choices(axes, histories[data, sigma2], name, channels)
            axes.set_title(f"{data}, σ² = {sigma2:g}", fontsize=9)
        line[0].set_ylabel("epoch")
        for colour, sigma2 in zip(cycle(COLOURS), sigma2s, strict=False):
            epochs, accuracies = zip(*curves[data, sigma2], strict=True)
            line[-1].plot(epochs, accuracies, "o-", ms=3, color=colour, label=f"σ² = {sigma2:g}")
        line[-1].set(xlabel="epoch", ylabel="accuracy")
        line[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        line[-1].legend(fontsize=7, frameon=False)
        tidy(line[-1])
    for axes in grid[-1][:-1]:
        axes.set_xlabel(f"channel of {name}", fontsize=8)
    return figure

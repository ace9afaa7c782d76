"""Figure 5: which channels are chosen over training, and how SNOW learns, over the noise."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from snow_deploy.errors import TrainingError
from snow_deploy.models.source import Source
from snow_deploy.paper.columns import training_note
from snow_deploy.paper.plots import COLOURS, OURS, new_figure, tidy
from snow_deploy.paper.report import Cell, Column, TableReport
from snow_deploy.paper.runs import read_selections, train_runs
from snow_deploy.paper.settling import poolings, settled_at, share_tried

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snow_deploy.paper.settling import History
    from snow_deploy.paper.study import Run, Study

_COLUMNS = (
    Column("data", "data"),
    Column("sigma2", "σ²", "number"),
    Column("accuracy", "accuracy", "share"),
    Column("paper_accuracy", "paper", "share", printed=True),
    Column("tried", "channels tried", "share"),
    Column("settled_epoch", "settled, epoch", "number"),
)

CurvePoints = list[tuple[float, float]]
"""Epoch and accuracy on the evaluation split."""


def make_figure5(
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
            data, study.options("snow", seed, delta=replace(study.delta, sigma2=sigma2))
        )
        for data in study.data
        for sigma2 in sigma2s
    }
    metrics = train_runs(study, list(runs.values()))
    histories = {key: read_selections(study.store, run.name) for key, run in runs.items()}
    source = Source(study.store.source_weights())
    channels = {item.name: item.channels for item in source.anatomy.subscriptions}
    shown = _subscription(next(iter(histories.values())), subscription)
    rows: list[dict[str, Cell]] = [
        {
            "data": data,
            "sigma2": sigma2,
            "accuracy": metrics[run.name]["accuracy"],
            "paper_accuracy": None,
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
    title = "Figure 5: selections and accuracy over the noise σ²"
    facts = {**study.facts(), "subscription": shown}
    report = TableReport("figure5", title, _COLUMNS, rows, notes, facts)
    curves = {key: _read_curve(study, run) for key, run in runs.items()}
    return report, _draw(study, sigma2s, histories, curves, (shown, channels[shown]))


def _subscription(history: History, wanted: str | None) -> str:
    known = list(poolings(history))
    if wanted is None:
        return known[len(known) // 2]
    if wanted not in known:
        msg = f"there is no subscription {wanted!r}; name one of: {', '.join(known)}"
        raise TrainingError(msg)
    return wanted


def _read_curve(study: Study, run: Run) -> CurvePoints:
    """Read a run's accuracy over its epochs."""
    path = study.store.run_path(run.name) / "curve.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        key = next(key for key in rows[0] if key.endswith("_accuracy"))
        return [(float(row["epoch"]), float(row[key])) for row in rows]
    except (OSError, ValueError, IndexError, StopIteration) as error:
        msg = (
            f"{path} cannot be read ({error!r}). It is written while a run trains: train the run "
            f"anew, after removing {study.store.task_path(run.name)}."
        )
        raise TrainingError(msg) from error


def _draw(
    study: Study,
    sigma2s: Sequence[float],
    histories: Mapping[tuple[str, float], History],
    curves: Mapping[tuple[str, float], CurvePoints],
    shown: tuple[str, int],
) -> Figure:
    """Draw a line of panels for each data set: the choices by variance, then the curves."""
    name, channels = shown
    figure = new_figure(2.6 * len(sigma2s) + 3.6, 2.6 * len(study.data) + 0.5)
    widths = [*(1.0 for _ in sigma2s), 1.4]
    grid = figure.subplots(len(study.data), len(widths), squeeze=False, width_ratios=widths)
    for line, data in zip(grid, study.data, strict=True):
        for axes, sigma2 in zip(line[:-1], sigma2s, strict=True):
            _draw_choices(axes, histories[data, sigma2], name, channels)
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


def _draw_choices(axes: Axes, history: History, name: str, channels: int) -> None:
    """Draw the chosen channels across, training downwards."""
    moments, chosen = history["epoch"], history[name]
    picture = np.zeros((len(moments), channels))
    np.put_along_axis(picture, chosen.astype(np.int64), 1.0, axis=1)
    last = max(float(moments[-1]), 1e-6)
    axes.imshow(
        picture,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(["#f2f2ef", OURS]),
        extent=(-0.5, channels - 0.5, last, 0.0),
        vmin=0,
        vmax=1,
    )
